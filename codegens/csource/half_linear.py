"""Linear layers with weights of sixteen-bit floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from byoc_codegens.csource.c_text import c_helper, product
from byoc_codegens.csource.family import Kernel

from byoc import Match, const, op, reject

_OUTPUTS = 32  # of a panel
_LOADS = {"float16": "kv_load_halves", "bfloat16": "kv_load_bfloats"}


def _check(m: Match) -> Any:
    if m["x"].dtype != "float32":
        return reject(f"{m.root.op} of {m['x'].dtype} is not done", at=m["x"])
    if m["weight"].dtype not in _LOADS:
        return reject(f"weights of {m['weight'].dtype} are not done, only float16 and bfloat16", at=m["weight"])
    return None


def _emit(m: Match) -> str:
    weight, dtype = m["weight"].constant, m["weight"].dtype
    assert weight is not None
    outputs, inputs = weight.shape
    rows = product((m["x"].shape or ())[:-1])
    m.helper(c_helper("kv_vector"))
    m.helper(c_helper("half_linear", id=dtype, dtype=dtype, load=_LOADS[dtype]))
    panels = m.constant(half_panels(weight), "panels")
    return f"half_linear_{dtype}({panels}, {m['x']}, {rows}, {inputs}, {outputs}, {m.out});"


def half_panels(weight: np.ndarray) -> np.ndarray:
    """uint16[panels, inputs, 32] as ``c/half_linear.c`` describes them, of [outputs, inputs] filled up with zeros."""
    outputs, inputs = weight.shape
    padded = np.pad(weight.view(np.uint16), ((0, -outputs % _OUTPUTS), (0, 0)))
    return np.ascontiguousarray(padded.reshape(-1, _OUTPUTS, inputs).transpose(0, 2, 1))


KERNELS = (Kernel({"linear_w16": op("byoc.linear_w16")("x", const("weight"))}, _check, _emit),)
