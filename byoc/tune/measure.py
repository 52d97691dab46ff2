"""Compile one kernel by itself and time it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm

from byoc.host.kernel import Tiled, dtype_of
from byoc.host.tiling import Blocking
from byoc.host.vector_math import expand_vector_math

# Bytes of arguments that calls go round, so that weights come from where they come from in a model.
_COPIED_BYTES = 8 << 20
_MOST_COPIES = 8
_TURNS = 15
_TURN_SECONDS = 1e-3


@dataclass(frozen=True)
class Candidate:
    """A compiled kernel with copies of its arguments; `call(i)` runs it on the i-th."""

    call: Callable[[int], Any]
    copies: int

    def seconds(self, calls: int) -> float:
        """Of one call, the mean of `calls`."""
        begin = time.perf_counter()
        for i in range(calls):
            self.call(i)
        return (time.perf_counter() - begin) / calls


def build(tiled: Tiled, blocking: Blocking, target: Any) -> Candidate:
    """Compile a kernel of static shapes and give it random arguments."""
    function, args = tiled.write(blocking), tiled.arguments(blocking)
    module = tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})
    with target:
        run = tvm.tirx.build(expand_vector_math(module), target=target)["kernel"]
    rng = np.random.default_rng(0)
    types = [*(a.ty for a in args), tiled.result]
    nbytes = sum(int(np.prod(_shape(t))) * np.dtype(dtype_of(t)).itemsize for t in types)
    copies = max(1, min(_MOST_COPIES, _COPIED_BYTES // max(nbytes, 1)))
    tensors = [[_filled(t, rng) for t in types] for _ in range(copies)]
    return Candidate(lambda i: run(*tensors[i % copies]), copies)


def compare(default: Candidate, other: Candidate) -> tuple[float, float]:
    """(seconds of a call of `other`, how often as fast it is), both timed in turns.

    Of many short turns the best counts: other work on the machine only ever makes a turn longer.
    """
    for candidate in (default, other):
        candidate.seconds(candidate.copies)
    calls = max(1, int(_TURN_SECONDS / max(min(default.seconds(1) for _ in range(5)), 1e-7)))
    pairs = [(default.seconds(calls), other.seconds(calls)) for _ in range(_TURNS)]
    best, its = min(a for a, _ in pairs), min(b for _, b in pairs)
    return its, best / its


def _shape(ty: Any) -> list[int]:
    return [int(d) for d in ty.shape.values]


def _filled(ty: Any, rng: np.random.Generator) -> Any:
    shape, dtype = _shape(ty), dtype_of(ty)
    values = rng.standard_normal(shape) if dtype.startswith("float") else rng.integers(0, 9, shape)
    return tvm.runtime.tensor(values.astype(dtype))
