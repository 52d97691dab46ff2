"""Reductions: sum, mean, prod, max, min, variance, standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from byoc_codegens.csource.broadcast import is_one
from byoc_codegens.csource.c_text import (
    FLOATS,
    INTEGERS,
    SIGNED,
    c_helper,
    computed,
    highest,
    int64s,
    load,
    lowest,
    short,
    store,
    stored,
)
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import axis_of, check_moves

from byoc import Match, op, reject


@dataclass(frozen=True)
class Reduction:
    """How elements ``x`` go into an accumulator ``a``; ``s`` is a shift, the mean where there is one.

    Attributes
    ----------
    step, combine: the next ``a`` for an element, and for another accumulator ``x``.
    finish: the result from ``a`` and the ``count`` of elements.
    """

    init: str
    step: str
    combine: str
    finish: str = "a"


_SUM = Reduction("0", "a + x", "a + x")
_SQUARES = Reduction("0", "a + (x - s) * (x - s)", "a + x")


def reduction_of(name: str, dtype: str) -> Reduction:
    """The reduction of that name for elements of `dtype`."""
    nan = " || x != x" if dtype in FLOATS else ""
    if name == "max":
        return Reduction(lowest(dtype), f"x > a{nan} ? x : a", f"x > a{nan} ? x : a")
    if name == "min":
        return Reduction(highest(dtype), f"x < a{nan} ? x : a", f"x < a{nan} ? x : a")
    if name == "prod":
        return Reduction("1", "a * x", "a * x")
    return Reduction("0", "a + x", "a + x", f"a / ({accumulator(name, dtype)})count") if name == "mean" else _SUM


def accumulator(name: str, dtype: str) -> str:
    """The C type in which results are gathered: floats without loss of digits, integers wrapping around in 64 bits."""
    if name in ("max", "min"):
        return computed(dtype)
    if dtype in FLOATS:
        return "double"
    return "int64_t" if name == "mean" and dtype in SIGNED else "uint64_t"


def reduced_axes(m: Match) -> tuple[int, ...]:
    """The axes that the op reduces, counted from the front."""
    axis, rank = m.root.attrs["axis"], m["x"].rank
    if axis is None:
        return tuple(range(rank))
    return tuple(axis_of(a, rank) for a in (axis if isinstance(axis, tuple) else (axis,)))


def merge_axes(shape: Sequence[Any], axes: Sequence[int]) -> tuple[list[Any], list[int]]:
    """Extents and whether they are reduced, those alike side by side merged, those of extent 1 left out."""
    extents: list[Any] = []
    reduced: list[int] = []
    for axis, extent in enumerate(shape):
        if is_one(extent):
            continue
        if reduced and reduced[-1] == int(axis in axes):
            extents[-1] = extents[-1] * extent
        else:
            extents.append(extent)
            reduced.append(int(axis in axes))
    return (extents, reduced) if extents else ([1], [1])


def _check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is not None:
        return refusal
    name, x = m.root.op, m["x"]
    allowed = (
        FLOATS if name in ("variance", "std") else FLOATS | INTEGERS | ({"bool"} if name in ("max", "min") else set())
    )
    if x.dtype not in allowed or m.out.dtype != x.dtype:
        return reject(f"{name} of {x.dtype} is not done", at=x)
    return None


def _accumulate(m: Match, name: str, reduction: Reduction) -> str:
    """Add the C functions that accumulate; returns their name."""
    dtype = m["x"].dtype
    function = f"{name}_{short(dtype)}"
    m.helper(
        c_helper(
            "reduce_accumulate",
            name=function,
            T=stored(dtype),
            A=accumulator(name, dtype),
            init=reduction.init,
            step=reduction.step,
            step_text=reduction.step,
            combine=reduction.combine,
            load_lane=load(dtype, "in[i + l]"),
            load_column=load(dtype, "in[l]"),
        )
    )
    return function


def _stored(dtype: str, value: str) -> str:
    """A result as it goes to memory."""
    return store(dtype, f"(float)({value})") if dtype in ("float16", "bfloat16") else f"({stored(dtype)})({value})"


def _emit(m: Match) -> str:
    name, x = m.root.op, m["x"]
    dtype = x.dtype
    function = f"{name}_over_{short(dtype)}"
    m.helper(c_helper("reduce_shape"))
    if name in ("variance", "std"):
        sums, squares = _accumulate(m, "sum", _SUM), _accumulate(m, "squares", _SQUARES)
        finish = "a / (double)count" if name == "variance" else "sqrt(a / (double)count)"
        fields = {"A": accumulator(name, dtype), "T": stored(dtype), "finish": _stored(dtype, finish)}
        m.helper(c_helper("variance", op=function, sum=sums, squares=squares, **fields))
    else:
        reduction = reduction_of(name, dtype)
        accumulate = _accumulate(m, name, reduction)
        finish = _stored(dtype, reduction.finish)
        if dtype in INTEGERS and name == "mean":
            finish = f"(count ? {finish} : 0)"
        fields = {"A": accumulator(name, dtype), "T": stored(dtype), "finish": finish}
        m.helper(c_helper("reduce", op=function, name=accumulate, **fields))
    extents, reduced = merge_axes(x.shape or (), reduced_axes(m))
    return f"csource_reduce({m.out}, {x}, {len(extents)}, {int64s(extents)}, {int64s(reduced)}, csource_{function});"


NAMES = ("sum", "mean", "prod", "max", "min", "variance", "std")
KERNELS = tuple(Kernel({name: op(name)("x")}, _check, _emit) for name in NAMES)
