"""Ops that give the same elements in the same order another shape."""

from __future__ import annotations

from byoc_codegens.csource.c_text import c_string
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import check_moves, emit_copy_all

from byoc import Match, op

NAMES = ("reshape", "flatten", "squeeze", "expand_dims", "nn.batch_flatten")


def _emit(m: Match) -> str:
    x, out = m["x"], m.out
    copy = emit_copy_all(m, out, x)
    if x.size == out.size:
        return copy
    what = (
        f"{m.root.op} ({m.root.node or out.name}): {x!r} does not fit {out!r}, they have different numbers of elements"
    )
    return (
        f"if ({x.size} != {out.size}) {{\n"
        f'  TVMFFIErrorSetRaisedFromCStr("ValueError", {c_string(what)});\n'
        "  return -1;\n"
        f"}}\n{copy}"
    )


KERNELS = tuple(Kernel({name.rpartition(".")[2]: op(name)("x")}, check_moves, _emit) for name in NAMES)
