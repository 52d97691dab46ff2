"""Turn calls of outlined partitions into calls of external functions, and large constants into parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tvm
from tvm import relax, tirx

from byoc.codegen import PyFunc
from byoc.dim import Dim, substitute
from byoc.lower.emit import Compiled
from byoc.rewrite.bindings import rewrite_bindings

LARGE_CONSTANT = 1024


def call_externally(module: tvm.IRModule, compiled: Mapping[str, Compiled]) -> tvm.IRModule:
    """The module without partition functions: what called them calls external functions.

    A partition's results are allocated by the VM and passed last (destination-passing style); its workspace is one
    more such result, so that the VM plans it with all other memory.
    """
    symbols = {v: str(v.name_hint) for v, f in module.functions_items() if str(v.name_hint) in compiled}

    def rewrite(binding: Any) -> list[Any]:
        value = binding.value
        if isinstance(value, relax.Call) and isinstance(value.op, relax.GlobalVar) and value.op in symbols:
            return _external(binding.var, symbols[value.op], list(value.args), compiled)
        return [binding]

    kept = {v: f for v, f in module.functions_items() if v not in symbols}
    result = tvm.IRModule(kept, attrs=module.attrs, global_infos=module.global_infos)
    result = rewrite_bindings(result, lambda _: rewrite)
    relax.analysis.well_formed(result)
    return result


def _external(variable: Any, symbol: str, args: list[Any], compiled: Mapping[str, Compiled]) -> list[Any]:
    ty = variable.ty
    fields = list(ty.fields) if isinstance(ty, relax.TupleType) else [ty]
    emitted, updated = compiled[symbol].emitted, dict(compiled[symbol].function.updated)
    workspace = 0 if isinstance(emitted, PyFunc) else emitted.workspace
    if not updated and isinstance(workspace, int) and workspace == 0:
        out_ty = fields if len(fields) > 1 else fields[0]
        return [relax.VarBinding(variable, relax.call_dps_packed(symbol, args, out_ty=out_ty))]
    size = workspace
    if isinstance(workspace, Dim):
        size = substitute(workspace.expr, _callers_symbols(compiled[symbol], args))
    packed_ty = [f for k, f in enumerate(fields) if k not in updated]
    if not (isinstance(size, int) and size == 0):
        packed_ty.append(relax.TensorType((size,), "uint8"))
    call, alone = relax.call_dps_packed(symbol, args, out_ty=packed_ty), len(packed_ty) == 1
    packed = relax.DataflowVar(f"{symbol}_packed", packed_ty[0] if alone else relax.TupleType(packed_ty))
    results = [packed] if alone else [relax.TupleGetItem(packed, k) for k in range(len(packed_ty))]
    bindings, items, fresh = [relax.VarBinding(packed, call)], [], 0
    for k, field in enumerate(fields):
        if k in updated:
            after = relax.DataflowVar(f"{symbol}_after{k}", relax.TupleType([field, packed_ty[0]]))
            bindings.append(relax.VarBinding(after, _once_done(args[updated[k]], results[0], after.ty)))
            items.append(relax.TupleGetItem(after, 0))
        else:
            items.append(results[fresh])
            fresh += 1
    value = relax.Tuple(items) if isinstance(ty, relax.TupleType) else items[0]
    return [*bindings, relax.VarBinding(variable, value)]


def lift_constants(
    module: tvm.IRModule, add_weight: Callable[[str, Any], int]
) -> tuple[tvm.IRModule, dict[str, tuple[int, ...]]]:
    """The module with constants above 1 KiB as parameters, and for each function those it takes after its inputs.

    Inside the library they would cost seconds and several times their memory per gigabyte.
    """
    functions, weights = {}, {}
    for variable, function in module.functions_items():
        if isinstance(function, relax.Function):
            lifter = _Lifter(add_weight)
            function = lifter.function(function)
            weights[str(variable.name_hint)] = tuple(lifter.weights)
        functions[variable] = function
    result = tvm.IRModule(functions, attrs=module.attrs, global_infos=module.global_infos)
    result = relax.transform.Normalize()(result)
    relax.analysis.well_formed(result)
    return result, weights


class _Lifter:
    def __init__(self, add_weight: Callable[[str, Any], int]) -> None:
        self.add_weight = add_weight
        self.weights: list[int] = []
        self.params: dict[int, Any] = {}
        self.lifted: dict[Any, Any] = {}

    def function(self, function: Any) -> Any:
        body = self._sequence(function.body)
        params = [*function.params, *self.params.values()]
        return relax.Function(params, body, function.ret_ty, function.is_pure, function.attrs)

    def _sequence(self, body: Any) -> Any:
        blocks = []
        for block in body.blocks:
            bindings = [self._binding(binding) for binding in block.bindings]
            dataflow = isinstance(block, relax.DataflowBlock)
            blocks.append(relax.DataflowBlock(bindings) if dataflow else relax.BindingBlock(bindings))
        return relax.SeqExpr(blocks, self._lift(body.body))

    def _binding(self, binding: Any) -> Any:
        value = binding.value
        if isinstance(binding, relax.MatchCast):
            return binding
        if isinstance(value, relax.If):
            value = relax.If(value.cond, self._sequence(value.true_branch), self._sequence(value.false_branch))
        elif isinstance(value, relax.Call):
            args = [self._lift(a) for a in value.args]
            value = relax.Call(value.op, args, value.attrs, value.ty_args, span=value.span, ret_ty=value.ty)
        else:
            value = self._lift(value)
        return relax.VarBinding(binding.var, value)

    def _lift(self, expr: Any) -> Any:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._lift(f) for f in expr.fields])
        if not isinstance(expr, tvm.ir.GenericConst):
            return expr
        if expr in self.lifted:
            return self.lifted[expr]
        array = expr.value.numpy() if _bytes(expr) > LARGE_CONSTANT else None
        if array is None:
            return expr
        index = self.add_weight(f"weight{len(self.weights)}", array)
        if index not in self.params:
            self.params[index] = relax.Var(f"weight_{index}", expr.ty)
            self.weights.append(index)
        self.lifted[expr] = self.params[index]
        return self.lifted[expr]


def _once_done(tensor: Any, result: Any, ty: Any) -> Any:
    """`tensor` in a tuple with a result of the call that updated it, so that nobody reads the tensor earlier."""
    return relax.call_pure_packed("vm.builtin.make_tuple", tensor, result, ty_args=[ty])


def _callers_symbols(compiled: Compiled, args: list[Any]) -> dict[Any, Any]:
    """What each symbol of a partition function stands for at a call."""
    found: dict[Any, Any] = {}
    for param, arg in zip(compiled.function.function.params, args, strict=True):
        own, given = _dims(param.ty), list(arg.values) if isinstance(arg, relax.ShapeExpr) else _dims(arg.ty)
        for symbol, dim in zip(own, given, strict=True):
            if isinstance(symbol, tirx.Var):
                found.setdefault(symbol, dim)
    return found


def _dims(ty: Any) -> list[Any]:
    if isinstance(ty, relax.ShapeType):
        return list(ty.values or [])
    shape = getattr(ty, "shape", None)
    return list(shape.values) if isinstance(shape, relax.ShapeExpr) else []


def _bytes(constant: Any) -> int:
    tensor = constant.value
    total = 1
    for dim in tensor.shape:
        total *= int(dim)
    return total * max(1, int(tensor.dtype.itemsize))
