"""Ensembles of decision trees: all comparisons at once, then from node to node as many times as the deepest tree has
levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Value, constant

op = relax.op
_DOMAIN = "ai.onnx.ml"
_COMPARISONS: dict[str, Callable[..., Any]] = {
    "BRANCH_LEQ": op.less_equal,
    "BRANCH_LT": op.less,
    "BRANCH_GTE": op.greater_equal,
    "BRANCH_GT": op.greater,
    "BRANCH_EQ": op.equal,
    "BRANCH_NEQ": op.not_equal,
}
_MODES = (*_COMPARISONS, "BRANCH_MEMBER")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
_DEEPEST = 128


@dataclass(frozen=True)
class Forest:
    """Trees as tables.  A place below ``len(modes)`` is a node, one above is a leaf, counted from there."""

    modes: list[str]
    features: np.ndarray
    splits: np.ndarray
    members: list[list[float]]  # of a node with BRANCH_MEMBER
    missing_is_true: np.ndarray
    when_true: np.ndarray  # places
    when_false: np.ndarray
    roots: list[int]
    weights: np.ndarray  # [leaves, targets]
    given: np.ndarray  # [leaves, targets]: whether the leaf says anything of the target

    def depth(self) -> int:
        """Levels of nodes below the roots; raises ValueError if nodes go in circles."""
        level, places = 0, {place for place in self.roots if place < len(self.modes)}
        while places:
            level += 1
            if level > _DEEPEST:
                raise ValueError(f"its trees have more than {_DEEPEST} levels")
            after = {int(t[p]) for p in places for t in (self.when_true, self.when_false)}
            places = {place for place in after if place < len(self.modes)}
        return level


def evaluate(view: NodeView, forest: Forest, aggregate: str) -> relax.Expr:
    """[N, targets] of the node's input [N, features]."""
    x, dtype = view.tensor(0), view.dtype(0)
    rows, nodes = view.shape(0)[0], len(forest.modes)
    places = constant(np.array(forest.roots, np.int64).reshape(1, -1))
    places = view.emit(op.broadcast_to(places, shape_expr([rows, len(forest.roots)])))
    if nodes:
        decided = _decisions(view, forest, x, dtype)
        leaves = len(forest.weights)
        padding = op.zeros(shape_expr([rows, leaves]), "bool")
        decided = view.emit(op.concat([decided, view.emit(padding)], 1))
        stay = np.arange(nodes, nodes + leaves)
        yes, no = (constant(np.concatenate([t, stay]).astype(np.int64)) for t in (forest.when_true, forest.when_false))
        for _ in range(forest.depth()):
            here = view.emit(op.gather_elements(decided, places, 1))
            there = [view.emit(op.take(table, places, 0, mode="wrap")) for table in (yes, no)]
            places = view.emit(op.where(here, there[0], there[1]))
        places = view.emit(op.subtract(places, relax.const(nodes, "int64")))
    table = forest.weights.astype(dtype)
    if aggregate in ("MIN", "MAX"):
        worst = np.finfo(dtype).max if aggregate == "MIN" else np.finfo(dtype).min
        table = np.where(forest.given, table, np.array(worst, dtype))
        each = view.emit(op.take(constant(table), places, 0, mode="wrap"))
        return view.emit((op.min if aggregate == "MIN" else op.max)(each, [1]))
    total = view.emit(op.sum(view.emit(op.take(constant(table), places, 0, mode="wrap")), [1]))
    if aggregate == "AVERAGE":
        total = view.emit(op.divide(total, relax.const(float(len(forest.roots)), dtype)))
    return total


def _decisions(view: NodeView, forest: Forest, x: relax.Expr, dtype: str) -> relax.Expr:
    """Whether each node's comparison holds: bool [N, nodes]."""
    values = view.emit(op.take(x, constant(forest.features.astype(np.int64)), 1, mode="wrap"))
    splits = constant(forest.splits.astype(dtype))
    decided = None
    for mode in dict.fromkeys(forest.modes):
        if mode == "BRANCH_MEMBER":
            most = max(len(m) for m in forest.members)
            table = np.full((len(forest.modes), max(1, most)), np.nan, dtype)
            for row, members in enumerate(forest.members):
                table[row, : len(members)] = members
            equal = op.equal(op.expand_dims(values, 2), constant(table[None]))
            holds = op.greater(op.sum(op.astype(view.emit(equal), "int32"), [2]), relax.const(0, "int32"))
        else:
            holds = _COMPARISONS[mode](values, splits)
        own = constant(np.array([m == mode for m in forest.modes])[None])
        mine = view.emit(op.logical_and(view.emit(holds), own))
        decided = mine if decided is None else view.emit(op.logical_or(decided, mine))
    if forest.missing_is_true.any():
        lost = op.logical_and(op.isnan(values), constant(forest.missing_is_true.astype(bool)[None]))
        decided = view.emit(op.logical_or(decided, view.emit(lost)))
    return decided


