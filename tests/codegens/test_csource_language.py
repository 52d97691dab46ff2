"""csource's ops of language models."""

import ml_dtypes
import numpy as np
import pytest
import tvm

from byoc.ops.hadamard import hadamard_matrix, rotated
from byoc.ops.linear import linear, linear_of_halves, unpack
from byoc.ops.rope import rotate, rotate_reference
from byoc.ops.swiglu import gated
from tests.codegens.ops import FLAGS, Compiled, relax_function

RANDOM = np.random.default_rng(0)
F32 = "float32"


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("rotary", [4, 8])
def test_rope(interleaved, rotary):
    x, lengths = RANDOM.standard_normal((2, 3, 5, 8), np.float32), np.array([0, 100])
    frequencies = (10000.0 ** -(np.arange(0, rotary, 2) / rotary)).astype(np.float32)
    function = relax_function(
        lambda x, lengths, f: rotate(x, lengths, f, interleaved=interleaved, factor=1.5),
        ((2, "n", 5, 8), F32), ((2,), "int64"), ((rotary // 2,), F32),
    )  # fmt: skip
    found = Compiled(function)(x, lengths, frequencies)
    np.testing.assert_allclose(found, rotate_reference(x, lengths, frequencies, interleaved, 1.5), atol=2e-5)


def test_swiglu():
    gate, up = RANDOM.standard_normal((2, 3, 700), np.float32) * 4
    function = relax_function(gated, (("n", 700), F32), (("n", 700), F32))
    np.testing.assert_allclose(Compiled(function)(gate, up), gate / (1 + np.exp(-gate)) * up, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 64, 128])
def test_hadamard(size):
    x = RANDOM.standard_normal((3, 2, size), np.float32)
    function = relax_function(rotated, (x.shape, F32))
    np.testing.assert_allclose(Compiled(function)(x), x @ hadamard_matrix(size), atol=1e-5)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("inputs", "outputs", "group"), [(64, 16, 32), (48, 37, 8), (256, 50, 128), (24, 3, 24)])
@pytest.mark.parametrize("uniform", [True, False])
def test_a_linear_layer_of_packed_weights(bits, inputs, outputs, group, uniform):
    from tvm import relax

    packed = RANDOM.integers(0, 256, (outputs, inputs * bits // 8)).astype(np.uint8)
    scale = RANDOM.random((outputs, inputs // group)).astype(np.float16)
    zero = np.full(scale.shape, 1 << bits - 1) if uniform else RANDOM.integers(0, 1 << bits, scale.shape)
    zero = zero.astype(np.uint8)
    constants = [relax.const(a) for a in (packed, scale, zero)]
    function = relax_function(lambda x: linear(x, *constants, bits=bits, group=group), ((2, "n", inputs), F32))
    compiled = Compiled(function)
    weights = unpack(packed, scale, zero, bits)
    for rows in (1, 7, 20):
        x = RANDOM.standard_normal((2, rows, inputs), np.float32)
        blocks = x.reshape(2, rows, -1, 32 if group % 32 == 0 else group)
        step = np.abs(blocks).max(-1, keepdims=True) / np.float32(127)
        rounded = (np.rint(blocks / step) * step).reshape(x.shape)
        np.testing.assert_allclose(compiled(x), rounded @ weights.T, rtol=2e-3, atol=2e-3 * np.abs(weights).max())


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 32), (37, 50), (3, 1), (1, 70)])
@pytest.mark.parametrize("arch", ["native", "haswell", "x86-64"])
def test_a_linear_layer_of_sixteen_bit_floats_computes_in_float32(dtype, inputs, outputs, arch):
    from tvm import relax

    weight = (RANDOM.standard_normal((outputs, inputs)) * 100).astype(dtype)
    weight.flat[0] = dtype(3e-7)  # a subnormal float16
    constant = relax.const(tvm.runtime.tensor(weight))
    function = relax_function(lambda x: linear_of_halves(x, constant), ((2, "n", inputs), F32))
    compiled = Compiled(function, [f.replace("native", arch) for f in FLAGS])
    for rows in (1, 2, 7, 12, 20):
        x = RANDOM.standard_normal((2, rows, inputs), np.float32)
        wanted = x.astype(np.float64) @ weight.astype(np.float64).T
        np.testing.assert_allclose(compiled(x), wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_weights_of_sixteen_bits_take_two_bytes_each(dtype):
    from tvm import relax

    constant = relax.const(tvm.runtime.tensor(np.ones((64, 48), dtype)))
    compiled = Compiled(relax_function(lambda x: linear_of_halves(x, constant), ((1, 48), F32)))
    assert sum(c.nbytes for c in compiled.constants) == 64 * 48 * 2
