"""Transposes: joined, removed where they undo each other, and moved behind what computes element by element.

Behind such an op a transpose meets the next one, or the matrix product or reshape that can take it, and what was in
front of the op (a convolution, a product) meets the op.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.compat import attrs_to_dict
from byoc.dim import dim_of
from byoc.importer.origin import origin_of, with_origin
from byoc.importer.values import constant
from byoc.rewrite.bindings import rewrite_bindings
from byoc.rewrite.readers import Readers

_UNARY = frozenset(
    f"relax.{name}"
    for name in (
        "abs", "ceil", "clip", "cos", "erf", "exp", "floor", "log", "negative", "nn.gelu", "nn.gelu_tanh",
        "nn.leakyrelu", "nn.relu", "nn.selu", "nn.silu", "nn.softplus", "round", "rsqrt", "sigmoid", "sign", "sin",
        "sqrt", "tanh",
    )
)  # fmt: skip
_BINARY = frozenset(
    f"relax.{name}" for name in ("add", "divide", "maximum", "minimum", "multiply", "power", "subtract")
)
_REDUCTIONS = frozenset(f"relax.{name}" for name in ("max", "mean", "min", "sum"))


@dataclass(frozen=True)
class _Transposed:
    """Axis i of a value is axis ``axes[i]`` of `source`."""

    source: Any
    axes: tuple[int, ...]


def cancel_transposes(module: tvm.IRModule) -> tvm.IRModule:
    """Transposes of transposes become one; those that undo each other none."""
    return rewrite_bindings(module, lambda function: _Mover(function, moving=False).rewrite)


def move_transposes(module: tvm.IRModule) -> tvm.IRModule:
    """As `cancel_transposes`; also moved behind element-wise ops and reductions, which leaves no more of them.

    A transpose that someone else reads as well stays where it is.  One that moves only axes of extent 1 becomes a
    reshape.
    """
    return rewrite_bindings(module, lambda function: _Mover(function, moving=True).rewrite)


class _Mover:
    def __init__(self, function: Any, moving: bool) -> None:
        self.readers = Readers(function)
        self.moving = moving
        self.transposed: dict[Any, _Transposed] = {}

    def rewrite(self, binding: Any) -> list[Any]:
        value = binding.value
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
            return [binding]
        if value.op.name == "relax.permute_dims":
            return self._joined(binding)
        moved = self._moved(binding) if self.moving and self.transposed else None
        return [binding] if moved is None else moved

    def _joined(self, binding: Any) -> list[Any]:
        value = binding.value
        rank = _rank(value)
        if rank is None:
            return [binding]
        source, axes = value.args[0], attrs_to_dict(value.attrs)["axes"]
        axes = tuple(reversed(range(rank))) if axes is None else tuple(int(a) % rank for a in axes)
        inner = self.transposed.get(source)
        if inner is not None:
            source, axes = inner.source, tuple(inner.axes[a] for a in axes)
        self.transposed[binding.var] = _Transposed(source, axes)
        if axes == tuple(range(rank)):
            return [relax.VarBinding(binding.var, source)]
        if self.moving and _keeps_order(source, axes):
            return [_same_origin(binding, relax.op.reshape(source, binding.var.ty.shape))]
        return [binding] if inner is None else [_same_origin(binding, relax.op.permute_dims(source, list(axes)))]

    def _moved(self, binding: Any) -> list[Any] | None:
        value = binding.value
        name = str(value.op.name)
        if name in _REDUCTIONS:
            return self._behind_reduction(binding)
        axes = self._common_axes(value) if name in _UNARY | _BINARY else None
        if axes is None:
            return None
        args = [self._source(arg, axes) for arg in value.args]
        if any(arg is None for arg in args):
            return None
        return self._then_transposed(binding, relax.Call(value.op, args, value.attrs, span=value.span), axes)

    def _then_transposed(self, binding: Any, call: Any, axes: tuple[int, ...]) -> list[Any]:
        dims = list(binding.var.ty.shape.values)
        shape = [dims[axes.index(i)] for i in range(len(axes))]
        before = relax.DataflowVar(f"{binding.var.name}_moved", relax.TensorType(shape, binding.var.ty.dtype))
        self.readers.bind(before, call)
        self.transposed[binding.var] = _Transposed(before, axes)
        if axes == tuple(range(len(axes))):
            return [relax.VarBinding(before, call), relax.VarBinding(binding.var, before)]
        permuted = relax.op.permute_dims(before, list(axes))
        return [relax.VarBinding(before, call), _same_origin(binding, permuted)]

    def _common_axes(self, call: Any) -> tuple[int, ...] | None:
        """The axes of all operands that are transposes, if those are alike and have the rank of the result."""
        found = {self.transposed[arg].axes for arg in call.args if self._is_movable(arg)}
        if len(found) != 1 or _rank(call) != len(next(iter(found))):
            return None
        return found.pop()

    def _is_movable(self, arg: Any) -> bool:
        return isinstance(arg, relax.Var) and arg in self.transposed and self.readers.of(arg) == 1

    def _source(self, arg: Any, axes: tuple[int, ...]) -> Any:
        """The operand of the op once it stands before the transpose; None if there is none."""
        if self._is_movable(arg):
            return self.transposed[arg].source
        if not isinstance(arg, (relax.Var, tvm.ir.GenericConst)) or not isinstance(arg.ty, relax.TensorType):
            return arg  # a limit of a clip
        if not isinstance(arg, tvm.ir.GenericConst):
            return None
        array = arg.value.numpy()
        if array.size == 1:
            return arg
        spread = array.reshape((1,) * (len(axes) - array.ndim) + array.shape)
        return constant(np.ascontiguousarray(np.transpose(spread, np.argsort(axes))))

    def _behind_reduction(self, binding: Any) -> list[Any] | None:
        """The mean of a transpose, as the transpose of a mean."""
        value = binding.value
        (arg,) = value.args
        attrs = attrs_to_dict(value.attrs)
        if not self._is_movable(arg) or attrs["axis"] is None or _rank(value) is None:
            return None
        held = self.transposed[arg]
        over = [int(a) % len(held.axes) for a in attrs["axis"]]
        reduce = getattr(relax.op, str(value.op.name).removeprefix("relax."))
        call = reduce(held.source, sorted(held.axes[a] for a in over), attrs["keepdims"])
        origin = origin_of(value)
        axes = held.axes if attrs["keepdims"] else _without(held.axes, over)
        return self._then_transposed(binding, with_origin(call, origin) if origin else call, axes)


def _without(axes: tuple[int, ...], dropped: Sequence[int]) -> tuple[int, ...]:
    """The transposition of what remains when positions `dropped` of a transposed tensor are gone."""
    kept = [axis for position, axis in enumerate(axes) if position not in dropped]
    return tuple(sorted(kept).index(axis) for axis in kept)


def _keeps_order(source: Any, axes: tuple[int, ...]) -> bool:
    """Whether all axes but those of extent 1 keep their order, so that no element moves."""
    dims = source.ty.shape.values if isinstance(source.ty.shape, relax.ShapeExpr) else []
    longer = [a for a in axes if dim_of(dims[a]) != 1]
    return bool(dims) and longer == sorted(longer)


def _rank(call: Any) -> int | None:
    known = isinstance(call.ty, relax.TensorType) and isinstance(call.ty.shape, relax.ShapeExpr)
    return len(call.ty.shape.values) if known else None


def _same_origin(binding: Any, call: Any) -> Any:
    return relax.VarBinding(
        binding.var, relax.Call(call.op, call.args, call.attrs, call.ty_args, span=binding.value.span)
    )
