"""Fourier transforms of a length known at import, as products with tables of sines; filter banks on the mel scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Known, Value, constant

op = relax.op


def _forward(length: int, bins: int, parts: int) -> np.ndarray:
    """[length, parts, bins, 2]: what each part (real, imaginary) of a sample adds to each part of a bin."""
    angle = _angles(length, length, bins)
    cosine, sine = np.cos(angle), np.sin(angle)
    real, imaginary = np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)
    return np.stack([real, imaginary][:parts], 1)


def _inverse(length: int, parts: int) -> np.ndarray:
    """[length, parts, length, 2]: what each part of a bin adds to each part of a sample."""
    conjugate = np.array([[1, -1], [-1, 1]])[:, None, :]
    return (_forward(length, length, 2) * conjugate)[:, :parts] / length


def _inverse_onesided(length: int) -> np.ndarray:
    """[length // 2 + 1, 2, length, 1]: a bin stands for its mirror image too, where it is not its own."""
    bins = length // 2 + 1
    angle = _angles(length, bins, length)
    twice = np.array([1 if k == 0 or 2 * k == length else 2 for k in range(bins)])[:, None]
    return np.stack([np.cos(angle) * twice, -np.sin(angle) * twice], 1)[..., None] / length


def _angles(length: int, rows: int, columns: int) -> np.ndarray:
    """2 pi r c / length.  The product is reduced first: sines of large angles lose digits."""
    return 2 * np.pi / length * (np.outer(np.arange(rows), np.arange(columns)) % length)


def _scalar(view: NodeView, index: int, meaning: str) -> Any:
    """The only element of an input: an int, or a float."""
    elements = view.require_known(index, f'"{meaning}"').reshape(-1)
    if elements.size != 1:
        view.refuse(f'its input "{meaning}" has {elements.size} elements, not 1')
    return elements[0].item()


def _wide(view: NodeView) -> str:
    """What a transform of input 0 is computed in: half precision holds no sum of many products."""
    return "float64" if view.dtype(0) == "float64" else "float32"


def _widened(view: NodeView, index: int) -> relax.Expr:
    tensor, wide = view.tensor(index), _wide(view)
    return tensor if view.dtype(index) == wide else view.emit(op.astype(tensor, wide))


def _narrowed(view: NodeView, y: relax.Expr) -> relax.Expr:
    dtype = view.dtype(0)
    return y if dtype == _wide(view) else op.astype(y, dtype)


@lowers("DFT")
def _dft(view: NodeView) -> Value:
    inverse, onesided = bool(view.attribute("inverse", 0)), bool(view.attribute("onesided", 0))
    dims = view.shape(0)
    given = view.attribute("axis", 1) if view.version < 20 else _scalar(view, 2, "axis") if view.has(2) else -2
    axis = view.axis(given, len(dims))
    held, parts = dims[axis], dims[-1]
    if axis == len(dims) - 1 or parts not in (1, 2) or not isinstance(held, int):
        shown = [str(d) for d in dims]
        view.refuse(f"its input {shown} is not of known length at axis {axis} and of 1 or 2 parts at the end")
    if onesided and parts != (2 if inverse else 1):
        view.refuse(f"a one-sided {'inverse ' if inverse else ''}transform takes no input of {parts} parts")
    length = 2 * (held - 1) if onesided and inverse else held
    length = _scalar(view, 1, "dft_length") if view.has(1) else length
    if length < 1:
        view.refuse(f"its length {length} must be positive")
    bins = length // 2 + 1 if onesided else length
    view.allow_table(length, int(parts), bins, 2, what="a table of sines")
    if inverse:
        table = _inverse_onesided(length) if onesided else _inverse(length, int(parts))
    else:
        table = _forward(length, bins, int(parts))
    return _transform(view, axis, table[:held])


def _transform(view: NodeView, axis: int, table: np.ndarray) -> Value:
    """Input 0 times ``table`` [length, parts, bins, parts] along ``axis`` and its last axis; what is longer is cut."""
    dims = view.shape(0)
    length, parts, bins, out_parts = table.shape
    x = _widened(view, 0)
    if length < int(dims[axis]):
        x = view.emit(op.strided_slice(x, [axis], [0], [length]))
    others = [i for i in range(len(dims) - 1) if i != axis]
    outer = [dims[i] for i in others]
    x = view.emit(op.permute_dims(x, [*others, axis, len(dims) - 1]))
    x = view.emit(op.reshape(x, shape_expr([*outer, length * parts])))
    flat = constant(table.reshape(length * parts, bins * out_parts).astype(_wide(view)))
    y = view.emit(op.matmul(x, flat))
    y = view.emit(op.reshape(y, shape_expr([*outer, bins, out_parts])))
    back = sorted(range(len(dims) - 1), key=[*others, axis].__getitem__)
    y = view.emit(op.permute_dims(y, [*back, len(dims) - 1]))
    return _narrowed(view, y)


@lowers("STFT")
def _stft(view: NodeView) -> Value:
    """A convolution of the signal with windowed sines: [N, samples, parts] to [N, frames, bins, 2]."""
    onesided, step = bool(view.attribute("onesided", 1)), _scalar(view, 1, "frame_step")
    dims = view.shape(0)
    if len(dims) not in (2, 3):
        view.refuse(f"its signal has rank {len(dims)}, not 2 or 3")
    parts = dims[2] if len(dims) == 3 else 1
    length = _scalar(view, 3, "frame_length") if view.has(3) else view.shape(2)[0] if view.has(2) else dims[1]
    if parts not in (1, 2) or not isinstance(length, int) or min(length, step) < 1:
        view.refuse(f"its signal {[str(d) for d in dims]}, frame_length {length} and frame_step {step} do not fit")
    if isinstance(dims[1], int) and dims[1] < length:
        view.refuse(f"its frames of {length} samples are longer than its signal of {dims[1]}")
    if onesided and parts == 2:
        view.refuse("a one-sided transform takes no complex signal")
    if view.has(2) and view.shape(2) != [length]:
        view.refuse(f"its window {[str(d) for d in view.shape(2)]} is not as long as a frame, {length}")
    bins = length // 2 + 1 if onesided else length
    view.allow_table(length, int(parts), bins, 2, what="a table of sines")
    signal = _widened(view, 0)
    kernel = _forward(length, bins, int(parts)).transpose(2, 3, 1, 0).reshape(bins * 2, int(parts), length)
    weight = constant(kernel.astype(_wide(view)))
    if view.has(2):
        weight = view.emit(op.multiply(weight, _widened(view, 2)))
    x = view.emit(op.reshape(signal, shape_expr([*dims[:2], parts])))
    x = view.emit(op.permute_dims(x, [0, 2, 1]))
    y = view.emit(op.nn.conv1d(x, weight, strides=[step]))
    y = view.emit(op.permute_dims(y, [0, 2, 1]))
    frames = view.shape_of(y)[1]
    y = view.emit(op.reshape(y, shape_expr([dims[0], frames, bins, 2])))
    return _narrowed(view, y)


@lowers("MelWeightMatrix")
def _mel_weight_matrix(view: NodeView) -> Value:
    """[dft_length // 2 + 1, num_mel_bins]: triangles whose corners lie evenly on the mel scale."""
    mels, length, rate = (int(_scalar(view, i, n)) for i, n in enumerate(("num_mel_bins", "dft_length", "sample_rate")))
    edges = np.array([_scalar(view, 3, "lower_edge_hertz"), _scalar(view, 4, "upper_edge_hertz")])
    if min(mels, length, rate) < 1 or not 0 <= edges[0] <= edges[1] <= rate / 2:
        view.refuse(f"its {mels} bins of {length} samples at {rate} Hz from {edges[0]} to {edges[1]} Hz do not fit")
    view.allow_table(length // 2 + 1, mels, what="its matrix")
    low, high = 2595 * np.log10(1 + edges / 700)
    even = low + np.arange(mels + 2) * (high - low) / (mels + 2)
    corners = ((length + 1) * (700 * (10 ** (even / 2595) - 1)) // rate).astype(np.int64)
    bins = np.arange(length // 2 + 1)[:, None]
    left, peak, right = corners[:-2], corners[1:-1], corners[2:]
    rising = (bins - left) / np.maximum(peak - left, 1)
    falling = (right - bins) / np.maximum(right - peak, 1)
    matrix = np.where(bins == peak, 1.0, np.maximum(0, np.where(bins < peak, rising, falling)))
    kind = view.attribute("output_datatype", onnx.TensorProto.FLOAT)
    return Known(matrix.astype(onnx.helper.tensor_dtype_to_np_dtype(kind)))
