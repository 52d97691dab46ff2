"""Move each partition's ops into a function of its own.

The stock passes are not used: they know no plan, no function but `main`, and turn quadratic with distinct constants.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import tvm
from tvm import relax

from byoc.errors import PlanError
from byoc.graph import Graph
from byoc.partitioner.plan import FunctionPlan, Partition

CODEGEN, SYMBOL = "Codegen", "global_symbol"


def outline(module: tvm.IRModule, graphs: Mapping[str, Graph], plans: Sequence[FunctionPlan]) -> tvm.IRModule:
    """The module with one private function for each partition, and calls of them in the entry functions.

    A partition function has the attributes ``Codegen`` and ``global_symbol``; its parameters are the tensors it
    reads in order of first use, then a shape with the symbols that those do not determine; constants stay inside.

    Raises :class:`PlanError` when a partition is not convex.
    """
    functions = dict(module.functions_items())
    for plan in plans:
        if not plan.partitions:
            continue
        variable = module.get_global_var(plan.name)
        outliner = _Outliner(graphs[plan.name], plan)
        functions[variable] = outliner.function(functions[variable])
        functions.update(outliner.created)
    result = relax.transform.Normalize()(tvm.IRModule(functions, attrs=module.attrs, global_infos=module.global_infos))
    relax.analysis.well_formed(result)
    return result


def used_variables(expr: Any, found: dict[Any, None] | None = None) -> dict[Any, None]:
    """The variables that a normalised expression reads, in order."""
    found = {} if found is None else found
    if isinstance(expr, relax.GlobalVar):
        return found
    if isinstance(expr, relax.Var):
        if not isinstance(expr.ty, tvm.ir.PrimType):
            found[expr] = None
    elif isinstance(expr, relax.Call):
        if isinstance(expr.op, relax.Var):
            used_variables(expr.op, found)
        for arg in expr.args:
            used_variables(arg, found)
    elif isinstance(expr, relax.Tuple):
        for item in expr.fields:
            used_variables(item, found)
    elif isinstance(expr, relax.TupleGetItem):
        used_variables(expr.tuple_value, found)
    elif isinstance(expr, relax.If):
        used_variables(expr.cond, found)
        for branch in (expr.true_branch, expr.false_branch):
            _used_in_sequence(branch, found)
    elif isinstance(expr, relax.Function):
        for free in relax.analysis.free_vars(expr):
            found[free] = None
    return found


def _used_in_sequence(body: Any, found: dict[Any, None]) -> None:
    for block in body.blocks:
        for binding in block.bindings:
            used_variables(binding.value, found)
    used_variables(body.body, found)


class _Outliner:
    """Rewrites one entry function."""

    def __init__(self, graph: Graph, plan: FunctionPlan) -> None:
        self.graph, self.plan = graph, plan
        self.partition_of: dict[Any, Partition] = {}
        for partition in plan.partitions:
            for i in partition.ops:
                self.partition_of[graph.nodes[i].ref.binding.var] = partition
        self.readers: dict[Any, int] = {}
        self.created: dict[Any, Any] = {}

    def function(self, function: Any) -> Any:
        self._count_readers(function.body)
        body = self._sequence(function.body)
        return relax.Function(function.params, body, function.ret_ty, function.is_pure, function.attrs)

    def _count_readers(self, body: Any) -> None:
        """How many bindings read each variable, in the whole function."""
        for block in body.blocks:
            for binding in block.bindings:
                if isinstance(binding.value, relax.If):
                    for branch in (binding.value.true_branch, binding.value.false_branch):
                        self._count_readers(branch)
                    self._read(binding.value.cond)
                else:
                    self._read(binding.value)
        self._read(body.body)

    def _read(self, expr: Any) -> None:
        for variable in used_variables(expr):
            self.readers[variable] = self.readers.get(variable, 0) + 1

    def _sequence(self, body: Any) -> Any:
        return relax.SeqExpr([self._block(block) for block in body.blocks], body.body)

    def _block(self, block: Any) -> Any:
        if isinstance(block, relax.DataflowBlock):
            return self._dataflow(block)
        bindings = []
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, relax.If):
                value = relax.If(
                    value.cond, self._sequence(value.true_branch), self._sequence(value.false_branch), span=value.span
                )
                binding = relax.VarBinding(binding.var, value)
            bindings.append(binding)
        return relax.BindingBlock(bindings)

    def _dataflow(self, block: Any) -> Any:
        bindings = list(block.bindings)
        owner = self._owners(bindings)
        if all(isinstance(o, int) for o in owner):
            return block
        members: dict[Any, list[int]] = {}
        for i, key in enumerate(owner):
            members.setdefault(key, []).append(i)
        result = []
        for key in self._order(bindings, owner, members):
            if isinstance(key, int):
                result.append(bindings[key])
            else:
                partition = self.plan.partitions[int(key.removeprefix("partition "))]
                result += self._call(partition, [bindings[i] for i in members[key]])
        return relax.DataflowBlock(result)

    def _owners(self, bindings: Sequence[Any]) -> list[Any]:
        """For each binding its partition's key, or its own position; a tuple's fields follow the tuple."""
        key_of: dict[Any, str] = {}
        owner: list[Any] = []
        for i, binding in enumerate(bindings):
            partition = self.partition_of.get(binding.var)
            key: Any = i
            if partition is not None:
                key = f"partition {partition.index}"
            elif isinstance(binding.value, relax.TupleGetItem):
                key = key_of.get(binding.value.tuple_value, i)
            if not isinstance(key, int):
                key_of[binding.var] = key
            owner.append(key)
        return owner

    def _order(self, bindings: Sequence[Any], owner: Sequence[Any], members: Mapping[Any, list[int]]) -> list[Any]:
        """The condensed graph in a topological order that keeps the original one where it can."""
        place = {b.var: i for i, b in enumerate(bindings)}
        waiting: dict[Any, set[Any]] = {key: set() for key in members}
        readers: dict[Any, set[Any]] = {key: set() for key in members}
        for i, binding in enumerate(bindings):
            needs = [place[v] for v in used_variables(binding.value) if v in place]
            for j in needs + self._after(binding, place):
                if owner[j] != owner[i]:
                    waiting[owner[i]].add(owner[j])
                    readers[owner[j]].add(owner[i])
        ready = [(m[0], str(key), key) for key, m in members.items() if not waiting[key]]
        heapq.heapify(ready)
        order = []
        while ready:
            *_, key = heapq.heappop(ready)
            order.append(key)
            for reader in readers[key]:
                waiting[reader].discard(key)
                if not waiting[reader]:
                    heapq.heappush(ready, (members[reader][0], str(reader), reader))
        if len(order) != len(members):
            stuck = sorted(str(k) for k in set(members) - set(order) if not isinstance(k, int))
            raise PlanError(
                f"{', '.join(stuck)} of {self.plan.name} cannot be outlined",
                "they depend on each other through ops outside, so that they are not convex",
            )
        return order

    def _after(self, binding: Any, place: Mapping[Any, int]) -> list[int]:
        node = self._node_of.get(binding.var)
        return [place[n.ref.binding.var] for n in node.after if n.ref.binding.var in place] if node else []

    @property
    def _node_of(self) -> dict[Any, Any]:
        cached = self.__dict__.get("_nodes")
        if cached is None:
            cached = self.__dict__["_nodes"] = {n.ref.binding.var: n for n in self.graph.nodes if n.after}
        return cached

    def _call(self, partition: Partition, bindings: Sequence[Any]) -> list[Any]:
        """Create the partition's function; the bindings that call it and unpack its results."""
        inside = {b.var for b in bindings}
        uses = [used_variables(b.value) for b in bindings]
        inputs = list(dict.fromkeys(v for u in uses for v in u if v not in inside))
        read_inside: dict[Any, int] = {}
        for use in uses:
            for v in use:
                read_inside[v] = read_inside.get(v, 0) + 1
        bindings, repacked = list(bindings), []
        outputs = []
        for binding in list(bindings):
            variable = binding.var
            if isinstance(variable, relax.DataflowVar) and self.readers.get(variable, 0) <= read_inside.get(
                variable, 0
            ):
                continue
            if isinstance(variable.ty, relax.TupleType):
                fields = [relax.DataflowVar(f"{variable.name}_{k}", ty) for k, ty in enumerate(variable.ty.fields)]
                bindings += [relax.VarBinding(f, relax.TupleGetItem(variable, k)) for k, f in enumerate(fields)]
                repacked.append(relax.VarBinding(variable, relax.Tuple(fields)))
                outputs += fields
            else:
                outputs.append(variable)
        function, shape_args = _make_function(inputs, bindings, outputs)
        function = function.with_attrs({CODEGEN: partition.target, SYMBOL: partition.symbol})
        variable = relax.GlobalVar(partition.symbol)
        relax.expr._update_type(variable, function.ty)
        self.created[variable] = function
        # The caller's symbols, not those that the function has as copies.
        returned = outputs[0].ty if len(outputs) == 1 else relax.TupleType([v.ty for v in outputs])
        call = relax.Call(variable, [*inputs, *shape_args], ret_ty=returned)
        if len(outputs) == 1:
            return [relax.VarBinding(outputs[0], call), *repacked]
        packed = relax.DataflowVar(f"{partition.symbol}_results", returned)
        unpacked = [relax.VarBinding(v, relax.TupleGetItem(packed, k)) for k, v in enumerate(outputs)]
        return [relax.VarBinding(packed, call), *unpacked, *repacked]


