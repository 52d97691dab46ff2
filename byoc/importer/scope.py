"""Names of values, graph by graph."""

from __future__ import annotations

from collections.abc import Mapping

from byoc.importer.values import Value


class Scope:
    """Names of values in one graph, function body or branch; a branch sees its outer scope."""

    def __init__(self, opsets: Mapping[str, int], outer: Scope | None = None) -> None:
        self.opsets = opsets
        self.outer = outer
        self._values: dict[str, Value] = {}
        self._absent: set[str] = set()

    def define(self, name: str, value: Value) -> None:
        self._values[name] = value

    def find(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope._values:
                return scope._values[name]
            scope = scope.outer
        return None

    def define_absent(self, name: str) -> None:
        self._absent.add(name)

    def is_absent(self, name: str) -> bool:
        return name in self._absent or (self.outer is not None and self.outer.is_absent(name))

    def names(self) -> set[str]:
        return self._absent | set(self._values) | (self.outer.names() if self.outer else set())
