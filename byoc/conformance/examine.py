"""One case on one target, from plan to probes; runs in a process of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import byoc
from byoc.conformance.build import module_of
from byoc.conformance.case import Case
from byoc.conformance.guard import Partition
from byoc.conformance.outcome import FAILED, PASSED, REFUSED, Outcome
from byoc.conformance.probes import WrongError, probe
from byoc.conformance.state_probes import probe_states
from byoc.errors import ByocError
from byoc.lower.in_place import updated_parameters
from byoc.lower.outline import SYMBOL, outline
from byoc.partitioner.plan import FunctionPlan, Plan
from byoc.relax_graph import graph_of


def examine(case: Case, target: str, options: Mapping[str, Any], enter: Callable[[str], None]) -> Outcome:
    """What becomes of a case; `enter` is told what is tried, so that a crash or hang can be placed."""
    name = case.name
    here = ""

    def entered(probe_name: str) -> None:
        nonlocal here
        here = probe_name
        enter(probe_name)

    patterns: tuple[str, ...] = ()
    try:
        entered("plan")
        plan = byoc.partition(module_of(case), [target], options={target: dict(options)})
        if not plan.functions[0].partitions:
            return Outcome(name, REFUSED, "plan", _why_not(plan.functions[0]))
        entered("compile")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a partition that is refused shows in the plan
            artifact = byoc.compile(plan, use_cache=False)
        done = Plan.from_json(artifact.plan_json)
        function = done.functions[0]
        if not function.partitions:
            return Outcome(name, REFUSED, "compile", _why_not(function))
        patterns = tuple(dict.fromkeys(c.pattern for p in function.partitions for c in p.composites))
        partitions = _partitions(plan, done)
        entered("load")
        with artifact.session() as session:
            (probe_states if case.states else probe)(case, session, partitions, entered)
    except WrongError as error:
        return Outcome(name, FAILED, here, str(error), patterns)
    except ByocError as error:
        return Outcome(name, FAILED, here, f"{error.what}{f': {error.why}' if error.why else ''}", patterns)
    return Outcome(name, PASSED, patterns=patterns)


def _partitions(plan: Plan, done: Plan) -> dict[str, Partition]:
    """The arguments of each partition by its symbol."""
    module = outline(plan.model.module, plan.model.graphs, done.functions)
    found = {}
    for _, function in module.functions_items():
        if function.attrs is not None and "Codegen" in function.attrs:
            symbol = str(function.attrs[SYMBOL])
            updated = updated_parameters(graph_of(symbol, function.without_attr("Codegen")))
            found[symbol] = Partition(len(function.params), updated)
    return found


def _why_not(function: FunctionPlan) -> str:
    """The codegen's own words for the last op that has a verdict."""
    for op in reversed(function.ops):
        for verdict in op.verdicts:
            if not verdict.accepted:
                return verdict.reason
    return "nothing is left to compute once constants are folded"
