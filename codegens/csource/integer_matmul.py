"""Products of rows of integers with a constant matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from byoc_codegens.csource.c_text import c_helper, product
from byoc_codegens.csource.convolution import Geometry
from byoc_codegens.csource.dot4 import add_dot4, corrected_bias, is_narrow, pack_matrix, requantise, unsigned_zero
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.integer_conv import emit_transposed

from byoc import Match, Value, op, reject


def _check(m: Match) -> Any:
    if not m["w"].is_constant:
        return reject("its weights must be constants", at=m["w"])
    return None


def _emit(m: Match) -> str:
    x, w, bias = m["x"], m["w"], m["bias"]
    assert x.shape is not None and w.constant is not None and bias.constant is not None
    if not is_narrow(m):
        ones = (1, 1, 1)
        depth, columns = w.constant.shape
        rows = product(x.shape[:-1])
        geometry = Geometry(rows, 1, depth, columns, ones, ones, ones, ones, ones, (0, 0, 0))
        return emit_transposed(m, geometry)
    flip, zero = unsigned_zero(m)
    totals = corrected_bias(w.constant.T, bias.constant, zero)
    return _emit_product(m, x, w.constant, totals, flip, f"const CsourceRequantise ending = {requantise(m)};\n")


def _check_totals(m: Match) -> Any:
    if not m["w"].is_constant:
        return reject("its weights must be constants", at=m["w"])
    if m["x"].dtype not in ("int8", "uint8") or m["w"].dtype != "int8":
        return reject(f"products of {m['x'].dtype} with {m['w'].dtype} are not done", at=m["w"])
    return None


def _emit_totals(m: Match) -> str:
    """int32 totals; the zero point of the data is known only at run time."""
    x, w = m["x"], m["w"]
    assert w.constant is not None
    m.helper(c_helper("requantise"))
    flip = 0x80 if x.dtype == "int8" else 0
    sums = w.constant.astype("int64").sum(0).astype("int32")
    more = f".sums = {m.constant(sums, 'sums')}, .zero = *{m['zero']} + {flip}, "
    return _emit_product(m, x, w.constant, np.zeros(w.constant.shape[1], "int32"), flip, "", more)


def _emit_product(
    m: Match, x: Value, weights: np.ndarray, bias: np.ndarray, flip: int, before: str, more: str = ""
) -> str:
    rows, columns = add_dot4(m)
    sizes = range(1, rows + 1)
    m.helper(
        c_helper(
            "int8_product",
            tiles="\n".join(f"CSOURCE_BYTE_TILE({r})" for r in sizes),
            names=", ".join(f"csource_byte_tile_{r}" for r in sizes),
        )
    )
    depth, n = weights.shape
    padded = np.zeros(-(-n // columns) * columns, "int32")
    padded[:n] = bias
    count = product((x.shape or ())[:-1])
    copy = m.scratch(count * (-(-depth // 4) * 4) + 64)
    packed = m.constant(pack_matrix(weights, columns), "weights")
    ending = "&ending" if before else "NULL"
    return (
        f"{before}CsourceByteProduct product = {{.rows = {count}, .columns = {n}, .depth = {depth}, .flip = {flip},\n"
        f"    .left = (const uint8_t *){x}, .copy = (uint8_t *){copy}, .weights = {packed},\n"
        f"    .bias = {m.constant(padded, 'bias')}, {more}.ending = {ending}, .out = {m.out}}};\n"
        f"csource_byte_product(&product);"
    )


KERNELS = (
    Kernel({"qlinear_matmul": op("byoc.qlinear_matmul")("x", "w", "bias")}, _check, _emit),
    Kernel({"matmul_integer": op("byoc.matmul_integer")("x", "zero", "w")}, _check_totals, _emit_totals),
)
