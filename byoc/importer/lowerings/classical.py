"""Operators of ``ai.onnx.ml`` on tensors of numbers."""

from __future__ import annotations

import numpy as np
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.lowerings.trees import transformed
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Value, constant

op = relax.op
_DOMAIN = "ai.onnx.ml"


@lowers("Binarizer", domain=_DOMAIN)
def _binarize(view: NodeView) -> Value:
    dtype = view.dtype(0)
    threshold = relax.const(view.attribute("threshold", 0.0), dtype)
    return op.astype(op.greater(view.tensor(0), threshold), dtype)


@lowers("ArrayFeatureExtractor", domain=_DOMAIN)
def _pick_features(view: NodeView) -> Value:
    x, last = view.tensor(0), view.rank(0) - 1
    places = view.emit(op.reshape(view.tensor(1), shape_expr([view.extents.product(view.shape(1))])))
    if last == 0:
        x = view.emit(op.expand_dims(x, 0))
    return op.take(x, places, max(last, 1) if last == 0 else last, mode="wrap")


@lowers("Scaler", domain=_DOMAIN)
def _scale(view: NodeView) -> Value:
    offset, scale = (np.array(view.attribute(name), np.float32) for name in ("offset", "scale"))
    return op.multiply(op.subtract(_as_float(view), constant(offset)), constant(scale))


def _as_float(view: NodeView) -> relax.Expr:
    return view.tensor(0) if view.dtype(0) == "float32" else view.emit(op.astype(view.tensor(0), "float32"))


@lowers("Normalizer", domain=_DOMAIN)
def _normalize(view: NodeView) -> Value:
    kind, x = view.attribute("norm", "MAX"), _as_float(view)
    axis = [view.rank(0) - 1]
    if kind == "MAX":
        length = op.max(x, axis, keepdims=True)
    elif kind == "L1":
        length = op.sum(op.abs(x), axis, keepdims=True)
    elif kind == "L2":
        length = op.sqrt(op.sum(op.multiply(x, x), axis, keepdims=True))
    else:
        view.refuse(f'its norm is "{kind}"')
    length = view.emit(length)
    zero = op.equal(length, relax.const(0.0, "float32"))
    return op.divide(x, op.where(zero, relax.const(1.0, "float32"), length))


@lowers("Imputer", domain=_DOMAIN)
def _impute(view: NodeView) -> Value:
    dtype = view.dtype(0)
    form = "floats" if dtype.startswith("float") else "int64s"
    values = view.attribute(f"imputed_value_{form}")
    replaced = view.attribute("replaced_value_float" if form == "floats" else "replaced_value_int64", 0)
    if values is None:
        view.refuse(f"it has no imputed_value_{form} for values of {dtype}")
    x = view.tensor(0)
    lost = op.isnan(x) if replaced != replaced else op.equal(x, relax.const(replaced, dtype))
    return op.where(lost, constant(np.array(values, dtype)), x)


@lowers("LinearRegressor", domain=_DOMAIN)
def _linear(view: NodeView) -> Value:
    targets = view.attribute("targets", 1)
    weight = np.array(view.attribute("coefficients"), np.float32).reshape(targets, -1)
    scores = view.emit(op.matmul(_as_float(view), constant(weight.T)))
    bias = view.attribute("intercepts")
    if bias:
        scores = view.emit(op.add(scores, constant(np.array(bias, np.float32))))
    return transformed(view, scores, view.attribute("post_transform", "NONE"))


@lowers("LabelEncoder", domain=_DOMAIN, since=2)
def _encode_labels(view: NodeView) -> Value:
    """Each element replaced by the value of the key that it equals; a NaN equals a NaN."""
    if any("string" in name for name in view.attributes if name not in ("default_string",)):
        view.refuse("its keys or values are strings; the importer takes numbers")
    keys, values = _labels(view, "keys"), _labels(view, "values")
    usual = {"f": view.attribute("default_float", -0.0), "i": view.attribute("default_int64", -1)}
    view.mark_read("default_string")
    given = view.attribute("default_tensor")
    default = np.asarray(given if given is not None else usual[values.dtype.kind], values.dtype).reshape(-1)[0]
    if len(keys) != len(values) or not len(keys):
        view.refuse(f"it has {len(keys)} keys and {len(values)} values")
    x = view.emit(op.expand_dims(view.tensor(0), view.rank(0)))
    hits = view.emit(op.equal(x, constant(keys.astype(view.dtype(0)))))
    if keys.dtype.kind == "f" and np.isnan(keys).any():
        both = view.emit(op.logical_and(op.isnan(x), constant(np.isnan(keys))))
        hits = view.emit(op.logical_or(hits, both))
    counted = view.emit(op.astype(hits, "int32"))
    place = view.emit(op.argmax(counted, view.rank(0)))
    found = view.emit(op.greater(op.sum(counted, [view.rank(0)]), relax.const(0, "int32")))
    chosen = view.emit(op.take(constant(values), place, 0, mode="wrap"))
    return op.where(found, chosen, constant(default))


def _labels(view: NodeView, role: str) -> np.ndarray:
    for name, dtype in (("int64s", np.int64), ("floats", np.float32)):
        if view.attribute(f"{role}_{name}") is not None:
            return np.array(view.attribute(f"{role}_{name}"), dtype)
    tensor = view.attribute(f"{role}_tensor")
    if tensor is None or tensor.dtype.kind not in "fi":
        view.refuse(f"its {role} are no numbers")
    return tensor.reshape(-1)
