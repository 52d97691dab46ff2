"""A layered drawing of an acyclic graph whose boxes have sizes, folded into columns like text in a newspaper.

The steps are those of Sugiyama, Tagawa, Toda 1981: layers by longest paths; orders within the layers by barycentres;
coordinates by least squares in a given order, which is isotonic regression (pool adjacent violators).  Edges over few
layers get a lane of their own through them (dummy boxes); longer ones run along the side of their column.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

COLUMN_GAP = 64.0
LAYER_GAP = 30.0
BOX_GAP = 18.0
_LANE = 10.0  # width of a lane for a passing edge
_LONGEST_LANE = 12  # layers
_LEAST_ROWS = 9  # layers that a column should have before there is another
_SWEEPS = 4
_ASPECT = 1.5  # wanted width over height


@dataclass(frozen=True)
class Place:
    """Top left corner of a box, and the column that it is in."""

    x: float
    y: float
    column: int


@dataclass(frozen=True)
class Route:
    """An edge as points (x, y, column); those along a `side` have right angles, others are smooth."""

    source: int
    target: int
    side: bool
    points: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True)
class Drawing:
    """Places of the boxes in their order, routes of the edges, and the size of it all."""

    places: tuple[Place, ...]
    routes: tuple[Route, ...]
    width: float
    height: float


def draw(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Drawing:
    """Lay out boxes of these (width, height) in pixels; `edges` go from lower to higher indices."""
    if not sizes:
        return Drawing((), (), 0.0, 0.0)
    graph = _Layers(sizes, sorted(set(edges)))
    graph.sort()
    graph.align()
    return _Columns(graph).drawing()


class _Layers:
    """Boxes and lanes in layers; indices from ``len(sizes)`` on are lanes."""

    def __init__(self, sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> None:
        self.sizes = list(sizes)
        self.count = len(sizes)
        self.edges = edges
        self.layer = _layers_of(self.count, edges)
        self.above: list[list[int]] = [[] for _ in sizes]
        self.below: list[list[int]] = [[] for _ in sizes]
        self.lanes: dict[tuple[int, int], list[int]] = {}
        for a, b in edges:
            self._connect(a, b)
        self.rows: list[list[int]] = [[] for _ in range(max(self.layer) + 1)]
        for node, layer in enumerate(self.layer):
            self.rows[layer].append(node)
        self.center = [0.0] * len(self.layer)

    def _connect(self, a: int, b: int) -> None:
        span = self.layer[b] - self.layer[a]
        if span - 1 > _LONGEST_LANE:
            return
        chain = [a]
        for step in range(1, span):
            self.sizes.append((_LANE, 0.0))
            self.layer.append(self.layer[a] + step)
            self.above.append([])
            self.below.append([])
            chain.append(len(self.layer) - 1)
        chain.append(b)
        self.lanes[a, b] = chain[1:-1]
        for upper, lower in pairwise(chain):
            self.below[upper].append(lower)
            self.above[lower].append(upper)

    def sort(self) -> None:
        """Order each layer by the mean place of its neighbours, downwards and upwards in turn."""
        place = [0.0] * len(self.layer)
        for row in self.rows:
            for i, node in enumerate(row):
                place[node] = i - len(row) / 2
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            for row in self.rows if down else reversed(self.rows):
                neighbours = self.above if down else self.below
                keys = {n: _mean([place[m] for m in neighbours[n]], place[n]) for n in row}
                row.sort(key=lambda n, keys=keys: (keys[n], n))  # type: ignore[misc]
                for i, node in enumerate(row):
                    place[node] = i - len(row) / 2

    def align(self) -> None:
        """Put the centre of each box near the mean of its neighbours' centres, keeping orders and distances."""
        for row in self.rows:
            self._settle(row, [0.0] * len(row))
        for sweep in range(_SWEEPS + 1):
            down = sweep % 2 == 0
            neighbours = self.above if down else self.below
            for row in self.rows if down else reversed(self.rows):
                self._settle(row, [_mean([self.center[m] for m in neighbours[n]], self.center[n]) for n in row])

    def _settle(self, row: list[int], wanted: list[float]) -> None:
        """The centres nearest to those wanted, in least squares, that leave `BOX_GAP` between boxes."""
        offsets, at = [], 0.0
        for i, node in enumerate(row):
            if i:
                at += (self.sizes[row[i - 1]][0] + self.sizes[node][0]) / 2 + BOX_GAP
            offsets.append(at)
        pools: list[tuple[float, int]] = []  # mean, how many
        for want, offset in zip(wanted, offsets, strict=True):
            mean, size = want - offset, 1
            while pools and pools[-1][0] > mean:
                before, more = pools.pop()
                mean, size = (mean * size + before * more) / (size + more), size + more
            pools.append((mean, size))
        means = [mean for mean, size in pools for _ in range(size)]
        for node, offset, mean in zip(row, offsets, means, strict=True):
            self.center[node] = mean + offset


