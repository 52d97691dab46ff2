"""The plan: a frozen, serialisable, deterministic account of who owns every op, and why."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from byoc.errors import PlanError

FORMAT_VERSION = 1
STAGES = ("import", "match", "check", "claimed", "cost", "merge", "prune", "pin", "compile")
HOST = "host"


@dataclass(frozen=True)
class Verdict:
    """Whether a target takes an op; if not, at which stage it was refused, and why.

    Attributes
    ----------
    stage: one of `STAGES`; empty when accepted.
    reason: one sentence, the codegen's own words at the stage ``check``.
    pattern: the pattern that took the op, or the one that came nearest.
    at: the value at fault, where one is known.
    """

    target: str
    accepted: bool
    stage: str = ""
    reason: str = ""
    pattern: str = ""
    at: str = ""


@dataclass(frozen=True)
class PlannedOp:
    """One op with its owner.

    Attributes
    ----------
    index: position in its function; a topological order.
    op: Relax name; node, op_type: name and type in the model.
    owner: a target, or ``"host"``.
    partition: index of its partition, -1 on the host.
    flops, bytes: work, and traffic to memory, with symbolic dimensions counted as `Settings.nominal_dim`.
    shape, dtype: of its first result.
    producers: indices of the ops that it reads from.
    verdicts: one for each target of the plan.
    note: why it stays float, for an op between DequantizeLinear and QuantizeLinear.
    """

    index: int
    op: str
    node: str
    op_type: str
    owner: str
    partition: int
    flops: int
    bytes: int
    shape: tuple[int | str, ...] | None
    dtype: str
    producers: tuple[int, ...]
    verdicts: tuple[Verdict, ...]
    note: str = ""


@dataclass(frozen=True)
class Composite:
    """One match: the ops that a pattern covers, and the one at its root."""

    pattern: str
    ops: tuple[int, ...]
    root: int


@dataclass(frozen=True)
class Partition:
    """A convex set of ops that one codegen owns; it becomes the external function `symbol`.

    `bytes_in` and `bytes_out` cross its boundary on every call (weights do not).
    """

    index: int
    target: str
    symbol: str
    ops: tuple[int, ...]
    composites: tuple[Composite, ...]
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True)
class FunctionPlan:
    """The plan of one entry function."""

    name: str
    ops: tuple[PlannedOp, ...]
    partitions: tuple[Partition, ...]


@dataclass(frozen=True)
class TargetUse:
    """A target as the plan uses it: codegen version, and every option with its value."""

    name: str
    version: str
    options: tuple[tuple[str, bool | int | float | str], ...] = ()


@dataclass(frozen=True)
class Settings:
    """What the deployer asked of the partitioner.

    Attributes
    ----------
    policy: ``"priority"`` (targets in the order given) or ``"cost"`` (least estimated time).
    min_ops: smaller partitions go to the host.
    min_saving: seconds that a partition must save over the host by the cost model to be kept.
    max_partitions: keep at most this many partitions, those that save most; ``None`` for no limit.
    pins: ``"NODE=owner"``, ``"op:TYPE=owner"`` or ``"/regex/=owner"``; hard constraints.
    nominal_dim: what a symbolic dimension counts as in costs.
    """

    policy: str = "priority"
    min_ops: int = 1
    min_saving: float = 0.0
    max_partitions: int | None = None
    pins: tuple[str, ...] = ()
    nominal_dim: int = 64


@dataclass(frozen=True)
class Plan:
    """Who owns every op of a model, and why.  Equal plans have equal JSON.

    `model` is the module that the plan was made for; it is not part of the plan's data.
    """

    model_name: str
    model_digest: str
    fingerprint: str
    targets: tuple[TargetUse, ...]
    settings: Settings
    functions: tuple[FunctionPlan, ...]
    format_version: int = FORMAT_VERSION
    model: Any = field(default=None, repr=False, compare=False)

    def to_json(self) -> str:
        """The plan as JSON text; the same plan always gives the same bytes."""
        return json.dumps(_plain(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str) -> Plan:
        """Read a plan.  Raises :class:`PlanError` for anything that is not a plan of this format."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PlanError("this is not a plan", f"it is not JSON: {error}") from None
        if not isinstance(data, dict) or "format_version" not in data:
            raise PlanError("this is not a plan", "it has no format_version")
        if data["format_version"] != FORMAT_VERSION:
            raise PlanError(
                f"the plan has format version {data['format_version']}; this byoc reads {FORMAT_VERSION}",
                "",
                "make the plan again with this version",
            )
        from byoc.partitioner.consistency import check_consistency

        plan = _read(Plan, data, "plan")
        check_consistency(plan)
        return plan

    def coverage(self) -> dict[str, tuple[int, int]]:
        """(ops, FLOPs) by owner, the host included."""
        totals = {name: [0, 0] for name in (*(t.name for t in self.targets), HOST)}
        for function in self.functions:
            for op in function.ops:
                totals[op.owner][0] += 1
                totals[op.owner][1] += op.flops
        return {name: (ops, flops) for name, (ops, flops) in totals.items()}

    def summary(self) -> str:
        """One line: what each target and the host got."""
        coverage = self.coverage()
        ops = sum(n for n, _ in coverage.values())
        flops = sum(f for _, f in coverage.values())
        parts = []
        for target in self.targets:
            n, f = coverage[target.name]
            count = sum(p.target == target.name for fn in self.functions for p in fn.partitions)
            share = f" ({percent(f, flops)} of FLOPs)" if flops else ""
            parts.append(f"{target.name} {n}/{ops} ops{share} in {count} partition{'s' * (count != 1)}")
        on_host = coverage[HOST][0]
        parts.append(f"host {on_host}" + (' - "byoc explain" says why' if on_host else ""))
        return "; ".join(parts)

    def _repr_html_(self) -> str:
        from byoc.viz import notebook_html

        return notebook_html(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": self.summary(), "text/html": self._repr_html_()}


def percent(part: float, whole: float) -> str:
    """A share as ``"96%"``; never rounded up to 100% or down to 0%."""
    if not whole:
        return "0%"
    share = 100 * part / whole
    if share > 99 and part != whole:
        return f"{min(share, 99.9):.1f}%"
    return f"{share:.0f}%" if share >= 1 or part == 0 else f"{max(share, 0.01):.2g}%"


def _plain(thing: Any) -> Any:
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return {f.name: _plain(getattr(thing, f.name)) for f in dataclasses.fields(thing) if f.name != "model"}
    if isinstance(thing, tuple):
        return [_plain(x) for x in thing]
    return thing


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _read(hint: Any, data: Any, where: str) -> Any:
    """`data` from JSON as the type `hint`."""
    if dataclasses.is_dataclass(hint):
        if not isinstance(data, dict):
            raise PlanError(f"the plan is malformed at {where}", "an object is expected")
        hints = _hints(hint)  # type: ignore[arg-type]
        wanted = {f.name for f in dataclasses.fields(hint)} - {"model"}
        if set(data) | {"note"} & wanted != wanted:  # plans of earlier versions have no notes
            odd = sorted(set(data) ^ wanted)
            raise PlanError(f"the plan is malformed at {where}", f"fields missing or unknown: {', '.join(odd)}")
        return hint(**{k: _read(hints[k], v, f"{where}.{k}") for k, v in data.items()})  # type: ignore[operator]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if not isinstance(data, list):
            raise PlanError(f"the plan is malformed at {where}", "a list is expected")
        if len(args) == 2 and args[1] is ...:
            return tuple(_read(args[0], x, where) for x in data)
        if len(data) != len(args):
            raise PlanError(f"the plan is malformed at {where}", f"{len(args)} entries are expected")
        return tuple(_read(a, x, where) for a, x in zip(args, data, strict=True))
    if origin in (typing.Union, types.UnionType):
        for option in args:
            try:
                return _read(option, data, where)
            except PlanError:
                continue
        raise PlanError(f"the plan is malformed at {where}", f"{data!r} has the wrong type")
    if hint is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if type(data) is not hint and not (hint is type(None) and data is None):
        raise PlanError(f"the plan is malformed at {where}", f"{data!r} is no {getattr(hint, '__name__', hint)}")
    return data
