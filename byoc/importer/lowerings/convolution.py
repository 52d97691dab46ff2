"""Convolutions, matrix products and pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tvm import relax

from byoc.importer.lowerings.elementwise import align
from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import Results, lowers
from byoc.importer.values import Dim, Known, Value

op = relax.op
_LAYOUTS = {1: ("NCW", "OIW", "IOW"), 2: ("NCHW", "OIHW", "IOHW"), 3: ("NCDHW", "OIDHW", "IODHW")}


class Window:
    """How a kernel walks over the spatial dimensions: one entry per dimension in each list."""

    def __init__(self, view: NodeView, kernel: Sequence[Dim]) -> None:
        self.view = view
        self.rank = len(kernel)
        if self.rank not in _LAYOUTS:
            view.refuse(f"it has {self.rank} spatial dimensions; the importer takes 1 to 3")
        if not all(isinstance(extent, int) for extent in kernel):
            view.refuse(f"its kernel has the symbolic shape {[str(k) for k in kernel]}")
        self.kernel = [int(extent) for extent in kernel]
        self.strides = view.attribute("strides") or [1] * self.rank
        self.dilations = view.attribute("dilations") or [1] * self.rank
        self.ceil = bool(view.attribute("ceil_mode", 0))
        pads = view.attribute("pads") or [0] * (2 * self.rank)
        self.auto = view.attribute("auto_pad", "NOTSET")
        for name, given in (("strides", self.strides), ("dilations", self.dilations), ("pads", pads)):
            if len(given) != self.rank * (2 if name == "pads" else 1):
                view.refuse(f'its attribute "{name}" = {given} does not fit {self.rank} spatial dimensions')
        if self.auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
            view.refuse(f'its attribute "auto_pad" is "{self.auto}"')
        pads = [0] * (2 * self.rank) if self.auto == "VALID" else pads
        self.before: list[int] = pads[: self.rank]
        self.after: list[int] = pads[self.rank :]
        if self.auto.startswith("SAME"):
            totals = [self._same_total(axis) for axis in range(self.rank)]
            small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
            self.before, self.after = (small, large) if self.auto == "SAME_UPPER" else (large, small)

    def span(self, axis: int) -> int:
        """Input positions that one kernel placement covers."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def _same_total(self, axis: int) -> int:
        extent = self.view.shape(0)[2 + axis]
        if self.strides[axis] == 1:
            return self.span(axis) - 1
        if not isinstance(extent, int):
            self.view.refuse(f"{self.auto} with stride {self.strides[axis]} pads by the symbolic extent {extent}")
        out = -(-extent // self.strides[axis])
        return max(0, (out - 1) * self.strides[axis] + self.span(axis) - extent)

    @property
    def pads(self) -> list[int]:
        return [*self.before, *self.after]


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
    data_layout, kernel_layout, _ = _LAYOUTS[window.rank]
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
            total = window.span(axis) + more[axis] - stride  # for the output that SAME asks for, extent * stride
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
    data_layout, _, kernel_layout = _LAYOUTS[rank]
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


@lowers("MaxPool", "AveragePool")
def _pool(view: NodeView) -> Results:
    kernel = view.attribute("kernel_shape") or view.refuse("it has no kernel_shape")
    window = Window(view, kernel)
    maximum = view.node.proto.op_type == "MaxPool"
    if maximum and view.uses(1):
        view.refuse("its second output, the indices of the maxima, is used")
    counted = bool(view.attribute("count_include_pad", 0))
    pool = getattr(op.nn, f"{'max' if maximum else 'avg'}_pool{window.rank}d")
    dtype = view.dtype(0)
    x, pads, ceil = view.tensor(0), window.pads, window.ceil
    if ceil:
        x, pads, ceil = _make_ceil_explicit(view, window, x, maximum, counted)
    return [
        pool(x, window.kernel, window.strides, pads, window.dilations, ceil, *([] if maximum else [counted]))
        if dtype != ""
        else x,
        None,
    ]


def _make_ceil_explicit(
    view: NodeView, window: Window, x: relax.Expr, maximum: bool, counted: bool
) -> tuple[relax.Expr, list[int], bool]:
    """ONNX drops a last window that would start in the padding; TVM keeps it.  Where they differ, pad exactly."""
    after = list(window.after)
    for axis in range(window.rank):
        extent = view.shape(0)[2 + axis]
        if not isinstance(extent, int):
            if window.strides[axis] == 1:
                continue
            return x, window.pads, True
        padded = extent + window.before[axis] + window.after[axis]
        count = math.ceil((padded - window.span(axis)) / window.strides[axis]) + 1
        if (count - 1) * window.strides[axis] >= extent + window.before[axis]:
            count -= 1
        after[axis] += (count - 1) * window.strides[axis] + window.span(axis) - padded
    grown = after != list(window.after)
    if grown and not maximum and counted:
        view.refuse("it averages with ceil_mode and count_include_pad over windows that reach beyond the padding")
    if any(extra < 0 for extra in after):
        return x, window.pads, False
    return x, [*window.before, *after], False


@lowers("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(view: NodeView) -> Value:
    axes = list(range(2, view.rank(0)))
    reduce = op.mean if view.node.proto.op_type == "GlobalAveragePool" else op.max
    return reduce(view.tensor(0), axes, keepdims=True) if axes else view.value(0)


@lowers("GlobalLpPool")
def _global_norm_pool(view: NodeView) -> Value:
    p, dtype = view.attribute("p", 2), view.dtype(0)
    powers = op.power(op.abs(view.tensor(0)), relax.const(p, dtype))
    return op.power(op.sum(powers, list(range(2, view.rank(0))), keepdims=True), relax.const(1.0 / p, dtype))


@lowers("LpPool")
def _norm_pool(view: NodeView) -> Value:
    window = Window(view, view.attribute("kernel_shape"))
    p, dtype = view.attribute("p", 2), view.dtype(0)
    x = view.emit(op.power(op.abs(view.tensor(0)), relax.const(p, dtype)))
    pads = window.pads
    if window.ceil:
        x, pads, still = _make_ceil_explicit(view, window, x, maximum=True, counted=False)
        if still:
            view.refuse("it has ceil_mode and a symbolic spatial extent")
    pool = getattr(op.nn, f"avg_pool{window.rank}d")
    mean = view.emit(pool(x, window.kernel, window.strides, pads, window.dilations, False, True))
    return op.power(op.multiply(mean, relax.const(math.prod(window.kernel), dtype)), relax.const(1.0 / p, dtype))


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
