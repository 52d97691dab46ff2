"""Softmax, normalisations and reductions of float32 rows: vectors with several accumulators, rows in parallel.

A row is what the last axes of a tensor hold.  Sums of long rows are added up piece by piece in float64, so that their
error does not grow with the length.  Softmax subtracts the maximum of the row first; variances are the mean square of
what is left after the mean is taken away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tvm import tirx

from byoc.compat import attrs_to_dict
from byoc.host.code import Code, ceil_div, int64, load, spread, vector_at
from byoc.host.kernel import Dims, buffer, dtype_of, product, static
from byoc.host.machine import Machine

# Elements whose float32 sum is accurate enough.
_PIECE = 4096
_ACCUMULATORS = 4
_SERIAL_ELEMENTS = 8192
_FOLDS = {"sum": "sum", "mean": "sum", "max": "max", "min": "min"}
_NORMS = {"nn.layer_norm", "nn.rms_norm", "nn.instance_norm"}

Element = Callable[[Any], Any]


def takes_rows(call: Any) -> bool:
    """Whether :func:`row_kernel` computes this call."""
    name, ty = _name(call), call.args[0].ty
    known = name in _FOLDS or name in _NORMS or name in ("nn.softmax", "nn.log_softmax")
    if not known or not static(ty) or dtype_of(ty) != "float32" or not static(call.ty):
        return False
    if any(not static(a.ty) or dtype_of(a.ty) != "float32" for a in call.args[1:]):
        return False
    axes, rank = _axes(call), len(ty.shape.values)
    if name == "nn.instance_norm" and (int(call.attrs.channel_axis) % rank != 1 or axes[:1] != [2]):
        return False
    length = product([_size(d) for d in list(ty.shape.values)[rank - len(axes) :]])
    return bool(axes) and axes == list(range(rank - len(axes), rank)) and not (isinstance(length, int) and length == 0)


def row_kernel(call: Any, machine: Machine, name: str) -> Any:
    """The kernel; its arguments are those of the call."""
    dims, kind = Dims(), _name(call)
    shapes = [dims.of(a.ty) for a in call.args]
    width = len(_axes(call))
    rows, length = product(shapes[0][:-width]), product(shapes[0][-width:])
    buffers = [buffer(s, "float32", f"t{i}") for i, s in enumerate([*shapes, dims.of(call.ty)])]
    code = Code()
    data, *weights, result = [code.flat(b) for b in buffers]
    small = isinstance(rows, int) and isinstance(length, int) and rows * length < _SERIAL_ELEMENTS
    with code.loop("row", rows, "serial" if small else "parallel") as row:
        writer = _Row(code, data, result, row, length, machine.lanes("float32"))
        if kind in _FOLDS:
            writer.fold(kind)
        elif kind in _NORMS:
            by_row = row % int64(shapes[0][1]) if kind == "nn.instance_norm" else None
            writer.normalise(weights, by_row, kind != "nn.rms_norm", float(call.attrs.epsilon))
        else:
            writer.softmax(kind == "nn.log_softmax")
    return code.function(buffers, name)


class _Row:
    """Writes the loops over one row of `length` elements."""

    def __init__(self, code: Code, data: Any, result: Any, row: Any, length: Any, lanes: int) -> None:
        self.code, self.data, self.result, self.row = code, data, result, row
        self.length, self.lanes = length, lanes
        self.base = code.let("base", row * int64(length))

    def fold(self, kind: str) -> None:
        """One number: sum, mean, max or min."""
        total = self._total(_FOLDS[kind], lambda x: x)
        if kind == "mean":
            total = total * self._reciprocal()
        self.code.store(self.result, self.row, total)

    def softmax(self, logarithm: bool) -> None:
        """exp(x - max) over its sum, or the logarithm of that."""
        code = self.code
        most = code.let("most", self._total("max", lambda x: x))
        if logarithm:
            total = code.let("total", self._total("sum", lambda x: tirx.exp(x - self._like(most, x))))
            # In memory: TVM would put the value of a name back in its place, and so the logarithm into every element.
            place = code.scratch("shift", 1, "float32")
            code.store(place, int64(0), most + tirx.log(total))
            shift = code.let("shift", load(place, 0))
            self._write(lambda x, _: x - self._like(shift, x))
            return
        scale = code.let("scale", tirx.const(1.0, "float32") / self._total("sum", self._exponential(most)))
        self.data = self.result
        self._write(lambda x, _: x * self._like(scale, x))

    def _exponential(self, most: Any) -> Element:
        """exp(x - most), kept in the result and read from there."""

        def element(x: Any) -> Any:
            lanes = self._lanes_of(x)
            (at,) = x.indices
            self.code.store(self.result, at, tirx.exp(x - self._like(most, x)))
            return load(self.result, at.base if lanes > 1 else at, lanes)

        return element

    def normalise(self, weights: list[Any], by_row: Any, centred: bool, epsilon: float) -> None:
        """(x - mean) over the root of the variance, times and plus weights; of an RMS norm without the mean.

        `by_row`: index of the row's own weight, or None where every element has one.
        """
        code = self.code
        mean: Any = tirx.const(0.0, "float32")
        if centred:
            mean = code.let("mean", self._total("sum", lambda x: x) * self._reciprocal())

        def square(x: Any) -> Any:
            rest = x - self._like(mean, x) if centred else x
            return rest * rest

        variance = self._total("sum", square) * self._reciprocal()
        one = tirx.const(1.0, "float32")
        scale = code.let("scale", one / tirx.sqrt(variance + tirx.const(epsilon, "float32")))

        def element(x: Any, place: Any) -> Any:
            value = (x - self._like(mean, x) if centred else x) * self._like(scale, x)
            for weight, combine in zip(weights, (lambda a, b: a * b, lambda a, b: a + b), strict=False):
                if by_row is not None:
                    value = combine(value, self._like(load(weight, by_row), x))
                else:
                    value = combine(value, load(weight, place, self._lanes_of(x)))
            return value

        self._write(element)

    def _reciprocal(self) -> Any:
        if isinstance(self.length, int):
            return tirx.const(1.0 / self.length, "float32")
        return tirx.const(1.0, "float32") / tirx.Cast("float32", self.length)

    def _write(self, element: Callable[[Any, Any], Any]) -> None:
        """result[i] = element(data[i], i) for all of the row."""
        code, lanes = self.code, self.lanes
        whole = self._over(self.length, lanes)
        with code.loop("v", whole) as v:
            at = code.let("at", v * int64(lanes))
            code.store(
                self.result, vector_at(self.base + at, lanes), element(load(self.data, self.base + at, lanes), at)
            )
        done = code.let("done", whole * int64(lanes)) if not isinstance(whole, int) else whole * lanes
        with code.loop("i", self.length - done) as i:
            at = code.let("at", i + int64(done))
            code.store(self.result, self.base + at, element(load(self.data, self.base + at), at))

    def _total(self, kind: str, element: Element) -> Any:
        """The sum, maximum or minimum of element(x) over the row."""
        code = self.code
        if isinstance(self.length, int) and self.length <= _PIECE:
            return self._of_piece(kind, element, int64(0), self.length)
        wide = "float64" if kind == "sum" else "float32"
        total = code.scratch("total", 1, wide)
        code.store(total, int64(0), tirx.const(_START[kind], wide))
        with code.loop("piece", ceil_div(self.length, _PIECE)) as piece:
            begin = code.let("begin", piece * int64(_PIECE))
            size = code.let("size", tirx.min(int64(_PIECE), int64(self.length) - begin))
            part = self._of_piece(kind, element, begin, size)
            code.store(total, int64(0), _COMBINE[kind](load(total, 0), part.astype(wide)))
        return load(total, 0).astype("float32")

    def _of_piece(self, kind: str, element: Element, begin: Any, size: Any) -> Any:
        """Of `size` elements from `begin` on: vectors by four, single vectors, then what is left."""
        code, lanes, combine = self.code, self.lanes, _COMBINE[kind]
        start = tirx.const(_START[kind], "float32")
        sums = code.local("sums", _ACCUMULATORS, f"float32x{lanes}")
        for number in range(_ACCUMULATORS):
            code.store(sums, int64(number), spread(start, lanes))
        base = code.let("from", self.base + begin)
        block = lanes * _ACCUMULATORS
        blocks = self._over(size, block)

        def add(number: int, at: Any) -> None:
            code.store(sums, int64(number), combine(load(sums, number), element(load(self.data, at, lanes))))

        with code.loop("b", blocks) as b:
            at = code.let("at", base + b * int64(block))
            for number in range(_ACCUMULATORS):
                add(number, at + int64(number * lanes))
        vectors = self._over(size - blocks * int64(block) if not isinstance(size, int) else size % block, lanes)
        with code.loop("v", vectors) as v:
            add(0, base + blocks * int64(block) + v * int64(lanes))
        lane = code.scratch("lane", lanes, "float32")
        pairs = [combine(load(sums, 0), load(sums, 1)), combine(load(sums, 2), load(sums, 3))]
        code.store(lane, vector_at(0, lanes), combine(*pairs))
        single = code.scratch("single", 1, "float32")
        code.store(single, int64(0), _tree(combine, [load(lane, i) for i in range(lanes)]))
        done = code.let("done", blocks * int64(block) + vectors * int64(lanes))
        with code.loop("i", int64(size) - done) as i:
            code.store(single, int64(0), combine(load(single, 0), element(load(self.data, base + done + i))))
        return code.let("folded", load(single, 0))

    def _over(self, size: Any, by: int) -> Any:
        return size // by if isinstance(size, int) else self.code.let("count", tirx.floordiv(size, int64(by)))

    def _lanes_of(self, x: Any) -> int:
        return int(str(x.ty).removeprefix("T.").partition("x")[2] or 1)

    def _like(self, scalar: Any, x: Any) -> Any:
        return spread(scalar, self._lanes_of(x))


_START = {"sum": 0.0, "max": -math.inf, "min": math.inf}
_COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda a, b: a + b,
    "max": lambda a, b: tirx.max(a, b),
    "min": lambda a, b: tirx.min(a, b),
}


def _tree(combine: Callable[[Any, Any], Any], values: list[Any]) -> Any:
    """Combined pair by pair."""
    while len(values) > 1:
        values = [combine(*values[i : i + 2]) if i + 1 < len(values) else values[i] for i in range(0, len(values), 2)]
    return values[0]


def _axes(call: Any) -> list[int]:
    """The axes of a row, sorted."""
    rank, attrs = len(call.args[0].ty.shape.values), attrs_to_dict(call.attrs)
    axes = attrs.get("axes", attrs.get("axis"))
    listed = range(rank) if axes is None else axes if isinstance(axes, (tuple, list)) else (axes,)
    return sorted(int(axis) % rank for axis in listed) if rank else []


def _size(dim: Any) -> Any:
    return int(dim) if isinstance(dim, (int, tirx.IntImm)) else dim


def _name(call: Any) -> str:
    return str(call.op.name).removeprefix("relax.")
