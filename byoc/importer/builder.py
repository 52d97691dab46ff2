"""From ONNX nodes to one Relax function: each node is lowered in turn, and what it emits is stamped with its origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import tvm
from tvm import relax, tirx

from byoc.artifact.dtypes import numpy_dtype
from byoc.errors import ByocError, LimitError, UnsupportedModelError
from byoc.importer.budget import Budget
from byoc.importer.control import lower_if
from byoc.importer.dataflow import to_dataflow
from byoc.importer.elements import element_count, sequence_type
from byoc.importer.expand import function_of, lower_function
from byoc.importer.fold import fold
from byoc.importer.limits import Limits
from byoc.importer.node_view import NodeView, is_scalar_expr
from byoc.importer.origin import Origin, stamp
from byoc.importer.reason import plain_reason
from byoc.importer.scope import Scope
from byoc.importer.standard import check_node
from byoc.importer.structure import Node, live_nodes
from byoc.importer.table import find_lowering, is_users
from byoc.importer.tensors import TensorReader
from byoc.importer.unroll import lower_loop, lower_scan
from byoc.importer.values import Dim, Extents, Known, Nothing, Symbolic, UnequalSymbolsError, Value, ValueList

Functions = Mapping[tuple[str, str, str], onnx.FunctionProto]
_CONTROL = {"If": lower_if, "Loop": lower_loop, "Scan": lower_scan}


class GraphBuilder:
    """Builds ``main``.  One instance builds one module."""

    def __init__(self, reader: TensorReader, functions: Functions, extents: Extents, limits: Limits) -> None:
        self.reader = reader
        self.functions = functions
        self.extents = extents
        self.budget = Budget(limits, extents)
        self.block_builder = relax.BlockBuilder()
        self.bindings: list[relax.Binding] = []
        self.depth = 0  # of function calls and subgraphs
        self.output_names: list[str] = []  # of what ``main`` returns
        self._symbols = 0
        self._origin: Origin | None = None  # of the node whose expansion is under way

    def build(
        self, graph: onnx.GraphProto, variables: Mapping[str, relax.Var], opsets: Mapping[str, int]
    ) -> tvm.IRModule:
        """The module whose ``main`` takes ``variables`` in order and returns the graph's output, or a tuple."""
        scope = Scope(opsets)
        for name, variable in variables.items():
            self.budget.tensor(variable.ty, f'the input "{name}"')
            scope.define(name, variable)
        for value in graph.input:
            if sequence_type(value.type) is not None:
                count = element_count(value.name, variables) or 0
                scope.define(value.name, ValueList(tuple(variables[f"{value.name}[{i}]"] for i in range(count))))
        self.define_initializers(graph, scope)
        nodes = live_nodes(graph.node, [value.name for value in graph.output], scope.names())
        block_builder = self.block_builder
        with block_builder.function("main", list(variables.values())):
            try:
                self.convert_nodes(nodes, scope)
            except BaseException:
                block_builder._end_block()  # else TVM warns of an unfinished block
                raise
            named = self._outputs({value.name: self.find(scope, value.name) for value in graph.output})
            self.output_names = list(named)
            outputs = self.collect(list(named.values()))
            self.flush(Node(onnx.NodeProto(op_type="Output"), graph.output[0].name))
            block_builder._func._blocks = [relax.BindingBlock(self.bindings)] if self.bindings else []
            block_builder.emit_func_output(outputs)
        module = block_builder.get()
        module["main"] = module["main"].with_attr("num_input", len(variables))
        return to_dataflow(module)

    def _outputs(self, values: Mapping[str, Value | None]) -> dict[str, Value]:
        """The tensors to return by name; the elements of a sequence ``y`` are called ``y[0]``, ``y[1]``..."""
        named: dict[str, Value] = {}
        for name, value in values.items():
            if isinstance(value, ValueList):
                named.update(self._outputs({f"{name}[{i}]": element for i, element in enumerate(value.elements)}))
            elif value is not None:
                named[name] = value
        if not named:
            raise UnsupportedModelError(
                "the model returns no tensor", "its outputs are sequences without elements", "return something else."
            )
        return named

    def define_initializers(self, graph: onnx.GraphProto, scope: Scope) -> None:
        for tensor in graph.initializer:
            scope.define(tensor.name, Known(self.reader.array(tensor)))
        for sparse in graph.sparse_initializer:
            raise UnsupportedModelError(
                f'the weight "{sparse.values.name}" is sparse',
                "the importer takes dense weights only",
                "store it densely.",
            )

    def convert_nodes(self, nodes: Sequence[Node], scope: Scope) -> None:
        """Lower ``nodes`` in order; their results become names of ``scope``."""
        for node in nodes:
            self._convert_node(node, scope)

    def convert_function_body(self, nodes: Sequence[Node], scope: Scope, origin: Origin | None) -> None:
        """Lower the nodes of a function; with ``origin``, all of them count as that one node."""
        before, self._origin = self._origin, self._origin or origin
        try:
            self.convert_nodes(nodes, scope)
        finally:
            self._origin = before

    def _convert_node(self, node: Node, scope: Scope) -> None:
        try:
            results = self._lower(node, scope)
            self._bind_results(node, results, scope)
        except LimitError as error:
            named = error.what if error.what.startswith("node ") else f"node {node} cannot be imported: {error.what}"
            raise LimitError(named, error.why, error.todo) from error
        except (ByocError, UnequalSymbolsError):
            raise
        except MemoryError as error:
            raise LimitError(
                f"node {node} cannot be imported: it needs more memory than there is",
                "what it computes at import does not fit",
                "use a machine with more memory, or a smaller model.",
            ) from error
        except Exception as error:
            raise UnsupportedModelError(
                f"node {node} cannot be imported",
                plain_reason(error),
                "change the model or its export so that it avoids this.",
            ) from error
        self.flush(node)

    def _lower(self, node: Node, scope: Scope) -> Value | Sequence[Value | None]:
        inputs = [self.find(scope, name) if name else None for name in node.proto.input]
        version = scope.opsets.get(node.domain, 1)
        attributes = {attribute.name: attribute for attribute in node.proto.attribute}
        used = [bool(name) for name in node.proto.output]
        view = NodeView(self, node, inputs, used, version, attributes)
        key = (node.domain, node.proto.op_type, node.proto.overload)
        if is_users(node.domain, node.proto.op_type, version):
            return self._by_table(view)
        check_node(view)
        if node.domain == "" and node.proto.op_type in _CONTROL:
            return _CONTROL[node.proto.op_type](self, view, scope)
        if key in self.functions:
            return lower_function(self, view, self.functions[key], scope.opsets, own_nodes=True)
        folded = fold(view)
        if folded is not None:
            return folded
        if find_lowering(node.domain, node.proto.op_type, version) is not None:
            return self._by_table(view)
        function = function_of(view)
        if function is None:
            view.refuse("the importer does not know this operator")
        return lower_function(self, view, function, scope.opsets, own_nodes=False)

    def _by_table(self, view: NodeView) -> Value | Sequence[Value | None]:
        lower = find_lowering(view.node.domain, view.node.proto.op_type, view.version)
        assert lower is not None
        results = lower(view)
        view.check_all_read()
        return results

    def _bind_results(self, node: Node, results: Value | Sequence[Value | None], scope: Scope) -> None:
        outputs = [name for name in node.proto.output]
        values = list(results) if isinstance(results, (list, tuple)) else [results]
        if len(values) == 1 and len(outputs) > 1 and isinstance(values[0], relax.Expr):
            values = self._fields(values[0])
        for index, name in enumerate(outputs):
            if not name:
                continue
            value = values[index] if index < len(values) else None
            if value is not None:
                scope.define(name, self.settle(value))

    def _fields(self, value: relax.Expr) -> list[Value]:
        if isinstance(value, relax.Tuple):
            return list(value.fields)
        value = self.settle(value)
        if isinstance(value.ty, relax.TupleType):
            return [self.block_builder.emit(relax.TupleGetItem(value, index)) for index in range(len(value.ty.fields))]
        return [value]

    def settle(self, value: Value) -> Value:
        """A value that may be read many times: a variable, a constant, or what is known of it."""
        if isinstance(value, ValueList):
            return ValueList(tuple(self.settle(element) for element in value.elements))
        if isinstance(value, Known | Symbolic | Nothing | relax.Var):
            return value
        if isinstance(value, tvm.ir.GenericConst):
            return Known(value.value.numpy())
        if isinstance(value, relax.ShapeExpr):
            return symbolic(np.array([self.extents.simplify(v) for v in value.values] + [None], dtype=object)[:-1])
        if is_scalar_expr(value):
            return symbolic(np.array(self.extents.simplify(value), dtype=object))
        variable = self.block_builder.emit(value)
        self.budget.tensor(variable.ty, "one of its results")
        if isinstance(variable.ty, relax.ShapeType):
            return self.block_builder.emit(relax.op.shape_to_tensor(variable))
        return variable

    def find(self, scope: Scope, name: str) -> Value | None:
        """The value called ``name``; None for a function's absent optional input."""
        value = scope.find(name)
        if value is None and not scope.is_absent(name):
            raise UnsupportedModelError(
                f'the value "{name}" is read, but the importer does not compute it',
                "it is an optional output that has no Relax counterpart",
                "change the model or its export so that it avoids this.",
            )
        return value

    def flush(self, node: Node) -> None:
        """Take what was emitted since the last flush; it stems from ``node``."""
        origin = self._origin or Origin(node.name, node.op_type)
        block = self.block_builder._end_block()
        self.bindings.extend(stamp(binding, origin) for binding in block.bindings)
        self.block_builder._begin_binding_block()

    def collect(self, values: Sequence[Value | None]) -> relax.Expr:
        """One tensor, or a tuple of tensors."""
        tensors = [self.as_tensor(value) for value in values if value is not None]
        return tensors[0] if len(tensors) == 1 else relax.Tuple(tensors)

    def fresh_symbol(self) -> tirx.Var:
        """A new symbolic extent, for what is known only at run time."""
        self._symbols += 1
        symbol = tirx.Var(f"extent_{self._symbols}", "int64")
        self.extents.declare(symbol)
        return symbol

    def name_extents(self, value: relax.Expr, kind: relax.Type) -> relax.Var:
        """``value`` cast to a type that holds symbols from :meth:`fresh_symbol`: from here on they have a meaning."""
        return self.block_builder.match_cast(value, kind)

    # What is known of a value

    def as_tensor(self, value: Value) -> relax.Expr:
        """The value as a Relax expression of tensor type."""
        if isinstance(value, Known):
            return value.constant
        if isinstance(value, ValueList | Nothing):
            raise _no_tensor(value)
        if not isinstance(value, Symbolic):
            return value
        shape = relax.ShapeExpr([_as_extent(element) for element in value.elements.reshape(-1)])
        tensor = relax.op.shape_to_tensor(shape)
        if value.elements.ndim == 0:
            tensor = relax.op.reshape(tensor, relax.ShapeExpr([]))
        if value.dtype != "int64":
            tensor = relax.op.astype(tensor, value.dtype)
        return self.block_builder.emit(tensor)

    def type_of(self, value: Value) -> relax.TensorType:
        if isinstance(value, Known):
            return relax.TensorType(list(value.array.shape), str(value.array.dtype))
        if isinstance(value, Symbolic):
            return relax.TensorType(list(value.elements.shape), value.dtype)
        if isinstance(value, ValueList | Nothing):
            raise _no_tensor(value)
        kind = value.ty if isinstance(value, relax.Var) else self.block_builder.normalize(value).ty
        if not isinstance(kind, relax.TensorType):
            raise UnsupportedModelError(
                f"a value of type {kind} is used as a tensor", "", "change the model so that it avoids sequences here."
            )
        return kind

    def dtype_of(self, value: Value) -> str:
        if isinstance(value, Known):
            return str(value.array.dtype)
        if isinstance(value, Symbolic):
            return value.dtype
        return str(self.type_of(value).dtype.dtype)

    def numpy_dtype_of(self, value: Value) -> np.dtype:
        return numpy_dtype(self.dtype_of(value))

    def rank_of(self, value: Value) -> int | None:
        if isinstance(value, Known):
            return value.array.ndim
        if isinstance(value, Symbolic):
            return value.elements.ndim
        rank = self.type_of(value).ndim
        return None if rank < 0 else rank

    def shape_of(self, value: Value) -> list[Dim] | None:
        """The extents; None if they are not known even as symbols."""
        if isinstance(value, Known):
            return list(value.array.shape)
        if isinstance(value, Symbolic):
            return list(value.elements.shape)
        shape = self.type_of(value).shape
        return [self.extents.simplify(dim) for dim in shape.values] if isinstance(shape, relax.ShapeExpr) else None


def _no_tensor(value: ValueList | Nothing) -> UnsupportedModelError:
    kind = "a sequence" if isinstance(value, ValueList) else "an optional that holds nothing"
    return UnsupportedModelError(
        f"{kind} is used as a tensor", "", "change the model so that it takes the elements out first."
    )


def symbolic(elements: np.ndarray, dtype: str = "int64") -> Value:
    """:class:`Known` if no element depends on a symbol, else :class:`Symbolic`."""
    if all(isinstance(element, int | np.integer) for element in elements.reshape(-1)):
        return Known(elements.astype(dtype))
    return Symbolic(elements, dtype)


def _as_extent(element: Dim) -> tvm.ir.Expr:
    return tirx.IntImm("int64", int(element)) if isinstance(element, int | np.integer) else element
