"""Constants and operators that do nothing at inference."""

from __future__ import annotations

import numpy as np
from tvm import relax

from byoc.importer.node_view import NodeView
from byoc.importer.table import Results, lowers
from byoc.importer.values import Known, Value

_CONSTANT_FORMS = {
    "value": lambda value: value,
    "value_int": lambda value: np.array(value, np.int64),
    "value_ints": lambda value: np.array(value, np.int64),
    "value_float": lambda value: np.array(value, np.float32),
    "value_floats": lambda value: np.array(value, np.float32),
}


@lowers("Constant")
def _constant(view: NodeView) -> Value:
    for name, make in _CONSTANT_FORMS.items():
        if name in view.attributes:
            return Known(make(view.attribute(name)))
    form = next(iter(view.attributes), "no value")
    view.refuse(f"it holds {form}; the importer takes dense tensors of numbers")


@lowers("Identity")
def _identity(view: NodeView) -> Value:
    return view.value(0)


@lowers("Dropout")
def _dropout(view: NodeView) -> Results:
    if view.has(2):
        training = view.require_known(2, "training_mode")
        ratio = view.known(1) if view.has(1) else np.array(0.5)
        if bool(training.reshape(-1)[0]) and (ratio is None or float(ratio.reshape(-1)[0]) != 0.0):
            view.refuse("it drops values at random (training mode); the importer takes models for inference")
    view.mark_read("ratio", "seed", "is_test")
    mask = None
    if view.uses(1):
        kept = view.version >= 12  # the standard left it open before, and ONNX Runtime gives zeros
        like = relax.op.ones_like if kept else relax.op.zeros_like
        mask = like(view.tensor(0), "bool" if view.version >= 10 else view.dtype(0))
    return [view.value(0), mask]
