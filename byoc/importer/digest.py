"""A fingerprint of what a model computes: its graph and weights, wherever they are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import onnx

from byoc.importer.tensors import TensorReader


def model_digest(proto: onnx.ModelProto, reader: TensorReader) -> str:
    """SHA-256 (hex) over opsets, functions, graph and the bytes of all weights.

    It does not depend on the file's path, nor on whether the weights are inside the file or beside it.
    """
    digest = hashlib.sha256()
    graph = proto.graph
    for part in (
        *proto.opset_import,
        *proto.functions,
        *graph.input,
        *graph.output,
        *graph.node,
        *graph.sparse_initializer,
    ):
        _add(digest, type(part).__name__.encode(), part.SerializeToString(deterministic=True))
    for tensor in graph.initializer:
        _add_tensor(digest, tensor, reader)
    for tensor in _nested_external_tensors(graph):
        _add_tensor(digest, tensor, reader)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, *parts: bytes | memoryview) -> None:
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)


def _add_tensor(digest: hashlib._Hash, tensor: onnx.TensorProto, reader: TensorReader) -> None:
    header = f"{tensor.name}\0{tensor.data_type}\0{list(tensor.dims)}".encode()
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        array = reader.array(tensor)
        _add(digest, header, array.reshape(-1).view("uint8").data if array.size else b"")
    elif tensor.HasField("raw_data"):
        _add(digest, header, tensor.raw_data)
    else:
        _add(
            digest,
            header,
            onnx.numpy_helper.to_array(tensor).tobytes() if tensor.data_type != 8 else b"".join(tensor.string_data),
        )


def _nested_external_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """External tensors inside node attributes: their bytes are not part of the node's own serialisation."""
    for node in graph.node:
        for attribute in node.attribute:
            tensors = [*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])]
            graphs = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            for inner in graphs:
                tensors.extend(inner.initializer)
                yield from _nested_external_tensors(inner)
            yield from (t for t in tensors if t.data_location == onnx.TensorProto.EXTERNAL)
