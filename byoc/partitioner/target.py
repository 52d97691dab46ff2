"""A codegen as the partitioner uses it: its instance, options and patterns indexed by root op."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from byoc.codegen import Codegen
from byoc.contract import instance, unavailable
from byoc.errors import UnknownTargetError, UsageError
from byoc.patterns import Pattern, parts, roots
from byoc.registry import find_codegen, resolve_options


@dataclass(frozen=True)
class Target:
    """A codegen with the values of its options."""

    name: str
    version: str
    codegen: Codegen
    options: Mapping[str, Any]
    patterns: Mapping[str, Pattern] = field(default_factory=dict)

    @cached_property
    def by_root(self) -> dict[str, list[tuple[int, str, Pattern]]]:
        """(rank, name, pattern) by root op; the lowest rank wins."""
        index: dict[str, list[tuple[int, str, Pattern]]] = {}
        for rank, (name, pattern) in enumerate(self.patterns.items()):
            for root in sorted(roots(pattern)):
                index.setdefault(root, []).append((rank, name, pattern))
        return index

    @cached_property
    def by_op(self) -> dict[str, list[tuple[str, Pattern, int]]]:
        """(name, pattern, distance from its root) by the ops that patterns mention."""
        index: dict[str, dict[tuple[str, int], Pattern]] = {}
        for name, pattern in self.patterns.items():
            for part, depth in parts(pattern):
                index.setdefault(part.op_name, {})[(name, depth)] = pattern
        return {op: [(name, p, depth) for (name, depth), p in found.items()] for op, found in index.items()}


def find_targets(names: Iterable[str], options: Mapping[str, Mapping[str, Any]] | None = None) -> tuple[Target, ...]:
    """The targets of those names, in priority order.

    Raises :class:`UnknownTargetError`, :class:`OptionError` or :class:`PluginError`; ``"host"`` is allowed as the
    last name and adds nothing.
    """
    names = [n for n in names if n]
    if "host" in names[:-1]:
        raise UsageError('"host" can only be the last target', "it takes whatever the others leave")
    names = [n for n in names if n != "host"]
    if len(set(names)) != len(names):
        raise UsageError(f"a target is named twice: {', '.join(names)}")
    given = dict(options or {})
    for name in given:
        if name not in names:
            raise UnknownTargetError(
                f'an option is set for "{name}", which is not among the targets', f"targets: {', '.join(names)}"
            )
    targets = []
    for name in names:
        registered = find_codegen(name)
        codegen = instance(name, registered.codegen)
        reason = unavailable(name, codegen)
        if reason:
            raise UnknownTargetError(f'target "{name}" cannot be used here', reason)
        values = resolve_options(registered, given.get(name, {}))
        targets.append(Target(name, registered.version, codegen, values, registered.compiled_patterns))
    return tuple(targets)
