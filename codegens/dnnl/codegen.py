"""The codegen class: matches are single ops, the whole partition becomes one program."""

from __future__ import annotations

from typing import Any, ClassVar

from byoc_codegens.dnnl import convolution, dynamic, elementwise, gather, integer, library, matmul, move, reduce
from byoc_codegens.dnnl.dynamic import fuse_scales
from byoc_codegens.dnnl.family import Kernel, Translation, check_tensors
from byoc_codegens.dnnl.fuse import fuse
from byoc_codegens.dnnl.integer_fuse import fuse_sums
from byoc_codegens.dnnl.lift import lift, without_dead
from byoc_codegens.dnnl.program import Program
from byoc_codegens.dnnl.stub import stub

from byoc import Codegen, CSource, Match, Option, Peaks, op, register_codegen

FAMILIES: tuple[Any, ...] = (convolution, matmul, elementwise, reduce, move, gather, integer, dynamic)
_RIDERS = frozenset(kernel.op for kernel in elementwise.KERNELS)
KERNELS: dict[str, Kernel] = {kernel.op: kernel for family in FAMILIES for kernel in family.KERNELS}


@register_codegen("dnnl", version="1.0")
class Dnnl(Codegen):
    """oneDNN primitives on x86-64 CPUs: blocked layouts and fused operations over whole partitions."""

    patterns: ClassVar[dict[str, Any]] = {name: op(name)(...) for name in KERNELS}
    options: ClassVar[dict[str, Option]] = {
        "precision": Option("f32", "type in which float32 tensors are kept and multiplied", ("f32", "bf16")),
        "winograd": Option(
            "on",
            "3x3 and 5x5 convolutions with less than half of the products, their 3x3 weights taking 4 times the memory",
            ("on", "off"),
        ),
    }
    include_dirs: ClassVar[list[str]] = ["runtime"]
    # Of primitives inside a partition, two cores with AVX-512; what crosses its edges is reordered on the way.
    peaks: ClassVar[Peaks] = Peaks(
        flops=4.4e11,
        bandwidth=1e11,
        link_bandwidth=float("inf"),
        layout_bandwidth=4e10,
        call_overhead=1e-6,
        op_overhead=1e-6,
        switch_overhead=3.4e-5,  # OpenMP's threads spin before they sleep, and so do the runtime's
        families={
            "convolution 3x3": 8e11,
            "convolution 1x1": 4.9e11,
            "convolution": 4.9e11,
            "depthwise": 2e11,
            "product": 4.5e11,
            "pooling": 8e10,
            "rows": 5e10,
            "elementary": 1.5e10,
            "arithmetic": 4e10,
            "integer convolution": 1.65e12,
            "integer depthwise": 1.5e11,
            "integer product": 1.6e12,
        },
        family_overheads={
            "convolution 3x3": 2e-6,
            "convolution 1x1": 3e-6,
            "convolution": 2e-6,
            "depthwise": 4e-6,
        },
    )

    # x86's vmaxps, in every primitive and post-op, takes the other operand where one is NaN; exp limits its operand.
    loses_nan: ClassVar[frozenset[str]] = frozenset(
        {
            "nn.relu",
            "clip",
            "exp",
            "nn.softmax",
            "maximum",
            "minimum",
            "max",
            "min",
            *(f"nn.max_pool{n}d" for n in (1, 2, 3)),
        }
    )

    def available(self) -> str:
        return library.missing()

    def requires(self) -> tuple[str, ...]:
        return (f"oneDNN {library.version()} ({library.SONAME})",)

    def check(self, m: Match) -> Any:
        kernel = KERNELS[m.pattern]
        return check_tensors(m, kernel.dtypes) or kernel.check(m)

    def cost(self, m: Match) -> float | None:
        return 0.0 if _rides(m.root) else None

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


_PRODUCTS = ("matmul", "nn.conv1d", "nn.conv2d", "nn.conv3d")
_LONGEST_RIDE = 4


def _rides(node: Any, length: int = 0) -> bool:
    """Whether an element-wise op follows a product closely enough to be computed with it."""
    if node.op not in _RIDERS or length == _LONGEST_RIDE:
        return False
    before = [value.producer for value in node.inputs if value.producer is not None]
    return any(n.op in _PRODUCTS or _rides(n, length + 1) for n in before)


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
    scaled = without_dead(fuse_scales(lift(to.ops, outputs), outputs), outputs)
    ops = fuse(fuse_sums(scaled, outputs), outputs)
    precision, winograd = (str(partition.options[name]) for name in ("precision", "winograd"))
    return Program(inputs, outputs, ops, precision, winograd == "on")
