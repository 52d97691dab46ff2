"""What each variable of a function is bound to, and how often it is read."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from tvm import relax

from byoc.lower.outline import used_variables
from byoc.relax_graph import blocks_of


class Readers:
    """Counts over a whole function, the branches of every `If` included; made when they are first asked for."""

    def __init__(self, function: Any) -> None:
        self._body = function.body

    @cached_property
    def bound(self) -> dict[Any, Any]:
        """Expression by variable."""
        return {binding.var: binding.value for block in blocks_of(self._body) for binding in block.bindings}

    @cached_property
    def _counts(self) -> dict[Any, int]:
        counts: dict[Any, int] = {}
        pending = [self._body]
        while pending:
            body = pending.pop()
            exprs = [binding.value for block in body.blocks for binding in block.bindings]
            pending += [b for e in exprs if isinstance(e, relax.If) for b in (e.true_branch, e.false_branch)]
            for expr in (*exprs, body.body):
                for variable in used_variables(expr):
                    counts[variable] = counts.get(variable, 0) + 1
        return counts

    def of(self, variable: Any) -> int:
        """How many bindings read it; being the result of a function or branch counts as one."""
        return self._counts.get(variable, 0)

    def bind(self, variable: Any, value: Any) -> None:
        """Note a binding that a rewrite adds, whose variable one other will read, or the new value of an old one."""
        self._counts.setdefault(variable, 1)
        self.bound[variable] = value
