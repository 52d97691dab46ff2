"""Cases made from a codegen's own patterns: the graph that a pattern describes, on shapes that its ops allow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from byoc.conformance.case import Case, Operand, Step
from byoc.conformance.fill import fill
from byoc.conformance.oracle import definitions
from byoc.partitioner.target import Target
from byoc.patterns import Alternatives, AnyValue, OpPattern, Pattern

_MOST = 4  # alternatives of one pattern that are tried
_ATTRS: dict[str, dict[str, Any]] = {
    "clip": {"min": 0.0, "max": 6.0}, "nn.leakyrelu": {"alpha": 0.1}, "astype": {"dtype": "float32"},
    "quantize": {"axis": -1, "out_dtype": "int8"}, "dequantize": {"axis": -1, "out_dtype": "float32"},
    "nn.softmax": {"axis": -1}, "sum": {"axis": [-1], "keepdims": True}, "mean": {"axis": [-1], "keepdims": True},
    "max": {"axis": [-1], "keepdims": True}, "nn.layer_norm": {"axes": [-1]}, "nn.rms_norm": {"axes": [-1]},
    "variance": {"axis": [-1], "keepdims": True}, "nn.max_pool2d": {"pool_size": [2, 2], "strides": [2, 2]},
    "nn.avg_pool2d": {"pool_size": [2, 2], "strides": [2, 2]},
}  # fmt: skip
_POSITIVE = frozenset({"sqrt", "rsqrt", "log", "power"})


@dataclass(frozen=True)
class _Form:
    """How the free inputs of a case are shaped."""

    name: str
    convolution: dict[str, Any] = field(default_factory=dict)
    addend: str = "full"
    rows: int = 5


_FORMS = (
    _Form("same shapes", {"padding": 1}),
    _Form("vectors along the channels, odd sizes", {"strides": 2}, "channels", 17),
)


def pattern_cases(target: Target) -> tuple[Case, ...]:
    """Cases for each pattern of more than one op; patterns with ops that no oracle defines give none."""
    cases: dict[str, Case] = {}
    for name, pattern in target.patterns.items():
        for number, option in enumerate(_options(pattern)):
            if sum(1 for _ in option.ops()) < 2 or any(op.op_name not in definitions() for op in option.ops()):
                continue
            for form in _FORMS:
                what = f"{name}/alternative {number}, {form.name}"
                case = _Maker(form).case(what, option)
                if case is not None:
                    cases[what] = case
    return tuple(cases.values())


def _options(pattern: Pattern) -> list[Pattern]:
    """The first alternatives, those inside included."""
    return list(_expand(pattern))[:_MOST] if _count(pattern) <= 10_000 else list(_expand_first(pattern))


def _count(pattern: Pattern) -> int:
    if isinstance(pattern, Alternatives):
        return sum(_count(option) for option in pattern.patterns)
    total = 1
    for inner in getattr(pattern, "inputs", None) or ():
        total *= _count(inner)
    return total


def _expand(pattern: Pattern) -> Iterator[Pattern]:
    if isinstance(pattern, Alternatives):
        for option in pattern.patterns:
            yield from _expand(option)
    elif isinstance(pattern, OpPattern) and pattern.inputs:
        for inputs in _products([list(_expand(inner)) for inner in pattern.inputs]):
            yield OpPattern(pattern.op_name, inputs, pattern.attrs, pattern.capture)
    else:
        yield pattern


def _products(choices: list[list[Pattern]]) -> Iterator[tuple[Pattern, ...]]:
    """One choice for each input; each input's choices appear at least once, not all combinations."""
    for number in range(max(len(c) for c in choices)):
        yield tuple(c[number % len(c)] for c in choices)


def _expand_first(pattern: Pattern) -> Iterator[Pattern]:
    for option in pattern.patterns if isinstance(pattern, Alternatives) else (pattern,):
        yield next(_expand(option))


class _CannotError(Exception):
    """The pattern describes no graph that can be made here."""