def transformed(view: NodeView, scores: relax.Expr, transform: str) -> relax.Expr:
    """The scores after the node's ``post_transform``."""
    if transform == "NONE":
        return scores
    if transform in ("SOFTMAX", "LOGISTIC"):
        return op.nn.softmax(scores, -1) if transform == "SOFTMAX" else op.sigmoid(scores)
    view.refuse(f"its post_transform is {transform}; the importer takes NONE, SOFTMAX and LOGISTIC")


@lowers("TreeEnsemble", domain=_DOMAIN, since=5)
def _tree_ensemble(view: NodeView) -> Value:
    view.mark_read("nodes_hitrates")
    modes = [_MODES[int(mode)] for mode in view.attribute("nodes_modes")]
    count, weights = len(modes), view.attribute("leaf_weights")
    targets, width = view.attribute("leaf_targetids"), view.attribute("n_targets", 1)
    values = _tables(weights, [range(len(weights)), targets], width)

    def places(branch: str) -> np.ndarray:
        ids, leaf = (np.array(view.attribute(f"nodes_{branch}{what}")) for what in ("nodeids", "leafs"))
        return np.where(leaf != 0, ids + count, ids)

    yes, no = places("true"), places("false")
    roots = [int(yes[r]) if yes[r] == no[r] and yes[r] >= count else int(r) for r in view.attribute("tree_roots")]
    missing = np.array(view.attribute("nodes_missing_value_tracks_true") or [0] * count)
    features, splits = np.array(view.attribute("nodes_featureids")), np.array(view.attribute("nodes_splits"))
    members = _members(modes, view.attribute("membership_values"))
    forest = Forest(modes, features, splits, members, missing, yes, no, roots, *values)
    scores = evaluate(view, forest, _AGGREGATES[view.attribute("aggregate_function", 1)])
    return transformed(view, scores, _TRANSFORMS[view.attribute("post_transform", 0)])


def _members(modes: Sequence[str], values: np.ndarray | None) -> list[list[float]]:
    """Per node, the set that it looks in; sets are told apart by NaN."""
    sets: list[list[float]] = [[]]
    for value in values if values is not None else ():
        if np.isnan(value):
            sets.append([])
        else:
            sets[-1].append(float(value))
    remaining = iter(sets)
    return [next(remaining, []) if mode == "BRANCH_MEMBER" else [] for mode in modes]


def _tables(weights: Sequence[float], at: Sequence[Sequence[int]], width: int) -> tuple[np.ndarray, np.ndarray]:
    leaves, targets = at
    table = np.zeros((max(leaves, default=-1) + 1, width))
    np.add.at(table, (np.array(leaves, int), np.array(targets, int)), np.asarray(weights, float))
    given = np.zeros(table.shape, bool)
    given[np.array(leaves, int), np.array(targets, int)] = True
    return table, given


@lowers("TreeEnsembleRegressor", domain=_DOMAIN)
def _tree_regressor(view: NodeView) -> Value:
    view.mark_read("nodes_hitrates", "nodes_hitrates_as_tensor")
    names = list(zip(view.attribute("nodes_treeids"), view.attribute("nodes_nodeids"), strict=True))
    kinds = view.attribute("nodes_modes")
    inner = [row for row, kind in enumerate(kinds) if kind != "LEAF"]
    outer = [row for row, kind in enumerate(kinds) if kind == "LEAF"]
    unknown = sorted({kinds[row] for row in inner} - set(_COMPARISONS))
    if unknown:
        view.refuse(f"its nodes compare by {', '.join(unknown)}")
    place = {names[row]: index for index, row in enumerate([*inner, *outer])}

    def branch(which: str) -> np.ndarray:
        ids = view.attribute(f"nodes_{which}nodeids")
        return np.array([place[names[row][0], ids[row]] for row in inner], int)

    weights = _floats(view, "target_weights")
    leaves = [
        place[key] - len(inner)
        for key in zip(view.attribute("target_treeids"), view.attribute("target_nodeids"), strict=True)
    ]
    width = view.attribute("n_targets", 1)
    table, given = _tables([*weights, *[0.0] * len(outer)], [[*leaves, *range(len(outer))],
                           [*view.attribute("target_ids"), *[0] * len(outer)]], width)  # fmt: skip
    first: dict[int, int] = {}
    for tree, node in names:
        first.setdefault(tree, place[tree, node])
    rows = np.array(inner, int)
    missing = np.array(view.attribute("nodes_missing_value_tracks_true") or [0] * len(kinds))[rows]
    features, splits = np.array(view.attribute("nodes_featureids"))[rows], np.array(_floats(view, "nodes_values"))[rows]
    modes = [kinds[row] for row in inner]
    forest = Forest(modes, features, splits, [[] for _ in inner], missing, branch("true"), branch("false"),
                    list(first.values()), table, given)  # fmt: skip
    scores = evaluate(view, forest, view.attribute("aggregate_function", "SUM"))
    base = _floats(view, "base_values")
    if len(base):
        scores = view.emit(op.add(scores, constant(np.array(base, view.dtype(0)).reshape(1, -1))))
    return transformed(view, scores, view.attribute("post_transform", "NONE"))


def _floats(view: NodeView, name: str) -> Sequence[float]:
    tensor = view.attribute(f"{name}_as_tensor")
    return tensor.reshape(-1).tolist() if tensor is not None else view.attribute(name) or []
