"""Timings as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from byoc.llm.bench.rounds import Timing, ratio
from byoc.text_table import table


def speed_text(timings: Sequence[Timing], bandwidth: float) -> str:
    """A row per context and engine; `floor` is what reading the weights and the caches once takes at `bandwidth`."""
    rows = []
    for t in timings:
        step = 1 / t.decode_rate if t.decode_rate else None
        floor = t.step_bytes / bandwidth
        rows.append([
            t.context, t.engine, _rate(t.prefill_rate), _rate(t.decode_rate),
            f"{floor * 1e3:.2f} ms" if floor else "-", f"{step / floor:.2f}x" if step and floor else "-", t.error,
        ])  # fmt: skip
    headers = ["context", "engine", "prefill tokens/s", "decode tokens/s", "floor", "step / floor", ""]
    return table(headers, rows, "rlrrrrl") + f"\n\nmemory is read at {bandwidth / 1e9:.1f} GB/s"


def ratio_text(timings: Sequence[Timing]) -> str:
    """How many times faster byoc is than each rival, in the same rounds; empty without rivals."""
    rows = [
        [ours.context, ours.engine, theirs.engine, _times(ratio(ours.prefill, theirs.prefill)),
         _times(ratio(ours.decode, theirs.decode))]
        for ours, theirs in pairs(timings)
    ]  # fmt: skip
    return table(["context", "engine", "against", "prefill", "decode"], rows, "rllrr") if rows else ""


def pairs(timings: Sequence[Timing]) -> list[tuple[Timing, Timing]]:
    """Every engine of byoc with every other at the same context."""
    ours = [t for t in timings if t.engine.startswith("byoc ")]
    theirs = [t for t in timings if not t.engine.startswith("byoc ")]
    return [(a, b) for a in ours for b in theirs if a.context == b.context]


def as_json(timings: Sequence[Timing], bandwidth: float, threads: int) -> dict[str, Any]:
    """Seconds per token by round, and what follows from them."""
    return {
        "threads": threads,
        "read_bytes_per_second": bandwidth,
        "timings": [
            {**asdict(t), "prefill_tokens_per_second": t.prefill_rate, "decode_tokens_per_second": t.decode_rate}
            for t in timings
        ],
        "ratios": [
            {"context": a.context, "engine": a.engine, "against": b.engine, "prefill": ratio(a.prefill, b.prefill),
             "decode": ratio(a.decode, b.decode)}
            for a, b in pairs(timings)
        ],
    }  # fmt: skip


def _rate(rate: float | None) -> str:
    return f"{rate:.4g}" if rate else "-"


def _times(value: float | None) -> str:
    return f"{value:.2f}x" if value else "-"
