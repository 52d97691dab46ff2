"""The weight store and its layout in the file."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from byoc.artifact import WeightStore
from byoc.artifact.weights import view_weights
from byoc.errors import ArtifactError


def packed(store: WeightStore) -> memoryview:
    return memoryview(bytearray(b"".join(store.chunks())))


def test_equal_tensors_are_kept_once() -> None:
    store = WeightStore()
    first = store.add("a", np.ones((2, 3), np.float32))
    assert store.add("b", np.ones((2, 3), np.float32)) == first
    assert len(store) == 1
    assert store.records()[0].name == "a"


@pytest.mark.parametrize(
    "other",
    [
        np.ones((3, 2), np.float32),
        np.ones((2, 3), np.int32).view(np.int32) * 0x3F800000,
        np.zeros((2, 3), np.float32),
        -np.zeros((2, 3), np.float32),
    ],
    ids=["shape", "dtype with the same bytes", "content", "minus zero"],
)
def test_tensors_that_differ_are_kept_apart(other: np.ndarray) -> None:
    store = WeightStore()
    store.add("ones", np.ones((2, 3), np.float32))
    store.add("zeros", np.zeros((2, 4), np.float32))
    assert store.add("other", other) == 2


DTYPES = ["bool", "int8", "uint16", "int64", "float16", "float32", "float64"]
DTYPES += [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_awkward_shape_survives(dtype: object) -> None:
    store = WeightStore()
    arrays = [
        np.arange(6).reshape(2, 3).astype(dtype),
        np.array(1).astype(dtype),
        np.zeros((0, 5)).astype(dtype),
        np.arange(100).astype(dtype)[::7],
    ]
    indices = [store.add(str(i), array) for i, array in enumerate(arrays)]
    views = view_weights(packed(store), store.records())
    for index, array in zip(indices, arrays, strict=True):
        assert views[index].dtype == array.dtype
        assert views[index].shape == array.shape
        assert views[index].tobytes() == array.tobytes()
    assert all(record.offset % 64 == 0 for record in store.records())


def test_views_share_the_members_memory() -> None:
    store = WeightStore()
    store.add("w", np.zeros(4, np.float32))
    member = packed(store)
    view = view_weights(member, store.records())[0]
    member[0:4] = np.float32(2.5).tobytes()
    assert view[0] == 2.5


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(3, ">f4"),
        np.zeros(3, np.complex64),
        np.array(["text"]),
        np.array([None], dtype=object),
        np.zeros(3, ml_dtypes.int4),
    ],
    ids=["big-endian", "complex", "text", "object", "int4"],
)
def test_a_dtype_that_cannot_be_stored_is_refused_by_name(array: np.ndarray) -> None:
    with pytest.raises(ArtifactError, match=r'weight "layer\.w"'):
        WeightStore().add("layer.w", array)


def test_kept_arrays_cannot_be_written() -> None:
    store = WeightStore()
    store.add("w", np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        store.arrays[0][0] = 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"offset": 32}, "not aligned"),
        ({"offset": 0}, "overlaps"),
        ({"offset": 6400}, "ends at byte"),
        ({"nbytes": 12}, "do not hold"),
        ({"shape": (1 << 40, 1 << 40)}, "do not hold"),
        ({"dtype": "float31"}, "cannot be stored"),
        ({"dtype": "object"}, "cannot be stored"),
    ],
)
def test_a_lying_weight_table_is_refused_by_name(change: dict[str, object], why: str) -> None:
    store = WeightStore()
    store.add("first", np.zeros(4, np.float32))
    store.add("second", np.ones(4, np.float32))
    first, second = store.records()
    with pytest.raises(ArtifactError, match='at "second"') as caught:
        view_weights(packed(store), [first, replace(second, **change)])
    assert why in caught.value.why
