"""Quantize and dequantize."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tests.codegens.ops import Compiled, check_against_host, random_array, refusal_of, relax_function

op = relax.op


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("channels", [None, 3])
def test_quantize_and_dequantize_agree_with_the_host(dtype, channels):
    x = random_array((2, 3, 20)) * 40
    scale = np.array([0.3, 0.5, 0.25], "float32")[: channels or 1]
    zero = np.array([5, 0, 3], dtype)[: channels or 1]
    if channels is None:
        scale, zero = scale[0].reshape(()), zero[0].reshape(())

    def body(x):
        s, z = relax.const(scale), relax.const(zero)
        codes = op.quantize(x, s, z, 1, dtype)
        return [codes, op.dequantize(codes, s, z, 1, "float32")]

    check_against_host(relax_function(body, (x.shape, "float32")), x)


def test_quantize_rounds_half_to_even_and_saturates():
    x = np.array([0.5, 1.5, 2.5, -500, 500], "float32")
    one, zero = relax.const(1.0, "float32"), relax.const(0, "int8")
    function = relax_function(lambda x: op.quantize(x, one, zero, 0, "int8"), ((5,), "float32"))
    assert Compiled(function)(x).tolist() == [0, 2, 2, -128, 127]


def test_scales_that_fit_neither_tensor_nor_channels_are_refused():
    scale, zero = relax.const(np.ones(3, "float32")), relax.const(np.zeros(3, "int8"))
    function = relax_function(lambda x: op.quantize(x, scale, zero, 0, "float8_e4m3fn"), ((3, 2), "float32"))
    assert "float8" in refusal_of(function)
