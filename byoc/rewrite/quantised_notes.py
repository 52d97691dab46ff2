"""Notes on float ops of quantised models: why they are not computed in integers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import tvm
from tvm import relax

from byoc.importer.origin import origin_of, with_note
from byoc.lower.outline import used_variables
from byoc.rewrite.bindings import rewrite_bindings
from byoc.rewrite.quantised_values import array_of, op_name

NO_FORM = "it has no integer form"
_INTEGER = frozenset(
    {"nn.relu", "clip", "add", "multiply", "matmul", "mean", "concat", "maximum", "minimum", "reshape", "permute_dims",
     "squeeze", "expand_dims", "flatten", "strided_slice", "nn.pad", "max", "broadcast_to", "take", "repeat", "tile",
     *(f"nn.{kind}{n}d" for kind in ("conv", "max_pool", "avg_pool") for n in (1, 2, 3))}
)  # fmt: skip


def note_refusals(module: tvm.IRModule, refusals: Mapping[Any, str]) -> tvm.IRModule:
    """The module with notes on the ops that compute in float what was dequantised.

    `refusals` has reasons by the variable that holds the result of an op.
    """
    return rewrite_bindings(module, lambda function: partial(_noted, refusals, _dequantised(function)))


def _dequantised(function: Any) -> set[Any]:
    """The variables that hold dequantised data."""
    bindings = [binding for block in function.body.blocks for binding in block.bindings]
    return {b.var for b in bindings if op_name(b.value) == "dequantize" and array_of(b.value.args[0]) is None}


def _noted(refusals: Mapping[Any, str], dequantised: set[Any], binding: Any) -> list[Any]:
    """The binding, with the reason for which its op computes in float."""
    call, reason = binding.value, refusals.get(binding.var)
    if not isinstance(call, relax.Call) or not isinstance(binding, relax.VarBinding):
        return [binding]
    name = op_name(call)
    if reason is None and name not in ("quantize", "dequantize", "") and dequantised & set(used_variables(call)):
        reason = "its result is not quantised" if name in _INTEGER else NO_FORM
    origin = origin_of(call)
    if reason is None or origin is None or origin.note:  # the first reason is the true one: later ones see it folded
        return [binding]
    return [relax.VarBinding(binding.var, with_note(call, reason))]
