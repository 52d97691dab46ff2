"""What a codegen supports, written as patterns with named captures.

    op("nn.relu")(op("matmul")("x", "w"))           a chain; strings capture any tensor
    op("nn.conv2d", groups=1)("x", const("w"))       an attribute and a constant are required
    op("concat")(...)                                any number of inputs
    op("add")("x", "y") | op("subtract")("x", "y")   alternatives, the first that matches wins
    optional("nn.relu", op("matmul")("x", "w"))      with or without

A pattern matches at its root, the op that computes the result.  `Pattern.to_dpl` gives the same pattern in TVM's own
pattern language, and one of TVM's patterns is taken wherever a pattern is expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from byoc.graph import Node, Value

COMMUTATIVE = frozenset({"add", "multiply", "maximum", "minimum", "equal", "not_equal", "logical_and", "logical_or"})

Captures = dict[str, Value]


class Pattern:
    """Base of all patterns."""

    capture: str = ""

    def named(self, name: str) -> Pattern:
        """The same pattern, its value captured as ``m[name]``."""
        raise NotImplementedError

    def __or__(self, other: Pattern) -> Pattern:
        return Alternatives((*_options(self), *_options(other)))

    def ops(self) -> Iterator[OpPattern]:
        """Every op pattern inside, root first."""
        return iter(())

    def to_dpl(self) -> Any:
        """The pattern as a TVM ``DFPattern``."""
        raise NotImplementedError

    def match_root(self, node: Node, mismatch: Mismatch | None) -> tuple[Captures, list[Node]] | None:
        """Match with `node` at the root; see `match_at`."""
        found: tuple[Captures, dict[int, Node]] = ({}, {})
        if not _match_value(self, node.outputs[0], found, mismatch):
            return None
        captures, nodes = found
        return captures, [nodes[i] for i in sorted(nodes)]


class AnyValue(Pattern):
    """Any tensor; with `constant`, only one that is known at compile time."""

    def __init__(self, capture: str = "", constant: bool = False) -> None:
        self.capture, self.constant = capture, constant

    def named(self, name: str) -> Pattern:
        return AnyValue(name, self.constant)

    def to_dpl(self) -> Any:
        from tvm.relax.dpl import is_const, wildcard

        return is_const() if self.constant else wildcard()

    def __repr__(self) -> str:
        kind = "const" if self.constant else "any"
        return f"{kind}({self.capture!r})" if self.capture else f"{kind}()"


class OpPattern(Pattern):
    """One op; call it with patterns for its inputs."""

    def __init__(
        self,
        op_name: str,
        inputs: tuple[Pattern, ...] | None = None,
        attrs: Mapping[str, Any] | None = None,
        capture: str = "",
    ) -> None:
        self.op_name = op_name.removeprefix("relax.")
        self.inputs, self.attrs, self.capture = inputs, dict(attrs or {}), capture

    def __call__(self, *inputs: Any) -> OpPattern:
        if inputs == (...,):
            return OpPattern(self.op_name, None, self.attrs, self.capture)
        return OpPattern(self.op_name, tuple(as_pattern(i) for i in inputs), self.attrs, self.capture)

    def named(self, name: str) -> Pattern:
        return OpPattern(self.op_name, self.inputs, self.attrs, name)

    def ops(self) -> Iterator[OpPattern]:
        yield self
        for pattern in self.inputs or ():
            yield from pattern.ops()

    def orders(self) -> list[tuple[Pattern, ...]]:
        """The orders in which the inputs may stand."""
        inputs = self.inputs or ()
        if self.op_name in COMMUTATIVE and len(inputs) == 2 and repr(inputs[0]) != repr(inputs[1]):
            return [inputs, (inputs[1], inputs[0])]
        return [inputs]

    def to_dpl(self) -> Any:
        from tvm.relax.dpl import is_op

        head = is_op(self.op_name if self.op_name.startswith("byoc.") else f"relax.{self.op_name}")
        if self.inputs is None:
            pattern = head(varg_default_wildcard=True)
            return pattern.has_attr(self.attrs) if self.attrs else pattern
        orders = [head(*(i.to_dpl() for i in order)) for order in self.orders()]
        pattern = orders[0] if len(orders) == 1 else orders[0] | orders[1]
        return pattern.has_attr(self.attrs) if self.attrs else pattern

    def __repr__(self) -> str:
        inside = "..." if self.inputs is None else ", ".join(map(repr, self.inputs))
        return f"{self.op_name}({inside})"


class Alternatives(Pattern):
    """The first of several patterns that matches."""

    def __init__(self, patterns: tuple[Pattern, ...]) -> None:
        self.patterns = patterns

    def named(self, name: str) -> Pattern:
        return Alternatives(tuple(p.named(name) for p in self.patterns))

    def ops(self) -> Iterator[OpPattern]:
        for pattern in self.patterns:
            yield from pattern.ops()

    def to_dpl(self) -> Any:
        result = self.patterns[0].to_dpl()
        for pattern in self.patterns[1:]:
            result = result | pattern.to_dpl()
        return result

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.patterns))


def parts(pattern: Pattern, depth: int = 0) -> Iterator[tuple[OpPattern, int]]:
    """Every op pattern inside, with its distance from the root."""
    if isinstance(pattern, Alternatives):
        for option in pattern.patterns:
            yield from parts(option, depth)
    elif isinstance(pattern, OpPattern):
        yield pattern, depth
        for inner in pattern.inputs or ():
            yield from parts(inner, depth + 1)
    else:
        for position, inner in enumerate(pattern.ops()):
            yield inner, depth + position


def _options(pattern: Pattern) -> tuple[Pattern, ...]:
    return pattern.patterns if isinstance(pattern, Alternatives) else (pattern,)


def as_pattern(thing: Any) -> Pattern:
    """A pattern for `thing`: itself, or a capture of any tensor where it is a string."""
    if isinstance(thing, Pattern):
        return thing
    if isinstance(thing, str):
        return AnyValue(thing)
    if any(cls.__name__ == "DFPattern" for cls in type(thing).__mro__):
        from byoc.tvm_pattern import tvm_pattern

        return tvm_pattern(thing)
    raise TypeError(f"a pattern is made of op(...), const(...) and strings, not of {type(thing).__name__}: {thing!r}")


def op(name: str, **attrs: Any) -> OpPattern:
    """An op by its Relax name (``"nn.conv2d"``) or byoc name (``"byoc.rms_norm"``), with attributes it must have."""
    return OpPattern(name, None, attrs)


def const(capture: str = "") -> Pattern:
    """A tensor that is known when the model is compiled."""
    return AnyValue(capture, constant=True)


def optional(op_name: str, pattern: Pattern) -> Pattern:
    """`op_name` applied to `pattern`, or `pattern` alone; the longer one is preferred."""
    return op(op_name)(pattern) | pattern


def roots(pattern: Pattern) -> set[str]:
    """Names of the ops that may stand at the root of `pattern`."""
    return {first.op_name for option in _options(pattern) for first in list(option.ops())[:1]}


class Mismatch:
    """How far a pattern got, and what stopped it."""

    __slots__ = ("at", "depth", "reason")

    def __init__(self) -> None:
        self.depth, self.reason, self.at = -1, "", ""

    def note(self, depth: int, reason: str, at: str = "") -> None:
        """Keep the reason of the attempt that matched most ops."""
        if depth > self.depth:
            self.depth, self.reason, self.at = depth, reason, at


def match_at(pattern: Pattern, node: Node, mismatch: Mismatch | None = None) -> tuple[Captures, list[Node]] | None:
    """Match `pattern` with `node` at its root.

    Returns the captures and the matched ops in topological order, or ``None``; then `mismatch`, where given, tells
    what stopped the attempt that got furthest.
    """
    for option in _options(pattern):
        found = option.match_root(node, mismatch)
        if found is not None:
            return found
    return None


def _match_value(
    pattern: Pattern, value: Value, found: tuple[Captures, dict[int, Node]], mismatch: Mismatch | None
) -> bool:
    captures, nodes = found
    if isinstance(pattern, Alternatives):
        for option in pattern.patterns:
            saved = dict(captures), dict(nodes)
            if _match_value(option, value, found, mismatch):
                return True
            _restore(found, saved)
        return False
    if isinstance(pattern, AnyValue):
        if pattern.constant and not value.is_constant:
            if mismatch is not None:
                mismatch.note(len(nodes), f"needs a constant where {_describe(value)} is", value.name)
            return False
    else:
        assert isinstance(pattern, OpPattern)
        if not _match_op(pattern, value, found, mismatch):
            return False
    return _capture(pattern, value, captures, len(nodes), mismatch)


def _capture(pattern: Pattern, value: Value, captures: Captures, depth: int, mismatch: Mismatch | None) -> bool:
    if not pattern.capture:
        return True
    earlier = captures.setdefault(pattern.capture, value)
    if earlier is not value and mismatch is not None:
        mismatch.note(depth, f'"{pattern.capture}" would stand for both {earlier.name} and {value.name}', value.name)
    return earlier is value


def _match_op(
    pattern: OpPattern, value: Value, found: tuple[Captures, dict[int, Node]], mismatch: Mismatch | None
) -> bool:
    captures, nodes = found
    node = value.producer
    if node is None or node.op != pattern.op_name:
        if mismatch is not None:
            mismatch.note(len(nodes), f"needs {pattern.op_name} where {_describe(value)} is", value.name)
        return False
    for name, wanted in pattern.attrs.items():
        if node.attrs.get(name) != wanted:
            if mismatch is not None:
                mismatch.note(len(nodes), f"needs {name}={wanted}, has {name}={node.attrs.get(name)}", value.name)
            return False
    if pattern.inputs is not None and len(pattern.inputs) != len(node.inputs):
        if mismatch is not None:
            mismatch.note(len(nodes), f"needs {len(pattern.inputs)} inputs, has {len(node.inputs)}", value.name)
        return False
    nodes[node.index] = node
    for order in pattern.orders():
        saved = dict(captures), dict(nodes)
        if all(_match_value(p, v, found, mismatch) for p, v in zip(order, node.inputs, strict=False)):
            return True
        _restore(found, saved)
    del nodes[node.index]
    return False


def _restore(found: tuple[Captures, dict[int, Node]], saved: tuple[Captures, dict[int, Node]]) -> None:
    captures, nodes = found
    captures.clear()
    captures.update(saved[0])
    nodes.clear()
    nodes.update(saved[1])


def _describe(value: Value) -> str:
    if value.producer is not None:
        where = f" ({value.node})" if value.node else ""
        return value.op + where
    return f"the constant {value.name}" if value.is_constant else f"the input {value.name}"
