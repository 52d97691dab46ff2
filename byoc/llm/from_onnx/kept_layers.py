"""Linear layers of an ONNX model whose weights are kept otherwise than its file has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm

from byoc.importer.origin import origin_of, with_origin
from byoc.llm.from_onnx.graph import Bindings, op_name
from byoc.llm.layers import Layer, linear_layer
from byoc.llm.weights import WeightSpec


class KeptLayers:
    """Products with float32 weights, which are kept as the settings say; all entry functions share them."""

    def __init__(self, graph: Bindings, spec: WeightSpec) -> None:
        self._graph, self._spec = graph, spec
        self._layers: dict[Any, Layer] = {}

    def kept(self, var: Any, x: Any) -> Any:
        """What computes `var` from the layer's input `x`; None where it stays as the file has it."""
        call = self._graph.call(var)
        if self._spec.bits == 32 or op_name(call) != "matmul" or not isinstance(call.args[1], tvm.ir.GenericConst):
            return None
        weight = call.args[1].value.numpy()
        if weight.ndim != 2 or weight.dtype != np.float32:
            return None
        if var not in self._layers:
            self._layers[var] = linear_layer(self._graph.node(var), weight.T, self._spec)
        origin = origin_of(call)
        made = self._layers[var].call(x)
        return made if origin is None else with_origin(made, origin)
