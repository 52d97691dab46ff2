"""Rotary embedding of queries and keys, however it is written: what depends on positions is run to see what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from byoc.llm.from_onnx.graph import Bindings, same_extent, shape_of
from byoc.llm.from_onnx.probe import Part
from byoc.llm.from_onnx.prove import Prover, part_key
from byoc.ops.rope import rotate_reference

Array = np.ndarray[Any, Any]
_LONGEST = 24  # bindings between a value and what is turned into it
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Turn:
    """What :func:`byoc.ops.rope.rotate` takes beside a value and its positions; frequencies are float32[pairs]."""

    frequencies: Array
    interleaved: bool
    factor: float


@dataclass(frozen=True)
class Rotation:
    """A value [batch, heads, tokens, head_dim] that is `before`, of the same shape, turned by positions."""

    before: Any
    turn: Turn


class Rotations:
    """Looks for rotations in one model."""

    def __init__(self, prover: Prover) -> None:
        self._prover, self._graph, self._roles = prover, prover.graph, prover.roles
        self._turns: dict[str, Turn | None] = {}

    def of(self, var: Any) -> Rotation | None:
        """The rotation that `var` is the result of, or None."""
        if not str(var.ty.dtype).endswith("float32"):
            return None
        before = self._before(var)
        if before is None:
            return None
        part = Part(self._graph, var, [before], self._roles.sizing)
        if not all(self._roles.steers(param) for param in part.params):
            return None
        key = part_key(part)
        if key not in self._turns:
            self._turns[key] = _Probe(self._prover, part, before).turn()
        turn = self._turns[key]
        return None if turn is None else Rotation(before, turn)

    def _before(self, var: Any) -> Any:
        """The nearest value of the same shape through which all goes that is no matter of positions."""
        graph, open_ends, by_position = self._graph, {var}, False
        for _ in range(_LONGEST):
            last = max(open_ends, key=lambda v: graph.places.get(v, -1))
            if last not in graph.values:
                return None
            open_ends.remove(last)
            for read in graph.needs(last):
                sources = _sources(graph, read)
                if all(self._roles.steers(p) for p in sources):
                    by_position |= bool(sources)
                else:
                    open_ends.add(read)
            if not open_ends:
                return None
            if by_position and len(open_ends) == 1 and _same_shape(next(iter(open_ends)), var):
                return next(iter(open_ends))
        return None


class _Probe:
    """Runs what lies between two values."""

    def __init__(self, prover: Prover, part: Part, before: Any) -> None:
        self._prover, self._part, self._before = prover, part, before
        _, self._heads, _, self._dim = (int(d) if isinstance(d, int) else 1 for d in shape_of(before) or [1] * 4)

    def turn(self) -> Turn | None:
        """The turn that the part is at all sizes of the prover, or None."""
        found = self._guess()
        if found is None:
            return None
        random = np.random.default_rng(0)
        for count, past in self._prover.sizes:
            x = random.standard_normal((1, self._heads, count, self._dim)).astype(np.float32)
            by_token = rotate_reference(
                x.transpose(0, 2, 1, 3), np.array([past]), found.frequencies, found.interleaved, found.factor
            )
            tolerance = _TOLERANCE + past * float(np.finfo(np.float32).eps)  # angles are rounded, far on by more
            if not np.allclose(self._run(x, past), by_token.transpose(0, 2, 1, 3), rtol=0, atol=4 * tolerance):
                return None
        return found

    def _run(self, x: Array, past: int) -> Array:
        roles, count = self._prover.roles, x.shape[2]
        feeds = {v: roles.value(v, 1, count, past) for v in self._part.inputs if v is not self._before}
        return self._part.run({**feeds, self._before: x})

    def _guess(self) -> Turn | None:
        """From the angle at position 1, and a far one that it is made precise by."""
        first = np.zeros(self._dim, np.float32)
        first[0] = 1
        met = np.flatnonzero(np.abs(self._row(first, 1)) > 1e-6)
        if self._prover.sizes[1][1] < 1 or len(met) != 2 or met[0] != 0:
            return None
        interleaved = bool(met[1] == 1 and self._dim > 2)
        pairs = np.arange(self._dim // 2 if interleaved else met[1])
        left, right = (2 * pairs, 2 * pairs + 1) if interleaved else (pairs, pairs + met[1])
        if right[-1] >= self._dim:
            return None
        firsts = np.zeros(self._dim, np.float32)
        firsts[left] = 1
        near, far = self._row(firsts, 1), self._prover.sizes[1][1]
        frequencies = np.arctan2(near[right], near[left])
        distant = self._row(firsts, far)
        angle = np.arctan2(distant[right], distant[left])
        frequencies = (angle + 2 * np.pi * np.round((frequencies * far - angle) / (2 * np.pi))) / far
        factor = float(np.hypot(near[left], near[right]).mean())
        return Turn(frequencies.astype(np.float32), interleaved, 1.0 if abs(factor - 1) < 1e-6 else factor)

    def _row(self, x: Array, position: int) -> Array:
        """What becomes of x[head_dim] in the first head of a token at `position`, in float64."""
        given = np.broadcast_to(x, (1, self._heads, 1, self._dim))
        return self._run(given, position)[0, 0, 0].astype(np.float64)


def _sources(graph: Bindings, var: Any) -> set[Any]:
    """The parameters that a value is computed from."""
    seen, todo = {var}, [var] if var in graph.values else []
    while todo:
        for read in graph.needs(todo.pop()):
            if read not in seen:
                seen.add(read)
                todo += [read] if read in graph.values else []
    return {v for v in seen if v not in graph.values}


def _same_shape(a: Any, b: Any) -> bool:
    left, right = shape_of(a), shape_of(b)
    if left is None or right is None or len(left) != 4 or len(right) != 4:
        return False
    return all(same_extent(x, y) for x, y in zip(left, right, strict=True))
