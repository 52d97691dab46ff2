"""Transposed convolutions in one to three dimensions, with what follows them."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import c_helper, int64s
from byoc_codegens.csource.conv import anchor_of, check_addends, conv_epilogue
from byoc_codegens.csource.convolution import Geometry, geometry_of, refusal
from byoc_codegens.csource.epilogue import Epilogue, add_epilogue, fused, parse_epilogue
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.storage import Floats
from byoc_codegens.csource.vector import Isa, add_tiles, pack_rows

from byoc import Match, Value, op, reject

OPS = ("nn.conv1d_transpose", "nn.conv2d_transpose", "nn.conv3d_transpose")


def _check(m: Match) -> Any:
    out = anchor_of(m, OPS)
    refused = refusal(out)
    if refused is not None:
        return refused
    assert out.producer is not None
    x, weight = out.producer.inputs
    if {x.dtype, weight.dtype, out.dtype} - {"float32", "float16"} or x.dtype != weight.dtype:
        return reject(f"{out.op} of {x.dtype} by {weight.dtype} to {out.dtype} is not done", at=x)
    epilogue = parse_epilogue(m, out)
    return reject(epilogue, at=m.out) if isinstance(epilogue, str) else check_addends(epilogue, out, 1)


def _emit(m: Match) -> str:
    out = anchor_of(m, OPS)
    geometry, epilogue = geometry_of(out), parse_epilogue(m, out)
    assert isinstance(epilogue, Epilogue) and out.producer is not None
    x, weight = out.producer.inputs
    isa, floats = add_tiles(m), Floats(m)
    add_epilogue(m)
    m.helper(c_helper("product"))
    m.helper(c_helper("conv_transpose"))
    ending = conv_epilogue(floats, epilogue, out, geometry.groups * geometry.out_channels)
    weights, packing = _packed(m, floats, weight, geometry, isa)
    image: Any = geometry.image[0] * geometry.image[1] * geometry.image[2]
    panels = (image + isa.columns - 1) // isa.columns
    columns = m.scratch(panels * isa.columns * geometry.groups * geometry.in_channels * 4)
    taps = geometry.taps // geometry.in_channels
    parts = m.scratch(image * geometry.groups * geometry.out_channels * taps * 4)
    return floats.around(
        f"const CsourceTransposed convolution = {{{geometry.c_fields()}}};\n"
        f"const CsourceEpilogue epilogue = {ending};\n{packing}"
        f"csource_conv_transpose(&convolution, {geometry.batch}, {floats.read(x)}, {weights},\n"
        f"                       (float *){columns}, (float *){parts}, &epilogue, {floats.result()});"
    )


def _packed(m: Match, floats: Floats, weight: Value, geometry: Geometry, isa: Isa) -> tuple[str, str]:
    """The packed weights, and the statements that pack them where they are known only at run time."""
    depth = geometry.in_channels
    rows = geometry.taps // depth * geometry.out_channels
    if weight.is_constant:
        assert weight.constant is not None
        matrices = weight.constant.astype("float32").reshape(geometry.groups, depth, rows)
        return m.constant(pack_rows(matrices.transpose(0, 2, 1), isa), "weights"), ""
    name = f"(float *){m.scratch(weight.size * 4)}"
    return name, (
        f"csource_pack_rows(&(CsourcePack){{.matrix = {floats.read(weight)}, .rows = {rows}, .columns = {depth}, "
        f".row_stride = 1, .column_stride = {rows},\n    .batches = {geometry.groups}, .rank = 1, "
        f".extents = {int64s([geometry.groups])}, .strides = {int64s([rows * depth])}, .packed = {name}}});\n"
    )


_ANCHOR = op(OPS[0])("x", "w") | op(OPS[1])("x", "w") | op(OPS[2])("x", "w")

KERNELS = (Kernel(fused("conv_transpose", _ANCHOR), _check, _emit),)
