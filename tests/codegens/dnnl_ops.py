"""Run small Relax functions through dnnl's program and runtime, without an artifact, and compare with TVM's host."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from byoc_codegens.dnnl import library
from byoc_codegens.dnnl.codegen import program_of
from byoc_codegens.dnnl.program import Program
from tvm import relax

from byoc.cache import Cache
from byoc.graph import Value
from byoc.lower.partition_function import PartitionFunction
from byoc.partitioner.match import find_matches
from byoc.partitioner.target import Target, find_targets
from byoc.relax_graph import graph_of
from byoc.runtime.native import load_runtime
from tests.codegens.ops import _aligned, _results, host

needs_onednn = pytest.mark.skipif(bool(library.missing()), reason=library.missing())

DRIVER = """\
#include "crowding.h"
#include "partition.h"
#include "slices.h"
#define EXPORT extern "C" __attribute__((visibility("default")))
extern "C" int byoc_threads(void) { return 2; }
EXPORT const char *create(const char *program, const void *const *constants, ByocDnnlPartition **partition) {
  return byoc_dnnl_create(program, constants, partition);
}
EXPORT const char *run(ByocDnnlPartition *p, const int64_t *extents, void *const *inputs, void *const *outputs) {
  return byoc_dnnl_run(p, extents, inputs, outputs);
}
EXPORT void destroy(ByocDnnlPartition *partition) { byoc_dnnl_destroy(partition); }
EXPORT int64_t slices(const char *program, const int64_t *extents, size_t number) {
  return byoc_dnnl::SlicesOf(byoc_dnnl::Program::Parse(program), {extents, extents + number}).count;
}
static double idle_seconds;
static bool sees_idle;
EXPORT void crowd(int all, const double *waited, const double *idle, size_t runs, int *threads) {
  using namespace byoc_dnnl;
  idle_seconds = 0, sees_idle = idle != nullptr;
  Crowding crowding(all, [] { return sees_idle ? std::optional<Seconds>(idle_seconds) : std::nullopt; });
  Clock::time_point now;
  const Seconds took(4e-3);
  for (size_t i = 0; i < runs; ++i) {
    threads[i] = crowding.Threads(now);
    now += std::chrono::duration_cast<Clock::duration>(took);
    if (threads[i] == all) crowding.Add({took, took * waited[i]}, now);
    if (sees_idle) idle_seconds += took.count() * idle[i];
  }
}
"""


def dnnl_target(**options: Any) -> Target:
    return find_targets(["dnnl"], {"dnnl": options})[0]


def program_for(function: relax.Function, **options: Any) -> tuple[Program, PartitionFunction]:
    """The program of a function as one partition; fails with dnnl's reason where it refuses an op."""
    target, graph = dnnl_target(**options), graph_of("main", function)
    found = find_matches(graph, target)
    for node in graph.nodes:
        reason = found.refused[node.index].reason if node.index in found.refused else "no pattern matches"
        assert any(node.index in c.ops for c in found.candidates), f"dnnl does not take {node.op}: {reason}"
    matches = tuple(c.match for c in sorted(found.select(lambda _: True), key=lambda c: c.root))
    outputs = _results(function, graph)
    partition = PartitionFunction(
        "kernel", "main", matches, tuple(graph.params), (), outputs, (), target.options, function
    )
    return program_of(partition), partition


def slices_of(function: relax.Function, **sizes: int) -> int:
    """Into how many slices the runtime cuts the batch of a function, whose symbols have these sizes."""
    program, _ = program_for(function)
    extents = [int(eval(text, {}, sizes)) for text in program.extents()]
    given = (ctypes.c_int64 * max(1, len(extents)))(*extents)
    count: int = _driver().slices(program.to_json().encode(), given, ctypes.c_size_t(len(extents)))
    return count


def threads_chosen(threads: int, waited: Sequence[float], idle: Sequence[float] | None) -> np.ndarray:
    """How many of `threads` each of a row of runs of 4 ms uses.

    `waited`: for how much of each run its threads would get no processor, all together, if it used all of them.
    `idle`: how many processors are idle during it; None if that cannot be seen.
    """
    chosen = np.zeros(len(waited), np.int32)
    waits = np.array(waited, np.float64)
    idles = None if idle is None else np.array(idle, np.float64)
    pointers = [ctypes.c_void_p(None if a is None else a.ctypes.data) for a in (waits, idles, chosen)]
    _driver().crowd(threads, *pointers[:2], ctypes.c_size_t(len(chosen)), pointers[2])
    return chosen


