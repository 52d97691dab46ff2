"""Reshape and its kin, slices and joins; arguments may be constant, symbolic, or mostly computed at run time too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tvm
from tvm import relax, tirx

from byoc.importer.node_view import NodeView
from byoc.importer.table import Results, lowers
from byoc.importer.values import Dim, Known, Value, constant

INT64_MAX = np.iinfo(np.int64).max


def shape_expr(dims: Sequence[Dim]) -> relax.ShapeExpr:
    return relax.ShapeExpr([tirx.IntImm("int64", d) if isinstance(d, int) else d for d in dims])


def runtime_shape(view: NodeView, tensor: relax.Expr, rank: int) -> relax.ShapeExpr:
    """A shape whose extents are the elements of an int64 tensor computed at run time."""
    tensor = view.builder.block_builder.match_cast(tensor, relax.TensorType([rank], "int64"))
    # Not relax.op.tensor_to_shape: TVM writes that out with symbols of its own, beside those named here.
    kind = relax.ShapeType(ndim=rank)
    shape = view.emit(relax.op.call_pure_packed("vm.builtin.tensor_to_shape", tensor, ty_args=[kind]))
    dims = [view.builder.fresh_symbol() for _ in range(rank)]
    view.builder.name_extents(shape, relax.ShapeType(dims))
    return relax.ShapeExpr(dims)


def target_shape(view: NodeView, index: int, meaning: str) -> list[Dim]:
    """The elements of input ``index`` as extents: constant, symbolic, or fresh symbols matched at run time."""
    elements = view.elements(index)
    if elements is not None:
        return elements
    dims = view.shape(index)
    if len(dims) != 1 or not isinstance(dims[0], int):
        view.refuse(f"its input {meaning} has a length that is not known at import")
    tensor = view.tensor(index)
    if view.dtype(index) != "int64":
        tensor = view.emit(relax.op.astype(tensor, "int64"))
    return list(runtime_shape(view, tensor, dims[0]).values)


def as_expr(value: Dim) -> tvm.ir.Expr:
    """The extent as an int64 expression of TVM."""
    return tirx.IntImm("int64", value) if isinstance(value, int) else value


@lowers("Reshape")
def _reshape(view: NodeView) -> Value:
    keep_zero = view.attribute("allowzero", 0)
    if len(view.inputs) > 1 and view.elements(1) is None:
        return _reshape_at_run_time(view, bool(keep_zero))
    wanted = view.attribute("shape") if len(view.inputs) < 2 else view.elements(1)
    if wanted is None:
        view.refuse("it has no shape")
    known = view.builder.shape_of(view.value(0))
    dims: list[Dim] = []
    for axis, dim in enumerate(wanted):
        if isinstance(dim, int) and dim == 0 and not keep_zero:
            if axis >= len(view.shape(0)):
                view.refuse(f"its shape {wanted} copies dimension {axis}, which the input does not have")
            dims.append(view.shape(0)[axis])
        else:
            dims.append(dim)
    return relax.op.reshape(view.tensor(0), _complete(view, dims, known))


def _reshape_at_run_time(view: NodeView, keep_zero: bool) -> Value:
    """Its shape is computed: a 0 in it stands for the input's own extent there, and a -1 for what is left over."""
    wanted = view.shape(1)
    if len(wanted) != 1 or not isinstance(wanted[0], int):
        view.refuse('its input "shape" has a length that is not known at import')
    rank = wanted[0]
    shape = view.tensor(1) if view.dtype(1) == "int64" else view.emit(relax.op.astype(view.tensor(1), "int64"))
    known = view.builder.shape_of(view.value(0))
    if known is not None:
        own = view.emit(relax.op.shape_to_tensor(shape_expr(known))) if known else constant(np.zeros(0, np.int64))
    else:
        own = view.emit(relax.op.shape_to_tensor(view.emit(relax.op.shape_of(view.tensor(0)))))
    if not keep_zero:
        copied = _first_elements(view, own, view.rank(0), rank)
        shape = view.emit(relax.op.where(relax.op.equal(shape, _whole(0)), copied, shape))
    free = view.emit(relax.op.equal(shape, _whole(-1)))
    others = view.emit(relax.op.prod(relax.op.where(free, _whole(1), shape), [0], keepdims=True))
    total = view.emit(relax.op.prod(own, [0], keepdims=True)) if known != [] else constant(np.ones(1, np.int64))
    rest = view.emit(relax.op.floor_divide(total, relax.op.maximum(others, _whole(1))))
    shape = view.emit(relax.op.where(free, rest, shape))
    return relax.op.reshape(view.tensor(0), runtime_shape(view, shape, rank))


