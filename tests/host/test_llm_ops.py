"""Ops of language models: what the host compiles agrees with the NumPy references."""

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from byoc.host.pipeline import compile_host
from byoc.ops.hadamard import hadamard_matrix, rotated
from byoc.ops.linear import linear, unpack
from byoc.ops.rope import rotate, rotate_reference
from byoc.ops.swiglu import gated

RANDOM = np.random.default_rng(0)


def run(body, *arrays, symbolic_axis=None):
    """`body` of the arrays, compiled for the host."""
    params = []
    for k, array in enumerate(arrays):
        shape = list(array.shape)
        if symbolic_axis is not None and k == 0:
            shape[symbolic_axis] = tirx.Var("n", "int64")
        params.append(relax.Var(f"p{k}", relax.TensorType(shape, str(array.dtype))))
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(body(*params)))
        builder.emit_func_output(result)
    machine = relax.VirtualMachine(compile_host(builder.get(), "native"), tvm.cpu())
    return machine["main"](*(tvm.runtime.tensor(a) for a in arrays)).numpy()


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("rotary", [4, 8])
def test_rope_turns_pairs_by_their_position(interleaved, rotary):
    x = RANDOM.standard_normal((2, 3, 2, 8), np.float32)
    lengths = np.array([0, 100])
    frequencies = (10000.0 ** -(np.arange(0, rotary, 2) / rotary)).astype(np.float32)
    found = run(
        lambda x, lengths, f: rotate(x, lengths, f, interleaved=interleaved, factor=1.5),
        x, lengths, frequencies, symbolic_axis=1,
    )  # fmt: skip
    wanted = rotate_reference(x, lengths, frequencies, interleaved, 1.5)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    np.testing.assert_allclose(found[0, 0], x[0, 0] * ([1.5] * rotary + [1.0] * (8 - rotary)), rtol=1e-6)


def test_swiglu_gates():
    gate, up = RANDOM.standard_normal((2, 5, 7), np.float32)
    np.testing.assert_allclose(run(gated, gate, up), gate / (1 + np.exp(-gate)) * up, rtol=1e-5)


def test_a_hadamard_rotation_keeps_products_and_undoes_itself():
    matrix = hadamard_matrix(8)
    np.testing.assert_allclose(matrix @ matrix, np.eye(8), atol=1e-6)
    x = RANDOM.standard_normal((3, 2, 8), np.float32)
    np.testing.assert_allclose(run(rotated, x), x @ matrix, atol=1e-5)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_linear_layer_of_packed_weights(bits):
    outputs, inputs, group = 6, 16, 8
    packed = RANDOM.integers(0, 256, (outputs, inputs * bits // 8)).astype(np.uint8)
    scale = RANDOM.random((outputs, inputs // group)).astype(np.float16)
    zero = RANDOM.integers(0, 1 << bits, scale.shape).astype(np.uint8)
    x = RANDOM.standard_normal((2, 3, inputs), np.float32)
    found = run(lambda *a: linear(*a, bits=bits, group=group), x, packed, scale, zero, symbolic_axis=1)
    np.testing.assert_allclose(found, x @ unpack(packed, scale, zero, bits).T, rtol=1e-4, atol=1e-4)


def test_the_even_input_lies_in_the_low_half_of_a_byte():
    packed, one, zero = np.array([[0x21]], np.uint8), np.ones((1, 1), np.float16), np.zeros((1, 1), np.uint8)
    np.testing.assert_array_equal(unpack(packed, one, zero, 4), [[1, 2]])
