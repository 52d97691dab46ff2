"""Ops on 8-bit integers: products with one scale for each channel, sums, averages, and their edges to float32.

A total is scaled in float32 where :mod:`byoc.ops.integer_reference` multiplies and shifts integers: results may lie one
step apart where a total is within float32 rounding of a tie.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from byoc_codegens.dnnl.family import BYTES, FLOATS, Kernel, Translation, ints
from byoc_codegens.dnnl.processor import check_weights
from byoc_codegens.dnnl.program import PostOp, Tensor

from byoc import Match, reject

# Products of integers with fewer rows are slow in oneDNN's matmul where their columns are no multiple of its blocks.
_FEW_ROWS = 16
LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


def factors(m: Match) -> np.ndarray:
    """What the integers ``multiplier`` and ``shift`` stand for, float64."""
    return np.ldexp(np.array(m.root.attrs["multiplier"], "float64"), [-s for s in m.root.attrs["shift"]])


def ending(m: Match) -> tuple[PostOp, ...]:
    """What follows the scaling of a total: rounding, the zero point, the limits that the type does not have."""
    attrs = m.root.attrs
    zero, low, high = (int(attrs[name]) for name in ("y_zero", "low", "high"))
    post_ops: list[PostOp] = []
    if zero:  # rounded before it is added: an odd one would turn ties the other way
        post_ops += [PostOp("eltwise", "round"), PostOp("eltwise", "linear", 1.0, float(zero))]
    least, most = LIMITS[m.out.dtype]
    if low > least or high < most:
        post_ops.append(PostOp("eltwise", "clip", float(low), float(high)))
    return tuple(post_ops)


def _check_constants(m: Match) -> Any:
    w, bias = m.root.inputs[1:3]
    if w.dtype != "int8" or not w.is_constant or not bias.is_constant:
        return reject("its weights must be int8 and constant, and so its bias", at=w)
    return check_weights(w)


def _check_conv(m: Match) -> Any:
    if min(m.root.attrs["padding"]) < 0:
        return reject("negative padding is not done", at=m.root.inputs[0])
    return _check_constants(m)


def _constants(m: Match, to: Translation, sums: np.ndarray, padded: bool) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """(weights, bias in steps of the result, scales); `sums` are those of the weights of each channel."""
    weights, scale = to.tensor(m.root.inputs[1]), factors(m)
    total = np.asarray(m.root.inputs[2].constant, "float64")
    scale = np.broadcast_to(scale, total.shape)
    zero, scales = int(m.root.attrs["x_zero"]), {"weights": _vector(scale)}
    if zero and padded:
        scales["zero"] = to.number(zero, "int32")
    elif zero:
        total = total - zero * sums
    return weights, _vector(total * scale), scales


def _vector(values: np.ndarray) -> Tensor:
    return Tensor("float32", values.shape, np.ascontiguousarray(values, "float32"))


def _convolution(m: Match, to: Translation) -> Tensor:
    attrs, x = m.root.attrs, to.tensor(m.root.inputs[0])
    values = np.asarray(m.root.inputs[1].constant, "int64")
    rank, padding = values.ndim - 2, ints(m, "padding")
    weights, bias, scales = _constants(m, to, values.reshape(len(values), -1).sum(1), any(padding))
    numbers = {
        "strides": ints(m, "strides"), "dilation": [d - 1 for d in ints(m, "dilation")], "before": padding[:rank],
        "after": padding[rank:], "groups": [int(attrs["groups"])],
    }  # fmt: skip
    return to.add(
        "convolution", [x, weights, bias], m.out.shape, numbers=numbers, dtype=m.out.dtype, scales=scales,
        post_ops=ending(m),
    )  # fmt: skip


def _product(m: Match, to: Translation) -> Tensor:
    values = np.asarray(m.root.inputs[1].constant, "int64")
    weights, bias, scales = _constants(m, to, values.sum(0), False)
    x, shape = to.tensor(m.root.inputs[0]), m.out.shape
    assert shape is not None
    if x.rank == 1:
        x = to.reshape(x, (1, x.shape[0]))
    if x.rank == 2 and isinstance(x.shape[0], int) and x.shape[0] <= _FEW_ROWS:
        return _pixels(m, to, x, bias, scales)
    product = to.add(
        "matmul", [x, weights, bias], (*x.shape[:-1], shape[-1]), dtype=m.out.dtype, scales=scales, post_ops=ending(m)
    )
    return product if product.shape == shape else to.reshape(product, shape)


def _pixels(m: Match, to: Translation, x: Tensor, bias: Tensor, scales: dict[str, Tensor]) -> Tensor:
    """A product of few rows as a convolution of single pixels, whose primitives read the weights once and packed."""
    rows, depth = x.shape
    values = np.ascontiguousarray(m.root.inputs[1].constant.T)
    kernel = Tensor("int8", (*values.shape, 1, 1), values.reshape(*values.shape, 1, 1))
    numbers = {"strides": [1, 1], "dilation": [0, 0], "before": [0, 0], "after": [0, 0], "groups": [1]}
    image = to.add(
        "convolution", [to.reshape(x, (rows, depth, 1, 1)), kernel, bias], (rows, values.shape[0], 1, 1),
        numbers=numbers, dtype=m.out.dtype, scales=scales, post_ops=ending(m),
    )  # fmt: skip
    return to.reshape(image, m.out.shape)


def _sum(m: Match, to: Translation) -> Tensor:
    attrs, (first, second) = m.root.attrs, factors(m)
    zeros = -(first * attrs["a_zero"] + second * attrs["b_zero"])
    shifted = (PostOp("eltwise", "linear", 1.0, float(zeros)),) if attrs["a_zero"] or attrs["b_zero"] else ()
    scales = {"source": to.number(float(first)), "other": to.number(float(second))}
    inputs = [to.tensor(v) for v in m.root.inputs]
    return to.add(
        "binary", inputs, m.out.shape, algorithm="binary_add", dtype=m.out.dtype, scales=scales,
        scalars={"a_zero": attrs["a_zero"], "b_zero": attrs["b_zero"]}, post_ops=(*shifted, *ending(m)),
    )  # fmt: skip


def _rescaled(factor: float, zero: int, m: Match) -> tuple[PostOp, ...]:
    """``(x - zero) * factor``, rounded."""
    scale = PostOp("eltwise", "linear", factor, -zero * factor)
    return (scale, *ending(m))


def _through_floats(x: Tensor, compute: Any, post_ops: tuple[PostOp, ...], m: Match, to: Translation) -> Tensor:
    """Integers as floats, computed, and rounded again."""
    y = compute(to.add("convert", [x], x.shape))
    for post_op in post_ops:
        y = to.eltwise(post_op.algorithm, y, post_op.alpha, post_op.beta)
    return to.add("convert", [y], m.out.shape, dtype=m.out.dtype)


def _requantize(m: Match, to: Translation) -> Tensor:
    x, attrs = to.tensor(m.root.inputs[0]), m.root.attrs
    (factor,), zero = factors(m), int(attrs["x_zero"])
    if ending(m):
        return _through_floats(x, lambda y: y, _rescaled(float(factor), zero, m), m, to)
    scales = {"source": to.number(float(factor))} | ({"zero": to.number(zero, "int32")} if zero else {})
    return to.add("convert", [x], m.out.shape, dtype=m.out.dtype, scales=scales)


def _excludes_padding(m: Match) -> bool:
    return len(m.root.attrs["multiplier"]) > 1


def _check_average(m: Match) -> Any:
    if any(m.root.attrs["padding"]) and m.root.attrs["x_zero"] and not _excludes_padding(m):
        return reject("averages that count padding must have zero point 0", at=m.root.inputs[0])
    return _check_size(m.root.inputs[0])


def _check_image(m: Match) -> Any:
    x = m.root.inputs[0]
    if x.dtype != m.out.dtype:
        return reject(f"averages of {x.dtype} give {x.dtype}, not {m.out.dtype}", at=m.out)
    return _check_size(x)


def _check_size(x: Any) -> Any:
    if not all(isinstance(d, int) for d in (x.shape or ())[2:]):
        return reject("takes images of known size", at=x)
    return None


def _average(m: Match, to: Translation) -> Tensor:
    x, window = to.tensor(m.root.inputs[0]), ints(m, "pool_size")
    padding = ints(m, "padding")
    rank = len(window)
    numbers = {
        "strides": ints(m, "strides"), "window": window, "dilation": [0] * rank, "before": padding[:rank],
        "after": padding[rank:],
    }  # fmt: skip
    algorithm = "pool_average" if _excludes_padding(m) else "pool_average_padding"
    if x.dtype != m.out.dtype:  # a pool of oneDNN gives the type that it takes
        post_ops = _rescaled(float(factors(m)[-1]) * math.prod(window), int(m.root.attrs["x_zero"]), m)
        return _through_floats(
            x, lambda y: to.add("pool", [y], m.out.shape, algorithm=algorithm, numbers=numbers), post_ops, m, to
        )
    return _pool(m, to, x, algorithm, numbers, m.out.shape)


def _pool(m: Match, to: Translation, x: Tensor, algorithm: str, numbers: dict[str, Any], shape: Any) -> Tensor:
    factor = factors(m)[-1]  # of a whole window
    post_ops = _rescaled(float(factor) * math.prod(numbers["window"]), int(m.root.attrs["x_zero"]), m)
    return to.add("pool", [x], shape, algorithm=algorithm, numbers=numbers, dtype=m.out.dtype, post_ops=post_ops)


def _check_mean(m: Match) -> Any:
    x = m.root.inputs[0]
    if tuple(m.root.attrs["axes"]) != tuple(range(2, x.rank)) or x.rank not in (3, 4, 5):
        return reject(f"averages over all axes of space only, not over {list(m.root.attrs['axes'])}", at=x)
    return _check_image(m)


def _mean(m: Match, to: Translation) -> Tensor:
    x = to.tensor(m.root.inputs[0])
    window = [int(d) for d in x.shape[2:]]
    zeros = [0] * len(window)
    numbers = {"strides": [1] * len(window), "window": window, "dilation": zeros, "before": zeros, "after": zeros}
    kept = (*x.shape[:2], *[1] * len(window))
    return to.reshape(_pool(m, to, x, "pool_average", numbers, kept), m.out.shape)


def _scale_and_zero(m: Match) -> tuple[np.ndarray, np.ndarray] | None:
    scale, zero = (v.constant for v in m.root.inputs[1:3])
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    return scale.reshape(-1), zero.reshape(-1)


def _check_edge(m: Match) -> Any:
    if _scale_and_zero(m) is None:
        return reject("takes one scale and zero point for the whole tensor, known when compiling", at=m.root.inputs[1])
    x = m.root.inputs[0]
    integers, floats = (m.out, x) if m.root.op == "quantize" else (x, m.out)
    if integers.dtype not in BYTES or floats.dtype != "float32":
        return reject(f"turns float32 into 8-bit integers or back, not {x.dtype} into {m.out.dtype}", at=x)
    return None


def _quantize(m: Match, to: Translation) -> Tensor:
    found = _scale_and_zero(m)
    assert found is not None
    scale, zero = float(found[0][0]), int(found[1][0])
    scales = {"source": to.number(1.0 / scale)} | ({"result zero": to.number(zero, "int32")} if zero else {})
    return to.add("convert", [to.tensor(m.root.inputs[0])], m.out.shape, dtype=m.out.dtype, scales=scales)


def _dequantize(m: Match, to: Translation) -> Tensor:
    found = _scale_and_zero(m)
    assert found is not None
    scale, zero = float(found[0][0]), int(found[1][0])
    scales = {"source": to.number(scale)} | ({"zero": to.number(zero, "int32")} if zero else {})
    return to.add("convert", [to.tensor(m.root.inputs[0])], m.out.shape, scales=scales)


_WITH_BIAS = BYTES | {"int32"}
_EDGES = BYTES | FLOATS | {"int32"}
KERNELS = (
    Kernel("byoc.qlinear_conv", _convolution, _check_conv, _WITH_BIAS),
    Kernel("byoc.qlinear_matmul", _product, _check_constants, _WITH_BIAS),
    Kernel("byoc.qlinear_add", _sum, dtypes=BYTES),
    Kernel("byoc.requantize", _requantize, dtypes=BYTES),
    Kernel("byoc.qlinear_average_pool", _average, _check_average, BYTES),
    Kernel("byoc.qlinear_mean", _mean, _check_mean, BYTES),
    Kernel("quantize", _quantize, _check_edge, _EDGES),
    Kernel("dequantize", _dequantize, _check_edge, _EDGES),
)
