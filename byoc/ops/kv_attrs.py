"""A cache's layout as attributes of an op, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byoc.compat import attrs_to_dict
from byoc.llm.kv_layout import CacheLayout
from byoc.llm.kv_spec import CacheFormat


def append_attrs(layout: CacheLayout, scale: float = 1.0, minimum: float = 0.0, prefix: str = "") -> dict[str, Any]:
    """Attributes that :func:`layout_of` reads; `scale` and `minimum` are those of a per-tensor format."""
    form = layout.form
    attrs: dict[str, Any] = {
        "bits": form.bits, "granularity": form.granularity, "group": form.group, "symmetric": int(form.symmetric),
        "head_dim": layout.head_dim, "capacity": layout.capacity, "mean": int(layout.mean),
        "scale": float(scale), "minimum": float(minimum),
    }  # fmt: skip
    return {prefix + name: value for name, value in attrs.items()}


def layout_of(attrs: Any, prefix: str = "") -> tuple[CacheLayout, float, float]:
    """Layout, and the scale and minimum of a per-tensor format, from the attributes of a call or of a node."""
    found: Mapping[str, Any] = attrs if isinstance(attrs, dict) else attrs_to_dict(attrs)
    get = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    form = CacheFormat(int(get["bits"]), str(get["granularity"]), int(get["group"]), bool(get["symmetric"]))
    layout = CacheLayout(form, int(get["head_dim"]), int(get["capacity"]), bool(get["mean"]))
    return layout, float(get["scale"]), float(get["minimum"])
