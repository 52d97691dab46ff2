"""Symbolic dimensions of inputs: bound by the arrays given, then checked against each other."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,  # sizes are whole numbers; generated C spells it so
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: dict[str, Callable[[int, int], int]] = {"max": max, "min": min, "byoc_max": max, "byoc_min": min}


def is_name(dim: str) -> bool:
    """Whether a dimension is a plain symbol; model files use names such as ``batch.1``, which are symbols too."""
    return not any(sign in dim for sign in "+*/%() ") and not dim.lstrip("-").isdecimal()


def dim_value(dim: str, symbols: Mapping[str, int]) -> int | None:
    """The size that a symbol or an expression over symbols stands for; None if that is not known."""
    if dim in symbols:
        return symbols[dim]
    tree = _parsed(dim)
    try:
        return None if tree is None else _evaluate(tree, symbols)
    except (KeyError, ZeroDivisionError):
        return None


@lru_cache(maxsize=1024)
def _parsed(dim: str) -> ast.expr | None:
    try:
        return ast.parse(dim, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _evaluate(node: ast.expr, symbols: Mapping[str, int]) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.Name):
        return symbols[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluate(node.left, symbols), _evaluate(node.right, symbols))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand, symbols)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 2:
        return _FUNCTIONS[node.func.id](_evaluate(node.args[0], symbols), _evaluate(node.args[1], symbols))
    raise KeyError(ast.dump(node))
