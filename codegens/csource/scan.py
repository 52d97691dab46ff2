"""Running sums and products: cumsum, cumprod."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.arg_reduce import outer_middle_inner
from byoc_codegens.csource.c_text import FLOATS, c_helper, computed, load, short, store, stored
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import check_moves

from byoc import Match, op, reject

_STEPS = {"cumsum": ("0", "before + x", "Sums"), "cumprod": ("1", "before * x", "Products")}


def _check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is None and m.out.dtype == "bool":
        return reject(f"{m.root.op} into bool is not done", at=m.out)
    return refusal


def _emit(m: Match) -> str:
    x, out, attrs = m["x"], m.out, m.root.attrs
    init, step, what = _STEPS[m.root.op]
    name = f"{m.root.op}_{short(x.dtype)}_{short(out.dtype)}"
    m.helper(
        c_helper(
            "scan",
            name=name,
            what=what,
            T=stored(x.dtype),
            O=stored(out.dtype),
            A=computed(out.dtype) if out.dtype in FLOATS else "uint64_t",
            init=init,
            step=step,
            load=load(x.dtype, "in[l]"),
            store=store(out.dtype, "now") if out.dtype in FLOATS else f"({stored(out.dtype)})now",
        )
    )
    outer, n, inner = outer_middle_inner(x.shape or (), attrs["axis"])
    return f"csource_{name}({out}, {x}, {outer}, {n}, {inner}, {int(bool(attrs['exclusive']))});"


KERNELS = tuple(Kernel({name: op(name)("x")}, _check, _emit) for name in _STEPS)