def _whole(value: int) -> relax.Expr:
    return relax.const(value, "int64")


def _first_elements(view: NodeView, vector: relax.Expr, length: int, count: int) -> relax.Expr:
    """The first ``count`` elements of a vector of ``length``, filled up with zeros."""
    if length >= count:
        return view.emit(relax.op.strided_slice(vector, [0], [0], [count]))
    zeros = constant(np.zeros(count - length, np.int64))
    return view.emit(relax.op.concat([vector, zeros], 0)) if length else zeros


def _complete(view: NodeView, dims: list[Dim], known: list[Dim] | None) -> list[Dim] | relax.ShapeExpr:
    """Replace a -1 by what is left over, if that is certain; TVM replaces it otherwise."""
    free = [axis for axis, dim in enumerate(dims) if isinstance(dim, int) and dim == -1]
    if len(free) > 1:
        view.refuse(f"its shape {dims} leaves more than one dimension open")
    if not free:
        if known is not None and view.extents.equal(view.extents.product(known), view.extents.product(dims)) is False:
            view.refuse(f"it reshapes {_show(known)} to {_show(dims)}, which holds another number of elements")
        return shape_expr(dims)
    if known is None:
        return dims
    total = view.extents.product(known)
    others = view.extents.product([dim for axis, dim in enumerate(dims) if axis != free[0]])
    if isinstance(others, int) and others == 0:
        view.refuse(f"its shape {dims} leaves a dimension open beside one of extent 0")
    if isinstance(total, int) and isinstance(others, int) and total % others:
        view.refuse(f"it reshapes {_show(known)} to {_show(dims)}, which holds another number of elements")
    dims[free[0]] = view.extents.simplify(
        tirx.floordiv(total, others) if not isinstance(total, int) or not isinstance(others, int) else total // others
    )
    return shape_expr(dims)


def _show(dims: Sequence[Dim]) -> str:
    return f"[{', '.join(map(str, dims))}]"


@lowers("Flatten")
def _flatten(view: NodeView) -> Value:
    dims = view.shape(0)
    axis = view.attribute("axis", 1)
    if not -len(dims) <= axis <= len(dims):
        view.refuse(f"its axis {axis} is out of range for rank {len(dims)}")
    axis = axis + len(dims) if axis < 0 else axis
    product = view.extents.product
    return relax.op.reshape(view.tensor(0), shape_expr([product(dims[:axis]), product(dims[axis:])]))


@lowers("Unsqueeze")
def _unsqueeze(view: NodeView) -> Value:
    axes = view.ints(1, "axes")
    if axes is None:
        view.refuse("it has no axes")
    rank = view.rank(0) + len(axes)
    return relax.op.expand_dims(view.tensor(0), sorted(view.axis(axis, rank) for axis in axes))


@lowers("Squeeze")
def _squeeze(view: NodeView) -> Value:
    axes = view.ints(1, "axes")
    dims = view.shape(0)
    if axes is None:
        if not all(isinstance(dim, int) for dim in dims):
            view.refuse("it has no axes, and its input has symbolic dimensions: which ones go is not known at import")
        axes = [axis for axis, dim in enumerate(dims) if dim == 1]
    gone = {view.axis(axis, len(dims)) for axis in axes}
    for axis in gone:
        if view.extents.equal(dims[axis], 1) is False:
            view.refuse(f"it drops dimension {axis} of {_show(dims)}, whose extent is not 1")
    if all(view.extents.equal(dims[axis], 1) for axis in gone):
        return relax.op.squeeze(view.tensor(0), sorted(gone)) if gone else view.value(0)
    return relax.op.reshape(view.tensor(0), shape_expr([dim for axis, dim in enumerate(dims) if axis not in gone]))


@lowers("Transpose")
def _transpose(view: NodeView) -> Value:
    rank = view.rank(0)
    order = view.attribute("perm") or list(range(rank))[::-1]
    if sorted(order) != list(range(rank)):
        view.refuse(f"its perm {order} is no permutation of {rank} dimensions")
    return view.value(0) if rank <= 1 else relax.op.permute_dims(view.tensor(0), order)


@lowers("Concat")
def _concat(view: NodeView) -> Value:
    rank = view.rank(0)
    axis = view.axis(view.attribute("axis", 1), rank)
    shapes = [view.builder.shape_of(view.value(index)) for index in range(len(view.inputs))]
    parts = [
        index
        for index, shape in enumerate(shapes)
        if shape is None or not (isinstance(shape[axis], int) and shape[axis] == 0)
    ]
    if len(parts) <= 1:
        return view.value(parts[0] if parts else 0)
    return relax.op.concat([view.tensor(index) for index in parts], axis=axis)


