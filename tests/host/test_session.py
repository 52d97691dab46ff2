"""Sessions: results, memory, errors, threads, and a process that has nothing but the runtime."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tvm import relax

import byoc
from byoc.artifact import Artifact, open_artifact
from byoc.errors import ArtifactError, InputError, SessionError, UsageError
from byoc.runtime import Session, aligned_copy, aligned_empty
from byoc.runtime.threads import core_count, threads_in_use
from byoc.tensor_spec import TensorSpec
from tests.handmade import OFFSET, host_model, offset_model, offset_model_reference

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("session") / "model.byoc"
    offset_model().save(path)
    return path


@pytest.fixture
def session(saved: Path) -> Iterator[Session]:
    with byoc.load(saved) as session:
        yield session


def numbers(rows: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, 4), dtype=np.float32)


def unaligned(array: Array) -> Array:
    memory = np.empty(array.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + 4
    view = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


class Exporter:
    """An array of another library: all it can do is DLPack."""

    def __init__(self, array: Array, device: int = 1) -> None:
        self._array, self._device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (self._device, 0)


@pytest.mark.parametrize("rows", [0, 1, 5, 64])
def test_a_saved_and_an_unsaved_artifact_compute_the_same(session: Session, rows: int) -> None:
    x = numbers(rows)
    with offset_model().session() as unsaved:
        from_memory = unsaved.run({"x": x})["y"]
    from_file = session.run({"x": x}, entry="main")["y"]
    np.testing.assert_array_equal(from_file, from_memory)
    np.testing.assert_allclose(from_file, offset_model_reference(x), rtol=1e-5, atol=1e-6)
    assert from_file.dtype == np.float32 and from_file.shape == (rows, 8)


def test_it_tells_what_can_be_run(session: Session) -> None:
    assert [entry.name for entry in session.entry_functions] == ["main", "twice"]
    assert str(session.entry_functions[0].inputs[0]) == "x: float32[n, 4]"
    assert session.plan_json == '{"plan": "handmade"}'
    assert session.manifest.partitions[0].symbol == "add_offset"


def test_an_unknown_entry_function_is_refused_with_the_nearest_name(session: Session) -> None:
    with pytest.raises(UsageError, match='did you mean "twice"'):
        session.run({"a": np.zeros(3, np.float32)}, entry="twic")


def test_without_a_name_the_only_entry_function_runs() -> None:
    spec = TensorSpec("x", "float32", (2,))
    model = host_model({"decode": ([spec], [TensorSpec("y", "float32", (2,))], lambda x: relax.op.negative(x))})
    with model.session() as session:
        np.testing.assert_array_equal(session.run({"x": np.array([1, -2], np.float32)})["y"], [-1, 2])


# ---- memory


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


# ---- dtypes

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


# ---- wrong inputs


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ({"y": numbers(2)}, "no input is called 'y'; 'x' not given"),
        ({}, "'x' not given"),
        ({"x": numbers(2), "extra": numbers(2)}, "no input is called 'extra'"),
        ({"x": numbers(2).astype(np.float64)}, 'input "x" is float64, float32 is expected'),
        ({"x": numbers(2).astype(">f4")}, 'input "x" is >f4, float32 is expected'),
        ({"x": numbers(2).astype(object)}, 'input "x" is object, float32 is expected'),
        ({"x": np.array([["a"] * 4])}, 'input "x" is <U1, float32 is expected'),
        ({"x": Exporter(numbers(2).astype(np.float64))}, 'input "x" is float64, float32 is expected'),
        ({"x": numbers(2)[0]}, r'input "x" has shape \[4\], \[n, 4\] is expected'),
        ({"x": numbers(2)[:, :3]}, r'input "x" has shape \[2, 3\], \[n, 4\] is expected'),
        ({"x": [[1.0, 2.0, 3.0, 4.0]]}, 'input "x" is a list'),
        ({"x": None}, 'input "x" is a NoneType'),
        ({"x": Exporter(numbers(2), device=2)}, 'input "x" is on another device'),
        ({"x": Exporter(aligned_copy(numbers(2).astype(np.complex64)))}, 'input "x" cannot be exported'),
        ({"x": Exporter(unaligned(numbers(2).astype(np.complex64)))}, 'input "x" cannot be exported'),
        ([numbers(2)], "inputs are a list"),
        ({1: numbers(2)}, "no input is called 1"),
    ],
)
def test_wrong_inputs_are_refused_with_what_is_expected(session: Session, inputs: Any, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        session.run(inputs, entry="main")
    assert '"main" expects x: float32[n, 4]' in caught.value.todo


def test_a_misspelt_name_is_recognised() -> None:
    specs = [TensorSpec("input_ids", "int64", (2,)), TensorSpec("attention_mask", "int64", (2,))]
    model = host_model({"main": (specs, [TensorSpec("y", "int64", (2,))], lambda a, b: relax.op.add(a, b))})
    ones = np.ones(2, np.int64)
    with model.session() as session, pytest.raises(InputError, match='did you mean "attention_mask"'):
        session.run({"input_ids": ones, "atention_mask": ones})


@pytest.fixture(scope="module")
def symbolic() -> Iterator[Session]:
    """y = a @ b, a[m, k], b[k, (2 * m)]."""
    specs = [TensorSpec("a", "float32", ("m", "k")), TensorSpec("b", "float32", ("k", "(2 * m)"))]
    model = host_model(
        {"main": (specs, [TensorSpec("y", "float32", ("m", "(2 * m)"))], lambda a, b: relax.op.matmul(a, b))}
    )
    with model.session() as session:
        yield session


@pytest.mark.parametrize(("m", "k"), [(1, 1), (3, 5), (2, 7)])
def test_symbolic_dimensions_take_the_sizes_of_each_call(symbolic: Session, m: int, k: int) -> None:
    a, b = np.full((m, k), 2, np.float32), np.full((k, 2 * m), 3, np.float32)
    np.testing.assert_array_equal(symbolic.run({"a": a, "b": b})["y"], np.full((m, 2 * m), 6.0 * k))


@pytest.mark.parametrize(
    ("a", "b", "what"),
    [
        ((2, 3), (4, 4), r'dimension "k" is 3 in "a" \(axis 1\) and 4 in "b" \(axis 0\)'),
        ((2, 3), (3, 5), r'input "b" has shape \[3, 5\]'),
        ((2, 3), (3,), r'input "b" has shape \[3\], \[k, \(2 \* m\)\] is expected'),
    ],
)
def test_symbolic_dimensions_that_disagree_are_refused(
    symbolic: Session, a: tuple[int, ...], b: tuple[int, ...], what: str
) -> None:
    for _ in range(2):  # a good call between must not hide a bad one
        with pytest.raises(InputError, match=what):
            symbolic.run({"a": np.zeros(a, np.float32), "b": np.zeros(b, np.float32)})
        symbolic.run({"a": np.zeros((2, 3), np.float32), "b": np.zeros((3, 4), np.float32)})


# ---- failures


def test_a_failing_partition_is_named_and_the_session_stays_usable(session: Session) -> None:
    x = numbers(5)
    bad = np.full((1, 4), 1e9, np.float32)
    with pytest.raises(SessionError, match='failed in partition "add_offset"') as caught:
        session.run({"x": bad})
    assert caught.value.why == "handmade says: the accelerator refuses so small a number"
    assert "Traceback" not in str(caught.value) and ".cc" not in str(caught.value)
    np.testing.assert_allclose(session.run({"x": x})["y"], offset_model_reference(x), rtol=1e-5, atol=1e-6)


def test_a_failing_bind_is_named() -> None:
    model = offset_model()
    broken = replace(model.manifest.partitions[0], constants=())
    with pytest.raises(ArtifactError, match='constants of partition "add_offset" cannot be bound') as caught:
        replace(model, manifest=replace(model.manifest, partitions=(broken,))).session()
    assert "one constant expected" in caught.value.why


def test_a_library_that_is_none_is_refused() -> None:
    with pytest.raises(ArtifactError, match="native library cannot be loaded"):
        replace(offset_model(), library=b"\x7fELF nonsense").session()


def test_a_partition_that_nobody_defines_is_refused_when_loading() -> None:
    def calls_nobody(x: Any) -> Any:
        return relax.call_dps_packed("nobody_defines_this", [x], out_ty=relax.TensorType((2,), "float32"))

    spec = TensorSpec("x", "float32", (2,))
    model = host_model({"main": ([spec], [spec], calls_nobody)})
    with pytest.raises(ArtifactError, match="cannot be started") as caught:
        model.session()
    assert "nobody_defines_this" in caught.value.why


def test_an_artifact_for_other_machines_is_refused_in_memory_too() -> None:
    model = offset_model()
    with pytest.raises(ArtifactError, match="lacks quantum9000"):
        replace(model, manifest=replace(model.manifest, cpu_features=("quantum9000",))).session()


def python_model(function: Any) -> Artifact:
    """y = function(x), x float32[3], as a partition of the codegen "toy"."""
    from byoc.artifact import PartitionRecord

    def body(x: Any) -> Any:
        return relax.call_dps_packed("toy_partition", [x], out_ty=relax.TensorType((3,), "float32"))

    spec = TensorSpec("x", "float32", (3,))
    model = host_model({"main": ([spec], [TensorSpec("y", "float32", (3,))], body)})
    partition = PartitionRecord("toy_partition", "toy")
    return replace(
        model,
        manifest=replace(model.manifest, partitions=(partition,)),
        python_functions={"toy_partition": function},
    )


def test_python_prototypes_of_two_sessions_do_not_meet() -> None:
    def fill(value: float) -> Any:
        def function(x: Any, y: Any) -> None:
            np.from_dlpack(y)[...] = np.from_dlpack(x) + value

        return function

    x = {"x": np.zeros(3, np.float32)}
    with python_model(fill(1)).session() as one, python_model(fill(2)).session() as two:
        np.testing.assert_array_equal(one.run(x)["y"], [1, 1, 1])
        np.testing.assert_array_equal(two.run(x)["y"], [2, 2, 2])
        np.testing.assert_array_equal(one.run(x)["y"], [1, 1, 1])


def test_a_python_prototype_that_raises_is_named_and_called_once() -> None:
    calls = []

    def function(x: Any, y: Any) -> None:
        calls.append(1)
        raise RuntimeError("not simulated yet")

    failing = pytest.raises(SessionError, match='partition "toy_partition"')
    with python_model(function).session() as session, failing as caught:
        session.run({"x": np.zeros(3, np.float32)})
    assert caught.value.why == "toy says: not simulated yet"
    assert len(calls) == 1


# ---- life of a session


def test_a_closed_session_says_so(saved: Path) -> None:
    session = byoc.load(saved)
    session.close()
    session.close()
    with pytest.raises(SessionError, match="the session is closed"):
        session.run({"x": numbers(1)})


def mapped_libraries() -> int:
    return sum("/library.so" in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_closing_unloads_the_library(saved: Path) -> None:
    gc.collect()
    before = mapped_libraries()
    session = byoc.load(saved)
    result = session.run({"x": numbers(2)})
    assert mapped_libraries() > before
    session.close()
    del session
    gc.collect()
    assert mapped_libraries() == before
    assert result["y"].shape == (2, 8)


def test_the_unpacked_library_is_gone_once_loaded(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with byoc.load(saved) as session:
        assert list(tmp_path.iterdir()) == []
        assert session.run({"x": numbers(2)})["y"].shape == (2, 8)


def test_two_artifacts_with_the_same_symbols_keep_apart(saved: Path) -> None:
    from byoc.artifact import WeightStore

    model = offset_model()
    weights = WeightStore()
    for name, array in zip(("factor", "offset"), (model.arrays[0], model.arrays[1] + 100), strict=True):
        weights.add(name, array)
    x = numbers(3)
    with byoc.load(saved) as one, replace(model, weights=weights).session() as two, byoc.load(saved) as three:
        for _ in range(2):
            np.testing.assert_allclose(one.run({"x": x})["y"], offset_model_reference(x), rtol=1e-5, atol=1e-6)
            assert two.run({"x": x})["y"].min() > 90
            np.testing.assert_array_equal(one.run({"x": x})["y"], three.run({"x": x})["y"])


# ---- threads


def test_many_threads_may_call_one_session(session: Session) -> None:
    def work(seed: int) -> bool:
        x = numbers(1 + seed % 7, seed)
        wanted = offset_model_reference(x)
        return all(
            np.allclose(session.run({"x": x})["y"], wanted, rtol=1e-5, atol=1e-6)
            and session.run({"a": x[0, :3]}, entry="twice")["doubled"][0] == 2 * x[0, 0]
            for _ in range(50)
        )

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(work, range(24)))


def test_machines_are_bounded_however_many_threads_call(session: Session) -> None:
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda seed: session.run({"x": numbers(2, seed)}), range(200)))
    assert 1 <= session._pool._made <= max(2, os.cpu_count() or 1)


def test_closing_waits_for_calls_and_stops_later_ones(saved: Path) -> None:
    session = byoc.load(saved)
    x = numbers(200)
    wanted = offset_model_reference(x)
    started = threading.Barrier(5)
    wrong: list[str] = []

    def work() -> None:
        started.wait()
        try:
            while True:
                if not np.allclose(session.run({"x": x})["y"], wanted, rtol=1e-5, atol=1e-6):
                    wrong.append("a wrong result")
        except SessionError as error:
            if "closed" not in str(error):
                wrong.append(str(error))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    started.wait()
    session.close()
    for worker in workers:
        worker.join(timeout=60)
    assert not any(worker.is_alive() for worker in workers)
    assert wrong == []


def test_a_run_uses_the_threads_it_was_told_whatever_thread_calls(saved: Path) -> None:
    with byoc.load(saved, threads=1) as one, byoc.load(saved, threads=2) as two:

        def seen() -> list[int]:
            counts = []
            for session in (one, two, one):
                session.run({"x": numbers(2)})
                counts.append(threads_in_use())
            return counts

        with ThreadPoolExecutor(1) as elsewhere:
            assert elsewhere.submit(seen).result() == [1, 2, 1]


def test_runs_leave_the_calling_thread_on_all_its_processors(session: Session) -> None:
    before = os.sched_getaffinity(0)
    session.run({"x": numbers(2)})
    assert os.sched_getaffinity(0) == before


def test_the_number_of_threads_comes_from_the_argument_then_the_environment(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BYOC_NUM_THREADS", raising=False)
    with byoc.load(saved) as session:
        assert session.threads == core_count()
    monkeypatch.setenv("BYOC_NUM_THREADS", "3")
    with byoc.load(saved) as session, byoc.load(saved, threads=1) as single:
        assert (session.threads, single.threads) == (3, 1)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_a_number_of_threads_that_is_none_is_refused(saved: Path, threads: Any) -> None:
    with pytest.raises(UsageError, match="no number of threads"):
        byoc.load(saved, threads=threads)


def test_nonsense_in_the_environment_is_refused_by_name(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYOC_NUM_THREADS", "many")
    with pytest.raises(UsageError, match="BYOC_NUM_THREADS=many"):
        byoc.load(saved)


# ---- instruments


def test_an_instrument_sees_every_partition_before_and_after(session: Session) -> None:
    events: list[tuple[str, bool, int]] = []

    def look(function: Any, symbol: str, before: bool, result: Any, *arguments: Any) -> None:
        events.append((symbol, bool(before), len(arguments)))

    session.set_instrument(look)
    x = numbers(2)
    np.testing.assert_allclose(session.run({"x": x})["y"], offset_model_reference(x), rtol=1e-5, atol=1e-6)
    session.set_instrument(None)
    assert [event for event in events if event[0] == "add_offset"] == [
        ("add_offset", True, 2),
        ("add_offset", False, 2),
    ]
    count = len(events)
    session.run({"x": x})
    assert len(events) == count


def test_an_instrument_may_leave_a_call_out(session: Session) -> None:
    def skip(function: Any, symbol: str, before: bool, result: Any, *arguments: Any) -> int:
        if symbol == "add_offset" and before:
            np.from_dlpack(arguments[1])[...] = 5
            return 1
        return 0

    session.set_instrument(skip)
    np.testing.assert_array_equal(session.run({"x": numbers(2)})["y"], np.full((2, 8), 5.0))


# ---- a process of its own

BARE = """
import sys, numpy as np, byoc
with byoc.load(sys.argv[1]) as session:
    result = session.run({"x": np.load(sys.argv[2])})["y"]
