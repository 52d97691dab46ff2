"""Inputs of ``byoc run``: names, files, sizes of symbolic dimensions, random values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from byoc.cli.run_inputs import concrete_shape, parse_assignments, random_input, read_array, symbol_values
from byoc.errors import InputError, ShapeError
from byoc.tensor_spec import TensorSpec

IDS = TensorSpec("input_ids", "int64", ("batch", "n"))
MASK = TensorSpec("attention_mask", "int64", ("batch", "n"))


def test_a_wrong_input_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(InputError, match=r'the artifact has no input "input_id"\n.*did you mean "input_ids"'):
        parse_assignments("--input", ("input_id=a.npy",), ["input_ids"])


def test_names_may_contain_equals_signs_and_colons() -> None:
    assert parse_assignments("--input", ("a=b:0=x.npy",), ["a=b:0"]) == {"a=b:0": Path("x.npy")}


def test_a_malformed_assignment_is_refused() -> None:
    with pytest.raises(InputError, match=r"write it as --input name=file\.npy"):
        parse_assignments("--input", ("x",), ["x"])


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_npy_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.npy"
    file.write_bytes(content)
    with pytest.raises(InputError, match=f'{file} for input "x" is no .npy file'):
        read_array("x", file)


def test_a_missing_file_a_pickle_and_an_npz_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_array("x", tmp_path / "none.npy")
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"no \.npy file"):
        read_array("x", tmp_path / "pickled.npy")
    np.savez(tmp_path / "several.npz", a=np.zeros(1))
    with pytest.raises(InputError, match="several arrays"):
        read_array("x", tmp_path / "several.npz")


def test_symbols_take_their_size_from_arrays_then_shapes_then_one() -> None:
    assert symbol_values([IDS, MASK], {"input_ids": np.zeros((2, 7), np.int64)}, {}) == {"batch": 2, "n": 7}
    assert symbol_values([IDS, MASK], {}, {"input_ids": [None, 5]}) == {"batch": 1, "n": 5}
    assert symbol_values([IDS], {}, {}) == {"batch": 1, "n": 1}


def test_a_shape_that_contradicts_an_array_is_refused() -> None:
    with pytest.raises(ShapeError, match='input "attention_mask" has a dimension of 8 where 7 is needed'):
        symbol_values([IDS, MASK], {"attention_mask": np.zeros((2, 8), np.int64)}, {"input_ids": [2, 7]})


def test_a_shape_for_an_unknown_input_or_of_a_wrong_rank_is_refused() -> None:
    with pytest.raises(ShapeError, match='did you mean "input_ids"'):
        symbol_values([IDS], {}, {"input_idz": [1, 1]})
    with pytest.raises(ShapeError, match="has 3 dimensions"):
        symbol_values([IDS], {}, {"input_ids": [1, 1, 1]})


def test_expressions_over_symbols_are_evaluated() -> None:
    spec = TensorSpec("x", "float32", ("2*n + (m - 1)//2", 4, "batch.1"))
    sizes = symbol_values([spec], {}, {})
    assert sizes == {"batch.1": 1, "m": 1, "n": 1}
    assert concrete_shape(spec, {**sizes, "n": 5, "m": 7}) == (13, 4, 1)


def test_a_dimension_without_a_size_is_refused_by_name() -> None:
    with pytest.raises(ShapeError, match='dimension "f\\(n\\)" of input "x" has no size'):
        concrete_shape(TensorSpec("x", "float32", ("f(n)",)), {"n": 1, "f": 1})


def test_random_inputs_fit_the_role_that_their_name_tells() -> None:
    generator = np.random.default_rng(0)
    assert random_input(MASK, (2, 3), generator).tolist() == [[1, 1, 1], [1, 1, 1]]
    assert random_input(TensorSpec("token_type_ids", "int64", ()), (3,), generator).tolist() == [0, 0, 0]
    assert random_input(TensorSpec("position_ids", "int64", ()), (2, 3), generator).tolist() == [[0, 1, 2], [0, 1, 2]]
    ids = random_input(IDS, (4, 100), generator)
    assert ids.dtype == np.int64 and ids.min() >= 0 and ids.max() < 10
    pixels = random_input(TensorSpec("image", "uint8", ()), (1000,), generator)
    assert pixels.dtype == np.uint8 and pixels.max() > 200
    assert random_input(TensorSpec("x", "bfloat16", ()), (2,), generator).dtype.name == "bfloat16"


def test_the_same_seed_gives_the_same_inputs() -> None:
    spec = TensorSpec("x", "float32", (2, 2))
    first, again = (random_input(spec, (2, 2), np.random.default_rng(3)) for _ in range(2))
    assert first.dtype == np.float32 and np.array_equal(first, again)
