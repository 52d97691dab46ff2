"""Batch normalisation as it is at inference: by stored means and variances."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.arg_reduce import outer_middle_inner
from byoc_codegens.csource.c_text import c_helper, item_size, literal
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.softmax import Reals, check_floats, real_type
from byoc_codegens.csource.view import emit_copy_all

from byoc import Match, op, reject

OPERANDS = ("x", "gamma", "beta", "mean", "variance")


def _check(m: Match) -> Any:
    refusal = check_floats(m)
    if refusal is not None:
        return refusal
    if m.root.attrs["training"]:
        return reject("nn.batch_norm as in training is not done, only with stored means and variances", at=m["x"])
    _, channels, _ = outer_middle_inner(m["x"].shape or (), m.root.attrs["axis"])
    for name in OPERANDS[1:]:
        if tuple(m[name].shape or ()) != (channels,):
            return reject("nn.batch_norm takes one parameter of each kind for each channel", at=m[name])
    return None


def _emit(m: Match) -> str:
    x, attrs, kind, tensors = m["x"], m.root.attrs, real_type(m), Reals(m)
    m.helper(c_helper("batch_norm", T=kind, sqrt="sqrt" if kind == "double" else "sqrtf"))
    outer, channels, inner = outer_middle_inner(x.shape or (), attrs["axis"])
    gamma = tensors.read(m["gamma"]) if attrs["scale"] else "NULL"
    beta = tensors.read(m["beta"]) if attrs["center"] else "NULL"
    names = [tensors.result(), tensors.read(x), gamma, beta, tensors.read(m["mean"]), tensors.read(m["variance"])]
    factors = f"({kind} *){m.scratch(channels * 2 * max(4, item_size(x.dtype)))}"
    lines = [
        f"csource_batch_norm_{kind}({', '.join(names)},",
        f"    {factors}, {outer}, {channels}, {inner}, {literal(attrs['epsilon'], x.dtype)});",
    ]
    copies = [emit_copy_all(m, out, m[name]) for out, name in zip(m.outs[1:], ("mean", "variance"), strict=True)]
    return tensors.around("\n".join(lines)) + "\n" + "\n".join(copies)


KERNELS = (Kernel({"batch_norm": op("nn.batch_norm")(*OPERANDS)}, _check, _emit),)
