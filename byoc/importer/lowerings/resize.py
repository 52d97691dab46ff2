"""Resizing, by TVM's kernels where these agree with the standard, else by indices and weights worked out at import."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Dim, Value, constant

op = relax.op
_LEAST_ROW = 1024  # what a row of weights counts for in the limit: each takes time too


@lowers("Resize", "Upsample")
def _resize(view: NodeView) -> Value:
    kind, version = view.node.proto.op_type, view.version
    if kind == "Upsample" or version < 11:
        scales = view.known(1) if len(view.inputs) > 1 else view.attribute("scales")
        if version < 7 and kind == "Upsample" and scales is None:
            scales = [1, 1, view.attribute("height_scale", 1.0), view.attribute("width_scale", 1.0)]
        sizes, how, rounding = None, "asymmetric", "floor"
    else:
        scales = view.known(2) if view.has(2) and _count(view, 2) != 0 else None
        sizes = view.elements(3) if view.has(3) else None
        how = view.attribute("coordinate_transformation_mode", "half_pixel")
        rounding = view.attribute("nearest_mode", "round_prefer_floor")
    dims = view.shape(0)
    axes = [view.axis(axis, len(dims)) for axis in view.attribute("axes") or range(len(dims))]
    crop = _crop_of(view, axes, len(dims)) if how == "tf_crop_and_resize" else None
    out, ratios = _output_shape(view, dims, axes, scales, sizes, crop)
    policy = view.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch" and sizes is not None:
        out, ratios = _with_aspect_ratio(view, dims, axes, sizes, policy)
    if crop is not None:
        return _resize_cropped(view, dims, out, crop, rounding)
    if all(view.extents.equal(a, b) for a, b in zip(dims, out, strict=True)):
        view.mark_read("mode", "cubic_coeff_a", "exclude_outside", "extrapolation_value", "antialias")
        return view.value(0)
    return _interpolate(view, dims, out, ratios, how, rounding)


def _count(view: NodeView, index: int) -> Dim:
    return view.extents.product(view.shape(index))


def _output_shape(
    view: NodeView,
    dims: list[Dim],
    axes: list[int],
    scales: Sequence[float] | np.ndarray | None,
    sizes: list[Dim] | None,
    crop: Sequence[tuple[float, float]] | None,
) -> tuple[list[Dim], list[float | None]]:
    """The result's extents, and per dimension the scale that the node states (None: sizes are stated)."""
    out = list(dims)
    ratios: list[float | None] = [None] * len(dims)
    if sizes is not None:
        for axis, size in zip(axes, sizes, strict=True):
            out[axis] = size
        return out, ratios
    if scales is None:
        view.refuse("its scales or sizes are computed at run time")
    if len(scales) != len(axes) or not all(0.0 < float(s) < np.inf for s in scales):
        view.refuse(f"its scales {[float(s) for s in scales]} are not one positive number for each of {len(axes)} axes")
    for axis, scale in zip(axes, [float(s) for s in scales], strict=True):
        ratios[axis] = scale
        extent = dims[axis]
        if isinstance(extent, int):
            start, end = crop[axis] if crop else (0.0, 1.0)
            out[axis] = math.floor(extent * (end - start) * scale)
        elif scale == int(scale):
            out[axis] = view.extents.simplify(extent * int(scale))
        else:
            view.refuse(f"it scales a dimension of symbolic extent {extent} by the fraction {scale}")
    return out, ratios


def _interpolate(
    view: NodeView, dims: list[Dim], out: list[Dim], ratios: list[float | None], how: str, rounding: str
) -> Value:
    mode = view.attribute("mode", "nearest")
    method = {"nearest": "nearest_neighbor", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}.get(mode)
    if method is None:
        view.refuse(f'its mode "{mode}" is unknown')
    if view.attribute("antialias", 0) and mode != "nearest":
        return _resize_by_gather(view, dims, out, ratios, mode, how, rounding)
    if how not in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"):
        view.refuse(f'its coordinate_transformation_mode is "{how}"')
    changed = [axis for axis in range(len(dims)) if not view.extents.equal(dims[axis], out[axis])]
    if not set(changed) <= {len(dims) - 1, len(dims) - 2} or len(dims) < 2:
        return _resize_by_gather(view, dims, out, ratios, mode, how, rounding)
    exact = all(_agrees(dims[axis], out[axis], ratios[axis]) for axis in changed)
    static = all(isinstance(d, int) for d in (*dims, *out))
    if static and (not exact or how not in ("half_pixel", "asymmetric", "align_corners") or (mode == "cubic")):
        return _resize_by_gather(view, dims, out, ratios, mode, how, rounding)
    if how not in ("half_pixel", "asymmetric", "align_corners") or not exact or mode == "cubic":
        view.refuse(f'its mode "{mode}" with coordinates "{how}" needs extents that are known at import')
    view.mark_read("cubic_coeff_a", "exclude_outside", "extrapolation_value")
    whole = all(_is_multiple(dims[axis], out[axis]) for axis in changed)
    if mode == "nearest" and static and not whole:  # TVM's kernel rounds positions in 32 bits, which errs at fractions
        return _resize_by_gather(view, dims, out, ratios, mode, how, rounding)
    if how == "align_corners" and 1 in out[-2:]:  # TVM's kernel divides by the size less one
        return _resize_by_gather(view, dims, out, ratios, mode, how, rounding)
    x = view.tensor(0)
    joined = len(dims) != 4
    if joined:
        lead = view.extents.product(dims[:-2])
        x = view.emit(op.reshape(x, shape_expr([1, lead, *dims[-2:]])))
    y = op.image.resize2d(x, shape_expr(out[-2:]), None, "NCHW", method, how, rounding if mode == "nearest" else "")
    return op.reshape(view.emit(y), shape_expr(out)) if joined else y


