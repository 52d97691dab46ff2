"""Least-cost labelling of ops with owners: s-t min-cut for two owners, alpha-expansion for more.

The energy is a sum of a cost for each op and label, and of a cost for each edge whose ends have different labels.
Two labels: one minimum s-t cut is optimal (Greig, Porteous, Seheult 1989).  More: alpha-expansion, each step a minimum
cut, within a factor 2 of the optimum for metric edge costs (Boykov, Veksler, Zabih 2001, section 5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

_UNITS = 1_000_000_000
FORBIDDEN = float("inf")


@dataclass(frozen=True)
class Edge:
    """Two ops and the cost of giving them labels (l, m)."""

    a: int
    b: int
    cost: Callable[[int, int], float]


def label(costs: Sequence[Sequence[float]], edges: Sequence[Edge], start: Sequence[int]) -> list[int]:
    """A label for each op.

    Parameters
    ----------
    costs: cost of op i with label l, `FORBIDDEN` where it may not have it.
    edges: pairwise costs; a metric, `FORBIDDEN` for pairs that must not be split.
    start: an allowed labelling to improve on.
    """
    labels = list(start)
    count = len(costs[0]) if costs else 0
    if count == 2:
        return _expand(costs, edges, [0] * len(costs), 1)
    best = energy(costs, edges, labels)
    improved = True
    while improved:
        improved = False
        for alpha in range(count):
            proposal = _expand(costs, edges, labels, alpha)
            proposed = energy(costs, edges, proposal)
            if proposed < best - 1e-12 * abs(best):
                labels, best, improved = proposal, proposed, True
    return labels


def energy(costs: Sequence[Sequence[float]], edges: Sequence[Edge], labels: Sequence[int]) -> float:
    """Total cost of a labelling."""
    return sum(c[x] for c, x in zip(costs, labels, strict=True)) + sum(e.cost(labels[e.a], labels[e.b]) for e in edges)


def _expand(costs: Sequence[Sequence[float]], edges: Sequence[Edge], labels: Sequence[int], alpha: int) -> list[int]:
    """The best labelling in which every op keeps its label or takes `alpha`."""
    n = len(costs)
    source, sink = n, n + 1
    keep = np.array([c[x] for c, x in zip(costs, labels, strict=True)], dtype=np.float64)
    take = np.array([c[alpha] for c in costs], dtype=np.float64)
    rows: list[int] = []
    columns: list[int] = []
    weights: list[float] = []
    for edge in edges:
        a, b = edge.a, edge.b
        both_keep, a_keeps = edge.cost(labels[a], labels[b]), edge.cost(labels[a], alpha)
        b_keeps = edge.cost(alpha, labels[b])
        if both_keep == FORBIDDEN:
            both_keep = 0.0
            a_keeps = b_keeps = FORBIDDEN
        # Kolmogorov, Zabih 2004: E(0,0)=both_keep, E(0,1)=a_keeps, E(1,0)=b_keeps, E(1,1)=0, bit 1 takes alpha.
        take[a] += max(0.0, b_keeps - both_keep) if b_keeps != FORBIDDEN else 0.0
        keep[a] += max(0.0, both_keep - b_keeps) if b_keeps != FORBIDDEN else 0.0
        keep[b] += b_keeps if b_keeps != FORBIDDEN else 0.0
        if FORBIDDEN in (a_keeps, b_keeps):
            rows += [a, b]
            columns += [b, a]
            weights += [FORBIDDEN, FORBIDDEN]
            continue
        rows.append(a)
        columns.append(b)
        weights.append(max(0.0, a_keeps + b_keeps - both_keep))
    return _cut(keep, take, rows, columns, weights, labels, alpha, source, sink)


def _cut(
    keep: np.ndarray,
    take: np.ndarray,
    rows: list[int],
    columns: list[int],
    weights: list[float],
    labels: Sequence[int],
    alpha: int,
    source: int,
    sink: int,
) -> list[int]:
    """Source side keeps its label (cutting op->sink costs `keep`), sink side takes alpha (cutting source->op)."""
    n = len(keep)
    shift = np.minimum(keep, take)
    shift[~np.isfinite(shift)] = 0.0
    keep, take = keep - shift, take - shift
    all_rows = np.array([*rows, *range(n), *[source] * n], dtype=np.int64)
    all_columns = np.array([*columns, *[sink] * n, *range(n)], dtype=np.int64)
    all_weights = np.array(weights + list(keep) + list(take), dtype=np.float64)
    finite = np.isfinite(all_weights)
    total = float(all_weights[finite].sum()) or 1.0
    capacities = np.full(len(all_weights), 2 * _UNITS, dtype=np.int64)
    capacities[finite] = np.rint(all_weights[finite] * (_UNITS / total)).astype(np.int64)
    used = capacities > 0
    graph = csr_matrix((capacities[used], (all_rows[used], all_columns[used])), shape=(n + 2, n + 2))
    graph.data = np.minimum(graph.data, 2 * _UNITS).astype(np.int32)
    flow = maximum_flow(graph, source, sink).flow
    residual = (graph - flow).tocsr()
    residual.data = (residual.data > 0).astype(np.int8)
    residual.eliminate_zeros()
    reached = set(breadth_first_order(residual, source, return_predecessors=False).tolist())
    return [labels[i] if i in reached else alpha for i in range(n)]