@lowers("Split")
def _split(view: NodeView) -> Results:
    axis = view.axis(view.attribute("axis", 0), view.rank(0))
    sizes = view.ints(1, "split")
    count = view.attribute("num_outputs", len(view.node.proto.output))
    extent = view.shape(0)[axis]
    if sizes is None:
        if count != len(view.node.proto.output):
            view.refuse(f"its num_outputs is {count}, and it has {len(view.node.proto.output)} outputs")
        if not isinstance(extent, int):
            view.refuse(f"it cuts a dimension of symbolic extent {extent} into {count} equal parts")
        chunk = -(-extent // count)
        sizes = [max(0, min(chunk, extent - chunk * index)) for index in range(count)]
    if isinstance(extent, int) and sum(sizes) != extent:
        view.refuse(f"its parts {sizes} do not add up to the extent {extent}")
    if len(sizes) == 1:
        return [view.value(0)]
    if 0 in sizes:
        return _split_by_slices(view, axis, sizes)
    whole = view.emit(relax.op.split(view.tensor(0), [int(cut) for cut in np.cumsum(sizes)[:-1]], axis))
    return [view.emit(relax.TupleGetItem(whole, index)) if view.uses(index) else None for index in range(len(sizes))]


def _split_by_slices(view: NodeView, axis: int, sizes: list[int]) -> list[Value | None]:
    shape = view.shape(0)
    results: list[Value | None] = []
    start = 0
    for index, size in enumerate(sizes):
        if not view.uses(index):
            results.append(None)
        elif size == 0:
            if not all(isinstance(dim, int) for dim in shape):
                view.refuse("one of its parts is empty, and its input has symbolic dimensions")
            results.append(
                Known(
                    np.zeros(
                        [0 if a == axis else int(d) for a, d in enumerate(shape)],
                        view.builder.numpy_dtype_of(view.value(0)),
                    )
                )
            )
        else:
            results.append(view.emit(relax.op.strided_slice(view.tensor(0), [axis], [start], [start + size])))
        start += size
    return results


@lowers("Expand")
def _expand(view: NodeView) -> Value:
    wanted = target_shape(view, 1, '"shape"')
    dims = view.shape(0)
    return broadcast(view, view.tensor(0), dims, wanted)


def broadcast(view: NodeView, tensor: relax.Expr, dims: list[Dim], wanted: Sequence[Dim]) -> relax.Expr:
    """``tensor`` broadcast to the joint shape of its own ``dims`` and ``wanted``."""
    rank = max(len(dims), len(wanted))
    own = [1] * (rank - len(dims)) + list(dims)
    other = [1] * (rank - len(wanted)) + list(wanted)
    joint = [_joint(view, mine, yours) for mine, yours in zip(own, other, strict=True)]
    if len(dims) == rank and all(view.extents.equal(mine, both) for mine, both in zip(own, joint, strict=True)):
        return tensor
    return relax.op.broadcast_to(tensor, shape_expr(joint))


def _joint(view: NodeView, mine: Dim, yours: Dim) -> Dim:
    if isinstance(mine, int) and mine == 1:
        return yours
    if (isinstance(yours, int) and yours == 1) or view.extents.equal(mine, yours):
        return mine
    if view.extents.equal(mine, yours) is False and isinstance(mine, int) and isinstance(yours, int):
        view.refuse(f"it broadcasts extent {mine} to {yours}")
    return (
        mine
        if isinstance(yours, tvm.ir.Expr) and isinstance(mine, int)
        else (yours if isinstance(yours, int) else mine)
    )


@lowers("ConstantOfShape")
def _constant_of_shape(view: NodeView) -> Value:
    fill = view.attribute("value", np.zeros(1, np.float32)).reshape(-1)[0]
    constant = relax.const(fill, str(fill.dtype))
    return relax.op.full(shape_expr(target_shape(view, 0, '"shape"')), constant, str(fill.dtype))


@lowers("Tile")
def _tile(view: NodeView) -> Value:
    counts = view.elements(1)
    if counts is None:
        view.refuse('its input "repeats" is computed at run time')
    if all(isinstance(count, int) for count in counts):
        return relax.op.tile(view.tensor(0), counts)
    dims = view.shape(0)
    spread = view.emit(relax.op.reshape(view.tensor(0), shape_expr([d for dim in dims for d in (1, dim)])))
    full = view.emit(
        relax.op.broadcast_to(spread, shape_expr([d for c, dim in zip(counts, dims, strict=True) for d in (c, dim)]))
    )
    return relax.op.reshape(
        full, shape_expr([view.extents.product([c, dim]) for c, dim in zip(counts, dims, strict=True)])
    )
