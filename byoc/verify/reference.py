"""The reference of a partition: its Relax function, compiled by TVM for the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.host.pipeline import compile_host
from byoc.lower.outline import SYMBOL, outline
from byoc.partitioner.plan import Plan
from byoc.relax_graph import graph_of
from byoc.runtime.tensors import numpy_from_tensor
from byoc.verify.caches import Updates, updates_of

Array = np.ndarray[Any, Any]


class References:
    """Every partition of a plan as a function on the host.  Raises :class:`HostError` when TVM gives up."""

    def __init__(self, plan: Plan, symbols: Sequence[str] | None = None) -> None:
        outlined = outline(plan.model.module, plan.model.graphs, plan.functions)
        self.functions: dict[str, Any] = {}
        for _, function in outlined.functions_items():
            if function.attrs is not None and "Codegen" in function.attrs:
                symbol = str(function.attrs[SYMBOL])
                if symbols is None or symbol in symbols:
                    self.functions[symbol] = function.without_attr("Codegen")
        self._machine: Any = None
        self._updates: dict[str, Updates] = {}

    def results_of(self, symbol: str) -> int:
        """How many tensors a partition returns."""
        returned = self.functions[symbol].ret_ty
        return len(returned.fields) if isinstance(returned, relax.TupleType) else 1

    def parameters_of(self, symbol: str) -> int:
        """How many arguments it takes, a shape included."""
        return len(self.functions[symbol].params)

    def updates_of(self, symbol: str) -> Updates:
        """The parameters that it updates in place."""
        if symbol not in self._updates:
            self._updates[symbol] = updates_of(graph_of(symbol, self.functions[symbol]))
        return self._updates[symbol]

    def run(self, symbol: str, arguments: Sequence[Any]) -> list[Array]:
        """The results of a partition for these tensors (and shape)."""
        if self._machine is None:
            module = tvm.IRModule(dict(self.functions))
            executable = compile_host(module, "native")
            self._machine = relax.VirtualMachine(executable, tvm.cpu())
        returned = self._machine[symbol](*arguments)
        tensors = [returned] if hasattr(returned, "data_ptr") or hasattr(returned, "numpy") else list(returned)
        return [numpy_from_tensor(tensor, str(tensor.dtype)) for tensor in tensors]
