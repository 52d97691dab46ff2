"""Compile a small Relax function with csource alone, run it, and compare it with TVM's host."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx

from byoc.codegen import CSource, Match, Reject
from byoc.graph import Graph, Value
from byoc.lower.partition_function import PartitionFunction
from byoc.lower.stitch import stitch
from byoc.partitioner.match import find_matches
from byoc.partitioner.target import Target, find_targets
from byoc.relax_graph import graph_of

ROOT = Path(__file__).resolve().parent.parent.parent
FLAGS = (
    "-O2", "-std=gnu11", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
    "-fvisibility=hidden", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wno-psabi", "-Werror",
)  # fmt: skip


def relax_function(
    body: Callable[..., Any], *params: tuple[Sequence[int | str], str], symbols: Mapping[str, Any] | None = None
) -> relax.Function:
    """A function of tensors given as (shape, dtype); a str in a shape is a symbolic dimension.

    `body` gets the parameters and returns the result, an expression or a list of them.  Symbols of which `body` needs
    the variable itself come in `symbols`.
    """
    known = dict(symbols or {})
    variables = []
    for i, (shape, dtype) in enumerate(params):
        dims = [known.setdefault(d, tirx.Var(d, "int64")) if isinstance(d, str) else d for d in shape]
        variables.append(relax.Var(f"x{i}", relax.TensorType(dims, dtype)))
    builder = relax.BlockBuilder()
    with builder.function("main", variables):
        with builder.dataflow():
            result = body(*variables)
            output = builder.emit_output(relax.Tuple(result) if isinstance(result, list) else result)
        builder.emit_func_output(output)
    return builder.get()["main"]


def csource_target(**options: Any) -> Target:
    """Target csource with these options."""
    return find_targets(["csource"], {"csource": options})[0]


def matches_of(function: relax.Function, target: Target) -> tuple[Graph, list[Match]]:
    """The graph of a function and csource's matches in it, which must cover it.

    Raises :class:`AssertionError` with csource's reason when an op is not covered.
    """
    graph = graph_of("main", function)
    found = find_matches(graph, target)
    chosen = sorted(found.select(lambda _: True), key=lambda c: c.root)
    covered = {i for c in chosen for i in c.ops}
    for node in graph.nodes:
        reason = found.refused[node.index].reason if node.index in found.refused else "no pattern matches"
        assert node.index in covered, f"csource does not take {node.op}: {reason}"
    return graph, [c.match for c in chosen]


def patterns_of(function: relax.Function, **options: Any) -> list[str]:
    """Names of the patterns that csource covers a function with, in order."""
    return [m.pattern for m in matches_of(function, csource_target(**options))[1]]


def refusal_of(function: relax.Function, **options: Any) -> str:
    """Why csource refuses the last op of a function; fails when it takes it."""
    target = csource_target(**options)
    graph = graph_of("main", function)
    found = find_matches(graph, target)
    last = graph.nodes[-1].index
    assert not any(last in c.ops for c in found.candidates), "csource takes it"
    return found.refused[last].reason


class Compiled:
    """A function compiled by csource; call it with arrays."""

    def __init__(self, function: relax.Function, flags: Sequence[str] = FLAGS, **options: Any) -> None:
        target = csource_target(**options)
        self.graph, self.matches = matches_of(function, target)
        self.outputs = _results(function, self.graph)
        self.tuple = isinstance(function.ret_ty, relax.TupleType)
        partition = PartitionFunction(
            "kernel", "main", tuple(self.matches), tuple(self.graph.params), (), self.outputs,
            tuple({id(v): v for m in self.matches for v in m.inputs if v.is_constant}.values()), target.options, function,  # noqa: E501
        )  # fmt: skip
        source = stitch(target.codegen, partition)
        assert isinstance(source, CSource), f"refused while emitting: {source.reason if source else source}"
        self.source = source
        self.module = _load(source.code, tuple(flags), tuple(target.codegen.c_flags))
        self.constants = [_aligned(array) for _, array in source.constants]
        if source.bind:
            self.module[source.bind](*(tvm_ffi.from_dlpack(c) for c in self.constants))

    def __call__(self, *arrays: np.ndarray) -> Any:
        """The result, or the list of results where the function returns a tuple."""
        symbols: dict[str, int] = {}
        for value, array in zip(self.graph.params, arrays, strict=True):
            assert value.shape is not None and len(value.shape) == array.ndim and value.dtype == str(array.dtype)
            for dim, size in zip(value.shape, array.shape, strict=True):
                if not isinstance(dim, int) and str(dim).isidentifier():
                    symbols[str(dim)] = size
        results = [_aligned(np.full(_shape(v, symbols), 77).astype(v.dtype)) for v in self.outputs]
        nbytes = self.source.workspace
        workspace = nbytes if isinstance(nbytes, int) else nbytes.evaluate(symbols)
        scratch = [] if isinstance(nbytes, int) and nbytes == 0 else [_aligned(np.full(workspace, 0xFF, np.uint8))]
        arguments = [*(_aligned(a) for a in arrays), *results, *scratch]
        self.module["kernel"](*(tvm_ffi.from_dlpack(a) for a in arguments))
        return results if self.tuple else results[0]


def host(function: relax.Function, *arrays: np.ndarray) -> Any:
    """The same function compiled by TVM alone."""
    module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    result = machine["main"](*(tvm.runtime.tensor(a) for a in arrays))
    return [r.numpy() for r in result] if not hasattr(result, "numpy") else result.numpy()


def check_against_host(
    function: relax.Function, *arrays: np.ndarray, rtol: float = 1e-5, atol: float = 1e-5, **options: Any
) -> None:
    """Assert that csource and TVM's host compute the same."""
    ours, theirs = Compiled(function, **options)(*arrays), host(function, *arrays)
    for mine, wanted in zip(*((r if isinstance(r, list) else [r]) for r in (ours, theirs)), strict=True):
        assert mine.dtype == wanted.dtype
        np.testing.assert_allclose(mine, wanted, rtol=rtol, atol=atol)


