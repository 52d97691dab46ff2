"""Compile the host part of a module with TVM."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from byoc.errors import HostError


def host_target(mcpu: str) -> tvm.target.Target:
    """TVM's target for this machine (``"native"``) or for the CPU named."""
    cpu = tvm.target.codegen.llvm_get_system_cpu() if mcpu == "native" else mcpu
    return tvm.target.Target({"kind": "llvm", "mcpu": cpu})


def compile_host(module: tvm.IRModule, mcpu: str) -> Any:
    """The VM executable of a module whose partitions are external calls.

    Raises :class:`HostError` when TVM gives up.
    """
    target = host_target(mcpu)
    try:
        return tvm.compile(module, target=target, relax_pipeline=relax.get_default_pipeline(target))
    except Exception as error:
        raise HostError(
            f"TVM cannot compile the host part: {first_line(error)}",
            "an op that no codegen takes has no working host implementation for these shapes or types",
            '"byoc explain" lists the ops on the host; give the op to a codegen, or change the model',
        ) from error


def first_line(error: BaseException) -> str:
    """The sentence of a TVM error, without its C++ traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line and "File " not in line] or lines
    text = told[-1] if told else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