def _crop_of(view: NodeView, axes: list[int], rank: int) -> list[tuple[float, float]]:
    """Per dimension, where the region of interest begins and ends, as fractions of the extent."""
    roi = [float(v) for v in view.require_known(1, '"roi"').reshape(-1)]
    if len(roi) != 2 * len(axes):
        view.refuse(f"its region of interest {roi} does not fit {len(axes)} dimensions")
    crop = [(0.0, 1.0)] * rank
    for place, axis in enumerate(axes):
        crop[axis] = (roi[place], roi[place + len(axes)])
    return crop


def _with_aspect_ratio(
    view: NodeView, dims: list[Dim], axes: list[int], sizes: list[Dim], policy: str
) -> tuple[list[Dim], list[float | None]]:
    """The result's extents and scales where one scale holds for all axes and the sizes bound it."""
    bound = {"not_larger": min, "not_smaller": max}.get(policy)
    if bound is None or not all(isinstance(d, int) for d in (*sizes, *(dims[axis] for axis in axes))):
        view.refuse(f'its keep_aspect_ratio_policy is "{policy}", for sizes {sizes} of an input {dims}')
    scale = bound(int(size) / int(dims[axis]) for size, axis in zip(sizes, axes, strict=True))
    out = list(dims)
    ratios: list[float | None] = [None] * len(dims)
    for axis in axes:
        out[axis], ratios[axis] = math.floor(scale * int(dims[axis]) + 0.5), scale
    return out, ratios


def _resize_cropped(
    view: NodeView, dims: list[Dim], out: list[Dim], crop: Sequence[tuple[float, float]], rounding: str
) -> Value:
    """A region of interest is resized; what lies outside the input is the extrapolation value."""
    mode, fill = view.attribute("mode", "nearest"), view.attribute("extrapolation_value", 0.0)
    coefficient, outside = view.attribute("cubic_coeff_a", -0.75), bool(view.attribute("exclude_outside", 0))
    x, dtype, current = view.tensor(0), view.dtype(0), list(dims)
    beyond = np.zeros([1] * len(dims), bool)
    for axis, (start, end) in enumerate(crop):
        extent, size = dims[axis], out[axis]
        if not isinstance(extent, int) or not isinstance(size, int):
            if (start, end) == (0.0, 1.0) and view.extents.equal(extent, size):
                continue
            view.refuse(f"it crops a dimension of symbolic extent {extent}")
        view.allow_table(size, what="the positions of its dimensions")
        step = (end - start) * (extent - 1) / (size - 1) if size > 1 else 0.0
        first = start * (extent - 1) if size > 1 else 0.5 * (start + end) * (extent - 1)
        positions = first + np.arange(size) * step
        x = _resample(view, x, current, axis, positions, (mode, rounding, coefficient, outside, 1.0), dtype)
        current[axis] = size
        shape = [1] * len(dims)
        shape[axis] = size
        beyond = beyond | ((positions < 0) | (positions > extent - 1)).reshape(shape)
    if not beyond.any():
        return x
    return op.where(constant(np.broadcast_to(beyond, [int(d) for d in out]).copy()), relax.const(fill, dtype), x)


def _is_multiple(extent: Dim, size: Dim) -> bool:
    return isinstance(extent, int) and isinstance(size, int) and extent > 0 and size % extent == 0


def _agrees(extent: Dim, size: Dim, ratio: float | None) -> bool:
    return ratio is None or not isinstance(extent, int) or extent * ratio == size


def _resize_by_gather(
    view: NodeView, dims: list[Dim], out: list[Dim], ratios: list[float | None], mode: str, how: str, rounding: str
) -> Value:
    """Each dimension in turn, as a matrix of weights or a list of sources that is computed here."""
    coefficient, outside = view.attribute("cubic_coeff_a", -0.75), bool(view.attribute("exclude_outside", 0))
    view.mark_read("extrapolation_value")
    smooth = view.attribute("antialias", 0)
    x, dtype = view.tensor(0), view.dtype(0)
    current = list(dims)
    for axis in range(len(dims)):
        if view.extents.equal(dims[axis], out[axis]):
            continue
        if isinstance(out[axis], int):
            view.allow_table(int(out[axis]), what="the positions of its dimensions")
        size, extent = out[axis], dims[axis]
        if not isinstance(size, int) or not isinstance(extent, int):
            view.refuse(
                f'its mode "{mode}" over a dimension of symbolic extent needs coordinates that are not known at import'
            )
        ratio = ratios[axis]
        stretch = min(1.0, size / extent if ratio is None else ratio) if smooth else 1.0
        how_to = (mode, rounding, coefficient, outside, stretch)
        # What lies halfway between two sources is only found as others find it in the precision that they use.
        kind = np.float32 if mode == "nearest" else np.float64
        x = _resample(view, x, current, axis, source_positions(extent, size, ratio, how, kind), how_to, dtype)
        current[axis] = size
    return x


