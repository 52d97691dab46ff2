"""A small plan built by hand: two targets, one partition, three host ops."""

from __future__ import annotations

from byoc.partitioner.plan import Composite, FunctionPlan, Partition, Plan, PlannedOp, Settings, TargetUse, Verdict

ACCEPTED = Verdict("acc", True, pattern="dense_relu")


def planned(
    index: int, op: str, node: str, op_type: str, flops: int, verdict: Verdict, owner: str = "host"
) -> PlannedOp:
    """One op of shape (1, n), in partition 0 unless it is on the host."""
    producers = (index - 1,) if index else ()
    partition = -1 if owner == "host" else 0
    return PlannedOp(index, op, node, op_type, owner, partition, flops, 64, (1, "n"), "float32", producers, (verdict,))


def sample_plan() -> Plan:
    """MatMul and Relu on ``acc``; two Pow refused in the check, one Softmax matched by nothing."""
    float_only = Verdict("acc", False, "check", "takes exponent 2 only", "square", "exponent: float32[1]")
    no_pattern = Verdict("acc", False, "match", "no pattern has nn.softmax at its root")
    ops = (
        planned(0, "matmul", "/fc/MatMul", "MatMul", 8000, ACCEPTED, "acc"),
        planned(1, "nn.relu", "/fc/Relu", "Relu", 100, ACCEPTED, "acc"),
        planned(2, "power", "/norm/Pow", "Pow", 300, float_only),
        planned(3, "power", "/norm/Pow_1", "Pow", 600, float_only),
        planned(4, "nn.softmax", "/Softmax", "Softmax", 1000, no_pattern),
    )
    partition = Partition(0, "acc", "byoc_acc_0", (0, 1), (Composite("dense_relu", (0, 1), 1),), 4096, 2048)
    return Plan(
        model_name="tiny",
        model_digest="ab" * 32,
        fingerprint="cd" * 32,
        targets=(TargetUse("acc", "1.0"),),
        settings=Settings(),
        functions=(FunctionPlan("main", ops, (partition,)),),
    )
