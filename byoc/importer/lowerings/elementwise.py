"""Arithmetic, comparison and logic, one element at a time, with numpy's broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Value

op = relax.op


def align(view: NodeView, left: relax.Expr, right: relax.Expr) -> tuple[relax.Expr, relax.Expr]:
    """Operands whose symbolic extents agree.

    Where two extents differ in name only, ONNX says that they are equal, or one is 1; they are taken to be equal.
    """
    mine, yours = view.builder.shape_of(left), view.builder.shape_of(right)
    if mine is None or yours is None:
        return left, right
    changed = list(yours)
    for back in range(1, min(len(mine), len(yours)) + 1):
        a, b = mine[-back], yours[-back]
        if 1 in [d for d in (a, b) if isinstance(d, int)]:
            continue
        decided = view.extents.equal(a, b)
        if decided is False and isinstance(a, int) and isinstance(b, int):
            view.refuse(f"its operands of shapes {_show(mine)} and {_show(yours)} do not broadcast")
        if decided is None:
            view.extents.unify(a, b)
            changed[-back] = a
    if all(a is b for a, b in zip(changed, yours, strict=True)):
        return left, right
    # No match_cast: TVM's CanonicalizeBindings would drop it, and the result would have no shape.
    return left, view.emit(op.reshape(right, shape_expr(changed)))


def _show(dims: list) -> str:
    return f"[{', '.join(map(str, dims))}]"


def binary(view: NodeView, compute: Callable[[relax.Expr, relax.Expr], relax.Expr]) -> Value:
    left, right = view.tensor(0), _second_operand(view)
    return compute(*align(view, left, right))


def _second_operand(view: NodeView) -> relax.Expr:
    """The second operand; opsets before 7 line it up with the first by an attribute."""
    right = view.tensor(1)
    if view.version >= 7:
        return right
    axis = view.attribute("axis", None)
    rank, own = view.rank(0), view.rank(1)
    if not view.attribute("broadcast", 0) or axis is None or own == 0:
        return right
    trailing = rank - view.axis(axis, rank) - own
    if trailing < 0:
        view.refuse(f"its axis {axis} leaves no room for an operand of rank {own}")
    return view.emit(op.reshape(right, shape_expr([*view.shape(1), *[1] * trailing]))) if trailing else right


Binary: TypeAlias = Callable[[relax.Expr, relax.Expr], relax.Expr]
Unary: TypeAlias = Callable[[relax.Expr], relax.Expr]
_BINARY: dict[str, Binary] = {
    "Add": op.add,
    "Sub": op.subtract,
    "Mul": op.multiply,
    "Equal": op.equal,
    "Greater": op.greater,
    "GreaterOrEqual": op.greater_equal,
    "Less": op.less,
    "LessOrEqual": op.less_equal,
    "And": op.logical_and,
    "Or": op.logical_or,
    "Xor": op.logical_xor,
    "BitwiseAnd": op.bitwise_and,
    "BitwiseOr": op.bitwise_or,
    "BitwiseXor": op.bitwise_xor,
}
_UNARY: dict[str, Unary] = {
    "Not": op.logical_not, "BitwiseNot": op.bitwise_not, "Neg": op.negative, "Abs": op.abs, "Floor": op.floor,
    "Ceil": op.ceil, "Round": op.round, "Sqrt": op.sqrt, "Exp": op.exp, "Log": op.log, "Sin": op.sin, "Cos": op.cos,
    "Tan": op.tan, "Asin": op.asin, "Acos": op.acos, "Atan": op.atan, "Sinh": op.sinh, "Cosh": op.cosh,
    "Tanh": op.tanh, "Asinh": op.asinh, "Acosh": op.acosh, "Atanh": op.atanh, "Sigmoid": op.sigmoid, "Erf": op.erf,
    "Sign": op.sign, "IsNaN": op.isnan, "Relu": op.nn.relu,
}  # fmt: skip


@lowers(*_BINARY)
def _binary(view: NodeView) -> Value:
    return binary(view, _BINARY[view.node.proto.op_type])


@lowers(*_UNARY)
def _unary(view: NodeView) -> Value:
    return _UNARY[view.node.proto.op_type](view.tensor(0))


@lowers("Div")
def _divide(view: NodeView) -> Value:
    if view.dtype(0).startswith(("int", "uint")):
        divisor = view.known(1)
        if divisor is not None and not np.all(divisor):
            view.refuse("it divides integers by 0")
    return binary(view, op.divide)


@lowers("Mod")
def _modulo(view: NodeView) -> Value:
    truncated = view.attribute("fmod", 0)
    if not truncated and not view.dtype(0).startswith(("float", "bfloat")):
        return binary(view, op.floor_mod)

    def remainder(left: relax.Expr, right: relax.Expr) -> relax.Expr:
        if not view.dtype(0).startswith(("float", "bfloat")):
            return op.subtract(left, op.multiply(op.divide(left, right), right))
        rest = view.emit(op.mod(left, right))
        if truncated:
            return rest
        zero = relax.const(0, view.dtype(0))
        signs_differ = op.logical_xor(op.less(rest, zero), op.less(right, zero))
        return op.where(op.logical_and(op.not_equal(rest, zero), signs_differ), op.add(rest, right), rest)

    return binary(view, remainder)


@lowers("Pow")
def _power(view: NodeView) -> Value:
    base, exponent = view.dtype(0), view.dtype(1)
    left, right = align(view, view.tensor(0), _second_operand(view))
    whole = base.startswith(("int", "uint"))
    wide = "float64" if whole and base.endswith("64") else "float32" if whole else base
    left = left if base == wide else view.emit(op.astype(left, wide))
    right = right if exponent == wide else view.emit(op.astype(right, wide))
    result = view.emit(op.power(left, right))
    return op.astype(op.round(result), base) if whole else result


@lowers("BitShift")
def _shift(view: NodeView) -> Value:
    left = view.attribute("direction") == "LEFT"
    bits = int(view.dtype(0).lstrip("uint"))
    counts = op.astype(view.tensor(1), view.dtype(0))
    shift = op.left_shift if left else op.right_shift
    x, counts = align(view, view.tensor(0), view.emit(counts))
    zero = relax.const(0, view.dtype(0))
    # Shifting by the width or more is undefined in C; ONNX shifts everything out.
    kept = op.less(counts, relax.const(bits, view.dtype(0)))
    if not view.dtype(0).startswith("u"):
        kept = op.logical_and(kept, op.greater_equal(counts, zero))
    kept = view.emit(kept)
    beyond = (
        zero
        if left or view.dtype(0).startswith("u")
        else op.where(op.less(x, zero), relax.const(-1, view.dtype(0)), zero)
    )
    return op.where(kept, shift(x, op.where(kept, counts, zero)), beyond)


def _fold_pairs(view: NodeView, compute: Callable[[relax.Expr, relax.Expr], relax.Expr]) -> relax.Expr:
    result = view.tensor(0)
    for index in range(1, len(view.inputs)):
        result = view.emit(compute(*align(view, result, view.tensor(index))))
    return result


_VARIADIC: dict[str, Binary] = {"Min": op.minimum, "Max": op.maximum, "Sum": op.add}


@lowers(*_VARIADIC)
def _variadic(view: NodeView) -> Value:
    return _fold_pairs(view, _VARIADIC[view.node.proto.op_type])


@lowers("Mean")
def _mean(view: NodeView) -> Value:
    total = _fold_pairs(view, op.add)
    return op.divide(total, relax.const(len(view.inputs), view.dtype(0)))


@lowers("Where")
def _where(view: NodeView) -> Value:
    yes, no = align(view, view.tensor(1), view.tensor(2))
    condition, yes = _aligned_reversed(view, view.tensor(0), yes)
    condition, no = _aligned_reversed(view, condition, no)
    return op.where(condition, yes, no)


def _aligned_reversed(view: NodeView, condition: relax.Expr, value: relax.Expr) -> tuple[relax.Expr, relax.Expr]:
    value, condition = align(view, value, condition)
    return condition, value


@lowers("Clip")
def _clip(view: NodeView) -> Value:
    dtype = view.dtype(0)
    if view.version < 11:
        least, most = view.attribute("min", None), view.attribute("max", None)
        bounds = [None if b is None else relax.const(b, dtype) for b in (least, most)]
        known = [least, most]
    else:
        bounds = [view.tensor(index) if view.has(index) else None for index in (1, 2)]
        known = [None if array is None else array.reshape(-1)[0].item() for array in map(view.known, (1, 2))]
    if None not in known and known[0] <= known[1]:
        return op.clip(view.tensor(0), *(relax.prim_value(_as_prim(k, dtype)) for k in known))
    result = view.tensor(0)
    for bound, compute in zip(bounds, (op.maximum, op.minimum), strict=True):
        if bound is not None:
            bound = bound if view.builder.rank_of(bound) == 0 else op.reshape(bound, shape_expr([]))
            result = view.emit(compute(result, view.emit(bound) if isinstance(bound, relax.Call) else bound))
    return result


def _as_prim(value: float, dtype: str) -> float | int:
    return float(value) if dtype.startswith(("float", "bfloat")) else int(value)


@lowers("IsInf")
def _is_infinite(view: NodeView) -> Value:
    positive, negative = view.attribute("detect_positive", 1), view.attribute("detect_negative", 1)
    x, dtype = view.tensor(0), view.dtype(0)
    if positive and negative:
        return op.isinf(x)
    if not positive and not negative:
        return op.logical_and(op.isinf(x), relax.const(False, "bool"))
    return op.equal(x, relax.const(np.inf if positive else -np.inf, dtype))


@lowers("Reciprocal")
def _reciprocal(view: NodeView) -> Value:
    return op.divide(relax.const(1, view.dtype(0)), view.tensor(0))


_FLOAT8 = "8-bit floats are not converted correctly by TVM"


def cast(view: NodeView, source: str, target: str, value: relax.Expr) -> relax.Expr:
    """``value`` converted from dtype ``source`` to ``target`` as ONNX has it."""
    if source == target:
        return value
    if "float8" in source + target:
        view.refuse(f"it converts {source} to {target}: {_FLOAT8}")
    if target == "bool":
        return op.not_equal(value, relax.const(0, source))
    if source.startswith(("float", "bfloat")) and target in ("int8", "int16", "uint8", "uint16"):
        return op.astype(view.emit(op.astype(value, "int32")), target)
    if source.startswith(("float", "bfloat")) and target == "uint32":
        return op.astype(view.emit(op.astype(value, "int64")), target)
    return op.astype(value, target)


@lowers("Cast")
def _cast(view: NodeView) -> Value:
    view.mark_read("saturate", "round_mode")
    return cast(view, view.dtype(0), view.dtype_attribute("to") or "float32", view.tensor(0))


@lowers("CastLike")
def _cast_like(view: NodeView) -> Value:
    view.mark_read("saturate", "round_mode")
    return cast(view, view.dtype(0), view.dtype(1), view.tensor(0))
