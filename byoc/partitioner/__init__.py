"""Choose an owner for every op: match, check, assign, merge, prune.  The outcome is a frozen `Plan`."""

from byoc.partitioner.plan import Composite, FunctionPlan, Partition, Plan, PlannedOp, Settings, TargetUse, Verdict

__all__ = ["Composite", "FunctionPlan", "Partition", "Plan", "PlannedOp", "Settings", "TargetUse", "Verdict"]
