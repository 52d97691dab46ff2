"""One change of the request that puts more of the model on targets, or as much in fewer partitions.

Every candidate is planned, so that what is said about it is what happens when it is followed.  Candidates are the
neighbours of the request: a target that is installed and was not asked for, another order of the targets, a pin or a
limit less, the other policy, another value of an option, inputs of fixed shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations
from typing import TYPE_CHECKING, Any

from byoc.codegen import Codegen
from byoc.compiler import partition
from byoc.errors import ByocError
from byoc.partitioner.plan import HOST, Settings
from byoc.registry import find_codegen, list_targets

if TYPE_CHECKING:
    from byoc.partitioner.measured import MeasuredCosts
    from byoc.partitioner.plan import Plan

Options = Mapping[str, Mapping[str, Any]]
Shapes = Mapping[str, Sequence[Any]]

_MOST_ORDERS = 5
_LEAST_GAIN = 0.001  # of the FLOPs; less is not worth another flag
_GREAT_GAIN = 0.05  # of the FLOPs; with this, a change that needs no further target comes first
_WORTH_LOSING = 0.01  # of the FLOPs on targets, for half the partitions


@dataclass(frozen=True)
class Outcome:
    """What a plan achieves: ops, FLOPs and partitions on targets, and bytes across their boundaries per run."""

    ops: int
    all_ops: int
    flops: int
    all_flops: int
    partitions: int
    boundary_bytes: int


@dataclass(frozen=True)
class Suggestion:
    """A change, the planning flags of the command line that ask for it, and what the plan achieves now and then."""

    change: str
    flags: tuple[str, ...]
    now: Outcome
    then: Outcome


@dataclass(frozen=True)
class _Request:
    """What a plan is made from, besides the model."""

    targets: tuple[str, ...]
    options: Options
    settings: Settings
    shapes: Shapes

    def flags(self) -> tuple[str, ...]:
        """The request as flags of the command line, defaults left out."""
        settings, usual = self.settings, Settings()
        flags = ["--target", ",".join(self.targets) or HOST]
        for pin in settings.pins:
            flags += ["--pin", pin]
        for flag in ("policy", "min_ops", "max_partitions", "min_saving"):
            value = getattr(settings, flag)
            if value != getattr(usual, flag):
                flags += [f"--{flag.replace('_', '-')}", str(value)]
        for name, dims in self.shapes.items():
            flags += ["--shape", f"{name}={','.join('?' if d is None else str(d) for d in dims)}"]
        for target, values in self.options.items():
            for key, value in values.items():
                if value != find_codegen(target).codegen.options[key].default:
                    flags += ["--option", f"{target}.{key}={value}"]
        return tuple(flags)


def suggest(
    plan: Plan, source: Any = None, *, shapes: Shapes | None = None, costs: MeasuredCosts | None = None
) -> Suggestion | None:
    """The best change of the request that `plan` was made from, or None where none helps or the plan has no model.

    A change helps that brings more FLOPs to targets (more ops, where the FLOPs stay), or else one that halves the
    partitions at the cost of at most 1% of the FLOPs on targets.

    Parameters
    ----------
    source: the model as :func:`byoc.partition` takes it; without it, changes that need a new import are not tried.
    shapes, costs: those that the plan was made with.
    """
    if plan.model is None:
        return None
    request = _Request(
        tuple(t.name for t in plan.targets),
        {t.name: dict(t.options) for t in plan.targets},
        plan.settings,
        shapes or {},
    )
    now = outcome(plan)
    best, most = None, (0, 0.0, 0)
    for change, changed in _candidates(plan, request):
        planned = _plan_anew(plan, request, changed, source, costs)
        if planned is None:
            continue
        then = outcome(planned)
        gain = _gain(now, then, more_targets=len(changed.targets) > len(request.targets))
        if gain > most:
            best, most = Suggestion(change, changed.flags(), now, then), gain
    return best


def outcome(plan: Plan) -> Outcome:
    """What the plan achieves."""
    ops = [op for function in plan.functions for op in function.ops]
    partitions = [p for function in plan.functions for p in function.partitions]
    return Outcome(
        ops=sum(op.owner != HOST for op in ops),
        all_ops=len(ops),
        flops=sum(op.flops for op in ops if op.owner != HOST),
        all_flops=sum(op.flops for op in ops),
        partitions=len(partitions),
        boundary_bytes=sum(p.bytes_in + p.bytes_out for p in partitions),
    )


def _gain(now: Outcome, then: Outcome, more_targets: bool) -> tuple[int, float, int]:
    """Greater is better; nothing gained is (0, 0, 0).  More work on targets counts before fewer partitions."""
    flops = _share(then.flops, then.all_flops) - _share(now.flops, now.all_flops)
    ops = _share(then.ops, then.all_ops) - _share(now.ops, now.all_ops)
    if flops >= _LEAST_GAIN or (abs(flops) < _LEAST_GAIN and ops > 0 and then.partitions <= now.partitions):
        rank = 3 if flops >= _GREAT_GAIN and not more_targets else 2
        return rank, round(max(flops, 0.0) + ops * _LEAST_GAIN, 6), -then.partitions
    if 0 < 2 * then.partitions <= now.partitions and flops >= -_WORTH_LOSING * _share(now.flops, now.all_flops):
        return 1, now.partitions / then.partitions, 0
    return 0, 0.0, 0


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _candidates(plan: Plan, request: _Request) -> Iterator[tuple[str, _Request]]:
    settings = request.settings
    stages = {v.stage for f in plan.functions for op in f.ops if op.owner == HOST for v in op.verdicts}
    for pin in settings.pins if "pin" in stages else ():
        kept = tuple(p for p in settings.pins if p != pin)
        yield f"drop the pin {pin}", replace(request, settings=replace(settings, pins=kept))
    usual = Settings()
    for name in ("min_ops", "min_saving", "max_partitions") if stages & {"prune", "merge"} else ():
        if getattr(settings, name) != getattr(usual, name):
            changed = replace(settings, **{name: getattr(usual, name)})
            yield f"drop --{name.replace('_', '-')}", replace(request, settings=changed)
    yield from _other_options(request)
    yield from _more_targets(request)
    for order in islice(permutations(request.targets), 1, 1 + _MOST_ORDERS):
        yield "ask the targets in another order", replace(request, targets=order)
    yield from _fewer_partitions(plan, request)
    fixed = _fixed_shapes(plan, request) if stages else {}
    if fixed:
        yield "fix the shapes of the inputs (here to 1 where they are free)", replace(request, shapes=fixed)


def _other_options(request: _Request) -> Iterator[tuple[str, _Request]]:
    for target, values in request.options.items():
        for key, option in find_codegen(target).codegen.options.items():
            choices = (True, False) if isinstance(option.default, bool) else option.choices
            for choice in choices:
                if choice != values.get(key):
                    options = {**request.options, target: {**values, key: choice}}
                    yield f"set the option {target}.{key} to {choice}", replace(request, options=options)


def _more_targets(request: _Request) -> Iterator[tuple[str, _Request]]:
    for info in list_targets():
        if info.available and info.name not in request.targets and not find_codegen(info.name).codegen.for_tests:
            yield f"ask {info.name} too", replace(request, targets=(*request.targets, info.name))


def _fewer_partitions(plan: Plan, request: _Request) -> Iterator[tuple[str, _Request]]:
    """Limits just above the sizes of the partitions there are, so that the smallest ones go."""
    sizes = sorted({len(p.ops) for f in plan.functions for p in f.partitions})
    for size in sizes[: len(sizes) - 1][:4]:
        changed = replace(request.settings, min_ops=size + 1)
        yield f"leave partitions of up to {size} op{'s' * (size != 1)} to the host", replace(request, settings=changed)


def _fixed_shapes(plan: Plan, request: _Request) -> Shapes:
    """Every input that has a free dimension, with 1 in its place; empty where there is none."""
    specs = [spec for signature in plan.model.signatures.values() for spec in signature.inputs]
    free = {
        s.name: [d if isinstance(d, int) else 1 for d in s.shape] for s in specs if any(_is_free(d) for d in s.shape)
    }
    return {**request.shapes, **free} if free else {}


def _is_free(dim: Any) -> bool:
    return not isinstance(dim, int)


def _plan_anew(plan: Plan, old: _Request, new: _Request, source: Any, costs: MeasuredCosts | None) -> Plan | None:
    """The plan for a changed request; None where it cannot be made."""
    same_form = new.shapes == old.shapes and not any(_reshapes_models(n) for n in (*old.targets, *new.targets))
    model = plan.model if same_form else source
    if model is None:
        return None
    settings = new.settings
    try:
        return partition(
            model,
            new.targets,
            pins=settings.pins,
            policy=settings.policy,
            min_ops=settings.min_ops,
            max_partitions=settings.max_partitions,
            min_saving=settings.min_saving,
            shapes=None if same_form else (dict(new.shapes) or None),
            options={t: o for t, o in new.options.items() if t in new.targets},
            costs=costs,
        )
    except ByocError:
        return None


def _reshapes_models(target: str) -> bool:
    """Whether the codegen changes the model before it is planned, so that another import is needed."""
    codegen = find_codegen(target).codegen
    return bool(codegen.layout) or codegen.passes is not Codegen.passes
