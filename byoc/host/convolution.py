"""Convolutions over (batch, height, width, channel) tensors, grouped, strided, dilated and depthwise."""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx

from byoc.compat import attrs_to_dict
from byoc.host.code import Code, divide, int64
from byoc.host.contraction import Contraction, pack_columns
from byoc.host.epilogue import Epilogue
from byoc.host.kernel import Dims, Tiled, buffer, dtype_of, product, static, type_text
from byoc.host.machine import Machine
from byoc.host.matmul import kernel_of
from byoc.host.tiling import Blocking, Extents

LAYOUTS = ["NHWC", "OIHW"]


def takes_convolution(call: Any) -> bool:
    """Whether :func:`convolution_kernel` computes this call of `nn.conv2d` once it is in its layout."""
    data, weight = call.args[0].ty, call.args[1].ty
    attrs = attrs_to_dict(call.attrs)
    if not (static(data) and static(call.ty) and isinstance(call.args[1], tvm.ir.GenericConst)):
        return False
    if {dtype_of(data), dtype_of(weight), dtype_of(call.ty)} not in ({"float32"}, {"float64"}):
        return False
    if attrs["kernel_layout"] != "OIHW" or attrs["data_layout"] != attrs["out_layout"]:
        return False
    channels = data.shape.values[attrs["data_layout"].find("C")]
    if not isinstance(channels, tirx.IntImm):
        return False
    outputs, per_group = (int(d) for d in list(weight.shape.values)[:2])
    return per_group != 1 or outputs == attrs["groups"] or attrs["groups"] == 1


def convolution_kernel(call: Any, epilogue: Epilogue, machine: Machine, name: str, data: Any) -> Tiled:
    """The kernel of a convolution of `data` (the padded input)."""
    attrs, dims, dtype = attrs_to_dict(call.attrs), Dims(), dtype_of(call.ty)
    weight = call.args[1].value.numpy()
    shape = dims.of(data.ty)
    batch, height, width, channels = shape
    outputs, per_group, kernel_height, kernel_width = weight.shape
    (sy, sx), (dy, dx), groups = attrs["strides"], attrs["dilation"], attrs["groups"]
    out_height = (height - ((kernel_height - 1) * dy + 1)) // sy + 1
    out_width = (width - ((kernel_width - 1) * dx + 1)) // sx + 1
    depthwise = per_group == 1 and groups > 1
    row = width * channels
    units, rows = batch * out_height, out_width
    if weight.shape[2:] == (1, 1) and (sy, sx) == (1, 1):
        units, rows = 1, product([batch, out_height, out_width])
    if depthwise:
        reduction = [(kernel_height, row * dy), (kernel_width, channels * dx)]
    elif groups == 1 and dx == 1:
        reduction = [(kernel_height, row * dy), (kernel_width * channels, 1)]
    else:
        reduction = [(kernel_height, row * dy), (kernel_width, channels * dx), (per_group, 1)]
    if weight.shape[2:] == (1, 1):
        reduction = reduction[-1:] if not depthwise else [(1, 0)]

    def line(unit: Any) -> Any:
        """The line of the padded images where the window of a line of the result begins."""
        if isinstance(units, int) and units == 1:
            return int64(0)
        image, y = divide(unit, out_height)
        return image * int64(height) + y * int64(sy)

    by_group = weight.transpose(2, 3, 1, 0).reshape(-1, groups, outputs // groups).transpose(1, 0, 2)
    result = [batch, out_height, out_width, outputs]

    def write(blocking: Blocking | None) -> Any:
        problem = Contraction(
            units=units,
            rows=rows,
            columns=outputs,
            reduction=reduction,
            data_base=lambda unit: line(unit) * int64(row),
            weight_base=lambda unit: int64(0),
            result_base=lambda unit: unit * int64(out_width) * int64(outputs),
            data_step=channels * sx,
            result_step=outputs,
            packed=not depthwise,
            groups=1 if depthwise else groups,
            group_step=per_group,
            columnwise=depthwise,
            blocking=blocking,
        )
        shapes = [shape, [weight.size], *(_extra(dims, e, epilogue, result) for e in epilogue.extras), result]
        return kernel_of(problem, epilogue, shapes, machine, dtype, name)

    def arguments(blocking: Blocking | None) -> list[Any]:
        assert blocking is not None
        packed = weight.transpose(2, 3, 1, 0).ravel() if depthwise else pack_columns(by_group, blocking)
        return [data, relax.const(packed), *epilogue.extras]

    depth = product([extent for extent, _ in reduction])
    extents = Extents(rows, outputs // (1 if depthwise else groups), depth, dtype, depthwise)
    window = f"{type_text(call.args[1].ty)} strides {sy},{sx} dilation {dy},{dx} groups {groups}"
    return Tiled(f"conv2d {type_text(data.ty)} {window}{epilogue.describe()}", call.ty, extents, write, arguments)


def _extra(dims: Dims, extra: Any, epilogue: Epilogue, result: list[Any]) -> list[Any]:
    """The shape of a tensor that the epilogue reads, in the kernel's own sizes."""
    if tvm_ffi.structural_equal(extra.ty.shape, epilogue.anchor.ty.shape):
        return result
    return dims.of(extra.ty)


def padding_of(call: Any) -> tuple[int, int, int, int]:
    """(top, left, bottom, right)."""
    padding = tuple(attrs_to_dict(call.attrs)["padding"])
    if len(padding) == 1:
        return padding * 4
    return padding * 2 if len(padding) == 2 else padding


def pad_kernel(ty: Any, padding: tuple[int, int, int, int], name: str, value: float = 0.0) -> tuple[Any, list[Any]]:
    """A kernel that surrounds (batch, height, width, channel) images with a value, and the shape of its result."""
    dims, dtype = Dims(), dtype_of(ty)
    top, left, bottom, right = padding
    shape = batch, height, width, channels = dims.of(ty)
    padded = [batch, height + top + bottom, width + left + right, channels]
    code = Code()
    buffers = [buffer(shape, dtype, "image"), buffer(padded, dtype, "padded")]
    image, result = (code.flat(b) for b in buffers)
    fill = tirx.const(value, dtype)
    whole, row = padded[2] * channels, width * channels
    with code.loop("line", batch * padded[1], "parallel") as line:
        number, y = divide(line, padded[1])
        y = code.let("y", y - int64(top))
        source = code.let("source", (number * int64(height) + y) * int64(row))
        at = code.let("at", line * int64(whole))
        inside = tirx.all(y >= int64(0), y < int64(height))
        with code.when(tirx.Not(inside)), code.loop("i", whole) as i:
            code.store(result, at + i, fill)
        with code.when(inside):
            if left:
                with code.loop("i", left * channels) as i:
                    code.store(result, at + i, fill)
            with code.loop("i", row) as i:
                code.store(result, at + int64(left * channels) + i, tirx.BufferLoad(image, [source + i]))
            if right:
                with code.loop("i", right * channels) as i:
                    code.store(result, at + int64(left * channels) + int64(row) + i, fill)
    symbolic = list(ty.shape.values)
    sizes = [symbolic[0], symbolic[1] + (top + bottom), symbolic[2] + (left + right), symbolic[3]]
    return code.function(buffers, name), [int(s) if isinstance(s, tirx.IntImm) else s for s in sizes]