def _make_function(inputs: Sequence[Any], bindings: Sequence[Any], outputs: Sequence[Any]) -> tuple[Any, list[Any]]:
    """A function of `inputs` that computes `outputs`, and the shape argument for symbols that no input determines."""
    params = [relax.Var(value.name, value.ty) for value in inputs]
    renamed = {v: relax.DataflowVar(v.name, v.ty) for v in inputs if not isinstance(v, relax.DataflowVar)}
    results = [relax.Var(f"{v.name}_result", v.ty) for v in outputs]
    body = [relax.VarBinding(renamed.get(v, v), p) for v, p in zip(inputs, params, strict=True)]
    body += [_renamed(b, renamed) for b in bindings]
    body += [relax.VarBinding(r, v) for r, v in zip(results, outputs, strict=True)]
    value = results[0] if len(results) == 1 else relax.Tuple(results)
    ret = results[0].ty if len(results) == 1 else relax.TupleType([r.ty for r in results])
    sequence = relax.SeqExpr([relax.DataflowBlock(body)], value)
    function = relax.Function(params, sequence, ret)
    free = list(relax.analysis.free_symbolic_vars(function))
    shape_args = []
    if free:
        shape_args = [relax.ShapeExpr(free)]
        shape = relax.Var("shape_args", relax.ShapeType(free))
        function = relax.Function([*params, shape], sequence, ret)
    function = relax.utils.copy_with_new_vars(function)
    return _without_aliases(function), shape_args


def _renamed(binding: Any, renamed: Mapping[Any, Any]) -> Any:
    def replace(expr: Any) -> Any:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([replace(f) for f in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(replace(expr.tuple_value), expr.index)
        return renamed.get(expr, expr) if isinstance(expr, relax.Var) else expr

    value = binding.value
    if isinstance(value, relax.Call):
        args = [replace(a) for a in value.args]
        value = relax.Call(value.op, args, value.attrs, value.ty_args, span=value.span, ret_ty=value.ty)
    else:
        value = replace(value)
    return relax.VarBinding(binding.var, value)


def _without_aliases(function: Any) -> Any:
    name = "partition"
    module = tvm.IRModule({name: function.with_attr(SYMBOL, name)})
    return relax.transform.CanonicalizeBindings()(module)[name].without_attr(SYMBOL)
