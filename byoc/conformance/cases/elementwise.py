"""Arithmetic, comparisons, logic, conversions: dtypes, ranks, broadcasting, odd sizes, NaN, aliases."""

from __future__ import annotations

from collections.abc import Iterator

from byoc.conformance.case import Case, Step
from byoc.conformance.cases.make import SIZES, one, t, w, y

_UNARY = {
    "abs": "special", "negative": "special", "sign": "normal", "square": "normal", "sqrt": "special",
    "rsqrt": "positive",
    "floor": "normal", "ceil": "normal", "trunc": "normal", "round": "normal", "erf": "normal", "sigmoid": "special",
    "exp": "normal", "log": "positive", "tanh": "special", "sin": "normal", "cos": "normal", "tan": "unit",
    "asin": "unit", "acos": "unit", "atan": "normal", "sinh": "normal", "cosh": "normal", "asinh": "normal",
    "atanh": "unit",
}  # fmt: skip
_FLOAT_ONLY = {"power": "positive", "atan2": "normal", "log_add_exp": "normal", "divide": "positive"}
_ANY = ("add", "subtract", "multiply", "maximum", "minimum")
_INTEGER = {"floor_divide": "positive", "mod": "positive", "floor_mod": "positive"}
_COMPARE = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")


def _cases() -> Iterator[Case]:
    for op, fill in _UNARY.items():
        yield one(op, f"odd size, {fill} values", t((3, 7, 11), fill=fill))
        yield one(op, "dynamic", t(("n", 3), fill="normal" if fill == "special" else fill), sizes=SIZES)
    for op in ("abs", "exp", "tanh"):
        yield one(op, "float16", t((5, 9), "float16"))
        yield one(op, "float64", t((5, 9), "float64"))
    shifted = (Step("add", ("x", "one")), Step("acosh", ("s0",)))
    yield Case("acosh/odd size", (t((3, 7, 11), fill="positive"), t((), fill="one", name="one")), shifted)
    yield one("abs", "scalar", t(()))
    yield one("abs", "int8", t((17,), "int8"))
    yield one("exp", "large, threads", t((64, 1023)), threads=True)
    for op in _ANY:
        yield from _binary(op, "normal", "special")
        for dtype in ("float16", "float64", "int32", "int64", "uint8"):
            yield one(op, dtype, t((3, 17), dtype), y((3, 17), dtype))
    for op, fill in _FLOAT_ONLY.items():
        yield from _binary(op, fill, fill)
    for op, fill in _INTEGER.items():
        yield one(op, "int32", t((3, 17), "int32"), y((3, 17), "int32", fill))
        yield one(op, "float32", t((3, 17), fill="positive"), y((3, 17), fill=fill))
    yield one("divide", "int32", t((3, 17), "int32"), y((3, 17), "int32", "positive"))
    yield one("ewise_fma", "same shapes", t((5, 7)), y((5, 7)), t((5, 7), name="z"))
    for op in _COMPARE:
        yield one(op, "special values", t((5, 17), fill="special"), y((5, 17), fill="special"))
        yield one(op, "int64, broadcast", t((5, 1), "int64"), y((7,), "int64"))
    for op in ("logical_and", "logical_or", "logical_xor"):
        yield one(op, "bool", t((5, 7), "bool"), y((1, 7), "bool"))
    for op in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        yield one(op, "int32", t((5, 7), "int32", "large"), y((5, 7), "int32", "large"))
    for op in ("left_shift", "right_shift"):
        yield one(op, "int32", t((5, 7), "int32", "positive"), y((5, 7), "int32", "index:5"))
    yield one("logical_not", "bool", t((5, 7), "bool"))
    yield one("bitwise_not", "int32", t((5, 7), "int32", "large"))
    for op in ("isnan", "isinf", "isfinite"):
        yield one(op, "special values", t((5, 33), fill="special"))
    yield one("where", "broadcast", t((5, 1), "bool", name="c"), t((5, 7)), y((7,)))
    yield one("where", "NaN in the branch not taken", t((5, 7), "bool", name="c"), t((5, 7), fill="special"), y((5, 7)))
    for source, target in (("float32", "int32"), ("float32", "float16"), ("float16", "float32"), ("int64", "float32"),
                           ("float32", "int8"), ("uint8", "float32"), ("bool", "float32"), ("float32", "bool"),
                           ("int64", "int32"), ("float64", "float32")):  # fmt: skip
        yield one("astype", f"{source} to {target}", t((3, 17), source), dtype=target)


def _binary(op: str, fill: str, odd: str) -> Iterator[Case]:
    left, right = t((3, 5, 17), fill=fill), y((3, 5, 17), fill=fill)
    yield one(op, "same shapes", left, right, threads=op == "add")
    yield one(op, "one row for all", left, y((17,), fill=fill))
    yield one(op, "channels", t((2, 3, 4, 5), fill=fill), y((3, 1, 1), fill=fill))
    yield one(op, "both are broadcast", t((4, 1, 3), fill=fill), y((1, 5, 1), fill=fill))
    yield one(op, "scalar on the left", t((), fill=fill), y((3, 7), fill=fill))
    yield one(op, "a longer rank on the right", t((7,), fill=fill), y((2, 3, 7), fill=fill))
    yield one(op, "a number on the right", t((3, 17), fill=odd), w((), fill="positive"))
    yield one(op, "a number on the left", w((), fill="positive"), t((3, 17), fill=odd))
    yield one(op, "special values", t((9, 17), fill=odd), y((9, 17), fill=odd))
    yield one(op, "the same tensor twice", left, left)
    yield one(op, "empty", t((0, 5), fill=fill), y((0, 5), fill=fill))
    yield one(op, "dynamic", t(("n", "m"), fill=fill), y(("m",), fill=fill), sizes=SIZES)


CASES = tuple(_cases())
