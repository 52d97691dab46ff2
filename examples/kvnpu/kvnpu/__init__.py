"""kvnpu: an accelerator for the two ops that decoding a language model spends its time in."""

from byoc import Codegen, cache_layout, const, op, register_codegen, reject

APPENDED = {side: op("byoc.kv_append")(side, f"new_{side}", "lengths", "counts") for side in ("keys", "values")}
GROUP = 32  # weights that share a scale


@register_codegen("kvnpu", version="1.0")
class KvNpu(Codegen):
    """Attention over a cache of 8-bit integers with one scale per token, and linear layers of 4-bit weights.

    One pattern holds both appends and the attention that reads them: all that touch a cache are this codegen's or none
    is, so that the layout is its own affair.
    """

    headers = ["kvnpu.h"]
    sources = ["kvnpu.c"]
    patterns = {
        "kv_attention": op("byoc.kv_attention")("query", APPENDED["keys"], APPENDED["values"], "lengths", "counts"),
        "linear_w4": op("byoc.linear_w4")("x", const("packed"), const("scale"), const("zero")),
        "linear_w8": op("byoc.linear_w8")("x", const("packed"), const("scale"), const("zero")),
    }

    def check(self, m):
        if m.out.dtype != "float32":
            return reject(f"computes with float32, not {m.out.dtype}", at=m.out)
        return self._check_attention(m) if m.pattern == "kv_attention" else self._check_linear(m)

    def _check_attention(self, m):
        for side in ("keys", "values"):
            layout, _ = cache_layout(m.root.attrs, f"{side[0]}_")
            form = layout.form
            if form.bits != 8 or form.granularity != "per-token" or form.symmetric or form.group not in (
                0, layout.head_dim
            ):  # fmt: skip
                return reject(f"keeps {side} as 8 bits per-token g{layout.head_dim}, not as {form}", at=m[side])
            if layout.mean:
                return reject("has no place for the mean of keys", at=m[side])
        if m.root.attrs["window"]:
            return reject("sees the whole text, no window", at=m["query"])
        return None

    def _check_linear(self, m):
        if m.pattern == "linear_w8":
            return reject("multiplies weights of 4 bits, not of 8", at=m["packed"])
        if m.root.attrs["group"] != GROUP:
            return reject(f"has a scale for {GROUP} weights, not for {m.root.attrs['group']}", at=m["scale"])
        return None

    def emit_match(self, m):
        return self._attention(m) if m.pattern == "kv_attention" else self._linear(m)

    def _attention(self, m):
        layout, _ = cache_layout(m.root.attrs, "k_")
        batch, tokens, heads, dim = m["query"].shape
        kv_heads, nbytes = m["keys"].shape[1:]
        return (
            f"kvnpu_attention(&(KvNpuAttention){{\n"
            f"  .query = {m['query']}, .new_keys = {m['new_keys']}, .new_values = {m['new_values']}, .out = {m.out},\n"
            f"  .keys = {m['keys']}, .values = {m['values']}, .lengths = {m['lengths']}, .counts = {m['counts']},\n"
            f"  .batch = {batch}, .tokens = {tokens}, .heads = {heads}, .kv_heads = {kv_heads}, .dim = {dim},\n"
            f"  .cache_bytes = {kv_heads * nbytes}, .capacity = {layout.capacity},\n"
            f"  .scale = {float(m.root.attrs['scale'])!r}f}});"
        )

    def _linear(self, m):
        rows = 1
        for size in m["x"].shape[:-1]:
            rows = rows * size
        outputs, inputs = m.out.shape[-1], m["x"].shape[-1]
        return (
            f"kvnpu_linear({m['x']}, {m['packed']}, {m['scale']}, {m['zero']}, {m.out}, "
            f"{rows}, {inputs}, {outputs}, {GROUP});"
        )
