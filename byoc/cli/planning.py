"""Flags that shape a plan, shared by every verb that makes one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from byoc.cli.flags import Number
from byoc.cli.language import LANGUAGE_FLAGS, LanguageFlags
from byoc.cli.precision import with_precision
from byoc.errors import OptionError, RequirementError, ShapeError, UsageError

if TYPE_CHECKING:
    from byoc.partitioner.measured import MeasuredCosts
    from byoc.partitioner.plan import Plan

Shapes = dict[str, list["int | str | None"]]


@dataclass(frozen=True)
class PlanRequest:
    """How the user wants the model to be cut."""

    targets: tuple[str, ...]
    pins: tuple[str, ...]
    policy: str
    min_ops: int
    max_partitions: int | None
    min_saving: float
    shapes: Shapes
    options: dict[str, dict[str, str]]
    plan_file: Path | None
    costs_file: Path | None = None
    precision: str | None = None
    language: LanguageFlags = field(default_factory=LanguageFlags)

    def require_none(self, source: Path) -> None:
        """Raise :class:`UsageError` where flags are given for what already has a plan."""
        if self.targets or self.pins or self.plan_file or self.language.given():
            raise UsageError(
                f"{source} already has a plan; --target, --pin, --plan and the like do not apply",
                todo="drop them, or give the model",
            )

    def keywords(self) -> dict[str, Any]:
        """Keywords for ``byoc.partition`` and ``byoc.compile``.

        Raises :class:`UsageError` when neither a target nor a plan is named, or a plan and flags that contradict it.
        """
        if self.plan_file is not None:
            return {"plan": self._replayed(), "shapes": self.shapes or None}
        if not self.targets:
            raise UsageError(
                "no target is named",
                "byoc compiles for the codegens that you ask for, never for all that are installed",
                '--target a,b names them in order of priority; "byoc targets" lists them; --target host asks for none',
            )
        return {
            "targets": [name for name in self.targets if name != "host"],
            "pins": self.pins,
            "policy": self.policy,
            "min_ops": self.min_ops,
            "max_partitions": self.max_partitions,
            "min_saving": self.min_saving,
            "shapes": self.shapes or None,
            "options": with_precision(self.options, self.targets, self.precision),
            "costs": read_costs(self.costs_file) if self.costs_file is not None else None,
        }

    def _replayed(self) -> Plan:
        assert self.plan_file is not None
        flags = {
            "--target": self.targets,
            "--pin": self.pins,
            "--policy": self.policy != "priority",
            "--min-ops": self.min_ops != 1,
            "--max-partitions": self.max_partitions is not None,
            "--min-saving": self.min_saving,
            "--option": self.options,
            "--precision": self.precision,
            "--costs": self.costs_file,
        }
        clashing = [flag for flag, given in flags.items() if given]
        if clashing:
            raise UsageError(
                f"--plan and {', '.join(clashing)} exclude each other",
                "a plan is replayed exactly as it was reviewed",
                "drop one of them, or make a new plan without --plan",
            )
        return read_plan(self.plan_file)


def read_plan(path: Path) -> Plan:
    """A plan from its file.  Raises :class:`UsageError` for a missing file, :class:`PlanError` for a malformed one."""
    from byoc.partitioner.plan import Plan

    return Plan.from_json(read_text(path, "plan"))


def read_costs(path: Path) -> MeasuredCosts:
    """Measured costs from their file.  Raises :class:`UsageError` and :class:`PlanError` as :func:`read_plan` does."""
    from byoc.partitioner.measured import MeasuredCosts

    return MeasuredCosts.from_json(read_text(path, "file of costs"))


def read_text(path: Path, what: str) -> str:
    """The text of a file that the user named."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{what} {path} does not exist", todo="check the path") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text file, so no {what}", todo="check the path") from None


def check_requirement(plan: Plan, percentage: float | None) -> None:
    """Raise :class:`RequirementError` if less of the FLOPs is on targets; of the ops, where no FLOPs are counted."""
    if percentage is None:
        return
    from byoc.partitioner.plan import HOST, percent

    coverage = plan.coverage()
    unit, position = ("FLOPs", 1) if any(flops for _, flops in coverage.values()) else ("ops", 0)
    total = sum(counts[position] for counts in coverage.values())
    offloaded = total - coverage[HOST][position]
    if total and offloaded * 100.0 < percentage * total:
        raise RequirementError(
            f"only {percent(offloaded, total)} of the {unit} are on targets, --require asks for {percentage:g}%",
            "",
            '"byoc explain" with the same flags says why the rest is on the host',
        )


