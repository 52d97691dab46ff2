"""Build the graph that planning sees from a Relax function."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tvm
from tvm import relax

from byoc.compat import attrs_to_dict, to_python
from byoc.dim import dim_of
from byoc.graph import Graph, Node, Shape, Value
from byoc.importer.origin import absorbed_origins, origin_of


class RelaxFunction:
    """The function behind a graph, and what its variables stand for."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.values: dict[Any, Any] = {}

    @cached_property
    def bound(self) -> Any:
        """Variable -> expression, as TVM's patterns want it."""
        return relax.analysis.get_var2val(self.function)

    def value_of(self, expr: Any) -> Value | None:
        """The value that a variable, a constant or a call of the function stands for."""
        if isinstance(expr, relax.Call):
            expr = self._variable_of.get(expr)
        held = self.values.get(expr)
        return held if isinstance(held, Value) else None

    @cached_property
    def _variable_of(self) -> dict[Any, Any]:
        return {value: variable for variable, value in self.bound.items()}


@dataclass(frozen=True)
class RelaxNode:
    """Where a node stands in the Relax function: its binding, and the function."""

    binding: Any
    home: RelaxFunction


class _Tuple:
    """A tuple of values or of further tuples, while the function is walked."""

    def __init__(self, fields: list[Any]) -> None:
        self.fields = fields


def blocks_of(body: Any) -> Iterator[Any]:
    """Every binding block of a function body in program order, those in branches of an `If` after the one before it."""
    for block in body.blocks:
        yield block
        for binding in block.bindings:
            if isinstance(binding.value, relax.If):
                for branch in (binding.value.true_branch, binding.value.false_branch):
                    if isinstance(branch, relax.SeqExpr):
                        yield from blocks_of(branch)


def graph_of(name: str, function: Any) -> Graph:
    """The graph of `function`.

    Every call is a node.  Calls outside dataflow blocks, and calls of anything else than an op, are nodes that no
    pattern matches (their op name is in parentheses).
    """
    return _Builder(name, function).build()


