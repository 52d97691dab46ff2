"""Experimental operators of old ONNX that image models still use."""

from __future__ import annotations

import numpy as np
from tvm import relax

from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Value, constant

op = relax.op


@lowers("ImageScaler")
def _image_scaler(view: NodeView) -> Value:
    dtype = view.dtype(0)
    bias = np.array(view.attribute("bias") or [0.0]).reshape(1, -1, 1, 1).astype(dtype)
    return op.add(op.multiply(view.tensor(0), relax.const(view.attribute("scale", 1.0), dtype)), constant(bias))


@lowers("Affine")
def _affine(view: NodeView) -> Value:
    dtype = view.dtype(0)
    scaled = op.multiply(view.tensor(0), relax.const(view.attribute("alpha", 1.0), dtype))
    return op.add(scaled, relax.const(view.attribute("beta", 0.0), dtype))


@lowers("Crop")
def _crop(view: NodeView) -> Value:
    left, top, right, bottom = view.attribute("border")
    height, width = view.shape(0)[2:]
    stated = view.attribute("scale")
    if not isinstance(height, int) or not isinstance(width, int):
        view.refuse("it crops an image of symbolic size")
    last = [top + stated[0], left + stated[1]] if stated else [height - bottom, width - right]
    return op.strided_slice(view.tensor(0), [2, 3], [top, left], last)


@lowers("ScaledTanh")
def _scaled_tanh(view: NodeView) -> Value:
    dtype = view.dtype(0)
    inner = op.multiply(view.tensor(0), relax.const(view.attribute("beta", 1.0), dtype))
    return op.multiply(op.tanh(inner), relax.const(view.attribute("alpha", 1.0), dtype))
