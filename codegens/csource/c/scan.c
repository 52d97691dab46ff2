/* $what along the middle axis of (outer, n, inner). */
typedef struct {
  $O *out;
  const $T *in;
  int64_t n, inner, blocks;
  int exclusive;
} CsourceScan_$name;

static void csource_${name}_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceScan_$name *r = (const CsourceScan_$name *)ctx;
  for (int64_t at = begin; at < end; ++at) {
    const int64_t place = at / r->blocks, column = at % r->blocks * 256, width = byoc_min(r->inner - column, 256);
    const int64_t base = place * r->n * r->inner + column;
    $A acc[256];
    for (int64_t l = 0; l < width; ++l) acc[l] = $init;
    for (int64_t i = 0; i < r->n; ++i) {
      const $T *in = r->in + base + i * r->inner;
      $O *out = r->out + base + i * r->inner;
      for (int64_t l = 0; l < width; ++l) {
        const $A before = acc[l], x = ($A)$load;
        acc[l] = $step;
        const $A now = r->exclusive ? before : acc[l];
        out[l] = $store;
      }
    }
  }
}

static void csource_$name($O *out, const $T *in, int64_t outer, int64_t n, int64_t inner, int exclusive) {
  CsourceScan_$name r = {out, in, n, inner, (inner + 255) / 256, exclusive};
  byoc_parallel_for(outer * r.blocks, 32768 / byoc_max(n * byoc_min(inner, 256), 1), csource_${name}_range, &r);
}