class _Builder:
    def __init__(self, name: str, function: Any) -> None:
        self.name, self.function = name, function
        self.home = RelaxFunction(function)
        self.nodes: list[Node] = []
        self.values = self.home.values
        self.results: set[int] = set()
        self.constants: dict[Any, Value] = {}
        self.block = 0
        self.symbols: dict[str, Node] = {}

    def build(self) -> Graph:
        params = []
        for param in self.function.params:
            value = self._typed(param.name, param.ty, None)
            self.values[param] = value
            params += self._flatten(value)
        self._walk(self.function.body)
        self._escape(self.function.body.body)
        returned = self._flatten(self._expr(self.function.body.body))
        return Graph(self.name, self.nodes, self.results, params, returned)

    def _walk(self, body: Any) -> None:
        for block in body.blocks:
            dataflow = isinstance(block, relax.DataflowBlock)
            self.block += 1
            here = self.block
            for binding in block.bindings:
                self._bind(here, dataflow, binding)

    def _bind(self, number: int, dataflow: bool, binding: Any) -> None:
        value = binding.value
        ref = RelaxNode(binding, self.home)
        if isinstance(binding, relax.MatchCast):
            node = self._node("(match_cast)", binding.var, self._flatten(self._expr(value)), number, ref)
            for symbol in relax.analysis.definable_tir_vars_in_type(binding.ty):
                self.symbols.setdefault(str(symbol.name), node)
        elif isinstance(value, relax.Call):
            self._call(number, dataflow, binding, ref)
        elif isinstance(value, relax.If):
            inputs = self._flatten(self._expr(value.cond))
            for branch in (value.true_branch, value.false_branch):
                self._walk(branch)
                self._escape(branch.body)
            self._node("(if)", binding.var, inputs, number, ref)
        elif isinstance(value, relax.Function):
            self._node("(function)", binding.var, [], number, ref)
        else:
            self.values[binding.var] = self._expr(value)

    def _call(self, number: int, dataflow: bool, binding: Any, ref: RelaxNode) -> None:
        call = binding.value
        is_op = isinstance(call.op, tvm.ir.Op)
        name = str(call.op.name).removeprefix("relax.") if is_op else "(call)"
        if is_op and not dataflow:
            name = f"({name})"
        inputs: list[Value] = []
        extra: list[tuple[int, Any]] = []
        for i, arg in enumerate(call.args):
            tensors = self._tensors(arg)
            if tensors is None:
                extra.append((i, arg))
            else:
                inputs += tensors
        self._node(name, binding.var, inputs, number, ref, extra)

    def _tensors(self, arg: Any) -> list[Value] | None:
        """The tensors in an argument; ``None`` where it is a shape, a scalar or a tuple of scalars."""
        if isinstance(arg, (relax.Var, relax.GlobalVar)):
            held = self.values.get(arg)
            return self._flatten(held) if held is not None else None
        if isinstance(arg, tvm.ir.GenericConst):
            return [self._constant(arg)]
        if isinstance(arg, relax.Tuple):
            parts = [self._tensors(f) for f in arg.fields]
            if any(p is None for p in parts):
                return None
            return [v for p in parts if p for v in p]
        if isinstance(arg, relax.TupleGetItem):
            return self._flatten(self._expr(arg))
        return None

    def _node(
        self,
        op: str,
        var: Any,
        inputs: list[Value],
        block: int,
        ref: RelaxNode,
        extra: list[tuple[int, Any]] | None = None,
    ) -> Node:
        call = ref.binding.value
        origin = origin_of(call)
        node = Node(
            len(self.nodes),
            op,
            tuple(inputs),
            node=origin.node if origin else "",
            op_type=origin.op_type if origin else "",
            note=origin.note if origin else "",
            absorbed=tuple((other.node, other.op_type) for other in absorbed_origins(call)),
            block=block,
            read_attrs=(lambda: _read_attrs(call, extra or [])) if isinstance(call, relax.Call) else None,
            ref=ref,
        )
        self.nodes.append(node)
        value = self._typed(str(var.name), var.ty, node)
        node.outputs = tuple(self._flatten(value)) or (Value(str(var.name), "", None, producer=node, ref=var),)
        self.values[var] = value if self._flatten(value) else node.outputs[0]
        if self.symbols:
            node.after = self._binders(var.ty, extra or [])
        return node

    def _binders(self, ty: Any, extra: list[tuple[int, Any]]) -> tuple[Node, ...]:
        """The match_casts that bind symbols which an op uses in its result's shape or its arguments."""
        text = re.findall(r"[A-Za-z_]\w*", " ".join([str(ty), *(str(a) for _, a in extra)]))
        return tuple({id(n): n for n in (self.symbols.get(name) for name in text) if n is not None}.values())

    def _typed(self, name: str, ty: Any, producer: Node | None, counter: list[int] | None = None) -> Any:
        counter = counter if counter is not None else [0]
        if isinstance(ty, relax.TupleType):
            return _Tuple([self._typed(f"{name}.{i}", f, producer, counter) for i, f in enumerate(ty.fields)])
        if isinstance(ty, relax.TensorType):
            index = counter[0]
            counter[0] += 1
            return Value(name, _dtype(ty), _shape(ty), producer=producer, index=index)
        if isinstance(ty, relax.ShapeType):
            return Value(name, "shape", None, producer=producer)
        if isinstance(ty, tvm.ir.PrimType):
            return None
        return Value(name, "", None, producer=producer)

    def _expr(self, expr: Any) -> Any:
        if isinstance(expr, (relax.Var, relax.GlobalVar)):
            return self.values.get(expr)
        if isinstance(expr, tvm.ir.GenericConst):
            return self._constant(expr)
        if isinstance(expr, relax.Tuple):
            return _Tuple([self._expr(f) for f in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            held = self._expr(expr.tuple_value)
            return held.fields[int(expr.index)] if isinstance(held, _Tuple) else held
        return None

    def _constant(self, constant: Any) -> Value:
        value = self.constants.get(constant)
        if value is None:
            ty = constant.ty
            name = f"const{len(self.constants)}"
            value = Value(name, _dtype(ty), _shape(ty), fetch=lambda: constant.value.numpy(), ref=constant)
            self.constants[constant] = self.values[constant] = value
        return value

    def _flatten(self, held: Any) -> list[Value]:
        if held is None:
            return []
        if isinstance(held, _Tuple):
            return [v for f in held.fields for v in self._flatten(f)]
        return [held]

    def _escape(self, expr: Any) -> None:
        for value in self._flatten(self._expr(expr)):
            if value.producer is not None:
                self.results.add(value.producer.index)


def _dtype(ty: Any) -> str:
    return str(ty.dtype).removeprefix("T.") if ty.dtype is not None else ""


def _shape(ty: Any) -> Shape | None:
    shape = ty.shape
    if shape is None or not isinstance(shape, relax.ShapeExpr):
        return None
    return tuple(dim_of(d) for d in shape.values)


def _read_attrs(call: Any, extra: list[tuple[int, Any]]) -> dict[str, Any]:
    attrs = attrs_to_dict(call.attrs)
    if extra and isinstance(call.op, tvm.ir.Op):
        names = [str(a.name) for a in call.op.arguments]
        for i, arg in extra:
            attrs[names[i] if i < len(names) else f"arg{i}"] = to_python(arg)
    return attrs
