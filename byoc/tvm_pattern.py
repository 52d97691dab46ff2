"""TVM's own patterns where a pattern of byoc is expected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tvm.relax import dpl

from byoc.graph import Node
from byoc.patterns import Captures, Mismatch, OpPattern, Pattern


def tvm_pattern(pattern: Any, **captures: Any) -> Pattern:
    """A ``DFPattern`` of TVM, with parts of it captured: ``tvm_pattern(root, x=x_pattern)`` gives ``m["x"]``.

    Its root must be an op.  It can be one of a codegen's patterns, but not a part of a larger pattern.

    Raises :class:`TypeError`.
    """
    found = TvmPattern(pattern, captures)
    if not _root_names(pattern):
        raise TypeError(f"the root of a TVM pattern must be an op (is_op), not {type(pattern).__name__}")
    return found


class TvmPattern(Pattern):
    """A ``DFPattern`` with captured parts."""

    def __init__(self, pattern: Any, captures: Mapping[str, Any]) -> None:
        self.pattern, self.captures = pattern, dict(captures)

    def ops(self) -> Iterator[OpPattern]:
        for name in _op_names(self.pattern):
            yield OpPattern(name)

    def to_dpl(self) -> Any:
        return self.pattern

    def match_root(self, node: Node, mismatch: Mismatch | None) -> tuple[Captures, list[Node]] | None:
        home = node.ref.home
        matched = self.pattern.extract_matched_expr(node.ref.binding.value, home.bound)
        if matched is None:
            if mismatch is not None:
                mismatch.note(0, "TVM's pattern does not match here, and does not tell why", node.output.name)
            return None
        nodes: dict[int, Node] = {node.index: node}
        for part, expr in matched.items():
            value = home.value_of(expr)
            if isinstance(part, dpl.CallPattern) and value is not None and value.producer is not None:
                nodes[value.producer.index] = value.producer
        captures: Captures = {}
        for name, part in self.captures.items():
            expr = next((e for p, e in matched.items() if p.same_as(part)), None)
            value = home.value_of(expr) if expr is not None else None
            if value is not None:
                captures[name] = value
        return captures, [nodes[i] for i in sorted(nodes)]

    def __repr__(self) -> str:
        return f"tvm_pattern({self.pattern})"


def _root_names(pattern: Any) -> list[str]:
    if isinstance(pattern, dpl.OrPattern):
        return _root_names(pattern.left) + _root_names(pattern.right)
    if isinstance(pattern, dpl.CallPattern) and isinstance(pattern.op, dpl.ExprPattern):
        return [str(pattern.op.expr.name).removeprefix("relax.")]
    inner = getattr(pattern, "pattern", None)
    return _root_names(inner) if inner is not None else []


def _op_names(pattern: Any) -> list[str]:
    """Ops in the pattern, root first, each once."""
    names = _root_names(pattern)
    for part in (
        *([pattern.left, pattern.right] if isinstance(pattern, (dpl.OrPattern, dpl.AndPattern)) else []),
        *(pattern.args or [] if isinstance(pattern, dpl.CallPattern) else []),
        *([pattern.pattern] if hasattr(pattern, "pattern") else []),
    ):
        names += _op_names(part)
    return list(dict.fromkeys(names))
