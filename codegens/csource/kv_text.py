"""A cache's layout as the fields of the C templates that read and write it."""

from __future__ import annotations

import math

from byoc_codegens.csource.c_text import literal

from byoc import CacheLayout, FixedScale


def layout_id(layout: CacheLayout, fixed: FixedScale) -> str:
    """Part of C names that tells layouts apart."""
    form = layout.form
    parts = [f"{form.bits}b", form.granularity.removeprefix("per-"), f"g{form.group}", f"d{layout.head_dim}"]
    parts += [f"c{layout.capacity}", "symmetric" if form.symmetric else "", "mean" if layout.mean else ""]
    if form.granularity == "per-tensor":
        parts += [f"{fixed.scale:.9g}_{fixed.minimum:.9g}".translate({43: "p", 45: "m", 46: "_"})]
    return "_".join(p for p in parts if p)


def layout_fields(layout: CacheLayout, fixed: FixedScale) -> dict[str, object]:
    """What ``kv_append.c`` and ``kv_read.c`` are filled with."""
    form = layout.form
    span, channels = (1, layout.head_dim) if form.is_float else layout.tile
    zero = layout.levels // 2 + 1 if form.symmetric else 0
    piece = math.gcd(layout.row_bytes, 64)  # bytes of a row that are loaded at once
    low = -fixed.scale * zero if form.symmetric else fixed.minimum
    return {
        "id": layout_id(layout, fixed), "layout": str(form), "bits": form.bits, "dim": layout.head_dim,
        "capacity": layout.capacity, "span": span, "channels": channels,
        "levels": layout.levels if not form.is_float else 0, "zero": zero, "lowest": int(form.symmetric),
        "row": layout.row_bytes, "nbytes": layout.nbytes, "is_float": int(form.is_float),
        "is_fixed": int(form.granularity == "per-tensor"), "symmetric": int(form.symmetric),
        "waits": int(layout.waits), "mean": int(layout.mean),
        "fixed_scale": literal(fixed.scale, "float32"), "fixed_low": literal(low, "float32"),
        "data_offset": layout.offset("data"), "scale_offset": layout.offset("scale"),
        "minimum_offset": layout.offset("minimum"), "residual_offset": layout.offset("residual"),
        "mean_offset": layout.offset("mean"),
        "piece": piece,
    }  # fmt: skip
