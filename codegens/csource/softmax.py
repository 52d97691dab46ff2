"""Softmax and its logarithm, along any axis."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.arg_reduce import outer_middle_inner
from byoc_codegens.csource.c_text import c_helper
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.storage import Floats
from byoc_codegens.csource.view import check_moves

from byoc import Match, op, reject

DTYPES = ("float32", "float64", "float16")


def check_floats(m: Match) -> Any:
    """Refuse all but float32, float64 and float16, and operands of different dtypes."""
    refusal = check_moves(m)
    if refusal is not None:
        return refusal
    for value in m.root.inputs:
        if value.dtype not in DTYPES:
            return reject(f"{m.root.op} of {value.dtype} is not done", at=value)
        if value.dtype != m.root.inputs[0].dtype:
            return reject(f"{m.root.op} of {m.root.inputs[0].dtype} with {value.dtype} is not done", at=value)
    return None


def real_type(m: Match) -> str:
    """The C type in which a match of floats is computed."""
    return "double" if m.out.dtype == "float64" else "float"


class Reals(Floats):
    """Like :class:`Floats`, and float64 tensors as they are."""

    def read(self, value: Any) -> str:
        return str(value) if value.dtype == "float64" else super().read(value)

    def result(self) -> str:
        return str(self.m.out) if self.m.out.dtype == "float64" else super().result()


def _emit(m: Match) -> str:
    x, kind, tensors = m["x"], real_type(m), Reals(m)
    m.helper(c_helper("math"))
    m.helper(c_helper("rows", T=kind))
    m.helper(c_helper("softmax", T=kind, f="f" if kind == "float" else ""))
    outer, n, inner = outer_middle_inner(x.shape or (), m.root.attrs["axis"])
    source, out = tensors.read(x), tensors.result()
    logarithm = int(m.root.op == "nn.log_softmax")
    return tensors.around(f"csource_softmax_{kind}({out}, {source}, {outer}, {n}, {inner}, {logarithm});")


KERNELS = (
    Kernel({"softmax": op("nn.softmax")("x")}, check_floats, _emit),
    Kernel({"log_softmax": op("nn.log_softmax")("x")}, check_floats, _emit),
)
