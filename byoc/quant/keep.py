"""Nodes that the caller wants to stay float."""

from __future__ import annotations

import re
from collections.abc import Sequence

from byoc.errors import UsageError, did_you_mean
from byoc.quant.float_graph import FloatGraph


def kept_nodes(graph: FloatGraph, keep: Sequence[str]) -> dict[str, str]:
    """The nodes that `keep` names, each with the reason that it gives.  Raises :class:`UsageError`."""
    reasons: dict[str, str] = {}
    names = [node.name for node in graph.nodes]
    types = {node.op_type for node in graph.nodes}
    for entry in keep:
        if entry.startswith("op:"):
            chosen = [n.name for n in graph.nodes if n.op_type == entry[3:]]
            near = did_you_mean(entry[3:], types)
        elif len(entry) > 1 and entry[0] == entry[-1] == "/" and entry not in names:
            try:
                chosen = [name for name in names if re.search(entry[1:-1], name)]
            except re.error as error:
                raise UsageError(f'keep "{entry}" is no regular expression', str(error)) from None
            near = "check the expression"
        else:
            chosen = [name for name in names if name == entry]
            near = did_you_mean(entry, names)
        if not chosen:
            raise UsageError(f'keep "{entry}" names no node of the model', "", near)
        reasons.update(dict.fromkeys(chosen, f"kept in float ({entry})"))
    return reasons
