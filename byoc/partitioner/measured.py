"""Measured costs: seconds of ops and composites, under keys that another import of the model gives again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from byoc.errors import PlanError
from byoc.graph import Node, Value
from byoc.partitioner.plan import HOST

FORMAT_VERSION = 1


def op_key(node: Node) -> str:
    """An op by what it computes: type, dtypes and shapes of inputs and results, attributes.  Names play no part."""
    attrs = ", ".join(f"{name}={value}" for name, value in sorted(node.attrs.items()))
    reads = ", ".join(_type(value) for value in node.inputs)
    writes = ", ".join(_type(value) for value in node.outputs)
    return f"{node.op}({reads}) -> {writes} {{{attrs}}}"


def composite_key(nodes: Iterable[Node]) -> str:
    """The ops of one match, in topological order."""
    return "; ".join(op_key(node) for node in nodes)


def _type(value: Value) -> str:
    dims = "?" if value.shape is None else ",".join(str(d) for d in value.shape)
    return f"{'const ' if value.is_constant else ''}{value.dtype}[{dims}]"


@dataclass(frozen=True)
class MeasuredCosts:
    """Seconds by owner (``"host"`` or a target) and key; see `op_key` and `composite_key`."""

    seconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def on_host(self, node: Node) -> float | None:
        """Seconds of one op on the host, if they were measured."""
        known = self.seconds.get(HOST)
        return known.get(op_key(node)) if known else None

    def on_target(self, target: str, nodes: Sequence[Node]) -> float | None:
        """Seconds of one composite on a target, if they were measured."""
        known = self.seconds.get(target)
        return known.get(composite_key(nodes)) if known else None

    def to_json(self) -> str:
        """JSON text; equal costs give equal text."""
        document = {"format_version": FORMAT_VERSION, "unit": "seconds", "costs": self.seconds}
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> MeasuredCosts:
        """Read what `to_json` wrote.  Raises :class:`PlanError` for anything else."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PlanError("this is no file of costs", f"it is not JSON: {error}", _WRITE) from None
        version = document.get("format_version") if isinstance(document, dict) else None
        if version != FORMAT_VERSION:
            raise PlanError(
                "this is no file of costs", f"its format version is {version}, not {FORMAT_VERSION}", _WRITE
            )
        costs = document.get("costs")
        if not isinstance(costs, dict) or not all(isinstance(known, dict) for known in costs.values()):
            raise PlanError("the file of costs is malformed", "it has no costs by target", _WRITE)
        for owner, known in costs.items():
            for key, seconds in known.items():
                if not _is_time(seconds):
                    raise PlanError("the file of costs is malformed", f"{owner}: {key} takes {seconds!r}", _WRITE)
        return MeasuredCosts(costs)


_WRITE = 'write one with "byoc profile model.onnx --target ... --save-costs FILE"'


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 and math.isfinite(value)
