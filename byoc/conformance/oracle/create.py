"""Ops that make tensors."""

from __future__ import annotations

import numpy as np

from byoc.conformance.oracle.define import Definition

OPS: dict[str, Definition] = {
    "zeros": Definition(lambda _, t: np.zeros(t["shape"], t["dtype"])),
    "ones": Definition(lambda _, t: np.ones(t["shape"], t["dtype"])),
    "full": Definition(lambda _, t: np.full(t["shape"], *t["fill_value"])),
    "arange": Definition(lambda _, t: np.arange(t["start"], t["end"], t["step"], dtype=t["dtype"])),
    "zeros_like": Definition(lambda a, _: np.zeros_like(a[0])),
    "ones_like": Definition(lambda a, _: np.ones_like(a[0])),
}
