"""Elements chosen by index: take, gather_elements, gather_nd."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import c_helper, int64s, item_size, product
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import axis_of, check_moves

from byoc import Match, op, reject

INDEX_DTYPES = ("int32", "int64")
TAKE_MODES = ("fast", "clip", "wrap")


def check_indices(m: Match) -> Any:
    """Refuse what no op on indices does: unknown ranks, indices that are neither int32 nor int64."""
    refusal = check_moves(m)
    if refusal is None and m["indices"].dtype not in INDEX_DTYPES:
        return reject(f"{m.root.op} with indices of {m['indices'].dtype} is not done", at=m["indices"])
    return refusal


def _take_check(m: Match) -> Any:
    refusal = check_indices(m)
    if refusal is None and m.root.attrs["mode"] not in TAKE_MODES:
        return reject(f"take with mode {m.root.attrs['mode']} is not done", at=m["x"])
    return refusal


def _take_emit(m: Match) -> str:
    x, indices, attrs = m["x"], m["indices"], m.root.attrs
    shape = x.shape or ()
    if attrs["axis"] is None:
        outer, extent, inner = 1, x.size, 1
    else:
        axis = axis_of(attrs["axis"], x.rank)
        outer, extent, inner = product(shape[:axis]), shape[axis], product(shape[axis + 1 :])
    m.helper(c_helper("index"))
    m.helper(c_helper("take"))
    return (
        f"csource_take({m.out}, {x}, {indices}, {item_size(indices.dtype)}, {outer}, {indices.size}, {extent},\n"
        f"             {inner * item_size(x.dtype)}, CSOURCE_TAKE_{attrs['mode'].upper()});"
    )


def _elements_check(m: Match) -> Any:
    refusal = check_indices(m)
    if refusal is None and (m["x"].rank != m["indices"].rank or m["x"].rank == 0):
        return reject("gather_elements takes data and indices of one rank, at least 1", at=m["indices"])
    return refusal


def _elements_emit(m: Match) -> str:
    x, indices = m["x"], m["indices"]
    m.helper(c_helper("index"))
    m.helper(c_helper("gather"))
    return (
        f"csource_gather({m.out}, {x}, {indices}, {item_size(indices.dtype)}, {item_size(x.dtype)}, {x.rank},\n"
        f"               {axis_of(m.root.attrs['axis'], x.rank)}, {int64s(x.shape or ())}, "
        f"{int64s(indices.shape or ())});"
    )


def depth_of_indices(m: Match) -> Any:
    """How many axes an index tuple names: the last dimension of the indices."""
    shape = m["indices"].shape
    return shape[-1] if shape else None


def _nd_check(m: Match) -> Any:
    refusal = check_indices(m)
    if refusal is not None:
        return refusal
    depth = depth_of_indices(m)
    if not isinstance(depth, int) or depth + m.root.attrs["batch_dims"] > m["x"].rank:
        return reject("gather_nd takes indices whose last dimension is known and fits the data", at=m["indices"])
    batch = m.root.attrs["batch_dims"]
    if (m["indices"].shape or ())[:batch] != (m["x"].shape or ())[:batch]:
        return reject("whether the batches of data and indices fit is known only at run time", at=m["indices"])
    return None


def _nd_emit(m: Match) -> str:
    x, indices, batch = m["x"], m["indices"], m.root.attrs["batch_dims"]
    shape, places, depth = x.shape or (), indices.shape or (), depth_of_indices(m)
    inner = product(shape[batch + depth :]) * item_size(x.dtype)
    m.helper(c_helper("index"))
    m.helper(c_helper("gather_nd"))
    return (
        f"csource_gather_nd({m.out}, {x}, {indices}, {item_size(indices.dtype)}, {product(shape[:batch])}, "
        f"{product(places[batch:-1])},\n"
        f"                  {inner}, {depth}, {int64s(shape[batch : batch + depth])});"
    )


KERNELS = (
    Kernel({"take": op("take")("x", "indices")}, _take_check, _take_emit),
    Kernel({"gather_elements": op("gather_elements")("x", "indices")}, _elements_check, _elements_emit),
    Kernel({"gather_nd": op("gather_nd")("x", "indices")}, _nd_check, _nd_emit),
)
