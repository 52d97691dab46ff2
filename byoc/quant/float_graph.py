"""A float ONNX graph in the form that the quantiser works on: constants as arrays, no identities, sums of two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from byoc.errors import QuantizationError
from byoc.importer.tensors import TensorReader

QUANTISED_OPS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "QLinearAdd",
     "QGemm", "ConvInteger", "MatMulInteger", "MatMulNBits", "QLinearConcat", "QLinearAveragePool",
     "QLinearGlobalAveragePool", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
)  # fmt: skip
OPSETS = {8: 13, 16: 21}
_LARGEST_FOLD = 1 << 24


@dataclass
class FloatGraph:
    """Nodes in topological order, and constants by name.

    ``inputs`` are the graph inputs that are no constants; ``opsets`` version by domain.
    """

    name: str
    nodes: list[onnx.NodeProto]
    constants: dict[str, np.ndarray]
    inputs: list[onnx.ValueInfoProto]
    outputs: list[onnx.ValueInfoProto]
    opsets: dict[str, int]
    shapes: dict[str, list[Any]] = field(default_factory=dict)

    def producers(self) -> dict[str, onnx.NodeProto]:
        return {name: node for node in self.nodes for name in node.output if name}

    def read_counts(self) -> Counter[str]:
        """How often each value is read; a graph output counts as a reader."""
        counts = Counter(name for node in self.nodes for name in node.input if name)
        counts.update(value.name for value in self.outputs)
        return counts

    def to_model(
        self,
        nodes: Iterable[onnx.NodeProto] | None = None,
        constants: Mapping[str, np.ndarray] | None = None,
        inputs: Iterable[onnx.ValueInfoProto] | None = None,
        outputs: Iterable[onnx.ValueInfoProto] | None = None,
    ) -> onnx.ModelProto:
        """The graph, or a part of it, as a model; constants that nothing reads are left out."""
        chosen = list(self.nodes if nodes is None else nodes)
        known = self.constants if constants is None else constants
        read = {name for node in chosen for name in node.input}
        graph = helper.make_graph(
            chosen,
            self.name or "graph",
            list(self.inputs if inputs is None else inputs),
            list(self.outputs if outputs is None else outputs),
            [numpy_helper.from_array(array, name) for name, array in known.items() if name in read],
        )
        imports = [helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        ir_version = 10 if self.opsets.get("", 1) >= 21 else 8
        return helper.make_model(graph, opset_imports=imports, ir_version=ir_version, producer_name="byoc")


def float_graph(model: onnx.ModelProto, reader: TensorReader, bits: int = 8) -> FloatGraph:
    """The canonical float graph of a model.

    Constants are folded, dropout and identities removed, sums of several tensors made sums of two.

    Raises :class:`QuantizationError` for models that are quantised already, or whose opset cannot be raised to the one
    in which ONNX quantises.
    """
    model = _raised(model, OPSETS[bits])
    if model.functions:
        import onnx.inliner

        model = onnx.inliner.inline_local_functions(model)
    graph = model.graph
    constants = {tensor.name: reader.array(tensor) for tensor in graph.initializer}
    built = FloatGraph(
        graph.name,
        _named(graph.node),
        constants,
        [value for value in graph.input if value.name not in constants],
        list(graph.output),
        {("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import},
    )
    _fold_constants(built)
    _refuse_quantised(built)
    _drop_identities(built)
    _pair_sums(built)
    return built


def _refuse_quantised(graph: FloatGraph) -> None:
    quantised = [n for n in graph.nodes if n.op_type in QUANTISED_OPS]
    if quantised:
        raise QuantizationError(
            f"the model is quantised already: {len(quantised)} nodes such as {quantised[0].op_type} "
            f'"{quantised[0].name or quantised[0].output[0]}"',
            "",
            "quantise the float model that it was made from; byoc compile takes this one as it is",
        )


def _named(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Copies in which every node has a name of its own."""
    taken: set[str] = set()
    result = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        base = copy.name or f"{copy.op_type}_{next((o for o in copy.output if o), '')}"
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        copy.name = name
        result.append(copy)
    return result


