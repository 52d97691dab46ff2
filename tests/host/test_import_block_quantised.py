"""Weights of a few bits in blocks: ONNX Runtime's operators beside ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import byoc
from byoc.errors import UnsupportedModelError
from byoc.importer import import_model
from tests.imported import assert_same, make_model, node, run_on_host

RNG = np.random.default_rng(0)
OUTPUTS = 5


def pack(quanta: np.ndarray, bits: int) -> np.ndarray:
    """Integers of the last axis in bytes, the first in the lowest bits."""
    apart = quanta.reshape(*quanta.shape[:-1], -1, 8 // bits).astype(np.uint8)
    return np.bitwise_or.reduce(apart << (np.arange(8 // bits, dtype=np.uint8) * bits), axis=-1).astype(np.uint8)


def product(
    inputs: int, *, bits: int, block: int = 16, zero: str = "", bias: bool = False, index: Any = None, **attributes: Any
) -> onnx.ModelProto:
    """A model of one MatMulNBits; ``zero`` says how its zero points are stored, ``index`` the block of each input."""
    blocks = -(-inputs // block)
    weights: dict[str, np.ndarray] = {
        "b": pack(RNG.integers(0, 1 << bits, (OUTPUTS, blocks, block)), bits),
        "s": (RNG.random((OUTPUTS, blocks)) * 0.1).astype(np.float32),
    }
    if attributes.get("accuracy_level") == 4:
        weights["s"] = weights["s"].astype(np.float16).astype(np.float32)  # as exporters of half precision write them
    if zero == "packed":
        points = RNG.integers(0, 1 << bits, (OUTPUTS, blocks + -blocks % (8 // bits)))
        weights["z"] = pack(points, bits)
    elif zero:
        weights["z"] = RNG.integers(0, 1 << bits, (OUTPUTS, blocks)).astype(np.float32) + (
            0.5 if zero == "halves" else 0
        )
    if bias:
        weights["c"] = RNG.standard_normal(OUTPUTS).astype(np.float32)
    if index is not None:
        weights["g"] = np.asarray(index, np.int32)
    names = f"x b s {'z' if zero else '_'} {'_' if index is None else 'g'} {'c' if bias else '_'}"
    operator = node(
        "MatMulNBits", names, domain="com.microsoft", K=inputs, N=OUTPUTS, bits=bits, block_size=block, **attributes
    )
    return make_model([operator], {"x": ("float32", ("n", 3, inputs))}, weights=weights)


@pytest.mark.parametrize(
    ("bits", "inputs", "zero"),
    [
        (4, 64, ""),
        (4, 64, "packed"),
        (4, 64, "floats"),
        (4, 64, "halves"),
        (4, 40, "packed"),
        (8, 64, ""),
        (8, 40, "packed"),
    ],
)
def test_block_products_do_as_onnx_runtime_does(bits: int, inputs: int, zero: str) -> None:
    model = product(inputs, bits=bits, zero=zero, bias=bits == 4)
    assert_same(model, {"x": RNG.standard_normal((2, 3, inputs)).astype(np.float32)}, tolerance=1e-4)


@pytest.mark.parametrize("zero", ["", "halves"])
def test_inputs_in_another_order_do_as_onnx_runtime_does(zero: str) -> None:
    model = product(64, bits=4, zero=zero, index=RNG.permutation(np.arange(64) // 16))
    assert_same(model, {"x": RNG.standard_normal((2, 3, 64)).astype(np.float32)}, tolerance=1e-4)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_inputs_have_scale_and_zero_of_the_block_that_g_idx_puts_them_into(bits: int) -> None:
    """By the operator's definition: ONNX Runtime 1.32 leaves packed zeros out here, and has no kernel for 8 bits."""
    index = RNG.permutation(np.arange(64) // 16)
    model = product(64, bits=bits, zero="packed", index=index)
    stored = {w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
    quanta, zeros = (unpacked(stored[name].reshape(OUTPUTS, -1), bits) for name in "bz")
    weights = (quanta - zeros[:, index]) * stored["s"].reshape(OUTPUTS, -1)[:, index]
    x = RNG.standard_normal((2, 3, 64)).astype(np.float32)
    np.testing.assert_allclose(run_on_host(model, {"x": x})[0], x @ weights.T, rtol=1e-4, atol=1e-4)


def unpacked(stored: np.ndarray, bits: int) -> np.ndarray:
    apart = stored[..., None] >> np.arange(0, 8, bits, dtype=np.uint8) & ((1 << bits) - 1)
    return apart.reshape(len(stored), -1).astype(np.float64)


def test_blocks_of_unlike_many_inputs_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match='"g_idx" does not put 16 inputs into each block'):
        import_model(product(64, bits=4, index=[0] * 20 + [1] * 12 + [2] * 16 + [3] * 16))


def test_a_product_of_floats_is_not_claimed_by_a_kernel_that_rounds_them_to_eight_bits() -> None:
    plans = [
        byoc.partition(product(64, bits=4, block=32, accuracy_level=level), ["csource"]).summary() for level in (0, 4)
    ]
    assert ["csource 0/1" in plan for plan in plans] == [True, False], plans


@pytest.mark.parametrize(
    ("attributes", "said"),
    [({"weight_prepacked": 1}, "packed for another machine"), ({"groups": 2}, 'its attribute "groups" is unknown')],
)
def test_block_products_refuse_what_they_do_not_know(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedModelError, match=said):
        import_model(product(64, bits=4, **attributes))


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(("bits", "width"), [(4, 64), (4, 40), (8, 16)])
def test_gathering_from_a_table_in_blocks_does_as_onnx_runtime_does(bits: int, width: int, zero: bool) -> None:
    rows, blocks = 6, -(-width // 16)
    weights = {
        "t": pack(RNG.integers(0, 1 << bits, (rows, width)), bits),
        "s": RNG.random((rows, blocks)).astype(np.float32),
    }
    if zero:
        weights["z"] = pack(RNG.integers(0, 1 << bits, (rows, blocks + -blocks % (8 // bits))), bits)
    operator = node(
        "GatherBlockQuantized", f"t i s {'z' if zero else ''}", domain="com.microsoft", bits=bits, block_size=16
    )
    model = make_model([operator], {"i": ("int64", (2, 3))}, weights=weights)
    assert_same(model, {"i": np.array([[0, 5, -1], [2, -6, 3]])})
