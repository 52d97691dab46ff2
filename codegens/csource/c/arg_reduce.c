/* Index of the first $word element along the middle axis of (outer, n, inner); a NaN counts as the $word. */
typedef struct {
  $I *out;
  const $T *in;
  int64_t n, inner, blocks;
} CsourceArg_$name;

static void csource_${name}_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceArg_$name *r = (const CsourceArg_$name *)ctx;
  for (int64_t at = begin; at < end; ++at) {
    const int64_t place = at / r->blocks, column = at % r->blocks * 256, width = byoc_min(r->inner - column, 256);
    const $T *in = r->in + place * r->n * r->inner + column;
    $I *out = r->out + place * r->inner + column;
    $A best[256];
    for (int64_t l = 0; l < width; ++l) {
      best[l] = r->n > 0 ? $load_first : 0;
      out[l] = 0;
    }
    for (int64_t i = 1; i < r->n; ++i)
      for (int64_t l = 0; l < width; ++l) {
        const $A x = $load, a = best[l];
        const int better = $better;
        best[l] = better ? x : a;
        out[l] = better ? ($I)i : out[l];
      }
  }
}

static void csource_$name($I *out, const $T *in, int64_t outer, int64_t n, int64_t inner) {
  CsourceArg_$name r = {out, in, n, inner, (inner + 255) / 256};
  byoc_parallel_for(outer * r.blocks, 32768 / byoc_max(n * byoc_min(inner, 256), 1), csource_${name}_range, &r);
}