def _layers_of(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Longest path to each node; then nodes that read nothing are moved down to their first reader."""
    layer = [0] * count
    readers: list[list[int]] = [[] for _ in range(count)]
    has_source = [False] * count
    for a, b in edges:  # sorted, so that all edges into `a` came before
        readers[a].append(b)
        has_source[b] = True
    for a in range(count):
        for b in readers[a]:
            layer[b] = max(layer[b], layer[a] + 1)
    for a in range(count):
        if not has_source[a] and readers[a]:
            layer[a] = min(layer[b] for b in readers[a]) - 1
    return layer


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


class _Columns:
    """Layers stacked in columns, so that the drawing is about as wide as a screen."""

    def __init__(self, graph: _Layers) -> None:
        self.graph = graph
        self.heights = [max(graph.sizes[n][1] for n in row) for row in graph.rows]
        self.extent = [self._extent(row) for row in graph.rows]
        self.column_of = self._fold()
        self.shift, self.left, self.width = self._shifts()
        self.top = self._tops()

    def _extent(self, row: list[int]) -> tuple[float, float]:
        halves = [(self.graph.center[n], self.graph.sizes[n][0] / 2) for n in row]
        return min(c - h for c, h in halves), max(c + h for c, h in halves)

    def _fold(self) -> list[int]:
        """The column of each layer; cuts are made where few edges cross them."""
        total = sum(self.heights) + LAYER_GAP * len(self.heights)
        width = max(right for _, right in self.extent) - min(left for left, _ in self.extent) + COLUMN_GAP
        columns = max(1, min(round(math.sqrt(_ASPECT * total / width)), len(self.heights) // _LEAST_ROWS))
        crossing = self._crossings()
        above = list(accumulate((own + LAYER_GAP for own in self.heights), initial=0.0))
        room = total / columns
        cuts = []
        for wanted in (room * k for k in range(1, columns)):
            off = [abs(y - wanted) for y in above]
            near = [k for k in range(1, len(crossing)) if off[k] <= 0.12 * room] or range(1, len(crossing))
            cuts.append(min((crossing[k] if off[k] <= 0.12 * room else 0, off[k], k) for k in near)[2])
        return [bisect(cuts, layer) for layer in range(len(self.heights))]

    def _crossings(self) -> list[int]:
        """For each layer how many edges come into it or pass it from above."""
        change = [0] * (len(self.heights) + 2)
        for a, b in self.graph.edges:
            change[self.graph.layer[a] + 1] += 1
            change[self.graph.layer[b] + 1] -= 1
        crossing, now = [], 0
        for layer in range(len(self.heights)):
            now += change[layer]
            crossing.append(now)
        return crossing

    def _shifts(self) -> tuple[list[float], list[float], float]:
        """For each column what to add to x, and its left edge; and the width of it all."""
        shifts, lefts, x = [], [], 0.0
        for column in range(self.column_of[-1] + 1):
            rows = [e for e, c in zip(self.extent, self.column_of, strict=True) if c == column]
            left, right = min(e[0] for e in rows), max(e[1] for e in rows)
            x += COLUMN_GAP / 2
            shifts.append(x - left)
            lefts.append(x)
            x += right - left + COLUMN_GAP / 2
        return shifts, lefts, x

    def _tops(self) -> list[float]:
        tops, y, column = [], LAYER_GAP, 0
        for layer, height in enumerate(self.heights):
            if self.column_of[layer] != column:
                column, y = self.column_of[layer], LAYER_GAP
            tops.append(y)
            y += height + LAYER_GAP
        return tops

    def drawing(self) -> Drawing:
        """Places and routes in final coordinates."""
        graph = self.graph
        places = []
        for node in range(graph.count):
            width, height = graph.sizes[node]
            layer = graph.layer[node]
            column = self.column_of[layer]
            x = graph.center[node] - width / 2 + self.shift[column]
            places.append(Place(x, self.top[layer] + (self.heights[layer] - height) / 2, column))
        routes = tuple(self._route(a, b, places) for a, b in graph.edges)
        height = max(top + own for top, own in zip(self.top, self.heights, strict=True)) + LAYER_GAP
        return Drawing(tuple(places), routes, self.width, height)

    def _route(self, a: int, b: int, places: Sequence[Place]) -> Route:
        graph = self.graph
        first, last = graph.layer[a], graph.layer[b]
        from_column, to_column = self.column_of[first], self.column_of[last]
        start = (places[a].x + graph.sizes[a][0] / 2, places[a].y + graph.sizes[a][1], from_column)
        end = (places[b].x + graph.sizes[b][0] / 2, places[b].y, to_column)
        lanes = graph.lanes.get((a, b))
        if lanes is not None and from_column == to_column:
            passing = []
            for lane in lanes:
                layer = graph.layer[lane]
                x = graph.center[lane] + self.shift[from_column]
                passing += [(x, self.top[layer], from_column), (x, self.top[layer] + self.heights[layer], from_column)]
            return Route(a, b, False, (start, *passing, end))
        return Route(a, b, True, self._side_route(a, b, start, end))

    def _side_route(
        self, a: int, b: int, start: tuple[float, float, int], end: tuple[float, float, int]
    ) -> tuple[tuple[float, float, int], ...]:
        """Under the source's layer to the space left of the target's column, along it, over the target's layer."""
        first, last = self.graph.layer[a], self.graph.layer[b]
        spread = 4.0 * ((a * 7) % 6)  # so that edges along one side can be told apart
        under = self.top[first] + self.heights[first] + 8 + spread / 4
        over = self.top[last] - 8 - spread / 4
        side = self.left[end[2]] - 8 - spread
        return (start, (start[0], under, start[2]), (side, under, start[2]), (side, over, end[2]),
                (end[0], over, end[2]), end)  # fmt: skip
