"""The graph that planning and codegens see: ops, the values between them, and their origin in the model.

It is plain data.  `byoc.relax_graph` builds it from a Relax function; tests build it by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from byoc.dim import Dim

Shape = tuple["int | Dim", ...]

ITEM_BITS = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16, "int64": 64, "int32": 32, "int16": 16, "int8": 8,
    "uint64": 64, "uint32": 32, "uint16": 16, "uint8": 8, "bool": 8,
}  # fmt: skip


def item_bytes(dtype: str) -> float:
    """Bytes that one element of `dtype` takes; types that TVM alone knows are read off their trailing bit count."""
    if dtype in ITEM_BITS:
        return ITEM_BITS[dtype] / 8
    if "float8" in dtype:
        return 1
    digits = "".join(c for c in dtype if c.isdigit())
    return int(digits) / 8 if digits else 1


class Value:
    """A tensor that flows between ops: an entry parameter, a constant, or the result of an op.

    Attributes
    ----------
    dtype: such as ``"float32"``.
    shape: ints, and :class:`byoc.Dim` where the model is symbolic; ``None`` where even the rank is unknown.
    producer: the :class:`Node` that computes it, or ``None``.
    index: which of the producer's outputs it is.
    name: the name of the tensor, parameter or constant.
    """

    __slots__ = ("_fetch", "c_name", "dtype", "index", "name", "producer", "ref", "shape")

    def __init__(
        self,
        name: str,
        dtype: str,
        shape: Shape | None,
        *,
        producer: Node | None = None,
        index: int = 0,
        fetch: Callable[[], np.ndarray] | None = None,
        ref: Any = None,
    ) -> None:
        self.name, self.dtype, self.shape = name, dtype, shape
        self.producer, self.index, self.ref, self._fetch = producer, index, ref, fetch
        self.c_name = ""

    @property
    def is_constant(self) -> bool:
        """Whether the value is known when the model is compiled."""
        return self._fetch is not None

    @property
    def constant(self) -> np.ndarray | None:
        """The value itself if it is a constant, else ``None``.  Do not write into it."""
        return self._fetch() if self._fetch else None

    @property
    def op(self) -> str:
        """Name of the op that computes it, such as ``"nn.conv2d"``; empty for parameters and constants."""
        return self.producer.op if self.producer else ""

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Attributes of the op that computes it."""
        return self.producer.attrs if self.producer else {}

    @property
    def node(self) -> str:
        """Name of the model's node (ONNX) that it stems from; empty for parameters and constants."""
        return self.producer.node if self.producer else ""

    @property
    def rank(self) -> int:
        """Number of dimensions; -1 where it is unknown."""
        return -1 if self.shape is None else len(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether every dimension is known when the model is compiled."""
        return self.shape is not None and all(isinstance(d, int) for d in self.shape)

    @property
    def size(self) -> int | Dim:
        """Number of elements."""
        total: Any = 1
        for dim in self.shape or ():
            total = total * dim
        return total

    def __str__(self) -> str:
        return self.c_name or self.name

    def __repr__(self) -> str:
        dims = "?" if self.shape is None else ",".join(str(d) for d in self.shape)
        return f"{self.name}: {self.dtype}[{dims}]"


class Node:
    """One op of the graph.

    Attributes
    ----------
    index: position in the graph; ascending indices are a topological order.
    op: such as ``"nn.conv2d"`` or ``"byoc.kv_attention"``.
    inputs: tensor arguments, tuples flattened.  Shapes and scalars among the arguments are in `attrs`.
    outputs: results; one unless the op returns a tuple.
    node, op_type: name and type of the model's node that it stems from.
    absorbed: name and type of the model's other nodes whose work it does, for an op that stands for several.
    note: why a rewrite left the op as it is, where one wanted to do better.
    block: ops of different blocks are never put into one partition.
    after: ops that must run before it although it reads none of their tensors; they bind symbols that it uses.
    """

    __slots__ = (
        "__dict__", "_read_attrs", "absorbed", "after", "block", "index", "inputs", "node", "note", "op", "op_type",
        "outputs", "ref",
    )  # fmt: skip

    def __init__(
        self,
        index: int,
        op: str,
        inputs: tuple[Value, ...],
        *,
        node: str = "",
        op_type: str = "",
        absorbed: tuple[tuple[str, str], ...] = (),
        note: str = "",
        block: int = 0,
        read_attrs: Callable[[], Mapping[str, Any]] | None = None,
        ref: Any = None,
    ) -> None:
        self.index, self.op, self.inputs = index, op, inputs
        self.node, self.op_type, self.absorbed = node, op_type, absorbed
        self.note, self.block, self.ref = note, block, ref
        self.outputs: tuple[Value, ...] = ()
        self.after: tuple[Node, ...] = ()
        self._read_attrs = read_attrs

    @cached_property
    def attrs(self) -> Mapping[str, Any]:
        """Attributes, and the shape and scalar arguments under their parameter names."""
        return self._read_attrs() if self._read_attrs else {}

    @property
    def output(self) -> Value:
        """The first result."""
        return self.outputs[0]

    def __repr__(self) -> str:
        return f"{self.index}:{self.op}({self.node})"


class Graph:
    """The ops of one entry function, in topological order.

    Attributes
    ----------
    results: indices of the ops whose results leave their block: returned, or read in another way than by an op.
    params, returned: tensors that the function takes and returns, tuples flattened.
    """

    def __init__(
        self,
        name: str,
        nodes: list[Node],
        results: set[int],
        params: list[Value] | None = None,
        returned: list[Value] | None = None,
    ) -> None:
        self.name, self.nodes, self.results = name, nodes, results
        self.params, self.returned = params or [], returned or []
        self.users: list[list[int]] = [[] for _ in nodes]
        for node in nodes:
            for producer in self.producers(node.index):
                self.users[producer].append(node.index)

    def producers(self, index: int) -> Iterator[int]:
        """Indices of the ops that op `index` depends on, each once, in argument order."""
        node = self.nodes[index]
        seen = set()
        for producer in (*(v.producer for v in node.inputs), *node.after):
            if producer is not None and producer.index not in seen:
                seen.add(producer.index)
                yield producer.index

    def escapes(self, index: int, inside: set[int] | frozenset[int]) -> bool:
        """Whether a result of op `index` is read outside the set `inside`."""
        return index in self.results or any(user not in inside for user in self.users[index])