def _resample(
    view: NodeView,
    x: relax.Expr,
    dims: list[Dim],
    axis: int,
    positions: np.ndarray,
    how: tuple[str, str, float, bool, float],
    dtype: str,
) -> relax.Expr:
    """``x`` read at ``positions`` of one dimension; ``how``: mode, rounding, coefficient, exclude outside, stretch."""
    mode, rounding, coefficient, outside, stretch = how
    extent = int(dims[axis])
    view.allow_table(len(positions), max(extent, _LEAST_ROW), what="the weights of its dimensions")
    if mode == "nearest":
        return view.emit(op.take(x, constant(nearest_sources(positions, extent, rounding)), axis, mode="wrap"))
    kind = "linear" if mode in ("linear", "bilinear") else mode
    weights = interpolation_matrix(positions, extent, kind, coefficient, outside, stretch)
    return _apply_matrix(view, x, dims, axis, weights.astype(dtype))


def _apply_matrix(view: NodeView, x: relax.Expr, dims: list[Dim], axis: int, weights: np.ndarray) -> relax.Expr:
    """``x`` with dimension ``axis`` multiplied by ``weights`` [new, old]."""
    last = len(dims) - 1
    if axis == last:
        return view.emit(op.matmul(x, constant(weights.T)))
    lead, rest = view.extents.product(dims[:axis]), view.extents.product(dims[axis + 1 :])
    flat = view.emit(op.reshape(x, shape_expr([lead, dims[axis], rest])))
    product = view.emit(op.matmul(constant(weights), flat))
    return view.emit(op.reshape(product, shape_expr([*dims[:axis], weights.shape[0], *dims[axis + 1 :]])))


def source_positions(
    extent: int, size: int, scale: float | None, how: str, dtype: type[np.floating] = np.float64
) -> np.ndarray:
    """Where each of ``size`` results lies among ``extent`` sources, in source positions, computed in ``dtype``."""
    ratio = dtype(size / extent if scale is None else scale)
    places = np.arange(size, dtype=dtype)
    if how == "asymmetric":
        return places / ratio
    if how == "align_corners":
        last = extent * ratio - 1  # not size - 1: the standard does not round here
        return places * ((extent - 1) / last) if last > 0 else np.zeros(size)
    if how == "pytorch_half_pixel" and size == 1:
        return np.zeros(size)
    positions = (places + 0.5) / ratio - 0.5
    if how == "half_pixel_symmetric":
        adjustment = size / (ratio * extent)
        positions += extent / 2 * (1 - adjustment)
    return positions


def nearest_sources(positions: np.ndarray, extent: int, rounding: str) -> np.ndarray:
    """Index of the source that each position takes."""
    rounded = {
        "round_prefer_floor": np.ceil(positions - 0.5),
        "round_prefer_ceil": np.floor(positions + 0.5),
        "floor": np.floor(positions),
        "ceil": np.ceil(positions),
    }[rounding]
    return np.clip(rounded, 0, extent - 1).astype(np.int64)


def interpolation_matrix(
    positions: np.ndarray, extent: int, mode: str, coefficient: float, exclude_outside: bool, stretch: float = 1.0
) -> np.ndarray:
    """Weights [result, source] of linear or cubic interpolation; sources outside count as the edge.

    ``stretch`` below 1 widens the kernel, so that nothing is skipped where an image shrinks.
    """
    matrix = np.zeros((len(positions), extent))
    reach = math.ceil((1 if mode == "linear" else 2) / stretch)
    for row, position in enumerate(positions):
        base = math.floor(position)
        taps = range(base - reach + 1, base + reach + 1)
        weights = np.array([_kernel(abs(position - tap) * stretch, mode, coefficient) for tap in taps])
        if exclude_outside and mode == "cubic":
            weights = np.where([0 <= tap < extent for tap in taps], weights, 0.0)
        if stretch < 1.0 or (exclude_outside and mode == "cubic"):
            weights /= weights.sum()
        for tap, weight in zip(taps, weights, strict=True):
            matrix[row, min(max(tap, 0), extent - 1)] += weight
    return matrix


def _kernel(distance: float, mode: str, a: float) -> float:
    if mode == "linear":
        return max(0.0, 1.0 - distance)
    if distance <= 1:
        return ((a + 2) * distance - (a + 3)) * distance * distance + 1
    return ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a if distance < 2 else 0.0