class _Maker:
    """Builds a case bottom-up, and computes it as it goes, so that every shape is known."""

    def __init__(self, form: _Form) -> None:
        self.form = form
        self.operands: list[Operand] = []
        self.steps: list[Step] = []
        self.values: dict[str, np.ndarray] = {}
        self.captured: dict[str, str] = {}
        self.made: dict[str, str] = {}

    def case(self, name: str, pattern: Pattern) -> Case | None:
        try:
            self._make(pattern)
        except (_CannotError, ValueError, IndexError, KeyError, TypeError):
            return None
        return Case(name, tuple(self.operands), tuple(self.steps))

    def _make(self, pattern: Pattern) -> str:
        assert isinstance(pattern, OpPattern)
        known = self.made.get(repr(pattern))
        if known is not None:  # the same part of a pattern, written twice, is one op
            return known
        if pattern.inputs is None:
            raise _CannotError
        inputs: list[str | None] = [None] * len(pattern.inputs)
        for i, inner in enumerate(pattern.inputs):
            if isinstance(inner, OpPattern):
                inputs[i] = self._make(inner)
        for i, inner in enumerate(pattern.inputs):
            if inputs[i] is None:
                if not isinstance(inner, AnyValue):
                    raise _CannotError
                inputs[i] = self._leaf(pattern, i, inner, inputs)
        names = tuple(str(name) for name in inputs)
        attrs = {**_ATTRS.get(pattern.op_name, {}), **self._attrs(pattern.op_name), **pattern.attrs}
        if pattern.op_name == "permute_dims" and "axes" not in pattern.attrs:
            rank = self.values[names[0]].ndim
            attrs["axes"] = [*range(rank - 2), rank - 1, rank - 2]
        with np.errstate(all="ignore"):
            result = definitions()[pattern.op_name].function([self.values[n] for n in names], attrs)
        name = f"s{len(self.steps)}"
        self.steps.append(Step(pattern.op_name, names, attrs))
        self.values[name] = np.asarray(result)
        self.made[repr(pattern)] = name
        return name

    def _attrs(self, op: str) -> dict[str, Any]:
        if not op.startswith("nn.conv"):
            return {}
        rank = int(op[7])
        chosen = {key: [value] * rank for key, value in self.form.convolution.items()}
        return {} if "transpose" in op and "strides" not in chosen else chosen

    def _leaf(self, pattern: OpPattern, position: int, leaf: AnyValue, inputs: list[str | None]) -> str:
        if leaf.capture in self.captured:
            return self.captured[leaf.capture]
        shape, dtype, kind = self._type(pattern.op_name, position, inputs)
        name = leaf.capture or f"v{len(self.operands)}"
        if name in self.values:
            name = f"{name}_{len(self.operands)}"
        constant = leaf.constant or (position == 1 and pattern.op_name.startswith(("nn.conv", "matmul")))
        operand = Operand(name, shape, dtype, kind, constant or (position > 0 and "quantize" in pattern.op_name))
        self.operands.append(operand)
        self.values[name] = fill(operand, {})
        if leaf.capture:
            self.captured[leaf.capture] = name
        return name

    def _type(self, op: str, position: int, inputs: list[str | None]) -> tuple[tuple[int, ...], str, str]:
        """Shape, dtype and fill of a free input, from those inputs of the op that exist."""
        known = [self.values[name] for name in inputs if name is not None]
        first = known[0] if known else None
        kind = "positive" if op in _POSITIVE else "normal"
        if op.startswith("nn.conv"):
            rank = int(op[7])
            if position == 0:
                return (2, 4, *([9] * rank)), "float32", kind
            inner = first.shape[1] if first is not None else 4
            return ((inner, 6) if "transpose" in op else (6, inner)) + (3,) * rank, "float32", kind
        if op == "matmul":
            if position == 1:
                inner = first.shape[-1] if first is not None else 7
                return (inner, 6), "float32", kind
            return (self.form.rows, first.shape[-2] if first is not None and first.ndim > 1 else 7), "float32", kind
        if "quantize" in op:
            if position == 0:
                dtype = "int8" if op == "dequantize" else "float32"
                return (self.form.rows, 7), dtype, "large" if op == "dequantize" else kind
            return ((), "float32", "positive") if position == 1 else ((), "int8", "zero")
        if op in ("nn.layer_norm", "nn.rms_norm") and first is not None:
            return (first.shape[-1],), "float32", kind
        if first is None or first.ndim == 0:
            rank_four = "pool" in op or op in ("nn.batch_norm", "nn.instance_norm", "nn.group_norm")
            return ((2, 4, 8, 8) if rank_four else (self.form.rows, 7)), "float32", kind
        if self.form.addend == "full":
            return first.shape, "float32", kind
        return ((first.shape[1], *([1] * (first.ndim - 2))) if first.ndim > 2 else first.shape[-1:]), "float32", kind
