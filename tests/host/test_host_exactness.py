"""What the host computes where TVM's own lowering of an op would be inexact, or would read what is not there."""

from __future__ import annotations

import numpy as np
import pytest

import byoc
from tests.imported import make_model, node, run_on_host

RNG = np.random.default_rng(0)
SCALE, SHIFT = np.array([0.5, 2], np.float32), np.array([1, -1], np.float32)


def _standardised(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    wide = x.astype(np.float64)
    return (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)


@pytest.mark.parametrize("mean", [0, 1000])
def test_instance_norm_of_a_large_plane_keeps_six_digits(mean: float) -> None:
    x = (RNG.standard_normal((1, 2, 300, 400)) + mean).astype(np.float32)
    model = make_model(
        [node("InstanceNormalization", "x s b")],
        {"x": ("float32", ["n", 2, 300, 400])},
        weights={"s": SCALE, "b": SHIFT},
    )
    wanted = _standardised(x, (2, 3)) * SCALE.reshape(2, 1, 1) + SHIFT.reshape(2, 1, 1)
    np.testing.assert_allclose(run_on_host(model, {"x": x})[0], wanted, rtol=1e-6, atol=1e-6)


def test_group_norm_takes_statistics_over_the_channels_of_a_group() -> None:
    x = (RNG.standard_normal((2, 4, 3, 5)) + 1000).astype(np.float32)
    weights = {"s": np.repeat(SCALE, 2), "b": np.repeat(SHIFT, 2)}
    model = make_model(
        [node("GroupNormalization", "x s b", num_groups=2)],
        {"x": ("float32", [2, 4, "h", 5])},
        weights=weights,
        opset=21,
    )
    rows = _standardised(x.reshape(2, 2, 30), (2,)).reshape(x.shape)
    wanted = rows * weights["s"].reshape(4, 1, 1) + weights["b"].reshape(4, 1, 1)
    np.testing.assert_allclose(run_on_host(model, {"x": x})[0], wanted, rtol=1e-4, atol=1e-4)


def test_layer_norm_of_values_far_from_zero_does_not_cancel() -> None:
    x = (RNG.standard_normal((3, 2, 64)) + 3000).astype(np.float32)
    weights = {"s": np.ones((2, 64), np.float32), "b": np.zeros((2, 64), np.float32)}
    model = make_model(
        [node("LayerNormalization", "x s b", axis=1)], {"x": ("float32", [3, 2, 64])}, weights=weights, opset=17
    )
    wanted = _standardised(x, (1, 2))
    np.testing.assert_allclose(run_on_host(model, {"x": x})[0], wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize(("operator", "reduce"), [("ReduceSum", np.sum), ("ReduceMean", np.mean)])
@pytest.mark.parametrize("shape", [[3, "n", 2], [3, 100_000, 2]])
def test_long_rows_are_added_up_exactly(operator: str, reduce: object, shape: list[object], keep: int) -> None:
    x = (RNG.standard_normal((3, 100_000, 2)) + 3).astype(np.float32)
    axes = {"a": np.array([1])}
    nodes = [node("ReduceMean", "x", axes=[1], keepdims=keep)]
    if operator == "ReduceSum":
        nodes = [node("ReduceSum", "x a", keepdims=keep)]
    model = make_model(nodes, {"x": ("float32", shape)}, weights=axes if operator == "ReduceSum" else {})
    wanted = reduce(x.astype(np.float64), 1, keepdims=bool(keep))  # type: ignore[operator]
    (got,) = run_on_host(model, {"x": x})
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=2e-7)


@pytest.mark.parametrize(("operator", "filled"), [("ReduceMax", -np.inf), ("ReduceMin", np.inf)])
def test_the_extreme_of_nothing_but_infinities_is_that_infinity(operator: str, filled: float) -> None:
    x = np.array([[filled, filled], [1, 2]], np.float32)
    model = make_model([node(operator, "x", axes=[1], keepdims=0)], {"x": ("float32", [2, 2])})
    (got,) = run_on_host(model, {"x": x})
    assert got.tolist() == [filled, 2.0 if operator == "ReduceMax" else 1.0]


def _reshape_to_run_time_size() -> object:
    nodes = [
        node("Shape", "like", "s"),
        node("Gather", "s last", "length"),
        node("Concat", "two length", "shape", axis=0),
        node("Reshape", "x shape", "y"),
    ]
    weights = {"last": np.array([0]), "two": np.array([2])}
    inputs = {"x": ("float32", [6]), "like": ("float32", ["n"])}
    return make_model(nodes, inputs, weights=weights)


@pytest.mark.parametrize(("size", "off"), [(2, "2 elements too many"), (4, "2 elements too few")])
def test_a_reshape_that_does_not_fit_at_run_time_is_an_error(size: int, off: str) -> None:
    session = byoc.compile(_reshape_to_run_time_size(), use_cache=False).session()
    x = np.arange(6, dtype=np.float32)
    assert session.run({"x": x, "like": np.zeros(3, np.float32)})["y"].tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(byoc.ByocError, match=f"do not fit: {off}") as caught:
        session.run({"x": x, "like": np.zeros(size, np.float32)})
    assert caught.value.todo == "check the sizes of the inputs given"


def test_a_table_of_positions_that_is_cut_to_the_length_of_a_text_is_added_where_it_is_long_enough() -> None:
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s second", "length"),
        node("Slice", "table zero length second", "positions"),
        node("Add", "x positions", "y"),
    ]
    table = np.arange(4, dtype=np.float32).reshape(1, 4)
    weights = {"second": np.array([1]), "zero": np.array([0]), "table": table}
    session = byoc.compile(
        make_model(nodes, {"x": ("float32", ["b", "n"])}, weights=weights), use_cache=False
    ).session()
    assert session.run({"x": np.ones((2, 3), np.float32)})["y"].tolist() == [[1, 2, 3], [1, 2, 3]]
    with pytest.raises(byoc.ByocError, match="do not fit: 1 element too few"):
        session.run({"x": np.ones((2, 5), np.float32)})