np.save(sys.argv[3], result)
maps = open("/proc/self/maps").read()
assert "libtvm_compiler" not in maps and "libtvm_runtime.so" in maps
"""

RUNTIME_THEN_COMPILER = """
import sys, numpy as np, byoc
session = byoc.load(sys.argv[1])
x = np.load(sys.argv[2])
first = session.run({"x": x})["y"]
import tvm
from tvm import relax
assert tvm.get_global_func("relax.analysis.well_formed", allow_missing=True) is not None
np.testing.assert_array_equal(session.run({"x": x})["y"], first)
np.testing.assert_array_equal(byoc.load(sys.argv[1]).run({"x": x})["y"], first)
np.save(sys.argv[3], first)
"""


@pytest.mark.parametrize(
    ("program", "environment"),
    [(BARE, {"TVM_USE_RUNTIME_LIB": "1"}), (BARE, {}), (RUNTIME_THEN_COMPILER, {})],
    ids=["runtime only", "compiler installed but unused", "compiler loaded later"],
)
def test_a_fresh_process_without_any_tool_runs_it(
    saved: Path, tmp_path: Path, program: str, environment: dict[str, str]
) -> None:
    x = numbers(6)
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, "-c", program, str(saved), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    result = subprocess.run(
        command, env={"PATH": "", "HOME": str(tmp_path), **environment}, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), offset_model_reference(x), rtol=1e-5, atol=1e-6)


def test_an_array_made_for_a_session_is_aligned() -> None:
    kept = []  # so that each comes from another place
    for shape in [(), (3,), (0, 4), (7, 5)] * 20:
        array = aligned_empty(shape, "bfloat16")
        kept.append((array, bytearray(len(kept))))
        assert array.shape == shape and array.dtype == ml_dtypes.bfloat16
        assert array.ctypes.data % 64 == 0
