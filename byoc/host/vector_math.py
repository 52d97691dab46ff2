"""exp, log, tanh, erf and the sigmoid of float32 without calls into the C library, so that loops over them vectorise.

Reduction of the argument after Cody and Waite, "Software Manual for the Elementary Functions" (1980); the polynomials
are minimax fits of our own (relative error below 1e-8 in exact arithmetic).  Measured error: at most 3 units in the
last place.  Infinities, NaN and subnormal numbers are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

_EXP = (0.4999999403953552, 0.16666515171527863, 0.04166845604777336, 0.008369418792426586, 0.0013813142431899905)
_TANH = (-0.3333328068256378, 0.13331441581249237, -0.05373971164226532, 0.020639078691601753, -0.005704978480935097)
_ERF_BELOW_1 = (
    1.1283791065216064, -0.3761262595653534, 0.1128358542919159, -0.026853810995817184, 0.005188327748328447,
    -0.0008010192541405559, 7.853857823647559e-05,
)  # fmt: skip
# -log(erfc(x)) from 1 to 4; erf is 1 in float32 above that.
_ERF_ABOVE_1 = (
    -0.0001880381751107052, 1.1295784711837769, 0.6332198977470398, 0.10841856151819229, -0.02520824782550335,
    0.00420455913990736, -0.00044133589835837483, 2.1686813852284104e-05,
)  # fmt: skip
_LOG = (
    0.3333331346511841, -0.25000008940696716, 0.2000211924314499, -0.1666799634695053, 0.14219550788402557,
    -0.12405591458082199, 0.11888174712657928, -0.11675640940666199, 0.06746601313352585,
)  # fmt: skip
# ln 2 in two parts; the first has so few bits that its multiples are exact.
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4


class _Lanes:
    """Constants and conversions for scalars or vectors of one width, and the values named so far."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.named: list[tuple[Any, Any]] = []

    def real(self, value: float) -> Any:
        return self._spread(tirx.const(value, "float32"))

    def whole(self, value: int) -> Any:
        return self._spread(tirx.const(value, "int32"))

    def _spread(self, value: Any) -> Any:
        return value if self.lanes == 1 else tirx.Broadcast(value, self.lanes)

    def kind(self, base: str) -> str:
        return base if self.lanes == 1 else f"{base}x{self.lanes}"

    def let(self, name: str, value: Any) -> Any:
        variable = tirx.Var(name, value.ty)
        self.named.append((variable, value))
        return variable

    def done(self, result: Any) -> Any:
        for variable, value in reversed(self.named):
            result = tirx.Let(variable, value, result)
        return result

    def bits(self, value: Any) -> Any:
        return tirx.reinterpret(self.kind("int32"), value)

    def from_bits(self, value: Any) -> Any:
        return tirx.reinterpret(self.kind("float32"), value)

    def polynomial(self, x: Any, coefficients: Sequence[float]) -> Any:
        total = self.real(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            total = total * x + self.real(c)
        return total

    def select(self, condition: Any, a: Any, b: Any) -> Any:
        return tirx.Select(condition, a, b)

    def keep_nan(self, x: Any, result: Any) -> Any:
        """TVM simplifies `x != x` away, so that NaN is told by its bits."""
        is_nan = tirx.bitwise_and(self.bits(x), self.whole(0x7FFFFFFF)) > self.whole(0x7F800000)
        return tirx.Select(is_nan, x, result)

    def magnitude(self, x: Any) -> Any:
        return self.from_bits(tirx.bitwise_and(self.bits(x), self.whole(0x7FFFFFFF)))

    def with_sign_of(self, magnitude: Any, x: Any) -> Any:
        sign = tirx.bitwise_and(self.bits(x), self.whole(-0x80000000))
        return self.from_bits(tirx.bitwise_or(self.bits(magnitude), sign))

    def power_of_two(self, n: Any) -> Any:
        return self.from_bits(tirx.shift_left(n + self.whole(127), self.whole(23)))


def _exp(v: _Lanes, x: Any) -> Any:
    low = v.let("low", v.select(x > v.real(-104.0), x, v.real(-104.0)))
    x_in = v.let("x_in", v.select(low < v.real(89.0), low, v.real(89.0)))
    n = v.let("n", tirx.floor(x_in * v.real(1.44269504088896341) + v.real(0.5)))
    r = v.let("r", x_in - n * v.real(_LN2_HIGH) - n * v.real(_LN2_LOW))
    y = v.let("y", v.polynomial(r, _EXP) * r * r + r + v.real(1.0))
    # 2^n by halves: n reaches from -150 to 128, the exponent of one factor does not.
    whole = v.let("whole", tirx.Cast(v.kind("int32"), n))
    half = v.let("half", tirx.shift_right(whole, v.whole(1)))
    result = y * v.power_of_two(half) * v.power_of_two(whole - half)
    return v.let("exp", v.keep_nan(x, result))


def _sigmoid(v: _Lanes, x: Any) -> Any:
    return v.real(1.0) / (v.real(1.0) + _exp(v, v.let("minus", v.real(0.0) - x)))


def _tanh(v: _Lanes, x: Any) -> Any:
    t = v.let("t", v.magnitude(x))
    s = v.let("s", x * x)
    small = x * (v.real(1.0) + s * v.polynomial(s, _TANH))
    large = v.real(1.0) - v.real(2.0) / (_exp(v, v.let("twice", t + t)) + v.real(1.0))
    return v.select(t < v.real(0.625), small, v.with_sign_of(large, x))


def _erf(v: _Lanes, x: Any) -> Any:
    t = v.let("t", v.magnitude(x))
    s = v.let("s", x * x)
    small = x * v.polynomial(s, _ERF_BELOW_1)
    near = v.let("near", v.select(t > v.real(4.0), v.real(4.0), t))
    minus = v.let("minus", v.real(0.0) - v.polynomial(near, _ERF_ABOVE_1))
    large = v.keep_nan(x, v.with_sign_of(v.real(1.0) - _exp(v, minus), x))
    return v.select(t < v.real(1.0), small, large)


def _log(v: _Lanes, x: Any) -> Any:
    tiny = v.let("tiny", x < v.real(1.17549435e-38))
    scaled = v.let("scaled", v.select(tiny, x * v.real(8388608.0), x))
    bits = v.let("bits", v.bits(scaled) - v.whole(0x3F3504F3))
    n = tirx.Cast(v.kind("float32"), tirx.shift_right(bits, v.whole(23)))
    n = v.let("n", n - v.select(tiny, v.real(23.0), v.real(0.0)))
    mantissa = tirx.bitwise_and(bits, v.whole(0x7FFFFF)) + v.whole(0x3F3504F3)
    f = v.let("f", v.from_bits(mantissa) - v.real(1.0))
    s = v.let("square", f * f)
    y = f * s * v.polynomial(f, _LOG) + n * v.real(_LN2_LOW) - v.real(0.5) * s
    result = y + f + n * v.real(_LN2_HIGH)
    infinity = float("inf")
    result = v.select(x == v.real(infinity), x, result)
    result = v.select(x == v.real(0.0), v.real(-infinity), result)
    return v.select(x >= v.real(0.0), result, v.real(float("nan")))


_FUNCTIONS: dict[str, Callable[[_Lanes, Any], Any]] = {
    "tirx.exp": _exp,
    "tirx.sigmoid": _sigmoid,
    "tirx.tanh": _tanh,
    "tirx.erf": _erf,
    "tirx.log": _log,
}


def _op_of(name: str) -> Any:
    """An operator of ours for a function, which TVM writes out after it has simplified the code around it.

    Its simplifier puts named values back in the place of their names, which grows exponentially here.
    """
    own = name.replace("tirx.", "tirx.byoc_")
    if own not in _REGISTERED:
        tvm.ir._ffi_api.RegisterOp(own, "")
        tvm.ir.register_op_attr(own, "TCallEffectKind", int(tirx.CallEffectKind.Pure.value))
        tirx.op.register_intrin_lowering(own, target="llvm", f=lambda call: _written_out(name, call))
        _REGISTERED.add(own)
    return tvm.ir.Op.get(own)


_REGISTERED: set[str] = set()
_OURS = {name.replace("tirx.", "tirx.byoc_") for name in _FUNCTIONS}


def _written_out(name: str, call: Any) -> Any:
    _, _, lanes = str(call.ty).removeprefix("T.").partition("x")
    v = _Lanes(int(lanes or 1))
    x = v.let("x", call.args[0])
    return v.done(_FUNCTIONS[name](v, x))


def _ours(call: Any) -> Any:
    """A call of one of the functions as a call of our operator; other calls as they are."""
    if not isinstance(call.op, tvm.ir.Op) or str(call.op.name) not in _FUNCTIONS:
        return call
    if str(call.ty).removeprefix("T.").partition("x")[0] != "float32" or _holds_ours(call.args[0]):
        return call
    return tvm.ir.Call(_op_of(str(call.op.name)), call.args, ret_ty=call.ty)


def _holds_ours(argument: Any) -> bool:
    """Whether a function is written out inside the argument.

    LLVM's code generator, too, simplifies each named value with those before it put in: one function inside another, as
    in tanh(log(1 + exp(x))), would compile for minutes.  The outer one then stays a call.
    """
    found: list[bool] = []

    def look(inner: Any) -> None:
        if isinstance(inner, tvm.ir.Call) and isinstance(inner.op, tvm.ir.Op) and inner.op.name in _OURS:
            found.append(True)

    tvm_ffi.structural.structural_walk(argument, look)
    return bool(found)


@tvm.transform.module_pass(opt_level=0, name="ExpandVectorMath")
def expand_vector_math(module: tvm.IRModule, _: Any) -> tvm.IRModule:
    """Write out exp, log, tanh, erf and sigmoid of float32 in every TIR function of the module."""
    functions = {}
    for variable, function in module.functions_items():
        if isinstance(function, tirx.PrimFunc):
            function = function.with_body(tvm_ffi.structural.structural_map(function.body, (tvm.ir.Call, _ours)))
        functions[variable] = function
    return tvm.IRModule(functions, attrs=module.attrs, global_infos=module.global_infos)
