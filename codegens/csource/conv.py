"""Convolutions in one to three dimensions, with what follows them."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource import winograd
from byoc_codegens.csource.c_text import FLOATS, INTEGERS, c_helper, int64s, short, stored
from byoc_codegens.csource.convolution import LONGEST_KERNEL, Geometry, geometry_of, refusal
from byoc_codegens.csource.epilogue import (
    Epilogue,
    add_epilogue,
    along_axis,
    epilogue_literal,
    expanded,
    fused,
    parse_epilogue,
    same_shape,
)
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.storage import Floats
from byoc_codegens.csource.vector import Isa, add_tiles, pack_columns, pack_rows

from byoc import Match, Value, op, reject

OPS = ("nn.conv1d", "nn.conv2d", "nn.conv3d")


def anchor_of(m: Match, ops: tuple[str, ...]) -> Value:
    """The result of the op that a pattern is built around."""
    return next(n.output for n in m.nodes if n.op in ops)


def check_addends(epilogue: Epilogue, out: Value, axis: int) -> Any:
    """Refuse addends that are neither one number for each index of `axis` nor a tensor like the result."""
    assert out.shape is not None
    for value in epilogue.addends:
        if value.dtype != out.dtype:
            return reject(f"adding {value.dtype} to {out.dtype} is not done", at=value)
    like = [same_shape(v.shape, out.shape) for v in epilogue.addends]
    biases = [v for v, is_like in zip(epilogue.addends, like, strict=True) if not is_like]
    if len(biases) > 1 or sum(like) > 1:
        return reject("only one bias and one tensor like the result can be added here", at=out)
    for bias in biases:
        if not along_axis(bias, out.shape, axis):
            return reject("what is added is neither a bias nor a tensor like the result", at=bias)
    return None


def split_addends(epilogue: Epilogue, out: Value) -> tuple[Value | None, Value | None]:
    """(bias, residual) among the addends."""
    bias = next((v for v in epilogue.addends if not same_shape(v.shape, out.shape)), None)
    residual = next((v for v in epilogue.addends if same_shape(v.shape, out.shape)), None)
    return bias, residual


def _check(m: Match) -> Any:
    out = anchor_of(m, OPS)
    refused = refusal(out)
    if refused is not None:
        return refused
    assert out.producer is not None
    x, weight = out.producer.inputs
    if x.dtype != weight.dtype:
        return reject(f"{out.op} of {x.dtype} with weights of {weight.dtype} is not done", at=weight)
    if x.dtype not in FLOATS - {"bfloat16"} | INTEGERS or out.dtype not in FLOATS - {"bfloat16"} | INTEGERS:
        return reject(f"{out.op} of {x.dtype} to {out.dtype} is not done", at=x)
    if not _is_float(out) and len(m.nodes) > 1:
        return reject(f"{out.op} of {x.dtype} is not fused with what follows it", at=x)
    epilogue = parse_epilogue(m, out)
    return reject(epilogue, at=m.out) if isinstance(epilogue, str) else check_addends(epilogue, out, 1)


def _is_float(out: Value) -> bool:
    assert out.producer is not None
    return all(v.dtype in ("float32", "float16") for v in (*out.producer.inputs, out))


def _emit(m: Match) -> str:
    out = anchor_of(m, OPS)
    geometry = geometry_of(out)
    if not _is_float(out):
        return _emit_direct(m, out, geometry)
    epilogue = parse_epilogue(m, out)
    assert isinstance(epilogue, Epilogue) and out.producer is not None
    x, weight = out.producer.inputs
    floats = Floats(m)
    isa = add_tiles(m)
    add_epilogue(m)
    ending = conv_epilogue(floats, epilogue, out, geometry.groups * geometry.out_channels)
    m.helper(c_helper("product"))
    m.helper(c_helper("convolution", max_kernel=LONGEST_KERNEL))
    if geometry.groups > 1 and geometry.in_channels == 1:
        m.helper(c_helper("depthwise"))
        call = f"csource_depthwise(&convolution, {geometry.batch}, {floats.read(x)}, {_plain(floats, weight)},"
        wide = 0
        copy = f"(float *){m.scratch((geometry.copied + geometry.groups * isa.columns) * 4)}"
        call += f" {copy}, &epilogue, {floats.result()});"
    elif winograd.pays(m, geometry, weight):
        wide = 0
        call = winograd.call(floats, geometry, x, weight, isa)
    else:
        wide = int(weight.is_constant and _is_wide(geometry, isa))
        weights, packing = _packed(m, floats, weight, geometry, isa, wide)
        copy = "NULL" if geometry.is_pointwise else f"(float *){m.scratch((geometry.copied + isa.lanes) * 4)}"
        patches = f"(float *){m.scratch(geometry.pixels * geometry.taps * 4)}" if wide else "NULL"
        call = packing + (
            f"csource_convolution(&convolution, {geometry.batch}, {floats.read(x)}, {weights},\n"
            f"                    {copy}, {patches}, &epilogue, {floats.result()});"
        )
    return floats.around(
        f"const CsourceConvolution convolution = {{{geometry.c_fields()}, .wide = {wide}}};\n"
        f"const CsourceEpilogue epilogue = {ending};\n{call}"
    )


def conv_epilogue(floats: Floats, epilogue: Epilogue, out: Value, channels: int) -> str:
    """The C initialiser of the epilogue of a convolution: its rows are channels."""
    bias, residual = split_addends(epilogue, out)
    row_bias = "NULL"
    if bias is not None:
        row_bias = floats.m.constant(expanded(bias, channels), "bias") if bias.is_constant else floats.read(bias)
    return epilogue_literal(epilogue, row_bias=row_bias, residual=floats.read(residual) if residual else "NULL")


def _plain(floats: Floats, weight: Value) -> str:
    if weight.is_constant:
        assert weight.constant is not None
        return floats.m.constant(weight.constant.astype("float32"), "weights")
    return floats.read(weight)


def _is_wide(geometry: Geometry, isa: Isa) -> bool:
    """Whether vectors along channels waste less than vectors along pixels, as in small images with many channels."""
    pixels = geometry.pixels
    if not isinstance(pixels, int) or geometry.groups > 1 or pixels == 0:
        return False
    waste_of_pixels = -pixels % isa.columns / pixels
    waste_of_channels = -geometry.out_channels % isa.columns / geometry.out_channels
    return pixels <= 256 and waste_of_pixels > waste_of_channels + 0.08


def _packed(m: Match, floats: Floats, weight: Value, geometry: Geometry, isa: Isa, wide: int) -> tuple[str, str]:
    """The packed weights, and the statements that pack them where they are known only at run time."""
    shape = (geometry.groups, geometry.out_channels, geometry.taps)
    if weight.is_constant:
        assert weight.constant is not None
        matrices = weight.constant.astype("float32").reshape(shape)
        packed = pack_columns(matrices.transpose(0, 2, 1), isa) if wide else pack_rows(matrices, isa)
        return m.constant(packed, "weights"), ""
    name = f"(float *){m.scratch(weight.size * 4)}"
    return name, (
        f"csource_pack_rows(&(CsourcePack){{.matrix = {floats.read(weight)}, .rows = {shape[1]}, "
        f".columns = {shape[2]}, .row_stride = {shape[2]}, .column_stride = 1,\n    .batches = {shape[0]}, .rank = 1, "
        f".extents = {int64s(shape[:1])}, .strides = {int64s([shape[1] * shape[2]])}, .packed = {name}}});\n"
    )


def _emit_direct(m: Match, out: Value, geometry: Geometry) -> str:
    """Other element types: one loop nest, in the type of the result."""
    assert out.producer is not None
    x, weight = out.producer.inputs
    name = f"csource_convolution_{short(x.dtype)}_{short(out.dtype)}"
    m.helper(c_helper("convolution_direct_types"))
    m.helper(c_helper("convolution_direct", name=name, element=stored(x.dtype), sum=stored(out.dtype)))
    return (
        f"const CsourceDirect convolution = {{{geometry.c_fields()}}};\n"
        f"{name}(&convolution, {geometry.batch}, {x}, {weight}, {out});"
    )


def _cost(m: Match) -> float | None:
    """Seconds of a convolution done by Winograd's filtering, or ``None``: the others go by the roofline."""
    out = anchor_of(m, OPS)
    assert out.producer is not None
    geometry, weight = geometry_of(out), out.producer.inputs[1]
    return winograd.seconds(geometry) if _is_float(out) and winograd.pays(m, geometry, weight) else None


_ANCHOR = op(OPS[0])("x", "w") | op(OPS[1])("x", "w") | op(OPS[2])("x", "w")

KERNELS = (Kernel(fused("conv", _ANCHOR), _check, _emit, _cost),)
