"""Chains of element-wise arithmetic in one pass over memory: scaling, shifting, and the ReLU that follows."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import FLOATS
from byoc_codegens.csource.elementwise import BINARY
from byoc_codegens.csource.epilogue import same_shape
from byoc_codegens.csource.family import Kernel
from byoc_codegens.csource.formula import Formula, check_operands, check_shapes, emit_formula

from byoc import Match, op, reject


def _chain(name: str, pattern: Any, formula: Formula) -> Kernel:
    """The kernel of a chain of ops over operands ``x``, ``y`` and perhaps ``z``; every result has one shape."""

    def operands(m: Match) -> tuple[Any, ...]:
        return tuple(m[o] for o in "xyz" if o in m)

    def check(m: Match) -> Any:
        for node in m.nodes:
            if not same_shape(node.output.shape, m.out.shape) or node.output.dtype != m.out.dtype:
                return reject(f"{node.op} has another shape or dtype than the end of the chain", at=node.output)
        values = operands(m)
        if m.out.dtype not in FLOATS:
            return reject(f"{name} of {m.out.dtype} is not done in one pass", at=m.out)
        return check_operands(m, name, BINARY["add"], values) or check_shapes(m, values)

    def emit(m: Match) -> str:
        values = operands(m)
        return emit_formula(m, name, formula, values, dtype=m.out.dtype)

    return Kernel({name: pattern}, check, emit)


_SCALED = op("add")(op("multiply")("x", "y"), "z")
KERNELS = (
    _chain("multiply_add_relu", op("nn.relu")(_SCALED), Formula("a * b + c < 0 ? 0 : a * b + c")),
    _chain("multiply_add", _SCALED, Formula("a * b + c")),
    _chain("add_relu", op("nn.relu")(op("add")("x", "y")), Formula("a + b < 0 ? 0 : a + b")),
)