def random_array(shape: Sequence[int], dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Standard normal numbers, or small integers for an integer dtype."""
    generator = np.random.default_rng(seed)
    if np.issubdtype(np.dtype(dtype), np.floating):
        return generator.standard_normal(tuple(shape)).astype(dtype)
    low, high = (0, 2) if dtype == "bool" else (0, 9) if dtype.startswith("u") else (-9, 9)
    return generator.integers(low, high, tuple(shape)).astype(dtype)


def _results(function: relax.Function, graph: Graph) -> tuple[Value, ...]:
    by_name = {v.name: v for n in graph.nodes for v in n.outputs}
    block = function.body.blocks[-1]
    bound = {b.var: b.value for b in block.bindings}
    result = function.body.body
    while isinstance(result, relax.Var) and not isinstance(bound.get(result), relax.Call):
        result = bound[result]
    fields = result.fields if isinstance(result, relax.Tuple) else [result]
    values: list[Value] = []
    for field in fields:
        values += [v for n, v in by_name.items() if n == str(field.name) or n.startswith(f"{field.name}.")]
    return tuple(values)


def _shape(value: Value, symbols: Mapping[str, int]) -> list[int]:
    return [d if isinstance(d, int) else d.evaluate(dict(symbols)) for d in value.shape or ()]


def _aligned(array: np.ndarray) -> np.ndarray:
    """A contiguous copy whose data starts on a 64-byte boundary."""
    room = np.zeros(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@lru_cache(maxsize=1)
def _folder() -> Path:
    for library in (tvm_ffi.libinfo.find_libtvm_ffi(), Path(tvm.__file__).parent / "lib" / "libtvm_runtime.so"):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    folder = Path(tempfile.mkdtemp(prefix="byoc-csource-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@lru_cache(maxsize=256)
def _load(code: str, flags: tuple[str, ...], more: tuple[str, ...]) -> Any:
    stem = _folder() / hashlib.sha256(repr((code, flags)).encode()).hexdigest()[:16]
    stem.with_suffix(".c").write_text(code)
    include = [ROOT / "byoc" / "include", ROOT / "codegens" / "csource", *tvm_ffi.libinfo.include_paths()]
    flags = (*flags, *more, "-include", "byoc_threads.h")
    command = ["gcc", *flags, *(f"-I{p}" for p in include), f"{stem}.c", "-o", f"{stem}.so", "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return tvm_ffi.load_module(f"{stem}.so")


def is_refused(answer: Any) -> bool:
    """Whether `check` or `emit` said no."""
    return isinstance(answer, Reject)
