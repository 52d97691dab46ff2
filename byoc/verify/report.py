"""A verification as text and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from byoc.difference import Difference
from byoc.text_table import table
from byoc.verify.bisect import Culprit
from byoc.verify.check import Verification

_HEADERS = ["max abs", "max rel", "cosine", "SNR dB", "tolerance", "result"]


def verification_text(
    result: Verification, culprits: Sequence[Culprit], onnxruntime: Sequence[Difference], tolerance: float | None
) -> str:
    """Tables of partitions, outputs, what ``--bisect`` found, and the outputs against ONNX Runtime."""
    parts = [
        (e.symbol, e.target, e.ops, e.first_node, *_cells(e.worst, tolerance, e.passes(tolerance)))
        for e in result.partitions
    ]
    blocks = []
    if parts:
        blocks.append(table(["partition", "target", "ops", "first node", *_HEADERS], parts, "llrlrrrrr"))
    for title, rows in (("end to end", result.outputs), ("against ONNX Runtime", onnxruntime)):
        if rows:
            cells = [(d.name, *_cells(d, tolerance, _passes(d, tolerance))) for d in rows]
            blocks.append(table([title, *_HEADERS], cells, "lrrrrr"))
    if culprits:
        found = [(c.symbol, " ".join(c.patterns), ", ".join(c.nodes), f"{c.difference.max_rel:.3g}") for c in culprits]
        blocks.append(table(["bisected", "composites", "nodes", "max rel"], found, "lllr"))
    return "\n\n".join(blocks)


def verification_json(
    result: Verification, culprits: Sequence[Culprit], onnxruntime: Sequence[Difference], tolerance: float | None
) -> dict[str, Any]:
    """The same as JSON values; `error` of a partition is the largest relative one of its results."""
    return {
        "entry": result.entry,
        "partitions": [
            {
                "symbol": e.symbol, "target": e.target, "ops": e.ops, "first_node": e.first_node,
                "error": e.worst.max_rel, "passed": e.passes(tolerance), **_plain(e.worst, tolerance),
                "results": [_plain(d, tolerance) for d in e.differences],
            }
            for e in result.partitions
        ],
        "outputs": [_plain(d, tolerance) for d in result.outputs],
        "onnxruntime": [_plain(d, tolerance) for d in onnxruntime],
        "bisected": [asdict(c) for c in culprits],
    }  # fmt: skip


def _plain(d: Difference, tolerance: float | None) -> dict[str, Any]:
    return {**asdict(d), "tolerance": d.tolerance(tolerance), "passed": _passes(d, tolerance)}


def _passes(d: Difference, tolerance: float | None) -> bool:
    return d.max_rel <= d.tolerance(tolerance)


def _cells(d: Difference, tolerance: float | None, passed: bool) -> tuple[str, ...]:
    told = f": {d.note}" if d.note else ""
    figures = (f"{d.max_abs:.3g}", f"{d.max_rel:.3g}", f"{d.cosine:.8f}", f"{d.snr:.1f}")
    return (*figures, f"{d.tolerance(tolerance):g}", f"{'ok' if passed else 'DIFFERS'}{told}")
