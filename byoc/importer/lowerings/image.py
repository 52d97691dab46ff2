"""Padding, resizing, and moving between depth and space."""

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
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@lowers("Pad")
def _pad(view: NodeView) -> Value:
    rank = view.rank(0)
    if view.version < 11:
        pads, fill = view.attribute("pads", view.attribute("paddings")), view.attribute("value", 0.0)
        axes = list(range(rank))
    else:
        pads = [int(p) for p in view.require_known(1, '"pads"').reshape(-1)]
        fill_array = view.require_known(2, '"constant_value"') if view.has(2) else np.zeros(1)
        fill = fill_array.reshape(-1)[0].item() if fill_array.size else 0.0
        axes = [view.axis(axis, rank) for axis in view.ints(3, "axes") or range(rank)]
    mode = view.attribute("mode", "constant")
    if mode not in _PAD_MODES:
        view.refuse(f'its mode "{mode}" is unknown')
    if len(pads) != 2 * len(axes):
        view.refuse(f"its {len(pads)} pads do not fit {len(axes)} dimensions")
    before, after = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        before[axis], after[axis] = pads[place], pads[place + len(axes)]
    x = _crop(view, view.tensor(0), before, after)
    width = [max(0, side) for pair in zip(before, after, strict=True) for side in pair]
    if not any(width):
        return x
    return op.nn.pad(x, width, _PAD_MODES[mode], fill if mode == "constant" else 0.0)


def _crop(view: NodeView, x: relax.Expr, before: Sequence[int], after: Sequence[int]) -> relax.Expr:
    """Negative pads cut off."""
    axes = [axis for axis in range(len(before)) if before[axis] < 0 or after[axis] < 0]
    if not axes:
        return x
    dims = view.shape(0)
    if not all(isinstance(dims[axis], int) for axis in axes):
        view.refuse("it has negative pads on a dimension of symbolic extent")
    first = [max(0, -before[axis]) for axis in axes]
    last = [int(dims[axis]) + min(0, after[axis]) for axis in axes]
    return view.emit(op.strided_slice(x, axes, first, last))


@lowers("DepthToSpace")
def _depth_to_space(view: NodeView) -> Value:
    batch, channels, height, width = view.shape(0)
    block, mode = view.attribute("blocksize"), view.attribute("mode", "DCR")
    if not isinstance(channels, int) or channels % (block * block):
        view.refuse(f"its {channels} channels do not divide by {block * block}")
    depth = channels // (block * block)
    split, order = {
        "DCR": ([batch, block, block, depth, height, width], [0, 3, 4, 1, 5, 2]),
        "CRD": ([batch, depth, block, block, height, width], [0, 1, 4, 2, 5, 3]),
    }.get(mode) or view.refuse(f'its mode "{mode}" is unknown')
    moved = op.permute_dims(op.reshape(view.tensor(0), shape_expr(split)), order)
    return op.reshape(
        moved, shape_expr([batch, depth, view.extents.simplify(height * block), view.extents.simplify(width * block)])
    )


