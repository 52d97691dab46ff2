"""Replace convolutions and matrix products on the host by register-tiled kernels, while their weights are constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax

from byoc.host.convolution import LAYOUTS, convolution_kernel, pad_kernel, padding_of, takes_convolution
from byoc.host.epilogue import epilogue_of
from byoc.host.kernel import Tiled, dtype_of, wrap
from byoc.host.machine import Machine, machine_of
from byoc.host.matmul import matmul_kernel, takes_matmul
from byoc.host.rows import row_kernel, takes_rows
from byoc.host.tiling import Blocking, choose_blocking
from byoc.lower.outline import used_variables
from byoc.rewrite.canonical import entry_functions
from byoc.rewrite.fold_constants import fold_constants
from byoc.rewrite.structure import inline_structure
from byoc.rewrite.transposes import cancel_transposes

Choose = Callable[[Tiled], Blocking | None]


def prepare_host(
    module: tvm.IRModule, target: Any, choose: Choose | None = None
) -> tuple[tvm.IRModule, dict[str, tuple[str, ...]]]:
    """The module with the ops that have kernels of their own replaced by calls of those kernels.

    Also, by the name of a kernel's result, the names of the other variables that the kernel computes.  `choose` gives a
    kernel's blocking, or None for the one that is estimated to be the best.
    """
    builder = _KernelBuilder(_channels_last(module), machine_of(target), choose or (lambda _: None))
    return builder.run(), builder.absorbed


def _channels_last(module: tvm.IRModule) -> tvm.IRModule:
    """The module with the convolutions that have a kernel, and what lies between them, in the kernel's layout.

    No common subexpressions are shared here: a call that updates a state may stand twice.
    """
    found = False

    def layout_of(call: Any) -> dict[str, list[str]]:
        nonlocal found
        wanted = str(call.op.name) == "relax.nn.conv2d" and takes_convolution(call)
        found |= wanted
        return {"relax.nn.conv2d": LAYOUTS} if wanted else {}

    converted = relax.transform.ConvertLayout({}, layout_of)(module)
    if not found:
        return module
    for step in (
        cancel_transposes,
        relax.transform.CanonicalizeBindings(),
        inline_structure,
        fold_constants,
        relax.transform.DeadCodeElimination(list(entry_functions(module))),
    ):
        converted = step(converted)
    return converted


class _KernelBuilder:
    def __init__(self, module: tvm.IRModule, machine: Machine, choose: Choose) -> None:
        self.module, self.machine, self.choose = module, machine, choose
        self.builder = relax.BlockBuilder(module)
        self.absorbed: dict[str, tuple[str, ...]] = {}
        self.written: dict[tuple[str, Blocking | None], Any] = {}

    def run(self) -> tvm.IRModule:
        for variable, function in self.module.functions_items():
            public = function.attrs is not None and "Codegen" not in function.attrs
            if isinstance(function, relax.Function) and public:
                body = self._sequence(function.body)
                rebuilt = relax.Function(function.params, body, function.ret_ty, function.is_pure, function.attrs)
                self.builder.update_func(variable, rebuilt)
        result = relax.transform.Normalize()(self.builder.get())
        relax.analysis.well_formed(result)
        return result

    def _sequence(self, body: Any) -> Any:
        readers: dict[Any, int] = {}
        for block in body.blocks:
            for binding in block.bindings:
                for variable in used_variables(binding.value):
                    readers[variable] = readers.get(variable, 0) + 1
        for variable in used_variables(body.body):
            readers[variable] = readers.get(variable, 0) + 1
        blocks = []
        for block in body.blocks:
            if isinstance(block, relax.DataflowBlock):
                blocks.append(relax.DataflowBlock(self._block(list(block.bindings), readers)))
            else:
                blocks.append(block)
        return relax.SeqExpr(blocks, body.body)

    def _block(self, bindings: list[Any], readers: dict[Any, int]) -> list[Any]:
        taken: set[Any] = set()
        placed: dict[Any, Any] = {}
        for i, binding in enumerate(bindings):
            kind = self._kind(binding.value)
            if kind == "rows":
                placed[binding.var] = (binding.value, None)
            elif binding.var not in taken and kind:
                epilogue = epilogue_of(binding.var, bindings[i + 1 :], readers, taken)
                taken |= {binding.var, *(s.var for s in epilogue.steps)}
                placed[epilogue.result] = (binding.value, epilogue)
                inside = [binding.var, *(s.var for s in epilogue.steps)]
                self.absorbed[str(epilogue.result.name)] = tuple(str(v.name) for v in inside[:-1])
        result: list[Any] = []
        for binding in bindings:
            if binding.var in placed:
                result += self._kernel(binding.var, *placed[binding.var])
            elif binding.var not in taken:
                result.append(binding)
        return result

    def _kind(self, value: Any) -> str:
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
            return ""
        name = str(value.op.name)
        if name == "relax.matmul" and takes_matmul(value):
            return "matmul"
        if name == "relax.nn.conv2d" and str(value.attrs.data_layout) == "NHWC" and takes_convolution(value):
            return "convolution"
        return "rows" if takes_rows(value) else ""

    def _kernel(self, variable: Any, call: Any, epilogue: Any) -> list[Any]:
        kind = self._kind(call)
        bindings: list[Any] = []
        if kind == "rows":
            name = str(call.op.name).rpartition(".")[2]
            kernel = row_kernel(call, self.machine, name)
            return [relax.VarBinding(variable, self._call(kernel, name, list(call.args), variable.ty))]
        if kind == "matmul":
            tiled = matmul_kernel(call, epilogue, self.machine, kind)
        else:
            data = call.args[0]
            padding = padding_of(call)
            if any(padding):
                pad, shape = pad_kernel(data.ty, padding, "pad")
                data = relax.DataflowVar("padded", relax.TensorType(shape, dtype_of(data.ty)))
                bindings.append(relax.VarBinding(data, self._call(pad, "pad", [call.args[0]], data.ty)))
            tiled = convolution_kernel(call, epilogue, self.machine, kind, data)
        blocking = None
        if tiled.extents is not None:
            blocking = self.choose(tiled) or choose_blocking(tiled.extents, self.machine)
        call = relax.call_tir(self._function(tiled, blocking, kind), tiled.arguments(blocking), out_ty=variable.ty)
        return [*bindings, relax.VarBinding(variable, call)]

    def _function(self, tiled: Tiled, blocking: Blocking | None, name: str) -> Any:
        """Layers of one shape share a kernel."""
        if not tiled.static:
            return self._added(tiled.write(blocking), name)
        if (tiled.description, blocking) not in self.written:
            self.written[tiled.description, blocking] = self._added(tiled.write(blocking), name)
        return self.written[tiled.description, blocking]

    def _call(self, function: Any, name: str, args: list[Any], ty: Any) -> Any:
        return relax.call_tir(self._added(function, name), args, out_ty=ty)

    def _added(self, function: Any, name: str) -> Any:
        return self.builder.add_func(wrap(function.without_attr("global_symbol")), name)
