"""Convolutions and matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import relax

from byoc.importer.lowerings.elementwise import align
from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.lowerings.window import LAYOUTS, Window
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Dim, Known, Value

op = relax.op


@lowers("Conv")
def _convolution(view: NodeView) -> Value:
    weight = view.shape(1)
    window = Window(view, weight[2:])
    stated = view.attribute("kernel_shape")
    if stated is not None and list(stated) != window.kernel:
        view.refuse(f"its kernel_shape {stated} contradicts its weight of shape {weight}")
    groups, channels = view.attribute("group", 1), view.shape(0)[1]
    if len(view.shape(0)) != len(weight) or (
        isinstance(channels, int) and isinstance(weight[1], int) and channels != weight[1] * groups
    ):
        view.refuse(f"its input {_show(view.shape(0))} does not fit its weight {_show(weight)} in {groups} groups")
    data_layout, kernel_layout, _ = LAYOUTS[window.rank]
    compute = {1: op.nn.conv1d, 2: op.nn.conv2d, 3: op.nn.conv3d}[window.rank]
    result = view.emit(
        compute(
            view.tensor(0),
            view.tensor(1),
            window.strides,
            window.pads,
            window.dilations,
            groups,
            data_layout,
            kernel_layout,
        )
    )
    return add_bias(view, result, window.rank)


def add_bias(view: NodeView, result: relax.Expr, spatial: int) -> relax.Expr:
    """Input 2, if there is one, added per channel."""
    if not view.has(2):
        return result
    bias = view.value(2)
    shape = [1, *view.shape_of(bias), *[1] * spatial]
    if isinstance(bias, Known):
        return op.add(result, Known(bias.array.reshape(shape)).constant)
    return op.add(result, view.emit(op.reshape(view.tensor(2), shape_expr(shape))))


def _show(dims: Sequence[Dim]) -> str:
    return f"[{', '.join(map(str, dims))}]"


@lowers("ConvTranspose")
def _transposed_convolution(view: NodeView) -> Value:
    dims, weight = view.shape(0), view.shape(1)
    explicit = view.attribute("pads") or [0] * (2 * (len(weight) - 2))
    auto, wanted = view.attribute("auto_pad", "NOTSET"), view.attribute("output_shape")
    view.attributes.pop("auto_pad", None)
    window = Window(view, weight[2:])
    rank = window.rank
    more = view.attribute("output_padding") or [0] * rank
    before, after = (explicit[:rank], explicit[rank:]) if auto == "NOTSET" else ([0] * rank, [0] * rank)
    if wanted or auto.startswith("SAME"):
        for axis in range(rank):
            extent, stride = dims[2 + axis], window.strides[axis]
            # For the output that SAME asks for, extent * stride; ONNX Runtime cuts off, but adds nothing.
            total = max(0, window.span(axis) + more[axis] - stride)
            if wanted:
                if not isinstance(extent, int):
                    view.refuse(f"its output_shape is fixed while its input has the symbolic extent {extent}")
                total = stride * (extent - 1) + more[axis] + window.span(axis) - wanted[axis - rank]
            if total < 0:  # the output is longer than the kernel reaches
                more[axis], total = more[axis] - total, 0
            half, rest = total // 2, total - total // 2
            before[axis], after[axis] = (half, rest) if auto == "SAME_UPPER" else (rest, half)
    if any(
        extra >= stride and extra >= dilation
        for extra, stride, dilation in zip(more, window.strides, window.dilations, strict=True)
    ):
        view.refuse(f"its output padding {more} is not smaller than its strides {window.strides}")
    data_layout, _, kernel_layout = LAYOUTS[rank]
    compute = {1: op.nn.conv1d_transpose, 2: op.nn.conv2d_transpose, 3: op.nn.conv3d_transpose}[rank]
    result = view.emit(
        compute(
            view.tensor(0),
            view.tensor(1),
            window.strides,
            [*before, *after],
            more,
            window.dilations,
            view.attribute("group", 1),
            data_layout,
            kernel_layout,
        )
    )
    return add_bias(view, result, rank)


@lowers("MatMul")
def _matrix_product(view: NodeView) -> Value:
    left, right = view.tensor(0), view.tensor(1)
    mine, yours = view.shape(0), view.shape(1)
    inner = (
        (mine[-1], yours[-2] if len(yours) > 1 else yours[0])
        if mine and yours
        else view.refuse("one of its operands is a scalar")
    )
    if view.extents.equal(*inner) is False:
        view.refuse(f"it multiplies {_show(mine)} by {_show(yours)}: {inner[0]} is not {inner[1]}")
    if view.extents.equal(*inner) is None:
        view.extents.unify(*inner)
    return op.matmul(left, right)


@lowers("Gemm")
def _general_product(view: NodeView) -> Value:
    left, right = (_transposed(view, index, view.attribute(name, 0)) for index, name in ((0, "transA"), (1, "transB")))
    alpha, beta = view.attribute("alpha", 1.0), view.attribute("beta", 1.0)
    view.mark_read("broadcast")
    dtype = view.dtype(0)
    result = view.emit(op.matmul(left, right))
    if alpha != 1.0:
        result = view.emit(op.multiply(result, relax.const(alpha, dtype)))
    if not view.has(2) or beta == 0.0:
        return result
    bias = view.value(2)
    if beta != 1.0:
        scaled = (
            Known((bias.array * np.asarray(beta, bias.array.dtype)).astype(bias.array.dtype))
            if isinstance(bias, Known)
            else None
        )
        bias = scaled or view.emit(op.multiply(view.tensor(2), relax.const(beta, dtype)))
    return op.add(*align(view, result, view.builder.as_tensor(bias)))


def _transposed(view: NodeView, index: int, transpose: int) -> relax.Expr:
    if not transpose:
        return view.tensor(index)
    value = view.value(index)
    return (
        Known(value.array.T).constant
        if isinstance(value, Known)
        else view.emit(op.permute_dims(view.tensor(index), [1, 0]))
    )


def integer_operand(view: NodeView, index: int, zero: int) -> relax.Expr:
    """Input `index` less the zero point at input `zero`, as int32; one for each row is one for each column of rows."""
    operand = view.emit(op.astype(view.tensor(index), "int32"))
    if not view.has(zero):
        return operand
    point = view.emit(op.astype(view.tensor(zero), "int32"))
    shape = view.shape(zero)
    if len(shape) == 1 and shape != [1] and index == 0:  # one per row; one per column broadcasts as it is
        point = view.emit(op.reshape(point, shape_expr([*shape, 1])))
    elif len(shape) == 1 and view.rank(index) > 2:  # one per channel of the result
        point = view.emit(op.reshape(point, shape_expr([*shape, *[1] * (view.rank(index) - 1)])))
    return view.emit(op.subtract(operand, point))


def integer_product(view: NodeView) -> Value:
    """A product of integers with zero points of any form, as int32."""
    return op.matmul(integer_operand(view, 0, 2), integer_operand(view, 1, 3), out_dtype="int32")


@lowers("Einsum")
def _einsum(view: NodeView) -> Value:
    equation = view.attribute("equation").replace(" ", "")
    operands = [view.tensor(index) for index in range(len(view.inputs))]
    if "..." in equation:
        equation = _spell_out(view, equation)
    if "->" not in equation:
        letters = [c for c in equation if c.isalpha()]
        equation += "->" + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    return op.einsum(tuple(operands), equation)


def _spell_out(view: NodeView, equation: str) -> str:
    """The equation with letters in place of each ellipsis."""
    left, _, right = equation.partition("->")
    free = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in equation]
    terms, most = [], 0
    for index, term in enumerate(left.split(",")):
        hidden = view.rank(index) - len(term.replace("...", "")) if "..." in term else 0
        most = max(most, hidden)
        terms.append(term.replace("...", "".join(free[most - hidden : most]) if hidden else ""))
    if any("..." in term and view.rank(i) - len(term) + 3 != most for i, term in enumerate(left.split(","))):
        view.refuse(f'the ellipses of its equation "{equation}" stand for different ranks')
    if not right:
        letters = [c for c in left if c.isalpha()]
        right = "..." + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    return ",".join(terms) + "->" + right.replace("...", "".join(free[:most]))
