"""Relax modules for tests, and a target whose partitions run on the host: every cut must leave the result as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.codegen import Codegen, PyFunc
from byoc.lower.partition_function import PartitionFunction
from byoc.patterns import Pattern, op
from byoc.registry import register_codegen

UNARY = {"relu": relax.op.nn.relu, "exp": relax.op.exp, "sin": relax.op.sin, "tanh": relax.op.tanh}
BINARY = {"add": relax.op.add, "multiply": relax.op.multiply, "maximum": relax.op.maximum}


def dag(ops: Sequence[tuple[str, Sequence[int]]], outputs: Iterable[int], *, n: Any = 4, name: str = "main") -> Any:
    """A module of one function over float32 (n, 8); producers below 0 are the inputs x (-1) and y (-2)."""
    builder = relax.BlockBuilder()
    add_function(builder, ops, outputs, n=n, name=name)
    return builder.get()


def add_function(
    builder: Any, ops: Sequence[tuple[str, Sequence[int]]], outputs: Iterable[int], *, n: Any, name: str
) -> None:
    x, y = (relax.Var(v, relax.TensorType((n, 8), "float32")) for v in "xy")
    with builder.function(name, [x, y]):
        with builder.dataflow():
            values: list[Any] = []
            for kind, producers in ops:
                args = [values[p] if p >= 0 else (x, y)[-p - 1] for p in producers]
                if kind == "split_add":
                    halves = relax.op.split(args[0], 2, axis=1)
                    values.append(builder.emit(relax.op.concat([halves[1], halves[0]], axis=1)))
                else:
                    values.append(builder.emit((UNARY.get(kind) or BINARY[kind])(*args)))
            chosen = [values[i] for i in outputs]
            result = builder.emit_output(chosen[0] if len(chosen) == 1 else relax.Tuple(chosen))
        builder.emit_func_output(result)


def host_target_of(name: str, ops: Iterable[str] = (), patterns: Mapping[str, Pattern] | None = None) -> str:
    """Register a target that takes those ops, or patterns, and computes partitions with TVM itself."""
    table = dict(patterns or {}) | {o: op(o)(...) for o in ops}

    class HostReference(Codegen):
        """Runs its partitions on the host."""

        patterns = table

        def emit(self, partition: PartitionFunction) -> PyFunc:
            function = partition.function.with_attr("global_symbol", "main").without_attr("Codegen")
            target = tvm.target.Target("llvm")
            executable = tvm.compile(tvm.IRModule({"main": function}), target)
            machine = relax.VirtualMachine(executable, tvm.cpu())
            count = len(partition.inputs)
            takes_shape = bool(partition.shape_args)

            def run(*arrays: np.ndarray) -> None:
                assert not takes_shape, "the test models determine every symbol by an input"
                got = machine["main"](*(tvm.runtime.tensor(np.ascontiguousarray(a)) for a in arrays[:count]))
                results = [got] if isinstance(got, tvm.runtime.Tensor) else list(got)
                for target_array, value in zip(arrays[count:], results, strict=True):
                    target_array[...] = value.numpy()

            return PyFunc(run)

    register_codegen(name, version="1")(HostReference)
    return name


def run_on_host(module: Any, entry: str, *arrays: np.ndarray) -> list[np.ndarray]:
    """The unpartitioned module's results."""
    machine = relax.VirtualMachine(tvm.compile(module, tvm.target.Target("llvm")), tvm.cpu())
    got = machine[entry](*(tvm.runtime.tensor(a) for a in arrays))
    return [got.numpy()] if isinstance(got, tvm.runtime.Tensor) else [g.numpy() for g in got]
