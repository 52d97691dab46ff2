"""Pooling in one to three dimensions: maximum, average, and average over bins."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import (
    FLOATS,
    INTEGERS,
    c_helper,
    computed,
    load,
    lowest,
    product,
    short,
    store,
    stored,
)
from byoc_codegens.csource.family import Kernel

from byoc import Match, op, reject

_LAYOUTS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


def _check(m: Match) -> Any:
    x, out = m["x"], m.out
    if x.shape is None or out.shape is None:
        return reject("the rank of a tensor is not known", at=x)
    types = FLOATS | INTEGERS if "max" in m.root.op else FLOATS
    if x.dtype not in types or out.dtype != x.dtype:
        return reject(f"{m.root.op} of {x.dtype} is not done", at=x)
    layout, attrs = _LAYOUTS[len(x.shape) - 2], m.root.attrs
    for name in ("layout", "out_layout"):
        if attrs.get(name) not in (layout, "", None):
            return reject(f"{m.root.op} takes {name}={layout}, not {attrs[name]}", at=x)
    for name in ("pool_size", "strides", "dilation", "padding"):
        if not all(isinstance(v, int) and v >= 0 for v in attrs.get(name, ())):
            return reject(f"{name} must be numbers that are not negative", at=x)
    return None


def _three(values: Any, fill: int) -> str:
    return "{" + ", ".join(str(v) for v in ((fill,) * (3 - len(values)) + tuple(values))) + "}"


def _struct(m: Match) -> str:
    """Initialiser of the C struct that describes the windows."""
    x, out, attrs = m["x"], m.out, m.root.attrs
    assert x.shape is not None and out.shape is not None
    fields = [
        f".planes = {product(x.shape[:2])}",
        f".in = {_three(x.shape[2:], 1)}",
        f".out = {_three(out.shape[2:], 1)}",
    ]
    if "pool_size" in attrs:
        spatial = len(x.shape) - 2
        padding = tuple(attrs["padding"])
        fields += [
            f".kernel = {_three(attrs['pool_size'], 1)}",
            f".stride = {_three(attrs['strides'], 1)}",
            f".dilation = {_three(attrs['dilation'], 1)}",
            f".pad = {_three(padding[:spatial], 0)}",
            f".pad_after = {_three(padding[-spatial:], 0)}",
            f".count_padding = {int(bool(attrs['count_include_pad']))}",
        ]
    return "{" + ", ".join(fields) + "}"


_COPY = """\
      for (int64_t i = 0; i < columns; ++i) {{
        const {sum} v = value[i];
        out[x + i] = {store};
      }}"""
_DIVIDE = """\
      const int64_t rows = csource_pool_count(p, 0, z) * csource_pool_count(p, 1, y);
      int64_t first = 0, last = columns; /* of the windows that lie inside the image */
      while (first < columns && csource_pool_count(p, 2, x + first) < p->kernel[2]) ++first;
      while (last > first && csource_pool_count(p, 2, x + last - 1) < p->kernel[2]) --last;
      const {sum} inside = ({sum})byoc_max(1, rows * p->kernel[2]);
      for (int64_t i = first; i < last; ++i) value[i] /= inside;
      for (int64_t i = 0; i < first; ++i) value[i] /= ({sum})byoc_max(1, rows * csource_pool_count(p, 2, x + i));
      for (int64_t i = last; i < columns; ++i) value[i] /= ({sum})byoc_max(1, rows * csource_pool_count(p, 2, x + i));
      for (int64_t i = 0; i < columns; ++i) {{
        const {sum} v = value[i];
        out[x + i] = {store};
      }}"""


def _emit(m: Match) -> str:
    dtype, kind = m["x"].dtype, m.pattern.partition("_")[0]
    name = f"csource_{kind}_pool_{short(dtype)}"
    total = computed(dtype)
    m.helper(c_helper("pool_types"))
    m.helper(
        c_helper(
            "pool",
            name=name,
            element=stored(dtype),
            sum=total,
            initial="0" if kind == "average" else lowest(dtype),
            load=load(dtype, "in[i * STEP]"),
            load_line=load(dtype, "from[i]"),
            # A NaN, once in, stays: nothing is greater than it.
            combine="old + v" if kind == "average" else "(v > old) | (v != v) ? v : old",
            finish=(_DIVIDE if kind == "average" else _COPY).format(sum=total, store=store(dtype, "v")),
        )
    )
    return f"const CsourcePool pool = {_struct(m)};\n{name}(&pool, {m['x']}, {m.out});"


def _emit_adaptive(m: Match) -> str:
    dtype = m["x"].dtype
    name = f"csource_adaptive_pool_{short(dtype)}"
    m.helper(c_helper("pool_types"))
    m.helper(
        c_helper(
            "adaptive_pool",
            name=name,
            element=stored(dtype),
            sum=computed(dtype),
            load=load(dtype, "row[x]"),
            load_wide=load(dtype, "row[x + i]"),
            store=store(dtype, "v"),
        )
    )
    return f"const CsourcePool pool = {_struct(m)};\n{name}(&pool, {m['x']}, {m.out});"


KERNELS = tuple(
    Kernel({f"{kind}_pool{d}d": op(f"nn.{relax}_pool{d}d")("x")}, _check, emit)
    for d in (1, 2, 3)
    for kind, relax, emit in (
        ("max", "max", _emit),
        ("average", "avg", _emit),
        ("adaptive", "adaptive_avg", _emit_adaptive),
    )
)