def _raised(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    if version >= opset:
        return model
    try:
        import onnx.version_converter

        return onnx.version_converter.convert_version(model, opset)
    except Exception as error:
        raise QuantizationError(
            f"the model has opset {version} and cannot be converted to {opset}, from which on ONNX quantises",
            str(error).strip().splitlines()[0] if str(error).strip() else "",
            f"export it again with opset {opset} or newer",
        ) from error


def _fold_constants(graph: FloatGraph) -> None:
    from onnx.reference import ReferenceEvaluator

    kept = []
    for node in graph.nodes:
        known = all(name in graph.constants for name in node.input if name)
        nested = any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute)
        random = node.op_type.startswith("Random") or node.op_type in ("Bernoulli", "Multinomial")
        if not known or nested or random or node.domain not in ("", "ai.onnx"):
            kept.append(node)
            continue
        part = graph.to_model([node], inputs=[], outputs=[onnx.ValueInfoProto(name=o) for o in node.output if o])
        try:
            results = ReferenceEvaluator(part).run(None, {})
        except Exception:  # what the reference cannot compute stays a node
            kept.append(node)
            continue
        if any(np.asarray(r).nbytes > _LARGEST_FOLD for r in results):
            kept.append(node)
            continue
        for name, result in zip([o for o in node.output if o], results, strict=True):
            graph.constants[name] = np.asarray(result)
    graph.nodes = kept


def _drop_identities(graph: FloatGraph) -> None:
    outputs = {value.name for value in graph.outputs}
    stands_for: dict[str, str] = {}
    kept = []
    for node in graph.nodes:
        for index, name in enumerate(node.input):
            node.input[index] = stands_for.get(name, name)
        mask_read = len(node.output) > 1 and node.output[1]
        if node.op_type in ("Identity", "Dropout") and not mask_read and node.output[0] not in outputs:
            stands_for[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    graph.nodes = kept


def _pair_sums(graph: FloatGraph) -> None:
    """A Sum of several tensors becomes Adds of two, which have an integer form."""
    result = []
    for node in graph.nodes:
        if node.op_type != "Sum" or len(node.input) < 2:
            result.append(node)
            continue
        total = node.input[0]
        for k, name in enumerate(node.input[1:], start=1):
            last = k == len(node.input) - 1
            output = node.output[0] if last else f"{node.output[0]}_sum{k}"
            result.append(
                helper.make_node("Add", [total, name], [output], name=node.name if last else f"{node.name}_{k}")
            )
            total = output
    graph.nodes = result


def drop_dead(graph: FloatGraph) -> None:
    """Remove nodes and constants that no output depends on."""
    live = {value.name for value in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if any(name in live for name in node.output):
            kept.append(node)
            live.update(all_inputs(node))
    graph.nodes = kept[::-1]
    graph.constants = {name: array for name, array in graph.constants.items() if name in live}


def all_inputs(node: onnx.NodeProto) -> set[str]:
    found = set(node.input)
    for attribute in node.attribute:
        for inner in [attribute.g] if attribute.HasField("g") else list(attribute.graphs):
            for child in inner.node:
                found |= all_inputs(child)
    return found


def inferred_shapes(graph: FloatGraph) -> dict[str, list[Any]]:
    """What shape inference finds: sizes, and names or ``None`` where they are symbolic."""
    inferred = onnx.shape_inference.infer_shapes(graph.to_model())
    shapes: dict[str, list[Any]] = {name: list(array.shape) for name, array in graph.constants.items()}
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            shapes[value.name] = [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims]
    return shapes


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of an attribute, or `default`."""
    for a in node.attribute:
        if a.name == name:
            return helper.get_attribute_value(a)
    return default
