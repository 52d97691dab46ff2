"""3x3 convolutions by Winograd's minimal filtering: when it pays, and its weights."""

from __future__ import annotations

import numpy as np
from byoc_codegens.csource.c_text import c_helper
from byoc_codegens.csource.convolution import Geometry
from byoc_codegens.csource.storage import Floats
from byoc_codegens.csource.vector import Isa, pack_rows

from byoc import Match, Value

PRODUCTS = 16
_BAND_BYTES = 2**20
_FEWEST_CHANNELS = 32
_FEWEST_PIXELS = 128
_MANY_CHANNELS = 64
# Operations per second of the sums that are saved too, by benchmarks/calibrate.py, and seconds of three parallel loops.
_RATE, _RATE_OF_FEW, _OVERHEAD = 5.8e11, 4.8e11, 2e-5
_TO_PRODUCTS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def pays(m: Match, geometry: Geometry, weight: Value) -> bool:
    """Whether a convolution is quicker this way: the transforms must be little beside the products."""
    ones, size = (1, 1, 1), geometry.pixels
    return (
        m.options.get("winograd", "on") == "on"
        and weight.is_constant
        and geometry.kernel == (1, 3, 3)
        and geometry.stride == geometry.dilation == ones
        and geometry.groups == 1
        and min(geometry.in_channels, geometry.out_channels) >= _FEWEST_CHANNELS
        and isinstance(size, int)
        and size >= _FEWEST_PIXELS
    )


def seconds(geometry: Geometry) -> float:
    """An estimate for an image of static size; `pays` holds."""
    batch = geometry.batch if isinstance(geometry.batch, int) else 1
    sums = batch * geometry.pixels * geometry.out_channels * geometry.taps
    few = min(geometry.in_channels, geometry.out_channels) < _MANY_CHANNELS
    return _OVERHEAD + 2 * sums / (_RATE_OF_FEW if few else _RATE)


def call(floats: Floats, geometry: Geometry, x: Value, weight: Value, isa: Isa) -> str:
    """The C call; `pays` holds."""
    m, channels = floats.m, geometry.in_channels
    down, across = ((size + 1) // 2 for size in geometry.result[1:])
    panels = -(-down * (across + 1) // isa.columns)
    band = min(panels, max(4, _BAND_BYTES // (PRODUCTS * channels * isa.columns * 4)))
    m.helper(c_helper("winograd"))
    planes = channels * 4 * (down + 1) * (across + 1) + panels * isa.columns
    copy, turned = (f"(float *){m.scratch(n * 4)}" for n in (planes, band * PRODUCTS * channels * isa.columns))
    return (
        f"csource_winograd(&convolution, {geometry.batch}, {floats.read(x)}, {_packed(m, weight, isa)},\n"
        f"                 {copy}, {turned}, {band}, &epilogue, {floats.result()});"
    )


def _packed(m: Match, weight: Value, isa: Isa) -> str:
    """The weights transformed: 16 matrices [output channels][channels], in panels."""
    assert weight.constant is not None
    taps = weight.constant.astype("float64")
    turned = np.einsum("uy,ocyx,vx->uvoc", _TO_PRODUCTS, taps, _TO_PRODUCTS, optimize=True)
    matrices = turned.reshape(PRODUCTS, *taps.shape[:2]).astype("float32")
    return m.constant(pack_rows(matrices, isa), "weights")