@lowers("SpaceToDepth")
def _space_to_depth(view: NodeView) -> Value:
    batch, channels, height, width = view.shape(0)
    block, mode = view.attribute("blocksize"), view.attribute("mode", "DCR")
    rows, columns = (view.extents.simplify(extent // block) for extent in (height, width))
    x = op.reshape(view.tensor(0), shape_expr([batch, channels, rows, block, columns, block]))
    order = {"DCR": [0, 3, 5, 1, 2, 4], "CRD": [0, 1, 3, 5, 2, 4]}.get(mode) or view.refuse(
        f'its mode "{mode}" is unknown'
    )
    return op.reshape(
        op.permute_dims(x, order), shape_expr([batch, view.extents.simplify(channels * block * block), rows, columns])
    )


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
    if view.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        view.refuse("it keeps the aspect ratio")
    out, ratios = _output_shape(view, dims, axes, scales, sizes)
    if all(view.extents.equal(a, b) for a, b in zip(dims, out, strict=True)) and how != "tf_crop_and_resize":
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
    for axis, scale in zip(axes, [float(s) for s in scales], strict=True):
        ratios[axis] = scale
        extent = dims[axis]
        if isinstance(extent, int):
            out[axis] = math.floor(extent * scale)
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
    if view.attribute("antialias", 0):
        view.refuse("it filters when it shrinks (antialias)")
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
    x = view.tensor(0)
    joined = len(dims) != 4
    if joined:
        lead = view.extents.product(dims[:-2])
        x = view.emit(op.reshape(x, shape_expr([1, lead, *dims[-2:]])))
    y = op.image.resize2d(x, shape_expr(out[-2:]), None, "NCHW", method, how, rounding if mode == "nearest" else "")
    return op.reshape(view.emit(y), shape_expr(out)) if joined else y


def _is_multiple(extent: Dim, size: Dim) -> bool:
    return isinstance(extent, int) and isinstance(size, int) and extent > 0 and size % extent == 0


def _agrees(extent: Dim, size: Dim, ratio: float | None) -> bool:
    return ratio is None or not isinstance(extent, int) or extent * ratio == size


def _resize_by_gather(
    view: NodeView, dims: list[Dim], out: list[Dim], ratios: list[float | None], mode: str, how: str, rounding: str
) -> Value:
    """Each dimension in turn, as a matrix of weights or a list of sources that is computed here."""
    coefficient, outside = view.attribute("cubic_coeff_a", -0.75), view.attribute("exclude_outside", 0)
    view.mark_read("extrapolation_value")
    x, dtype = view.tensor(0), view.dtype(0)
    current = list(dims)
    for axis in range(len(dims)):
        if view.extents.equal(dims[axis], out[axis]):
            continue
        size, extent = out[axis], dims[axis]
        if not isinstance(size, int) or not isinstance(extent, int):
            view.refuse(
                f'its mode "{mode}" over a dimension of symbolic extent needs coordinates that are not known at import'
            )
        centres = source_positions(extent, size, ratios[axis], how)
        if mode == "nearest":
            x = view.emit(op.take(x, constant(nearest_sources(centres, extent, rounding)), axis, mode="wrap"))
        else:
            weights = interpolation_matrix(centres, extent, mode, coefficient, bool(outside))
            x = _apply_matrix(view, x, current, axis, weights.astype(dtype))
        current[axis] = size
    return x


def _apply_matrix(view: NodeView, x: relax.Expr, dims: list[Dim], axis: int, weights: np.ndarray) -> relax.Expr:
    """``x`` with dimension ``axis`` multiplied by ``weights`` [new, old]."""
    last = len(dims) - 1
    if axis == last:
        return view.emit(op.matmul(x, constant(weights.T)))
    lead, rest = view.extents.product(dims[:axis]), view.extents.product(dims[axis + 1 :])
    flat = view.emit(op.reshape(x, shape_expr([lead, dims[axis], rest])))
    product = view.emit(op.matmul(constant(weights), flat))
    return view.emit(op.reshape(product, shape_expr([*dims[:axis], weights.shape[0], *dims[axis + 1 :]])))


def source_positions(extent: int, size: int, ratio: float | None, how: str) -> np.ndarray:
    """Where each of ``size`` results lies among ``extent`` sources, in source positions."""
    ratio = size / extent if ratio is None else ratio
    places = np.arange(size, dtype=np.float64)
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
    positions: np.ndarray, extent: int, mode: str, coefficient: float, exclude_outside: bool
) -> np.ndarray:
    """Weights [result, source] of linear or cubic interpolation; sources outside count as the edge."""
    matrix = np.zeros((len(positions), extent))
    reach = 1 if mode == "linear" else 2
    for row, position in enumerate(positions):
        base = math.floor(position)
        taps = range(base - reach + 1, base + reach + 1)
        weights = np.array([_kernel(abs(position - tap), mode, coefficient) for tap in taps])
        if exclude_outside and mode == "cubic":
            weights = np.where([0 <= tap < extent for tap in taps], weights, 0.0)
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
