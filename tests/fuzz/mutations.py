"""Ways to damage a file: as bytes, as JSON, as an ONNX graph.  The same `chance` gives the same damage."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import onnx

NUMBERS = (0, 1, -1, 2, 3, 7, 255, 256, 2**15, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
TEXTS = ("", "x", "main", "\0", "é" * 3, "../../etc/passwd", "a" * 5000, "float32", "int64", "n+1", "1")


def damage_bytes(data: bytes, chance: random.Random) -> bytes:
    """A few bits, bytes, or ranges are changed, removed, repeated or put in."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
        if not result:
            break
        place = chance.randrange(len(result))
        length = min(len(result) - place, chance.choice((1, 1, 2, 4, 8, 64, 500)))
        kind = chance.randrange(7)
        if kind == 0:
            result[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            result[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x0A))
        elif kind == 2:
            del result[place : place + length]
        elif kind == 3:
            result[place:place] = result[place : place + length]
        elif kind == 4:
            result[place : place + length] = chance.randbytes(length)
        elif kind == 5:
            other = chance.randrange(len(result))
            result[place : place + length] = result[other : other + length]
        else:
            del result[place:]
    return bytes(result)


def damage_json(text: str, chance: random.Random) -> str:
    """A few values of a JSON document are exchanged, removed, or put in the place of others."""
    document = json.loads(text)
    for _ in range(chance.choice((1, 1, 2, 4))):
        places = list(_places(document))
        if not places:
            break
        owner, key = chance.choice(places)
        kind = chance.randrange(5)
        if kind == 0:
            owner.pop(key)
        elif kind == 1:
            owner[key] = chance.choice((None, True, [], {}, 1.5, float("nan"), *NUMBERS, *TEXTS))
        elif kind == 2 and isinstance(owner[key], int):
            owner[key] = owner[key] + chance.choice((-1, 1)) if chance.random() < 0.5 else chance.choice(NUMBERS)
        elif kind == 3:
            other, its = chance.choice(places)
            owner[key] = json.loads(json.dumps(other[its])) if its in range(len(other)) or its in other else None
        elif isinstance(owner, list):
            owner.insert(key, json.loads(json.dumps(owner[key])))
        else:
            owner[chance.choice(TEXTS)] = owner[key]
    return json.dumps(document)


def _places(document: Any) -> Any:
    keys = document.keys() if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in list(keys):
        yield document, key
        yield from _places(document[key])


def damage_model(data: bytes, chance: random.Random) -> bytes:
    """A few facts of an ONNX graph are changed; the file is still a model."""
    model = onnx.load_from_string(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
        graphs = [model.graph, *(a.g for n in model.graph.node for a in n.attribute if a.HasField("g"))]
        graph = chance.choice(graphs)
        chance.choice(_MODEL_DAMAGE)(model, graph, chance)
    return model.SerializeToString()


def _attribute(_: Any, graph: Any, chance: random.Random) -> None:
    attributes = [a for node in graph.node for a in node.attribute]
    if not attributes:
        return
    attribute = chance.choice(attributes)
    if attribute.type == onnx.AttributeProto.INT:
        attribute.i = chance.choice(NUMBERS)
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = chance.choice((0.0, -1.0, 1e30, float("nan"), float("inf"), 1e-30))
    elif attribute.type == onnx.AttributeProto.INTS and attribute.ints and chance.random() < 0.7:
        attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(NUMBERS)
    elif attribute.type == onnx.AttributeProto.INTS:
        attribute.ints.append(chance.choice(NUMBERS))
    elif attribute.type == onnx.AttributeProto.STRING:
        attribute.s = chance.choice(TEXTS).encode()
    else:
        attribute.type = chance.choice((1, 2, 3, 4, 6, 7))


def _forget_attribute(_: Any, graph: Any, chance: random.Random) -> None:
    nodes = [n for n in graph.node if n.attribute]
    if nodes:
        node = chance.choice(nodes)
        del node.attribute[chance.randrange(len(node.attribute))]


def _operator(_: Any, graph: Any, chance: random.Random) -> None:
    if graph.node:
        names = sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == ""})
        chance.choice(graph.node).op_type = chance.choice(names)


def _edge(_: Any, graph: Any, chance: random.Random) -> None:
    nodes = [n for n in graph.node if n.input]
    values = [v for n in graph.node for v in (*n.input, *n.output)] + [i.name for i in graph.input] + [""]
    if nodes:
        node = chance.choice(nodes)
        node.input[chance.randrange(len(node.input))] = chance.choice(values)


def _operands(_: Any, graph: Any, chance: random.Random) -> None:
    if graph.node:
        node = chance.choice(graph.node)
        if node.input and chance.random() < 0.5:
            del node.input[-1]
        elif node.input:
            node.input.append(chance.choice(list(node.input)))
        elif node.output:
            del node.output[-1]


def _node(_: Any, graph: Any, chance: random.Random) -> None:
    if graph.node:
        place = chance.randrange(len(graph.node))
        if chance.random() < 0.5:
            del graph.node[place]
        else:
            graph.node.append(graph.node[place])


def _initializer(_: Any, graph: Any, chance: random.Random) -> None:
    if not graph.initializer:
        return
    tensor = chance.choice(graph.initializer)
    kind = chance.randrange(5)
    if kind == 0 and tensor.dims:
        tensor.dims[chance.randrange(len(tensor.dims))] = chance.choice(NUMBERS)
    elif kind == 1:
        tensor.dims.append(chance.choice((0, 1, 2, 2**40)))
    elif kind == 2:
        tensor.data_type = chance.randrange(0, 26)
    elif kind == 3:
        tensor.name = chance.choice(TEXTS)
    else:
        tensor.raw_data = damage_bytes(tensor.raw_data, chance)


def _type_of_value(_: Any, graph: Any, chance: random.Random) -> None:
    values = [*graph.input, *graph.output, *graph.value_info]
    if not values:
        return
    tensor = chance.choice(values).type.tensor_type
    if chance.random() < 0.3 or not tensor.shape.dim:
        tensor.elem_type = chance.randrange(0, 26)
        return
    dim = tensor.shape.dim[chance.randrange(len(tensor.shape.dim))]
    if chance.random() < 0.6:
        dim.dim_value = chance.choice(NUMBERS)
    else:
        dim.dim_param = chance.choice(TEXTS)


def _versions(model: Any, _: Any, chance: random.Random) -> None:
    if model.opset_import and chance.random() < 0.8:
        chance.choice(model.opset_import).version = chance.choice(
            (0, 1, 6, 7, 9, 10, 11, 12, 13, 17, 18, 21, 24, 99, -5)
        )
    else:
        model.ir_version = chance.choice((0, 1, 3, 4, 9, 99))


def _names(_: Any, graph: Any, chance: random.Random) -> None:
    owners = [*graph.input, *graph.output, *graph.node]
    if owners:
        chance.choice(owners).name = chance.choice(TEXTS)


_MODEL_DAMAGE: tuple[Callable[[Any, Any, random.Random], None], ...] = (
    _attribute, _attribute, _forget_attribute, _operator, _edge, _operands, _node, _initializer, _type_of_value,
    _type_of_value, _versions, _names,
)  # fmt: skip
