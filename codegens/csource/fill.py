"""Tensors made from nothing but their shape: full, zeros, ones, ranges, one-hot codes, triangles."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.arg_reduce import outer_middle_inner
from byoc_codegens.csource.broadcast import emit_broadcast
from byoc_codegens.csource.c_text import FLOATS, c_helper, int64s, item_size, literal, product, short, store, stored
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import axis_of, check_moves

from byoc import Dim, Match, op, reject


def _fill(m: Match, value: float) -> str:
    dtype = m.out.dtype
    m.helper(c_helper("fill"))
    return (
        f"const {stored(dtype)} value = {store(dtype, literal(value, dtype))};\n"
        f"csource_fill({m.out}, &value, {item_size(dtype)}, {m.out.size});"
    )


def _number_emit(m: Match) -> str:
    return _fill(m, 1 if m.root.op.startswith("ones") else 0)


def _full_check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is None and m["value"].size != 1:
        return reject(f"{m.root.op} takes one number", at=m["value"])
    return refusal


def _full_emit(m: Match) -> str:
    value = m["value"]
    function = f"{short(value.dtype)}_to"
    expression = "a != 0" if m.out.dtype == "bool" else "a"
    return emit_broadcast(m, function, expression, (value,), shapes=((),))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Dim))


def _number(value: Any, dtype: str) -> str:
    return str(value) if isinstance(value, Dim) else literal(value, dtype)


def _arange_check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is None and not all(_is_number(m.root.attrs.get(n)) for n in ("start", "end", "step")):
        return reject("arange from, to or by something else than numbers is not done", at=m.out)
    if refusal is None and (isinstance(m.root.attrs["step"], Dim) or m.root.attrs["step"] <= 0):
        return reject("arange by a step that is not positive is not done: TVM gives it a wrong length", at=m.out)
    return refusal


def _arange_emit(m: Match) -> str:
    dtype, attrs = m.out.dtype, m.root.attrs
    kind = "double" if dtype in FLOATS else "int64_t"
    start, step = (_number(attrs[n], "float64" if kind == "double" else "int64") for n in ("start", "step"))
    value = store(dtype, f"(float)({start} + {step} * ({kind})i)") if dtype != "float64" else f"{start} + {step} * i"
    value = value if dtype in FLOATS else f"({stored(dtype)})({start} + {step} * i)"
    return f"for (int64_t i = 0; i < {m.out.size}; ++i) {m.out}[i] = {value};"


def _one_hot_check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is not None:
        return refusal
    if m["indices"].dtype not in ("int32", "int64"):
        return reject(f"one_hot of indices of {m['indices'].dtype} is not done", at=m["indices"])
    if not all(isinstance(m.root.attrs.get(n), (int, float)) for n in ("on_value", "off_value")):
        return reject("one_hot with values that are not numbers is not done", at=m.out)
    return None


def _one_hot_emit(m: Match) -> str:
    out, indices, attrs = m.out, m["indices"], m.root.attrs
    dtype, axis = out.dtype, axis_of(attrs["axis"], out.rank)
    outer, depth, inner = outer_middle_inner(out.shape or (), axis)
    on, off = (store(dtype, literal(attrs[n], dtype)) for n in ("on_value", "off_value"))
    return (
        f"for (int64_t o = 0; o < {outer}; ++o)\n"
        f"  for (int64_t k = 0; k < {depth}; ++k)\n"
        f"    for (int64_t i = 0; i < {inner}; ++i)\n"
        f"      {out}[(o * {depth} + k) * {inner} + i] = {indices}[o * {inner} + i] == k ? {on} : {off};"
    )


def _triangle_check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is not None:
        return refusal
    if m["x"].rank < 2:
        return reject(f"{m.root.op} takes a tensor of rank 2 or more", at=m["x"])
    if not isinstance(m.root.attrs.get("k"), (int, Dim)):
        return reject(f"{m.root.op} with a diagonal that is computed at run time is not done", at=m["x"])
    return None


def _triangle_emit(m: Match) -> str:
    x = m["x"]
    shape = list(x.shape or ())
    m.helper(c_helper("triangle"))
    return (
        f"csource_triangle({m.out}, {x}, {item_size(x.dtype)}, {product(shape[:-2])}, {shape[-2]}, {shape[-1]}, "
        f"{m.root.attrs['k']}, {int(m.root.op == 'triu')});"
    )


def _shape_check(m: Match) -> Any:
    dims = m.root.attrs.get("input")
    if not isinstance(dims, tuple) or not all(isinstance(d, (int, Dim)) for d in dims) or m.out.dtype != "int64":
        return reject("the shape is not known as an expression of the inputs' dimensions", at=m.out)
    return None


def _shape_emit(m: Match) -> str:
    dims = m.root.attrs["input"]
    return f"memcpy({m.out}, {int64s(dims)}, {len(dims)} * sizeof(int64_t));"


KERNELS = (
    Kernel({"zeros": op("zeros")(), "ones": op("ones")()}, check_moves, _number_emit),
    Kernel({"zeros_like": op("zeros_like")("x"), "ones_like": op("ones_like")("x")}, check_moves, _number_emit),
    Kernel({"full": op("full")("value"), "full_like": op("full_like")("x", "value")}, _full_check, _full_emit),
    Kernel({"arange": op("arange")()}, _arange_check, _arange_emit),
    Kernel({"one_hot": op("one_hot")("indices")}, _one_hot_check, _one_hot_emit),
    Kernel({"tril": op("tril")("x"), "triu": op("triu")("x")}, _triangle_check, _triangle_emit),
    Kernel({"shape_to_tensor": op("shape_to_tensor")()}, _shape_check, _shape_emit),
)
