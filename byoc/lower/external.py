"""Turn calls of outlined partitions into calls of external functions, and large constants into parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tvm
from tvm import relax, tirx

from byoc.codegen import PyFunc
from byoc.dim import Dim, substitute
from byoc.lower.emit import Compiled

LARGE_CONSTANT = 1024


def call_externally(
    module: tvm.IRModule, compiled: Mapping[str, Compiled], add_weight: Callable[[str, Any], int]
) -> tuple[tvm.IRModule, dict[str, tuple[int, ...]]]:
    """The module without partition functions, and for each entry function the weights it takes after its inputs.

    A partition's results are allocated by the VM and passed last (destination-passing style); its workspace is one
    more such result, so that the VM plans it with all other memory.  Host constants above 1 KiB become parameters:
    inside the library they would cost seconds and several times their memory per gigabyte.
    """
    symbols = {v: str(v.name_hint) for v, f in module.functions_items() if str(v.name_hint) in compiled}
    functions, weights = {}, {}
    for variable, function in module.functions_items():
        if variable in symbols:
            continue
        if isinstance(function, relax.Function):
            rewriter = _Rewriter(symbols, compiled, add_weight)
            function = rewriter.function(function)
            weights[str(variable.name_hint)] = tuple(rewriter.weights)
        functions[variable] = function
    result = tvm.IRModule(functions, attrs=module.attrs, global_infos=module.global_infos)
    result = relax.transform.Normalize()(result)
    relax.analysis.well_formed(result)
    return result, weights


class _Rewriter:
    def __init__(
        self, symbols: Mapping[Any, str], compiled: Mapping[str, Compiled], add_weight: Callable[[str, Any], int]
    ) -> None:
        self.symbols, self.compiled, self.add_weight = symbols, compiled, add_weight
        self.weights: list[int] = []
        self.params: dict[int, Any] = {}
        self.lifted: dict[Any, Any] = {}

    def function(self, function: Any) -> Any:
        body = self._sequence(function.body)
        params = [*function.params, *self.params.values()]
        attrs = function.attrs
        return relax.Function(params, body, function.ret_ty, function.is_pure, attrs)

    def _sequence(self, body: Any) -> Any:
        blocks = []
        for block in body.blocks:
            bindings = [b for binding in block.bindings for b in self._binding(binding)]
            dataflow = isinstance(block, relax.DataflowBlock)
            blocks.append(relax.DataflowBlock(bindings) if dataflow else relax.BindingBlock(bindings))
        return relax.SeqExpr(blocks, self._lift(body.body))

    def _binding(self, binding: Any) -> list[Any]:
        value = binding.value
        if isinstance(value, relax.If):
            value = relax.If(value.cond, self._sequence(value.true_branch), self._sequence(value.false_branch))
            return [relax.VarBinding(binding.var, value)]
        if isinstance(binding, relax.MatchCast):
            return [binding]
        if not isinstance(value, relax.Call):
            return [relax.VarBinding(binding.var, self._lift(value))]
        args = [self._lift(a) for a in value.args]
        if isinstance(value.op, relax.GlobalVar) and value.op in self.symbols:
            return self._external(binding.var, self.symbols[value.op], args)
        call = relax.Call(value.op, args, value.attrs, value.ty_args, span=value.span, ret_ty=value.ty)
        return [relax.VarBinding(binding.var, call)]

    def _external(self, variable: Any, symbol: str, args: list[Any]) -> list[Any]:
        ty = variable.ty
        fields = list(ty.fields) if isinstance(ty, relax.TupleType) else [ty]
        emitted, updated = self.compiled[symbol].emitted, dict(self.compiled[symbol].function.updated)
        workspace = 0 if isinstance(emitted, PyFunc) else emitted.workspace
        if not updated and isinstance(workspace, int) and workspace == 0:
            return [
                relax.VarBinding(
                    variable, relax.call_dps_packed(symbol, args, out_ty=fields if len(fields) > 1 else fields[0])
                )
            ]
        size = workspace
        if isinstance(workspace, Dim):
            size = substitute(workspace.expr, _callers_symbols(self.compiled[symbol], args))
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
