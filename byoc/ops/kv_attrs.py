"""A cache's layout as attributes of an op, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byoc.compat import attrs_to_dict
from byoc.llm.kv_layout import CacheLayout
from byoc.llm.kv_spec import CacheFormat, FixedScale


def append_attrs(layout: CacheLayout, fixed: FixedScale, prefix: str = "") -> dict[str, Any]:
    """Attributes that :func:`cache_layout` reads."""
    form = layout.form
    attrs: dict[str, Any] = {
        "bits": form.bits, "granularity": form.granularity, "group": form.group, "symmetric": int(form.symmetric),
        "head_dim": layout.head_dim, "capacity": layout.capacity, "mean": int(layout.mean),
        "scale": fixed.scale, "minimum": fixed.minimum,
    }  # fmt: skip
    return {prefix + name: value for name, value in attrs.items()}


def cache_layout(attrs: Any, prefix: str = "") -> tuple[CacheLayout, FixedScale]:
    """Layout, and the scale of a per-tensor format, from the attributes of a call or of a node."""
    found: Mapping[str, Any] = attrs if isinstance(attrs, dict) else attrs_to_dict(attrs)
    get = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    form = CacheFormat(int(get["bits"]), str(get["granularity"]), int(get["group"]), bool(get["symmetric"]))
    layout = CacheLayout(form, int(get["head_dim"]), int(get["capacity"]), bool(get["mean"]))
    return layout, FixedScale(float(get["scale"]), float(get["minimum"]))
