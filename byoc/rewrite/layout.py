"""Convert ops to the layouts that codegens want, and cancel the transposes in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax

from byoc.errors import CheckError
from byoc.importer.origin import keep_origins
from byoc.partitioner.match import find_matches
from byoc.partitioner.target import Target
from byoc.relax_graph import graph_of
from byoc.rewrite.canonical import canonicalise, entry_functions
from byoc.rewrite.transposes import cancel_transposes


def convert_layouts(module: tvm.IRModule, targets: Sequence[Target], entries: list[str]) -> tvm.IRModule:
    """The module with every op in the layout of the first target that accepts it there.

    A target is first tried on a copy in which all ops that it names have its layout; only those that it then accepts
    are converted for good, so that what stays on the host keeps its own layout.
    """
    for target in targets:
        wanted = target.codegen.layout
        if wanted:
            accepted = _accepted(module, target, entries)
            if accepted:
                module = _convert(module, target, entries, accepted)
    return module


def _desired(target: Target) -> dict[str, list[str]]:
    return {
        op if op.startswith("relax.") else f"relax.{op}": list(layouts) for op, layouts in target.codegen.layout.items()
    }


def _accepted(module: tvm.IRModule, target: Target, entries: list[str]) -> set[tuple[str, int]]:
    """(entry function, ordinal among the ops with a layout) of the ops that the target accepts once converted."""
    try:
        trial = canonicalise(relax.transform.ConvertLayout(_desired(target))(module), entries)
    except Exception as error:
        raise CheckError(
            f'codegen "{target.name}": its layout cannot be had',
            f"TVM cannot convert {', '.join(_desired(target))} to {list(target.codegen.layout.values())}",
            "name ops that have layouts, such as nn.conv2d, and one layout for each of their inputs",
        ) from error
    accepted = set()
    names = {op.removeprefix("relax.") for op in _desired(target)}
    for name, function in entry_functions(trial).items():
        graph = graph_of(name, function)
        taken = {i for c in find_matches(graph, target).candidates for i in c.ops}
        laid_out = [n.index for n in graph.nodes if n.op in names]
        accepted |= {(name, k) for k, i in enumerate(laid_out) if i in taken}
    return accepted


def _convert(module: tvm.IRModule, target: Target, entries: list[str], accepted: set[tuple[str, int]]) -> tvm.IRModule:
    desired = _desired(target)
    chosen: list[Any] = []
    for name, function in entry_functions(module).items():
        calls = [n.ref.binding.value for n in graph_of(name, function).nodes if f"relax.{n.op}" in desired]
        chosen += [call for k, call in enumerate(calls) if (name, k) in accepted]

    def layout_of(call: Any) -> dict[str, list[str]]:
        name = str(call.op.name)
        return {name: desired[name]} if any(call.same_as(c) for c in chosen) else {}

    converted = keep_origins(relax.transform.ConvertLayout({}, layout_of))(module)
    return canonicalise(cancel_transposes(converted), entries)
