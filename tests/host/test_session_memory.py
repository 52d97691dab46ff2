"""What sessions share with their callers, and what they copy; every dtype."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tvm import relax

import byoc
from byoc.artifact import open_artifact
from byoc.runtime import Session, aligned_copy
from byoc.tensor_spec import TensorSpec
from tests.handmade import OFFSET, host_model, offset_model_reference
from tests.session_inputs import Array, Exporter, numbers, unaligned


def addresses_seen(session: Session, x: Any) -> int:
    """The address of the first argument that the host's product gets for input x."""
    seen = []

    def look(function: Any, symbol: str, before: bool, result: Any, *arguments: Any) -> None:
        if before and symbol.startswith("matmul"):
            seen.append(arguments[0].data_ptr())

    session.set_instrument(look)
    result = session.run({"x": x})["y"]
    session.set_instrument(None)
    values = np.from_dlpack(x) if not isinstance(x, np.ndarray) else x
    np.testing.assert_allclose(result, offset_model_reference(values), rtol=1e-5, atol=1e-6)
    return seen[0]


def test_an_aligned_array_is_used_in_place(session: Session) -> None:
    x = aligned_copy(numbers(5))
    assert addresses_seen(session, x) == x.ctypes.data


def test_a_read_only_array_is_used_in_place(session: Session) -> None:
    x = aligned_copy(numbers(5))
    x.flags.writeable = False
    assert addresses_seen(session, x) == x.ctypes.data


def test_a_dlpack_object_is_used_in_place(session: Session) -> None:
    x = aligned_copy(numbers(5))
    assert addresses_seen(session, Exporter(x)) == x.ctypes.data


def test_torch_tensors_are_taken(session: Session) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    x = numbers(5)
    for tensor in (torch.from_numpy(x), torch.from_numpy(x.T.copy()).T):
        np.testing.assert_allclose(session.run({"x": tensor})["y"], offset_model_reference(x), rtol=1e-5, atol=1e-6)


def test_a_read_only_dlpack_object_is_taken(session: Session) -> None:
    x = aligned_copy(numbers(5))
    x.flags.writeable = False
    assert addresses_seen(session, Exporter(x)) == x.ctypes.data


@pytest.mark.parametrize("wrap", [lambda x: x, Exporter], ids=["numpy", "dlpack"])
def test_an_unaligned_array_is_copied(session: Session, wrap: Any) -> None:
    x = unaligned(numbers(5))
    address = addresses_seen(session, wrap(x))
    assert address != x.ctypes.data and address % 64 == 0


@pytest.mark.parametrize("wrap", [lambda x: x, Exporter], ids=["numpy", "dlpack"])
@pytest.mark.parametrize(
    "x",
    [np.asfortranarray(numbers(5)), numbers(10)[::2], numbers(5)[::-1], np.broadcast_to(numbers(1), (5, 4))],
    ids=["column order", "every other row", "backwards", "broadcast"],
)
def test_an_array_that_is_not_contiguous_is_copied(session: Session, x: Array, wrap: Any) -> None:
    assert addresses_seen(session, wrap(x)) != x.ctypes.data


@pytest.mark.parametrize("wrap", [lambda x: x, Exporter], ids=["numpy", "dlpack"])
@pytest.mark.parametrize("x", [np.empty((0, 4), np.float32), aligned_copy(numbers(10))[::4][:0]], ids=["new", "slice"])
def test_an_empty_array_is_taken_whatever_its_strides(session: Session, x: Array, wrap: Any) -> None:
    assert session.run({"x": wrap(x)})["y"].shape == (0, 8)


def test_inputs_are_never_changed(session: Session) -> None:
    x = aligned_copy(numbers(5))
    before = x.copy()
    session.run({"x": x})
    np.testing.assert_array_equal(x, before)


def test_a_result_that_is_an_input_or_a_weight_is_the_callers_own(session: Session) -> None:
    a = aligned_copy(np.array([1, 2, 3], np.float32))
    first = session.run({"a": a}, entry="twice")
    np.testing.assert_array_equal(first["doubled"], [2, 4, 6])
    first["same"][...] = 77
    first["offset"][...] = 77
    np.testing.assert_array_equal(a, [1, 2, 3])
    np.testing.assert_array_equal(session.run({"a": a}, entry="twice")["offset"], OFFSET)


def test_results_stay_when_the_session_and_later_runs_go(saved: Path) -> None:
    x = numbers(5)
    with byoc.load(saved) as session:
        first = session.run({"x": x})["y"]
        for seed in range(20):
            session.run({"x": numbers(5, seed)})
    del session
    gc.collect()
    assert first.flags.writeable
    np.testing.assert_allclose(first, offset_model_reference(x), rtol=1e-5, atol=1e-6)


def test_weights_of_a_file_are_mapped_not_copied(saved: Path) -> None:
    opened = open_artifact(saved)
    with opened.session() as session:
        addresses = [tensor.data_ptr() for tensor in session._weights]
    assert addresses == [array.ctypes.data for array in opened.arrays]


DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
DTYPES += ["float16", "float32", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2"]


@pytest.fixture(scope="module")
def typed() -> Iterator[Session]:
    """f_<dtype>(x[2, 3]) = the rows of x, twice."""
    functions = {
        f"f_{dtype}": (
            [TensorSpec("x", dtype, (2, 3))],
            [TensorSpec("y", dtype, (4, 3))],
            lambda x: relax.op.concat([x, x], axis=0),
        )
        for dtype in DTYPES
    }
    with host_model(functions).session() as session:
        yield session


@pytest.mark.parametrize("place", [aligned_copy, unaligned], ids=["aligned", "unaligned"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_goes_in_and_comes_out(typed: Session, dtype: str, place: Any) -> None:
    x = place(np.array([[0, 1, 2], [3, 1, 0]]).astype(getattr(ml_dtypes, dtype, dtype)))
    y = typed.run({"x": x}, entry=f"f_{dtype}")["y"]
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, np.concatenate([x, x]))


def test_scalars_go_in_and_come_out() -> None:
    spec = [TensorSpec("x", "float32", ()), TensorSpec("k", "int64", ())]
    model = host_model(
        {
            "main": (
                spec,
                [TensorSpec("y", "float32", ()), TensorSpec("n", "int64", ())],
                lambda x, k: relax.Tuple([relax.op.exp(x), relax.op.add(k, k)]),
            )
        }
    )
    with model.session() as session:
        result = session.run({"x": np.float32(1.0), "k": np.array(21)})
    assert result["y"].shape == () and result["n"] == 42
    np.testing.assert_allclose(result["y"], np.e, rtol=1e-6)


def libraries_mapped() -> int:
    return sum("library.so" in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_a_closed_session_frees_its_library(saved: Path) -> None:
    before = libraries_mapped()
    with byoc.load(saved) as session:
        session.run({"x": numbers(2)})
        assert libraries_mapped() > before
    gc.collect()
    assert libraries_mapped() == before
