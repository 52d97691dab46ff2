"""Grow partitions: join composites of one owner as long as the result stays convex.

First by levels: the level of an op rises by one wherever the owner changes on the way to it, and connected ops of one
owner on one level form a group.  Levels never fall along an edge, so the groups' graph has no cycle.  Then groups
joined by an edge are contracted while no other path leads from one to the other.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from byoc.graph import Graph
from byoc.partitioner.assign import Assignment

_SEARCH_LIMIT = 20_000
_HOLE = -1  # where a group stood that was contracted into another


@dataclass(frozen=True)
class Group:
    """Composites that become one partition; `composites` index into the assignment's."""

    owner: str
    composites: tuple[int, ...]
    ops: tuple[int, ...]


@dataclass(frozen=True)
class Merged:
    """The groups in topological order, and for each group those of its owner that only a cycle keeps apart from it."""

    groups: tuple[Group, ...]
    kept_apart: dict[int, tuple[int, ...]]


def merge(graph: Graph, assignment: Assignment) -> Merged:
    """Partitions for an assignment: convex, and their condensed graph acyclic."""
    units = _Units(graph, assignment)
    parent = _level_groups(units)
    condensed = _Condensed(units, parent)
    condensed.contract()
    return condensed.result(assignment)


class _Units:
    """Composites and single host ops as the nodes of a smaller graph, ordered by their root."""

    def __init__(self, graph: Graph, assignment: Assignment) -> None:
        members: list[tuple[int, ...]] = [c.ops for _, c in assignment.composites]
        owned = set(assignment.owners)
        members += [(n.index,) for n in graph.nodes if n.index not in owned]
        order = sorted(range(len(members)), key=lambda u: members[u][-1])
        self.members = [members[u] for u in order]
        self.composite = [u if u < len(assignment.composites) else -1 for u in order]
        self.unit_of = {op: u for u, ops in enumerate(self.members) for op in ops}
        self.key = [(assignment.owners.get(ops[-1], "host"), graph.nodes[ops[-1]].block) for ops in self.members]
        self.producers: list[list[int]] = [[] for _ in self.members]
        for u, ops in enumerate(self.members):
            seen = {self.unit_of[p] for op in ops for p in graph.producers(op)} - {u}
            self.producers[u] = sorted(seen)


def _level_groups(units: _Units) -> list[int]:
    """Union-find parents of the units, joined within a level."""
    parent = list(range(len(units.members)))

    def find(u: int) -> int:
        while parent[u] != u:
            parent[u] = parent[parent[u]]
            u = parent[u]
        return u

    level = [0] * len(units.members)
    for u, producers in enumerate(units.producers):
        for p in producers:
            level[u] = max(level[u], level[p] + (units.key[p] != units.key[u]))
    for u, producers in enumerate(units.producers):
        if units.key[u][0] == "host":
            continue
        for p in producers:
            if level[p] == level[u] and units.key[p] == units.key[u]:
                parent[find(p)] = find(u)
    return [find(u) for u in range(len(parent))]


class _Condensed:
    """The groups' graph with a topological order that survives contractions (after Pearce, Kelly 2006)."""

    def __init__(self, units: _Units, group_of: Sequence[int]) -> None:
        self.units, self.group_of = units, list(group_of)
        groups = sorted(set(group_of))
        self.members: dict[int, list[int]] = {g: [] for g in groups}
        for u, g in enumerate(group_of):
            self.members[g].append(u)
        self.succ: dict[int, set[int]] = {g: set() for g in groups}
        self.pred: dict[int, set[int]] = {g: set() for g in groups}
        for u, producers in enumerate(units.producers):
            for p in producers:
                a, b = group_of[p], group_of[u]
                if a != b:
                    self.succ[a].add(b)
                    self.pred[b].add(a)
        self.order = self._topological()
        self.place = {g: i for i, g in enumerate(self.order)}
        self.apart: list[tuple[int, int]] = []

    def _topological(self) -> list[int]:
        waiting = {g: len(p) for g, p in self.pred.items()}
        first = {g: m[0] for g, m in self.members.items()}
        ready = [(first[g], g) for g, n in waiting.items() if n == 0]
        heapq.heapify(ready)
        order = []
        while ready:
            _, g = heapq.heappop(ready)
            order.append(g)
            for s in self.succ[g]:
                waiting[s] -= 1
                if waiting[s] == 0:
                    heapq.heappush(ready, (first[s], s))
        assert len(order) == len(self.members), "the groups' graph has a cycle"
        return order

    def contract(self) -> None:
        """Join neighbours of one owner wherever no other path leads from one to the other."""
        for g in list(self.order):
            if g not in self.members or self.units.key[self.members[g][0]][0] == "host":
                continue
            head = g
            for p in sorted(self.pred[g], key=lambda x: -self.place[x]):
                if p in self.members and p in self.pred[head] and self._same_owner(p, head):
                    descendants = self._other_path(p, head)
                    if descendants is None:
                        self.apart.append((self.members[p][0], self.members[head][0]))
                    else:
                        head = self._join(p, head, descendants)

    def _same_owner(self, a: int, b: int) -> bool:
        return self.units.key[self.members[a][0]] == self.units.key[self.members[b][0]]

    def _other_path(self, a: int, b: int) -> set[int] | None:
        """Descendants of `a` placed before `b`; ``None`` if one of them leads to `b`, or too many were searched."""
        limit = self.place[b]
        seen: set[int] = set()
        stack = [s for s in self.succ[a] if s != b and self.place[s] < limit]
        seen.update(stack)
        while stack:
            for s in self.succ[stack.pop()]:
                if s == b or len(seen) > _SEARCH_LIMIT:
                    return None
                if s not in seen and self.place[s] < limit:
                    seen.add(s)
                    stack.append(s)
        return seen

    def _join(self, a: int, b: int, descendants: set[int]) -> int:
        """Contract `a` into `b`, and move the descendants of `a` that stood before `b` behind it."""
        begin, end = self.place[a], self.place[b]
        middle = self.order[begin + 1 : end]
        self.members[b] = sorted(self.members[b] + self.members.pop(a))
        reordered = [_HOLE, *(g for g in middle if g not in descendants), b, *(g for g in middle if g in descendants)]
        self.order[begin : end + 1] = reordered
        for i, g in enumerate(reordered, start=begin):
            self.place[g] = i
        for s in self.succ.pop(a):
            self.pred[s].discard(a)
            if s != b:
                self.pred[s].add(b)
                self.succ[b].add(s)
        for p in self.pred.pop(a):
            self.succ[p].discard(a)
            self.succ[p].add(b)
            self.pred[b].add(p)
        return b

    def result(self, assignment: Assignment) -> Merged:
        owned = [g for g in self.order if g in self.members and self.units.key[self.members[g][0]][0] != "host"]
        number = {u: i for i, g in enumerate(owned) for u in self.members[g]}
        groups = []
        for g in owned:
            ops = sorted(op for u in self.members[g] for op in self.units.members[u])
            composites = tuple(sorted(self.units.composite[u] for u in self.members[g]))
            groups.append(Group(self.units.key[self.members[g][0]][0], composites, tuple(ops)))
        apart: dict[int, set[int]] = {}
        for a, b in self.apart:
            if number[a] != number[b]:
                apart.setdefault(number[a], set()).add(number[b])
                apart.setdefault(number[b], set()).add(number[a])
        return Merged(tuple(groups), {g: tuple(sorted(others)) for g, others in apart.items()})
