"""Batch normalisation with constant statistics: into the weights of the convolution before it, else scale and shift."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.compat import attrs_to_dict
from byoc.importer.origin import origin_of, with_origin
from byoc.lower.outline import used_variables
from byoc.rewrite.bindings import rewrite_bindings

# Position of the output channel in the weight, by op; a grouped transposed convolution spreads it over two axes.
_OUTPUT_AXIS = {
    "relax.nn.conv1d": ("kernel_layout", "O"),
    "relax.nn.conv2d": ("kernel_layout", "O"),
    "relax.nn.conv3d": ("kernel_layout", "O"),
    "relax.nn.conv2d_transpose": ("kernel_layout", "O"),
    "relax.nn.conv1d_transpose": ("kernel_layout", "O"),
}


def fold_batch_norm(module: tvm.IRModule) -> tvm.IRModule:
    """Replace `nn.batch_norm` of which only the normalised tensor is used, and whose parameters are constants.

    After a convolution with constant weights that nothing else reads: conv(x, w)*s + t = conv(x, w*s) + t, with
    s = gamma/sqrt(var + epsilon) and t = beta - mean*s, computed in float64.
    """
    return rewrite_bindings(module, lambda function: _BatchNormFolder(function).rewrite)


class _BatchNormFolder:
    def __init__(self, function: Any) -> None:
        self.body = function.body
        self.readers: dict[Any, int] = {}
        self.bound: dict[Any, Any] = {}
        self.items: dict[Any, list[int]] = {}
        self.folded: dict[Any, tuple[np.ndarray, np.ndarray, Any]] = {}

    def _count(self, body: Any) -> None:
        for block in body.blocks:
            for binding in block.bindings:
                self.bound[binding.var] = binding.value
                if isinstance(binding.value, relax.TupleGetItem):
                    self.items.setdefault(binding.value.tuple_value, []).append(int(binding.value.index))
                for variable in used_variables(binding.value):
                    self.readers[variable] = self.readers.get(variable, 0) + 1
                if isinstance(binding.value, relax.If):
                    self._count(binding.value.true_branch)
                    self._count(binding.value.false_branch)
        for variable in used_variables(body.body):
            self.readers[variable] = self.readers.get(variable, 0) + 1

    def rewrite(self, binding: Any) -> list[Any]:
        value = binding.value
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in self.folded:
            return self._result(binding, *self.folded[value.tuple_value])
        scale_and_shift = _scale_and_shift(value)
        if scale_and_shift is None:
            return [binding]
        if not self.bound:  # counted at the first batch norm: most models of many ops have none
            self._count(self.body)
        if self.readers.get(binding.var, 0) != 1 or self.items.get(binding.var) != [0]:
            return [binding]
        self.folded[binding.var] = (*scale_and_shift, value)
        return []

    def _result(self, binding: Any, scale: np.ndarray, shift: np.ndarray, norm: Any) -> list[Any]:
        data = norm.args[0]
        axis = int(norm.attrs.axis) % len(data.ty.shape.values)
        shape = [1] * len(data.ty.shape.values)
        shape[axis] = -1
        origin = origin_of(norm)
        dtype = str(data.ty.dtype).removeprefix("T.")
        weight = self._weight(data, axis)
        if weight is None:
            factor = relax.const(scale.reshape(shape).astype(dtype))
            value = relax.op.multiply(data, factor)
        else:
            convolution, output_axis = weight
            old = convolution.args[1].value.numpy()
            spread = [1] * old.ndim
            spread[output_axis] = -1
            new = relax.const((old.astype("float64") * scale.reshape(spread)).astype(old.dtype))
            value = relax.Call(convolution.op, [convolution.args[0], new], convolution.attrs, span=convolution.span)
        scaled = relax.DataflowVar(f"{binding.var.name}_scaled", data.ty)
        if weight is None and origin is not None:
            value = with_origin(value, origin)
        added = relax.op.add(scaled, relax.const(shift.reshape(shape).astype(dtype)))
        return [
            relax.VarBinding(scaled, value),
            relax.VarBinding(binding.var, with_origin(added, origin) if origin else added),
        ]

    def _weight(self, data: Any, axis: int) -> tuple[Any, int] | None:
        """The convolution that computes `data` and the output channels' axis in its weight, if it can be scaled."""
        convolution = self.bound.get(data)
        if not isinstance(convolution, relax.Call) or not isinstance(convolution.op, tvm.ir.Op):
            return None
        layout_of = _OUTPUT_AXIS.get(str(convolution.op.name))
        if layout_of is None or self.readers.get(data) != 1:
            return None
        attrs = attrs_to_dict(convolution.attrs)
        transposed = "transpose" in str(convolution.op.name)
        weight = convolution.args[1]
        if not isinstance(weight, tvm.ir.GenericConst) or (transposed and attrs["groups"] != 1):
            return None
        if attrs["out_layout"].find("C") != axis:
            return None
        return convolution, attrs[layout_of[0]].find(layout_of[1])


def _scale_and_shift(value: Any) -> tuple[np.ndarray, np.ndarray] | None:
    is_norm = (
        isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op) and value.op.name == "relax.nn.batch_norm"
    )
    if not is_norm or not all(isinstance(a, tvm.ir.GenericConst) for a in value.args[1:]):
        return None
    if not isinstance(value.args[0].ty.shape, relax.ShapeExpr):
        return None
    gamma, beta, mean, variance = (a.value.numpy().astype("float64") for a in value.args[1:])
    attrs = attrs_to_dict(value.attrs)
    if attrs.get("training"):
        return None
    scale = (gamma if attrs["scale"] else 1.0) / np.sqrt(variance + attrs["epsilon"])
    return scale, (beta if attrs["center"] else 0.0) - mean * scale
