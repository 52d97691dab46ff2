"""The whole explanation as JSON values."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from byoc.explain.rows import float_reasons, host_reasons, partition_rows, shares
from byoc.explain.splits import splits

if TYPE_CHECKING:
    from byoc.partitioner.plan import Plan
    from byoc.suggest import Suggestion


def explain_json(plan: Plan, suggestion: Suggestion | None = None) -> dict[str, Any]:
    """The whole explanation as JSON values."""
    return {
        "model": plan.model_name,
        "digest": plan.model_digest,
        "targets": [target.name for target in plan.targets],
        "summary": plan.summary(),
        "coverage": [asdict(share) for share in shares(plan)],
        "partitions": [_with_counts(asdict(row), "composites") for row in partition_rows(plan)],
        "splits": [_with_counts(asdict(row), "op_types") for row in splits(plan)],
        "host": [_with_counts(asdict(row), "op_types") for row in host_reasons(plan)],
        "float": [_with_counts(asdict(row), "op_types") for row in float_reasons(plan)],
        "suggestion": asdict(suggestion) if suggestion else None,
    }


def _with_counts(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {**row, key: dict(row[key])}
