"""The canonical form: inference ops decomposed, constants folded, common subexpressions shared, spelled-out ops lifted,
no aliases."""

from __future__ import annotations

from functools import partial
from typing import Any

import tvm
from tvm import relax

from byoc.importer.dataflow import to_dataflow
from byoc.importer.origin import inherit_origins, keep_origins
from byoc.rewrite.affine import merge_affine
from byoc.rewrite.batch_norm import unfold_batch_norm
from byoc.rewrite.fold_constants import fold_constants
from byoc.rewrite.lift import lift_ops
from byoc.rewrite.lifts import LIFTS
from byoc.rewrite.quantised import fold_dequantised, has_quantised, lift_quantised
from byoc.rewrite.reshapes import merge_reshapes
from byoc.rewrite.structure import inline_structure
from byoc.rewrite.transposes import move_transposes


def canonicalise(module: tvm.IRModule, entries: list[str]) -> tvm.IRModule:
    """The module in canonical form; every op keeps its origin."""
    remove_dead = relax.transform.DeadCodeElimination(entries)
    for step in (
        relax.transform.Normalize(),
        to_dataflow,
        relax.transform.CanonicalizeBindings(),
        inline_structure,
        fold_constants,
        unfold_batch_norm,
        keep_origins(relax.transform.DecomposeOpsForInference()),
        relax.transform.CanonicalizeBindings(),
        fold_constants,
        relax.transform.EliminateCommonSubexpr(),
        relax.transform.CanonicalizeBindings(),
        inline_structure,
        remove_dead,
        partial(_with_integer_ops, entries=entries),
        *(step for lifts in LIFTS for step in (partial(lift_ops, lifts=lifts), remove_dead)),
        *(step for clean in (move_transposes, merge_reshapes, merge_affine) for step in (clean, inline_structure)),
        relax.transform.CanonicalizeBindings(),  # a result that a reshape left as another name of one that is read
        inline_structure,
        remove_dead,
    ):
        module = step(module)
    module = inherit_origins(module)
    relax.analysis.well_formed(module)
    return module


def _with_integer_ops(module: tvm.IRModule, entries: list[str]) -> tvm.IRModule:
    if not has_quantised(module):
        return module
    for step in (
        lift_quantised,
        relax.transform.CanonicalizeBindings(),
        inline_structure,
        relax.transform.DeadCodeElimination(entries),
        fold_dequantised,
        relax.transform.CanonicalizeBindings(),
        inline_structure,
        fold_constants,
        relax.transform.EliminateCommonSubexpr(),
        relax.transform.DeadCodeElimination(entries),
    ):
        module = step(module)
    return module


def entry_functions(module: tvm.IRModule) -> dict[str, Any]:
    """The public Relax functions by name, sorted."""
    found = {}
    for variable, function in module.functions_items():
        public = function.attrs is not None and "global_symbol" in function.attrs
        if isinstance(function, relax.Function) and public:
            found[str(variable.name_hint)] = function
    return dict(sorted(found.items()))
