"""Where the greatest or least element lies: argmax, argmin."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import FLOATS, INTEGERS, c_helper, computed, load, product, short, stored
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import axis_of, check_moves

from byoc import Match, op, reject


def _check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is not None:
        return refusal
    if m["x"].dtype not in FLOATS | INTEGERS:
        return reject(f"{m.root.op} of {m['x'].dtype} is not done", at=m["x"])
    if m.out.dtype not in ("int32", "int64"):
        return reject(f"{m.root.op} gives int32 or int64, not {m.out.dtype}", at=m.out)
    return None


def outer_middle_inner(shape: tuple[Any, ...], axis: int | None) -> tuple[Any, Any, Any]:
    """Elements before, along and behind an axis; all of them along it where there is none."""
    if axis is None or not shape:
        return 1, product(shape), 1
    axis = axis_of(axis, len(shape))
    return product(shape[:axis]), shape[axis], product(shape[axis + 1 :])


def _emit(m: Match) -> str:
    x, sign = m["x"], ">" if m.root.op == "argmax" else "<"
    name = f"{m.root.op}_{short(x.dtype)}_{short(m.out.dtype)}"
    m.helper(
        c_helper(
            "arg_reduce",
            name=name,
            word="greatest" if sign == ">" else "least",
            T=stored(x.dtype),
            A=computed(x.dtype),
            I=stored(m.out.dtype),
            load=load(x.dtype, "in[i * r->inner + l]"),
            load_first=load(x.dtype, "in[l]"),
            better=f"x {sign} a || (x != x && a == a)" if x.dtype in FLOATS else f"x {sign} a",
        )
    )
    outer, n, inner = outer_middle_inner(x.shape or (), m.root.attrs["axis"])
    return f"csource_{name}({m.out}, {x}, {outer}, {n}, {inner});"


KERNELS = tuple(Kernel({name: op(name)("x")}, _check, _emit) for name in ("argmax", "argmin"))
