"""Padding: constant, reflected, replicated, circular."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import c_helper, int64s, item_size, literal, store, stored
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.view import check_moves, emit_copy_all

from byoc import Match, op, reject

MODES = ("constant", "reflect", "replicate", "circular")


def _check(m: Match) -> Any:
    refusal = check_moves(m)
    if refusal is not None:
        return refusal
    attrs = m.root.attrs
    if attrs["pad_mode"] not in MODES:
        return reject(f"nn.pad with mode {attrs['pad_mode']} is not done", at=m["x"])
    if not all(isinstance(w, int) and w >= 0 for w in attrs["pad_width"]):
        return reject("nn.pad with a negative or symbolic width is not done", at=m["x"])
    if len(attrs["pad_width"]) != 2 * m["x"].rank:
        return reject("nn.pad takes two widths for each axis", at=m["x"])
    return None


def _emit(m: Match) -> str:
    x, out, attrs = m["x"], m.out, m.root.attrs
    if x.rank == 0:
        return emit_copy_all(m, out, x)
    m.helper(c_helper("pad"))
    value = store(x.dtype, literal(attrs["pad_value"], x.dtype))
    return (
        f"const {stored(x.dtype)} value = {value};\n"
        f"csource_pad({out}, {x}, &value, {item_size(x.dtype)}, CSOURCE_PAD_{attrs['pad_mode'].upper()}, {x.rank},\n"
        f"            {int64s(x.shape or ())}, {int64s(out.shape or ())}, {int64s(attrs['pad_width'][::2])});"
    )


KERNELS = (Kernel({"pad": op("nn.pad")("x")}, _check, _emit),)
