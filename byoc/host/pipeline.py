"""Compile the host part of a module with TVM."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.relax.backend.cpu_generic import pipeline as cpu

from byoc.errors import HostError
from byoc.host.checks import check_reshapes
from byoc.host.kernel import unwrap_kernels
from byoc.host.legalise import LEGALISE
from byoc.host.schedule import schedule_functions
from byoc.host.shape_functions import bound_shape_functions, order_shape_functions
from byoc.host.vector_math import expand_vector_math
from byoc.relax_graph import blocks_of
from byoc.runtime.threads import prepare_pool, thread_count


def host_target(mcpu: str) -> tvm.target.Target:
    """TVM's target for this machine (``"native"``) or for the CPU named."""
    cpu = tvm.target.codegen.llvm_get_system_cpu() if mcpu == "native" else mcpu
    return tvm.target.Target({"kind": "llvm", "mcpu": cpu})


def compile_host(module: tvm.IRModule, mcpu: str) -> Any:
    """The VM executable of a module whose partitions are external calls.

    Raises :class:`HostError` when TVM gives up.
    """
    target = host_target(mcpu)
    prepare_pool(thread_count(None))  # folding constants runs code, in a pool that otherwise binds the calling thread
    try:
        return tvm.compile(module, target=target, relax_pipeline=_pipeline(target, has_branches(module)))
    except Exception as error:
        raise HostError(
            f"TVM cannot compile the host part: {first_line(error)}",
            "an op that no codegen takes has no working host implementation for these shapes or types",
            '"byoc explain" lists the ops on the host; give the op to a codegen, or change the model',
        ) from error


def _pipeline(target: tvm.target.Target, branches: bool) -> Any:
    """TVM's CPU pipeline with our legalisations; without memory planning where a function branches.

    `StaticPlanBlockMemory` lets both branches of an `If` share a storage that only one of them allocates.
    """
    legalise = [_named(p, "LegalizeOps", relax.transform.LegalizeOps(LEGALISE)) for p in cpu.legalize_passes(target)]
    finalize = [p for p in cpu.finalize_passes(target) if not (branches and p.info.name == "StaticPlanBlockMemory")]
    before = [*cpu.library_dispatch_passes(target), *legalise, *cpu.dataflow_lower_passes(target)]
    sizes = [order_shape_functions, bound_shape_functions]
    steps = [*before, schedule_functions, unwrap_kernels, expand_vector_math, *finalize, *sizes]

    @tvm.transform.module_pass(opt_level=0)
    def pipeline(module: tvm.IRModule, _: Any) -> tvm.IRModule:
        with target:
            return tvm.transform.Sequential(steps)(check_reshapes(module))

    return pipeline


def _named(stock: Any, name: str, ours: Any) -> Any:
    return ours if stock.info.name == name else stock


def has_branches(module: tvm.IRModule) -> bool:
    """Whether a function of the module holds an `If`."""
    return any(
        isinstance(binding.value, relax.If)
        for _, function in module.functions_items()
        if isinstance(function, relax.Function)
        for block in blocks_of(function.body)
        for binding in block.bindings
    )


def first_line(error: BaseException) -> str:
    """The sentence of a TVM error, without its C++ traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line and "File " not in line] or lines
    text = told[-1] if told else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
