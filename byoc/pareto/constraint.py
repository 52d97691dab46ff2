"""Conditions on a configuration, such as ``"k_bits >= v_bits"``: comparisons, ``and``, ``or``, ``not``, ``in``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from byoc.errors import UsageError

_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip


class Constraint:
    """A condition over `names`.  Raises :class:`UsageError` where the text is none."""

    def __init__(self, text: str, names: tuple[str, ...]) -> None:
        self.text = text
        try:
            self._tree = ast.parse(text, mode="eval").body
            _evaluate(self._tree, dict.fromkeys(names, None), dry=True)
        except (SyntaxError, ValueError) as error:
            why = error.msg if isinstance(error, SyntaxError) else str(error)
            raise UsageError(
                f'"{text}" is no constraint', why, f"compare {', '.join(names)} with values, such as k_bits >= v_bits"
            ) from None

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Raises :class:`UsageError` where values cannot be compared."""
        try:
            return bool(_evaluate(self._tree, values))
        except TypeError as error:
            raise UsageError(f'the constraint "{self.text}" cannot be evaluated', str(error)) from None


def _evaluate(node: ast.AST, values: Mapping[str, Any], dry: bool = False) -> Any:
    def inner(child: ast.AST) -> Any:
        return _evaluate(child, values, dry)

    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        if node.id not in values:
            raise ValueError(f'there is no "{node.id}"')
        return values[node.id]
    if isinstance(node, (ast.List, ast.Tuple)):
        return [inner(e) for e in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not inner(node.operand)
    if isinstance(node, ast.BoolOp):
        parts = [bool(inner(v)) for v in node.values]  # all of them, so that unknown names are found
        return all(parts) if isinstance(node.op, ast.And) else any(parts)
    if isinstance(node, ast.Compare):
        terms = [inner(e) for e in (node.left, *node.comparators)]
        pairs = zip(node.ops, terms, terms[1:], strict=False)
        return dry or all(_COMPARISONS[type(op)](a, b) for op, a, b in pairs if _known(op))
    raise ValueError(f"{type(node).__name__} is not allowed")


def _known(op: ast.cmpop) -> bool:
    if type(op) not in _COMPARISONS:
        raise ValueError(f"{type(op).__name__} is not allowed")
    return True
