"""ONNX in, Relax out: normalised, folded, every op stamped with the node that it came from.

Importing this package imports TVM.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax

import byoc.importer.lowerings  # noqa: F401 - fills the table of operators
from byoc.importer.builder import GraphBuilder
from byoc.importer.digest import model_digest
from byoc.importer.limits import Limits
from byoc.importer.origin import Origin, inherit_origins, keep_origins, origin_of, with_origin
from byoc.importer.signature import ShapeRequest, Signature, dim_text
from byoc.importer.source import ModelSource, opset_versions, read_model
from byoc.importer.structure import live_nodes
from byoc.importer.support import check_operators
from byoc.importer.tensors import TensorReader
from byoc.importer.values import Extents, UnequalSymbolsError
from byoc.tensor_spec import TensorSpec

__all__ = ["ImportedModel", "Origin", "import_model", "inherit_origins", "keep_origins", "origin_of", "with_origin"]


@dataclass(frozen=True)
class ImportedModel:
    """A model as Relax.

    ``module`` has one entry function, ``main``: parameters in the order of ``inputs``, one result or a tuple in the
    order of ``outputs``.  ``inputs`` and ``outputs`` carry the ONNX names; a sequence that the model returns is as many
    outputs as it has elements, called ``name[0]``, ``name[1]``...  ``digest``: SHA-256 of graph and weights.
    """

    module: tvm.IRModule
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    digest: str
    name: str


def import_model(source: ModelSource, *, shapes: ShapeRequest | None = None) -> ImportedModel:
    """Import an ONNX model.

    Parameters
    ----------
    source: path, serialised model, or ``ModelProto``.
    shapes: per input, one entry per dimension: a size fixes it, a name makes it that symbol, None or "?" frees it.
        ``x[0]``, ``x[1]``... are the elements of a sequence ``x``; an empty shape of ``x`` says that it has none.

    Raises
    ------
    ModelFileError: no such file, or no (complete) ONNX model.
    ExternalDataError: weights beside the model are missing or outside its folder.
    UnsupportedModelError: operators, attributes, types or an opset that the importer does not take.
    LimitError: the model is larger, or grows larger at import, than :class:`byoc.importer.limits.Limits` allow.
    ShapeError: ``shapes`` contradicts the model.
    """
    model = read_model(source)
    limits = Limits.from_environment()
    limits.check_depth(model.proto)
    graph = model.proto.graph
    opsets = opset_versions(model.proto)
    functions = {("" if f.domain == "ai.onnx" else f.domain, f.name, f.overload): f for f in model.proto.functions}
    frozen = {tensor.name for tensor in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    defined = frozen | {value.name for value in graph.input}
    nodes = live_nodes(graph.node, [value.name for value in graph.output], defined)
    check_operators(nodes, opsets, functions, model.label)
    reader = TensorReader(model.folder)
    equal: dict[str, str] = {}
    while True:
        extents = Extents(limits)
        signature = Signature(graph, frozen, shapes, extents, equal)
        try:
            builder = GraphBuilder(reader, functions, extents, limits)
            module = builder.build(graph, signature.variables, opsets)
            break
        except UnequalSymbolsError as found:  # start again with one symbol less
            equal[found.name] = found.other
    module = inherit_origins(module)
    relax.analysis.well_formed(module)
    outputs = _output_specs(module, builder.output_names)
    return ImportedModel(module, signature.specs, outputs, model_digest(model.proto, reader), model.name)


def _output_specs(module: tvm.IRModule, names: list[str]) -> tuple[TensorSpec, ...]:
    returned = module["main"].ret_ty
    types = [returned] if len(names) == 1 else list(returned.fields)
    specs = []
    for name, kind in zip(names, types, strict=True):
        if isinstance(kind.shape, relax.ShapeExpr):
            shape = tuple(dim_text(dim) for dim in kind.shape.values)
        else:
            shape = tuple(f"{name}_dim{axis}" for axis in range(max(kind.ndim, 0)))
        specs.append(TensorSpec(name, str(kind.dtype.dtype), shape))
    return tuple(specs)
