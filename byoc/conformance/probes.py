"""What a compiled case undergoes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from byoc.conformance.build import expected, inputs_of
from byoc.conformance.case import Case
from byoc.conformance.compare import disagreement
from byoc.conformance.guard import FencedCalls, Partition
from byoc.runtime import Session, aligned_copy

_THREADS, _SECONDS = 4, 1.0
Arrays = Mapping[str, np.ndarray]


class WrongError(Exception):
    """A result is wrong; its text says which and how."""


def probe(case: Case, session: Session, partitions: Mapping[str, Partition], enter: Callable[[str], None]) -> None:
    """Run every probe; `enter` is told the name of each before it begins.  Raises :class:`WrongError`."""
    trial = _Trial(case, session)
    for sizes in case.sizes:
        at = ", ".join(f"{name}={size}" for name, size in sizes.items())
        enter(f"run{f' at {at}' if at else ''}")
        first = trial.check(sizes, seed=0)
        enter("second run, on other values")
        trial.check(sizes, seed=1)
        enter("third run, on the first values")
        again = trial.check(sizes, seed=0)
        if any(not np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(first, again, strict=True)):
            raise WrongError("the same inputs give other results when they are run again")
    sizes = case.sizes[0]
    enter("inputs that are not aligned")
    trial.check(sizes, seed=2, prepare=unaligned)
    for left, right in trial.alike(sizes):
        enter(f"one array as {left} and {right}")
        trial.check(sizes, seed=0, prepare=lambda a, left=left, right=right: {**a, right: a[left]})  # type: ignore[misc]
    enter("memory of its own")
    trial.fenced(sizes, partitions)
    if case.threads:
        enter("several threads")
        trial.in_threads(sizes)


class _Trial:
    def __init__(self, case: Case, session: Session) -> None:
        self.case, self.session = case, session
        entry = session.entry_functions[0]
        self.dtypes = [spec.dtype for spec in entry.outputs]

    def check(
        self, sizes: Mapping[str, int], seed: int, prepare: Callable[[Any], Arrays] | None = None
    ) -> list[np.ndarray]:
        """Run on seeded values and compare; returns the results."""
        # Aligned: of an input that is not, the session passes on a copy, and who writes into that is not seen.
        arrays: Arrays = {n: aligned_copy(array) for n, array in inputs_of(self.case, sizes, seed).items()}
        if prepare is not None:
            arrays = prepare(arrays)
        kept = {name: array.copy() for name, array in arrays.items()}
        results = list(self.session.run(arrays).values())
        self.compare(results, kept)
        for name, array in arrays.items():
            if not np.array_equal(array, kept[name], equal_nan=array.dtype.kind == "f"):
                raise WrongError(f"the run changed the input {name}")
        return results

    def compare(self, results: list[np.ndarray], arrays: Arrays) -> None:
        wanted = expected(self.case, arrays)
        for number, (got, want, dtype) in enumerate(zip(results, wanted.arrays, self.dtypes, strict=True)):
            found = disagreement(got, want, dtype, wanted.tolerance(dtype))
            if found:
                raise WrongError(found if len(results) == 1 else f"result {number}: {found}")

    def alike(self, sizes: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        """The first two inputs of one dtype, shape and meaning."""
        given = [o for o in self.case.operands if not o.constant]
        for i, left in enumerate(given):
            for right in given[i + 1 :]:
                if (left.shape, left.dtype, left.fill) == (right.shape, right.dtype, right.fill):
                    yield left.name, right.name
                    return

    def fenced(self, sizes: Mapping[str, int], partitions: Mapping[str, Partition]) -> None:
        calls = FencedCalls(partitions)
        arrays = inputs_of(self.case, sizes, 0)
        self.session.set_instrument(calls)
        try:
            results = [array.copy() for array in self.session.run(arrays).values()]
        finally:
            self.session.set_instrument(None)
        if calls.findings:
            raise WrongError(calls.findings[0])
        self.compare(results, arrays)

    def in_threads(self, sizes: Mapping[str, int]) -> None:
        """Each thread has values of its own, and must always get the same results for them."""
        given = [inputs_of(self.case, sizes, seed) for seed in range(_THREADS)]
        wanted = [list(self.session.run(arrays).values()) for arrays in given]
        faults: list[str] = []
        start = threading.Barrier(_THREADS)
        end = time.monotonic() + _SECONDS

        def work(number: int) -> None:
            start.wait()
            while time.monotonic() < end and not faults:
                try:
                    results = list(self.session.run(given[number]).values())
                except Exception as error:
                    faults.append(f"a run fails beside others: {error}")
                    return
                pairs = zip(results, wanted[number], strict=True)
                if any(not np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs):
                    faults.append("results differ when several threads run at the same time")
                    return

        threads = [threading.Thread(target=work, args=(number,)) for number in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if faults:
            raise WrongError(faults[0])


def unaligned(arrays: Arrays) -> Arrays:
    """The same values, each one element off a 64-byte boundary."""
    moved = {}
    for name, array in arrays.items():
        room = np.zeros(array.nbytes + 64 + array.itemsize, np.uint8)
        start = (-room.ctypes.data % 64) + array.itemsize
        moved[name] = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        moved[name][...] = array
    return moved