def parse_shapes(values: tuple[str, ...]) -> Shapes:
    """``("x=1,?",)`` to ``{"x": [1, None]}``; a word is the name of a symbol.  Raises :class:`ShapeError`."""
    shapes: Shapes = {}
    for value in values:
        name, equals, dims = value.rpartition("=")
        if not equals or not name:
            raise ShapeError(f'--shape "{value}" names no input', "", "write it as --shape x=1,?,224")
        if name in shapes:
            raise ShapeError(f'--shape names "{name}" twice')
        shapes[name] = [_parse_dim(dim.strip(), value) for dim in dims.split(",")] if dims.strip() else []
    return shapes


def _parse_dim(dim: str, value: str) -> int | str | None:
    if dim == "?":
        return None
    if dim.isdecimal():
        return int(dim)
    if dim.isidentifier():
        return dim
    raise ShapeError(
        f'--shape "{value}" has the dimension "{dim}"',
        "a dimension is a size, ? for any size, or a name that others can share",
        "write it as --shape x=1,?,224 or --shape x=batch,224",
    )


def parse_options(values: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """``("a.key=val",)`` to ``{"a": {"key": "val"}}``.  Raises :class:`OptionError`."""
    options: dict[str, dict[str, str]] = {}
    for value in values:
        key, equals, text = value.partition("=")
        target, dot, name = key.partition(".")
        if not (equals and dot and target and name):
            raise OptionError(f'--option "{value}" is malformed', "", "write it as --option target.key=value")
        options.setdefault(target, {})[name] = text
    return options


def parse_targets(values: tuple[str, ...]) -> tuple[str, ...]:
    """``("a,b", "c")`` to ``("a", "b", "c")``."""
    names = tuple(name.strip() for value in values for name in value.split(",") if name.strip())
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"--target names {', '.join(doubled)} twice")
    return names


_FLAGS = [
    click.option(
        "--target",
        "-t",
        "targets",
        multiple=True,
        metavar="A,B",
        help="Codegens in order of priority; the host takes the rest.",
    ),
    click.option(
        "--pin",
        "pins",
        multiple=True,
        metavar="WHAT=OWNER",
        help="Force NODE, op:TYPE or /regex/ onto host or a target (repeatable).",
    ),
    click.option(
        "--policy",
        type=click.Choice(["priority", "cost"]),
        default="priority",
        show_default=True,
        help="First target that accepts, or least estimated time.",
    ),
    click.option(
        "--min-ops",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="Dissolve partitions with fewer ops.",
    ),
    click.option(
        "--max-partitions",
        type=click.IntRange(min=0),
        metavar="N",
        help="Keep at most N partitions, the most worthwhile.",
    ),
    click.option(
        "--min-saving",
        type=Number(min=0.0),
        default=0.0,
        metavar="SECONDS",
        help="Dissolve partitions that save less estimated time.",
    ),
    click.option("--shape", "shapes", multiple=True, metavar="X=1,?", help="Shape of an input; ? is any (repeatable)."),
    click.option("--option", "options", multiple=True, metavar="A.KEY=VAL", help="Option of a codegen (repeatable)."),
    click.option(
        "--precision",
        metavar="TYPE",
        help="Type that float32 tensors are kept and multiplied in, such as bf16.  [default: each codegen's own]",
    ),
    click.option(
        "--plan",
        "plan_file",
        type=click.Path(path_type=Path),
        metavar="P.JSON",
        help="Replay a saved plan instead of making one.",
    ),
    click.option(
        "--costs",
        "costs_file",
        type=click.Path(path_type=Path),
        metavar="COSTS.JSON",
        help="Measured costs, from byoc profile --save-costs, in place of estimates.",
    ),
    *LANGUAGE_FLAGS,
]


def planning_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the flags above; it receives them as one ``request``."""

    @functools.wraps(function)
    def with_request(
        targets: tuple[str, ...],
        shapes: tuple[str, ...],
        options: tuple[str, ...],
        pins: tuple[str, ...],
        policy: str,
        min_ops: int,
        max_partitions: int | None,
        min_saving: float,
        plan_file: Path | None,
        costs_file: Path | None,
        precision: str | None,
        **others: Any,
    ) -> Any:
        request = PlanRequest(
            parse_targets(targets),
            pins,
            policy,
            min_ops,
            max_partitions,
            min_saving,
            parse_shapes(shapes),
            parse_options(options),
            plan_file,
            costs_file,
            precision,
            LanguageFlags(**{f.name: others.pop(f.name) for f in fields(LanguageFlags)}),
        )
        return function(request=request, **others)

    for flag in reversed(_FLAGS):
        with_request = flag(with_request)
    return with_request
