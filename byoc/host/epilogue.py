"""The element-wise ops that a kernel applies to its sums before it stores them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx

from byoc.compat import attrs_to_dict
from byoc.host.code import load, spread
from byoc.host.kernel import type_text
from byoc.lower.outline import used_variables

_MOST_OPS = 16

# How to read an operand: of the values so far, the tensors, position, column and lanes.
Operand = Callable[[Mapping[Any, Any], Sequence[Any], Any, Any, int], Any]


@dataclass
class Epilogue:
    """Ops in program order, the tensors they read besides the sums, and the variable that holds the result."""

    anchor: Any
    result: Any
    steps: list[Any] = field(default_factory=list)
    extras: list[Any] = field(default_factory=list)

    def describe(self) -> str:
        """The ops and what they read: ``; add(sums, float32[8] #0); nn.relu(@0)``.

        #0 is the first of `extras`, @0 the first op's result.
        """
        names: dict[Any, str] = {self.anchor: "sums"}
        text = ""
        for number, binding in enumerate(self.steps):
            args = ", ".join(names.get(arg) or self._text(arg) for arg in binding.value.args)
            text += f"; {_name(binding.value)}({args})"
            names[binding.var] = f"@{number}"
        return text

    def _text(self, arg: Any) -> str:
        """A number, or the type of a tensor and its place among those read."""
        if arg in self.extras:
            return f"{type_text(arg.ty)} #{self.extras.index(arg)}"
        return f"{arg.value.numpy().item()}" if isinstance(arg, tvm.ir.GenericConst) else str(arg)

    def apply(self, sums: Any, tensors: Sequence[Any], position: Any, column: Any, lanes: int) -> Any:
        """The expression that is stored for the sums of `lanes` neighbours."""
        values: dict[Any, Any] = {self.anchor: sums}
        for variable, compute, attrs, operands in self._compiled:
            args = [operand(values, tensors, position, column, lanes) for operand in operands]
            values[variable] = compute(attrs, *args)
        return values[self.result]

    @cached_property
    def _compiled(self) -> list[tuple[Any, Callable[..., Any], dict[str, Any], list[Operand]]]:
        """(variable, how to compute it, attributes, how to read each operand) of every step."""
        known = {self.anchor, *(step.var for step in self.steps)}
        return [
            (
                step.var,
                OPS[_name(step.value)],
                attrs_to_dict(step.value.attrs),
                [self._operand(arg, known) for arg in step.value.args],
            )
            for step in self.steps
        ]

    def _operand(self, arg: Any, known: set[Any]) -> Operand:
        if arg in known:
            return lambda values, tensors, position, column, lanes: values[arg]
        if not isinstance(arg.ty, relax.TensorType):
            return lambda values, tensors, position, column, lanes: arg
        if _is_scalar(arg.ty) and isinstance(arg, tvm.ir.GenericConst):
            number = tirx.const(arg.value.numpy().item(), _dtype(arg.ty))
            return lambda values, tensors, position, column, lanes: spread(number, lanes)
        place = self.extras.index(arg)
        if _is_scalar(arg.ty):
            return lambda values, tensors, position, column, lanes: spread(load(tensors[place], 0), lanes)
        if list(arg.ty.shape.values) and _same_shape(arg.ty, self.result.ty):
            return lambda values, tensors, position, column, lanes: load(tensors[place], position, lanes)
        return lambda values, tensors, position, column, lanes: load(tensors[place], column, lanes)


def epilogue_of(anchor: Any, bindings: Sequence[Any], readers: Mapping[Any, int], taken: set[Any]) -> Epilogue:
    """The longest run of element-wise ops after `anchor` (a variable) that leaves one result.

    `bindings` are those after the anchor's in its block, `readers` the number of reads of every variable, `taken` the
    variables that other kernels have.
    """
    inside, reads = {anchor}, {anchor: 0}
    steps: list[Any] = []
    best = Epilogue(anchor, anchor)
    for binding in bindings:
        used = [v for v in used_variables(binding.value) if v in inside]
        if not used:
            continue
        if binding.var in taken or len(steps) == _MOST_OPS or not _supported(binding, anchor, inside):
            break
        for variable in used:
            reads[variable] += 1
        inside.add(binding.var)
        reads[binding.var] = 0
        steps.append(binding)
        if all(reads[v] == readers.get(v, 0) for v in inside if v != binding.var):
            best = Epilogue(anchor, binding.var, list(steps))
    for step in best.steps:
        for arg in step.value.args:
            external = isinstance(arg.ty, relax.TensorType) and arg not in inside and arg not in best.extras
            if external and not (isinstance(arg, tvm.ir.GenericConst) and _is_scalar(arg.ty)):
                best.extras.append(arg)
    return best


def _supported(binding: Any, anchor: Any, inside: set[Any]) -> bool:
    call = binding.value
    if not isinstance(call, relax.Call) or _name(call) not in OPS or not isinstance(binding.var, relax.DataflowVar):
        return False
    if not _same_shape(binding.var.ty, anchor.ty) or _dtype(binding.var.ty) != _dtype(anchor.ty):
        return False
    return all(arg in inside or _readable(arg, anchor) for arg in call.args)


def _readable(arg: Any, anchor: Any) -> bool:
    """Whether an operand is a number, or a scalar, a row of columns or a tensor of the result's shape."""
    if isinstance(arg.ty, tvm.ir.PrimType):
        return isinstance(arg, (tirx.IntImm, tirx.FloatImm))
    if not isinstance(arg.ty, relax.TensorType) or not isinstance(arg.ty.shape, relax.ShapeExpr):
        return False
    if _dtype(arg.ty) != _dtype(anchor.ty):
        return False
    if _is_scalar(arg.ty) or _same_shape(arg.ty, anchor.ty):
        return True
    *front, last = list(arg.ty.shape.values)
    columns = list(anchor.ty.shape.values)[-1]
    return all(isinstance(d, tirx.IntImm) and int(d) == 1 for d in front) and _equal(last, columns)


def _same_shape(a: Any, b: Any) -> bool:
    if not isinstance(a.shape, relax.ShapeExpr) or not isinstance(b.shape, relax.ShapeExpr):
        return False
    left, right = list(a.shape.values), list(b.shape.values)
    return len(left) == len(right) and all(_equal(x, y) for x, y in zip(left, right, strict=True))


def _equal(a: Any, b: Any) -> bool:
    return bool(tvm_ffi.structural_equal(a, b))


def _is_scalar(ty: Any) -> bool:
    shape = ty.shape
    return isinstance(shape, relax.ShapeExpr) and all(isinstance(d, tirx.IntImm) and int(d) == 1 for d in shape.values)


def _name(call: Any) -> str:
    return str(call.op.name).removeprefix("relax.") if isinstance(call.op, tvm.ir.Op) else ""


def _dtype(ty: Any) -> str:
    return str(ty.dtype).removeprefix("T.")


def _const(value: float, like: Any) -> Any:
    text = str(like.ty.dtype if hasattr(like.ty, "dtype") else like.ty).removeprefix("T.")
    base, _, lanes = text.partition("x")
    return spread(tirx.const(value, base), int(lanes or 1))


def _sigmoid(x: Any) -> Any:
    one = _const(1.0, x)
    return one / (one + tirx.exp(_const(0.0, x) - x))


def _gelu(x: Any) -> Any:
    return x * _const(0.5, x) * (_const(1.0, x) + tirx.erf(x * _const(0.5**0.5, x)))


def _gelu_tanh(x: Any) -> Any:
    inner = _const(0.7978845608028654, x) * x * (_const(1.0, x) + _const(0.044715, x) * x * x)
    return _const(0.5, x) * x * (_const(1.0, x) + tirx.tanh(inner))


def _clip(x: Any, low: Any, high: Any) -> Any:
    return tirx.min(tirx.max(x, _const(float(low), x)), _const(float(high), x))


def _relu(x: Any) -> Any:
    return tirx.max(x, _const(0.0, x))


OPS: dict[str, Callable[..., Any]] = {
    "add": lambda _, x, y: x + y,
    "subtract": lambda _, x, y: x - y,
    "multiply": lambda _, x, y: x * y,
    "divide": lambda _, x, y: x / y,
    "maximum": lambda _, x, y: tirx.max(x, y),
    "minimum": lambda _, x, y: tirx.min(x, y),
    "nn.relu": lambda _, x: _relu(x),
    "clip": lambda _, x, low, high: _clip(x, low, high),
    "sigmoid": lambda _, x: _sigmoid(x),
    "nn.silu": lambda _, x: x * _sigmoid(x),
    "nn.gelu": lambda _, x: _gelu(x),
    "nn.gelu_tanh": lambda _, x: _gelu_tanh(x),
    "tanh": lambda _, x: tirx.tanh(x),
    "erf": lambda _, x: tirx.erf(x),
    "exp": lambda _, x: tirx.exp(x),
    "negative": lambda _, x: _const(0.0, x) - x,
}