def refusal_of(function: relax.Function) -> str:
    """Why dnnl refuses the last op of a function; fails when it takes it."""
    graph = graph_of("main", function)
    found = find_matches(graph, dnnl_target())
    last = graph.nodes[-1].index
    assert not any(last in c.ops for c in found.candidates), "dnnl takes it"
    return found.refused[last].reason


class Compiled:
    """A function compiled by dnnl; call it with arrays."""

    def __init__(self, function: relax.Function, **options: Any) -> None:
        self.program, self.partition = program_for(function, **options)
        self.library = _driver()
        self.constants = [_aligned(np.asarray(t.constant)) for t in self.program.constants()]
        self.handle = ctypes.c_void_p()
        pointers = _pointers(self.constants)
        self._check(self.library.create(self.program.to_json().encode(), pointers, ctypes.byref(self.handle)))

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        symbols = _symbols(self.partition.inputs, arrays)
        inputs = [_aligned(a) for a in arrays]
        results = [_aligned(np.full(_shape(v, symbols), 77, v.dtype)) for v in self.partition.outputs]
        extents = [int(eval(text, {}, dict(symbols))) for text in self.program.extents()]
        self._check(
            self.library.run(
                self.handle,
                (ctypes.c_int64 * max(1, len(extents)))(*extents),
                _pointers(inputs),
                _pointers(results),
            )
        )
        return results

    def __del__(self) -> None:
        self.library.destroy(self.handle)

    @staticmethod
    def _check(message: bytes | None) -> None:
        assert message is None, message.decode() if message else ""

    @property
    def kinds(self) -> list[str]:
        """What the program's ops are, with their post-ops."""
        return [
            "+".join([op.algorithm or op.kind, *(p.algorithm or p.kind for p in op.post_ops)])
            for op in self.program.ops
        ]


def check_against_host(
    function: relax.Function, *arrays: np.ndarray, rtol: float = 1e-5, atol: float = 1e-5, **options: Any
) -> Compiled:
    """Assert that dnnl and TVM's host compute the same; the compiled function, for more questions."""
    compiled = Compiled(function, **options)
    theirs = host(function, *arrays)
    for mine, wanted in zip(compiled(*arrays), theirs if isinstance(theirs, list) else [theirs], strict=True):
        assert mine.dtype == wanted.dtype
        np.testing.assert_allclose(mine, wanted, rtol=rtol, atol=atol)
    return compiled


def _pointers(arrays: Sequence[np.ndarray]) -> Any:
    return (ctypes.c_void_p * max(1, len(arrays)))(*(a.ctypes.data for a in arrays))


def _symbols(values: Sequence[Value], arrays: Sequence[np.ndarray]) -> dict[str, int]:
    found: dict[str, int] = {}
    for value, array in zip(values, arrays, strict=True):
        found |= {str(d): n for d, n in zip(value.shape or (), array.shape, strict=True) if str(d).isidentifier()}
    return found


def _shape(value: Value, symbols: Mapping[str, int]) -> list[int]:
    return [d if isinstance(d, int) else d.evaluate(dict(symbols)) for d in value.shape or ()]


@lru_cache(maxsize=1)
def _driver() -> Any:
    load_runtime()
    objects = library.link_flags()
    folder = Cache().engine_dir("dnnl", Cache.key(DRIVER, *objects))
    built: Path = folder / "driver.so"
    (folder / "driver.cc").write_text(DRIVER)
    command = ["c++", "-std=c++17", "-shared", "-fPIC", f"-I{library.RUNTIME}", "driver.cc", *objects]
    subprocess.run([*command, "-o", str(built)], cwd=folder, check=True)
    loaded = ctypes.CDLL(str(built))
    for name in ("create", "run"):
        getattr(loaded, name).restype = ctypes.c_char_p
    loaded.destroy.argtypes = [ctypes.c_void_p]
    loaded.slices.restype = ctypes.c_int64
    return loaded
