"""A small codegen that is right, and can be told to commit one fault: conformance has to find each of them."""

from __future__ import annotations

from byoc import Codegen, Match, Option, cache_layout, const, op, register_codegen, reject

FAULTS = (
    "none", "ignores bias", "wrong axis", "skips the tail", "drops NaN", "static buffer", "wrong on the second run",
    "crashes", "hangs", "exits", "ignores padding", "ignores dilation", "wraps instead of broadcasting",
    "writes beyond the end", "changes its input", "adds to what was there", "reads uninitialised scratch", "raises",
    "refuses in emit", "does not compile", "reuses a stale size",
    "forgets what the cache holds", "counts tokens by itself",
)  # fmt: skip


@register_codegen("mutant", version="1")
class Mutant(Codegen):
    """Takes a few ops in float32."""

    options = {"fault": Option("none", "the fault that it commits", FAULTS)}
    patterns = {
        "matmul_bias": op("add")(op("matmul")("x", const("w")), const("bias")),
        "conv2d": op("nn.conv2d")("x", const("w")),
        "relu": op("nn.relu")("x"),
        "add": op("add")("x", "y"),
        "max": op("max")("x"),
        "append": op("byoc.kv_append")("cache", "new", "lengths", "counts"),
    }

    def check(self, m: Match) -> object:
        if m.pattern == "append":
            form = cache_layout(m.root.attrs)[0].form
            return None if form.bits == 32 else reject(f"keeps float32, not {form}", at=m["cache"])
        for value in (*m.inputs, m.out):
            if value.dtype != "float32":
                return reject("takes float32 only", at=value)
        if m.pattern == "matmul_bias" and (m["x"].rank, m["w"].rank, m["bias"].rank) != (2, 2, 1):
            return reject("takes one matrix, one vector of biases", at=m["x"])
        if m.pattern == "conv2d" and m["x"].attrs is not None and m.out.attrs["groups"] != 1:
            return reject("has no groups", at=m.out)
        if m.pattern == "max" and (m["x"].rank != 2 or m.out.attrs["axis"] is None):
            return reject("takes matrices only, and one axis", at=m["x"])
        if m.pattern == "max" and len(m.out.attrs["axis"]) != 1:
            return reject("takes one axis only", at=m["x"])
        return None

    def emit_match(self, m: Match) -> object:
        fault = str(m.options["fault"])
        if fault == "raises" and m.pattern == "relu":
            raise ValueError("this codegen is wrong")
        if fault == "refuses in emit" and m.pattern == "relu":
            return reject("the tile does not fit")
        if fault == "does not compile" and m.pattern == "relu":
            return "this is no C;"
        return getattr(self, f"_{m.pattern}")(m, fault)

    def _relu(self, m: Match, fault: str) -> str:
        n, x, out = m.out.size, m["x"], m.out
        loop = f"for (int64_t i = 0; i < {n}; ++i) {out}[i] = {x}[i] > 0 || {x}[i] != {x}[i] ? {x}[i] : 0;"
        nbytes = f"sizeof(float) * (size_t)({n})"
        kept = "kept[i] > 0 || kept[i] != kept[i] ? kept[i] : 0"
        return {
            "skips the tail": loop.replace(f"i < {n}", f"i < ({n}) / 4 * 4"),
            "wrong on the second run": f"static int calls; if (calls++) {out}[0] += 1; else {{ {loop} }}",
            "crashes": f"{loop} *(volatile int *)8 = 1;",
            "exits": "exit(3);",
            "hangs": f"{loop} for (volatile int stop = 0; !stop;) {{}}",
            "writes beyond the end": f"{loop} {out}[{n}] = 1;",
            "changes its input": (
                f"for (int64_t i = 0; i < {n}; ++i) if ({x}[i] < 0) ((float *){x})[i] = 0;\n"
                f"memcpy({out}, {x}, {nbytes});"
            ),
            "static buffer": (
                f"static float kept[1 << 20]; memcpy(kept, {x}, {nbytes});\n"
                f"for (int64_t i = 0; i < {n}; ++i) {out}[i] = {kept};"
            ),
            "reuses a stale size": (
                f"static int64_t first = -1; if (first < 0) first = {n};\n"
                + loop.replace(f"i < {n}", f"i < byoc_min(first, {n})")
            ),
        }.get(fault, loop)

    def _add(self, m: Match, fault: str) -> str:
        """Indices of each operand by numpy's rules: a dimension of 1 stays where it is."""
        rank = m.out.rank
        if fault == "wraps instead of broadcasting":
            places = [f"i % byoc_max(1, {m[k].size})" for k in "xy"]
        else:
            places = [self._place(m, k, rank) for k in "xy"]
        return (
            f"for (int64_t i = 0; i < {m.out.size}; ++i)\n  {m.out}[i] = {m['x']}[{places[0]}] + {m['y']}[{places[1]}];"
        )

    def _place(self, m: Match, key: str, rank: int) -> str:
        value, terms, stride, inner = m[key], [], "1", "1"
        for axis in range(rank - 1, -1, -1):
            own = axis - (rank - value.rank)
            dim = m.out.shape[axis]
            if own >= 0:
                size = value.shape[own]
                if size != 1:
                    terms.append(f"(i / byoc_max(1, {inner}) % byoc_max(1, {dim})) * ({size} == 1 ? 0 : {stride})")
                stride = f"{stride} * {size}"
            inner = f"{inner} * {dim}"
        return " + ".join(terms) or "0"

    def _max(self, m: Match, fault: str) -> str:
        axis = m.out.attrs["axis"][0] % 2
        if fault == "wrong axis":
            axis = 1 - axis
        rows, columns = m["x"].shape
        outer, inner = (rows, columns) if axis == 1 else (columns, rows)
        index = f"i * {columns} + j" if axis == 1 else f"j * {columns} + i"
        test = "v > most" if fault == "drops NaN" else "v > most || v != v"
        return f"""for (int64_t i = 0; i < byoc_min({outer}, {m.out.size}); ++i) {{
  float most = -1.0f / 0.0f;
  for (int64_t j = 0; j < {inner}; ++j) {{ float v = {m["x"]}[{index}]; if ({test}) most = v; }}
  {m.out}[i] = most;
}}"""

    def _append(self, m: Match, fault: str) -> str:
        layout, _ = cache_layout(m.root.attrs)
        batch, tokens, heads, dim = m["new"].shape
        held = {"forgets what the cache holds": "0", "counts tokens by itself": "mine"}.get(fault, f"{m['lengths']}[b]")
        return f"""static int64_t mine;
for (int64_t b = 0; b < {batch}; ++b) for (int64_t i = 0; i < {m["counts"]}[b]; ++i)
  for (int64_t h = 0; h < {heads}; ++h)
    memcpy((char *){m.out} + (b * {heads} + h) * {layout.nbytes}
             + ({held} + i) % {layout.capacity} * {layout.row_bytes},
           {m["new"]} + ((b * {tokens} + i) * {heads} + h) * {dim}, {layout.row_bytes});
mine += {tokens};"""

    def _matmul_bias(self, m: Match, fault: str) -> str:
        (rows, inner), columns = m["x"].shape, m.out.shape[1]
        begin = "" if fault == "ignores bias" else f" + {m['bias']}[j % {m['bias'].size}]"
        sum_ = "sum"
        declare = "float sum = 0;"
        if fault == "adds to what was there":
            declare, sum_ = "", f"{m.out}[i * {columns} + j]"
        if fault == "reads uninitialised scratch":
            declare, sum_ = f"float *sums = (float *){m.scratch(columns * 4)};", "sums[j]"
        return f"""for (int64_t i = 0; i < {rows}; ++i) for (int64_t j = 0; j < {columns}; ++j) {{
  {declare}
  for (int64_t k = 0; k < {inner}; ++k) {sum_} += {m["x"]}[i * {inner} + k] * {m["w"]}[k * {columns} + j];
  {m.out}[i * {columns} + j] = {sum_}{begin};
}}"""

    def _conv2d(self, m: Match, fault: str) -> str:
        batch, channels, height, width = m["x"].shape
        _, filters, rows, columns = m.out.shape
        kh, kw = m["w"].shape[2:]
        top, left = m.out.attrs["padding"][:2] if fault != "ignores padding" else (0, 0)
        sy, sx = m.out.attrs["strides"]
        dy, dx = m.out.attrs["dilation"] if fault != "ignores dilation" else (1, 1)
        return f"""for (int64_t image = 0; image < {batch}; ++image) for (int64_t o = 0; o < {filters}; ++o)
  for (int64_t i = 0; i < {rows}; ++i) for (int64_t j = 0; j < {columns}; ++j) {{
    float sum = 0;
    for (int64_t c = 0; c < {channels}; ++c) for (int64_t u = 0; u < {kh}; ++u) for (int64_t v = 0; v < {kw}; ++v) {{
      int64_t y = i * {sy} + u * {dy} - {top}, x = j * {sx} + v * {dx} - {left};
      if (y >= 0 && y < {height} && x >= 0 && x < {width})
        sum += {m["x"]}[((image * {channels} + c) * {height} + y) * {width} + x]
             * {m["w"]}[((o * {channels} + c) * {kh} + u) * {kw} + v];
    }}
    {m.out}[((image * {filters} + o) * {rows} + i) * {columns} + j] = sum;
  }}"""


@register_codegen("modest_mutant", version="1")
class ModestMutant(Mutant):
    """Says what it does to NaN."""

    loses_nan = frozenset({"max"})
