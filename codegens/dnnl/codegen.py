"""The codegen class: matches are single ops, the whole partition becomes one program."""

from __future__ import annotations

from typing import Any, ClassVar

from byoc_codegens.dnnl import convolution, elementwise, library, matmul, move, reduce
from byoc_codegens.dnnl.family import Kernel, Translation, check_tensors
from byoc_codegens.dnnl.fuse import fuse
from byoc_codegens.dnnl.lift import lift
from byoc_codegens.dnnl.program import Program
from byoc_codegens.dnnl.stub import stub

from byoc import Codegen, CSource, Match, Option, Peaks, op, register_codegen

FAMILIES: tuple[Any, ...] = (convolution, matmul, elementwise, reduce, move)
KERNELS: dict[str, Kernel] = {kernel.op: kernel for family in FAMILIES for kernel in family.KERNELS}


@register_codegen("dnnl", version="1.0")
class Dnnl(Codegen):
    """oneDNN primitives on x86-64 CPUs: blocked layouts and fused operations over whole partitions."""

    patterns: ClassVar[dict[str, Any]] = {name: op(name)(...) for name in KERNELS}
    options: ClassVar[dict[str, Option]] = {
        "precision": Option("f32", "type in which float32 tensors are kept and multiplied", ("f32", "bf16")),
    }
    include_dirs: ClassVar[list[str]] = ["runtime"]
    peaks: ClassVar[Peaks] = Peaks(flops=4e11, bandwidth=2e10, link_bandwidth=float("inf"), call_overhead=2e-6)

    def available(self) -> str:
        return library.missing()

    def requires(self) -> tuple[str, ...]:
        return (f"oneDNN {library.version()} ({library.SONAME})",)

    def check(self, m: Match) -> Any:
        return check_tensors(m) or KERNELS[m.pattern].check(m)

    def emit(self, partition: Any) -> CSource:
        program = program_of(partition)
        constants = program.constants()
        return CSource(
            stub(partition.symbol, program, partition.inputs, partition.shape_args),
            (partition.symbol,),
            constants=tuple((f"constant{i}", t.constant) for i, t in enumerate(constants)),
            bind=f"{partition.symbol}_bind",
            libraries=library.link_flags(),
        )


def program_of(partition: Any) -> Program:
    """The program of a partition (:class:`byoc.lower.partition_function.PartitionFunction`)."""
    to = Translation()
    inputs = tuple(to.tensor(v) for v in partition.inputs)
    for match in partition.matches:
        to.name = match.root.node or match.root.op
        result = KERNELS[match.pattern].translate(match, to)
        results = result if isinstance(result, tuple) else (result,)
        for value, tensor in zip(match.outs, results, strict=True):
            to.define(value, tensor)
    outputs = tuple(to.tensor(v) for v in partition.outputs)
    ops = fuse(lift(to.ops, outputs), outputs)
    return Program(inputs, outputs, ops, str(partition.options["precision"]))
