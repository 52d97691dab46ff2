"""Updates written at indices: scatter_elements, scatter_nd."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import (
    FLOATS,
    c_helper,
    computed,
    int64s,
    item_size,
    load,
    product,
    short,
    store,
    stored,
)
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.gather import check_indices, depth_of_indices
from byoc_codegens.csource.view import axis_of, emit_copy_all

from byoc import Match, op, reject

# What stands at a place after an update b met a; @NAN lets NaN pass where there is one.
REDUCTIONS = {
    "update": "b",
    "add": "a + b",
    "mul": "a * b",
    "mean": "(a + b) / 2",
    "min": "a < b@NAN ? a : b",
    "max": "a > b@NAN ? a : b",
}


def _check(m: Match) -> Any:
    refusal = check_indices(m)
    if refusal is not None:
        return refusal
    if m.root.attrs["reduction"] not in REDUCTIONS:
        return reject(f"{m.root.op} with reduction {m.root.attrs['reduction']} is not done", at=m["x"])
    if m["x"].dtype == "bool" and m.root.attrs["reduction"] != "update":
        return reject(f"{m.root.op} of bool with reduction {m.root.attrs['reduction']} is not done", at=m["x"])
    if m["updates"].dtype != m["x"].dtype:
        return reject(f"{m.root.op} of {m['updates'].dtype} into {m['x'].dtype} is not done", at=m["updates"])
    return None


def _elements_check(m: Match) -> Any:
    refusal = _check(m)
    if refusal is None and (m["x"].rank != m["indices"].rank or m["x"].rank == 0):
        return reject("scatter_elements takes data and indices of one rank, at least 1", at=m["indices"])
    if refusal is None and m["updates"].shape != m["indices"].shape:
        return reject("whether updates and indices have one shape is known only at run time", at=m["updates"])
    return refusal


def _nd_check(m: Match) -> Any:
    refusal = _check(m)
    if refusal is not None:
        return refusal
    depth = depth_of_indices(m)
    if not isinstance(depth, int) or depth > m["x"].rank:
        return reject("scatter_nd takes indices whose last dimension is known and fits the data", at=m["indices"])
    if m["updates"].shape != (*(m["indices"].shape or ())[:-1], *(m["x"].shape or ())[depth:]):
        return reject("whether the updates fit indices and data is known only at run time", at=m["updates"])
    return None


def _function(m: Match, helper: str) -> str:
    """Add the C function for the dtype and the reduction; returns its suffix."""
    dtype, reduction = m["x"].dtype, m.root.attrs["reduction"]
    name = f"{reduction}_{short(dtype)}"
    text = c_helper(
        helper,
        name=name,
        T=stored(dtype),
        C=computed(dtype),
        load_out=load(dtype, "out[to]"),
        load_update=load(dtype, "updates[at]"),
        result=store(dtype, REDUCTIONS[reduction].replace("@NAN", " || a != a" if dtype in FLOATS else "")),
    )
    m.helper(c_helper("index"))
    m.helper(text)
    return name


def _elements_emit(m: Match) -> str:
    x, indices = m["x"], m["indices"]
    name = _function(m, "scatter")
    return (
        emit_copy_all(m, m.out, x) + "\n"
        f"csource_scatter_elements_{name}({m.out}, {indices}, {item_size(indices.dtype)}, {m['updates']}, {x.rank},\n"
        f"    {axis_of(m.root.attrs['axis'], x.rank)}, {int64s(x.shape or ())}, {int64s(indices.shape or ())});"
    )


def _nd_emit(m: Match) -> str:
    x, indices = m["x"], m["indices"]
    shape, depth = x.shape or (), depth_of_indices(m)
    name = _function(m, "scatter_nd")
    return (
        emit_copy_all(m, m.out, x) + "\n"
        f"csource_scatter_nd_{name}({m.out}, {indices}, {item_size(indices.dtype)}, {m['updates']},\n"
        f"    {product((indices.shape or ())[:-1])}, {product(shape[depth:])}, {depth}, {int64s(shape[:depth])});"
    )


_OPERANDS = ("x", "indices", "updates")
KERNELS = (
    Kernel({"scatter_elements": op("scatter_elements")(*_OPERANDS)}, _elements_check, _elements_emit),
    Kernel({"scatter_nd": op("scatter_nd")(*_OPERANDS)}, _nd_check, _nd_emit),
)
