"""What an op is replaced by: a kernel, its tensors, and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, s_tir, tirx

from byoc.host.tiling import Blocking, Extents

OPAQUE = 8


@dataclass(frozen=True)
class Tiled:
    """A kernel whose loops are still to be cut.

    Parameters
    ----------
    description: what it computes: ops, types and attributes; static kernels of one description are the same.
    result: type of its result.
    extents: what a blocking is chosen for; None where the columns are symbolic, which leaves no choice.
    write: the kernel with a blocking.
    arguments: its arguments with a blocking, which says how constant weights lie.
    """

    description: str
    result: Any
    extents: Extents | None
    write: Callable[[Blocking | None], Any]
    arguments: Callable[[Blocking | None], list[Any]]

    @property
    def static(self) -> bool:
        """Whether no extent is symbolic."""
        known = self.extents
        sizes = (*self.result.shape.values, known.depth) if known is not None else (None,)
        return all(isinstance(size, (int, tirx.IntImm)) for size in sizes)


class Dims:
    """The sizes of a kernel's tensors: integers, and one variable of the kernel for each distinct symbolic size."""

    def __init__(self) -> None:
        self._known: list[tuple[Any, Any]] = []

    def of(self, ty: Any) -> list[Any]:
        """The shape of a tensor type."""
        return [self.one(d) for d in ty.shape.values]

    def one(self, dim: Any) -> Any:
        """An integer, or the kernel's variable for a symbolic size."""
        if isinstance(dim, (int, tirx.IntImm)):
            return int(dim)
        for expr, variable in self._known:
            if tvm_ffi.structural_equal(expr, dim):
                return variable
        variable = tirx.Var(f"n{len(self._known)}", "int64")
        self._known.append((dim, variable))
        return variable


def buffer(shape: Sequence[Any], dtype: str, name: str) -> Any:
    """A tensor parameter of a kernel."""
    return tirx.decl_buffer([tirx.IntImm("int64", d) if isinstance(d, int) else d for d in shape], dtype, name)


def product(dims: Sequence[Any]) -> Any:
    """The number of elements."""
    total: Any = 1
    for dim in dims:
        total = total * dim
    return total


def static(ty: Any) -> bool:
    """Whether a type is a tensor whose shape is known, be it with symbols."""
    return isinstance(ty, relax.TensorType) and isinstance(ty.shape, relax.ShapeExpr)


def dtype_of(ty: Any) -> str:
    """The element type as NumPy spells it."""
    return str(ty.dtype).removeprefix("T.")


def type_text(ty: Any) -> str:
    """A tensor type as people write it: ``float32[1,128,n]``."""
    dims = (str(int(d)) if isinstance(d, tirx.IntImm) else str(d) for d in ty.shape.values)
    return f"{dtype_of(ty)}[{','.join(dims)}]"


def wrap(function: Any) -> Any:
    """The kernel in a block of its own, as TVM's passes over calls of `call_tir` expect it."""
    block = s_tir.SBlock([], [], [], "kernel", function.body)
    body = s_tir.SBlockRealize([], tirx.const(True, "bool"), block)
    root = s_tir.SBlockRealize([], tirx.const(True, "bool"), s_tir.SBlock([], [], [], "root", body))
    return function.with_body(root).with_attrs({"byoc.kernel": True, "op_pattern": OPAQUE})


@tvm.transform.module_pass(opt_level=0, name="UnwrapKernels")
def unwrap_kernels(module: tvm.IRModule, _: Any) -> tvm.IRModule:
    """Undo :func:`wrap` for every kernel of the module."""
    functions = {
        v: f.with_body(f.body.block.body.block.body) if f.attrs is not None and "byoc.kernel" in f.attrs else f
        for v, f in module.functions_items()
    }
    return tvm.IRModule(functions, attrs=module.attrs, global_infos=module.global_infos)
