"""Run a part of a model on its own, at sizes that are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.artifact.dtypes import numpy_dtype
from byoc.dim import dim_of, substitute
from byoc.host.pipeline import compile_host
from byoc.llm.from_onnx.graph import Bindings, shape_of, variables
from byoc.runtime.tensors import numpy_from_tensor, tensor_from_numpy

Array = np.ndarray[Any, Any]


class Part:
    """What computes `result` from `cuts`, values that are given, and from parameters that steer a model.

    Attributes
    ----------
    inputs: the cuts, then the parameters that the part reads and those that define its symbols.
    """

    def __init__(self, graph: Bindings, result: Any, cuts: Sequence[Any], extra: Sequence[Any] = ()) -> None:
        self.graph, self.result, self.cuts = graph, result, list(dict.fromkeys(cuts))
        inside, outside = set(), set(cuts)
        params: dict[Any, None] = {}
        todo = [result]
        while todo:
            var = todo.pop()
            if var in inside or var in outside:
                continue
            if var not in graph.values:
                params[var] = None
                continue
            inside.add(var)
            todo += graph.needs(var)
        self.bindings = [b for b in graph.order if b.var in inside]
        self.inputs = list(dict.fromkeys([*self.cuts, *params, *extra]))
        self.params = list(params)
        self._machine: Any = None

    def function(self) -> relax.Function:
        """The part as a function of its inputs."""
        given = [relax.Var(f"in{i}", var.ty) for i, var in enumerate(self.inputs)]
        names = dict(zip(self.inputs, given, strict=True))
        blocks = relax.BlockBuilder()
        with blocks.function("main", given):
            mapped: dict[Any, Any] = dict(names)
            for binding in self.bindings:
                value = replaced(binding.value, mapped)
                if isinstance(binding, relax.MatchCast):
                    mapped[binding.var] = blocks.match_cast(value, binding.ty)
                else:
                    mapped[binding.var] = blocks.emit(value)
            blocks.emit_func_output(mapped[self.result])
        return blocks.get()["main"]

    def run(self, feeds: Mapping[Any, Array]) -> Array:
        """The result for an array for each input."""
        if self._machine is None:
            self._machine = relax.VirtualMachine(
                compile_host(tvm.IRModule({"main": self.function()}), "native"), tvm.cpu()
            )
        arrays = []
        for var in self.inputs:
            dtype = str(var.ty.dtype).removeprefix("T.")
            arrays.append(tensor_from_numpy(np.ascontiguousarray(feeds[var], numpy_dtype(dtype)), dtype))
        found = self._machine["main"](*arrays)
        return np.array(numpy_from_tensor(found, str(found.dtype)))


def replaced(value: Any, mapped: Mapping[Any, Any]) -> Any:
    """The value with its variables replaced, and its type to be inferred anew."""
    if isinstance(value, relax.Call):
        args = [replaced(arg, mapped) for arg in value.args]
        return relax.Call(value.op, args, value.attrs, value.ty_args, span=value.span)
    if isinstance(value, relax.Tuple):
        return relax.Tuple([replaced(field, mapped) for field in value.fields])
    if isinstance(value, relax.TupleGetItem):
        return relax.TupleGetItem(replaced(value.tuple_value, mapped), value.index)
    return mapped[value] if next(variables(value), None) is not None else value


def sized(var: Any, sizes: Mapping[Any, int]) -> tuple[int, ...]:
    """The shape of a value when its symbols have these sizes."""
    found: list[Any] = [d if isinstance(d, int) else dim_of(substitute(d, sizes)) for d in shape_of(var) or ()]
    return tuple(int(d) for d in found)
