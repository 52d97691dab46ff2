/* Softmax along the middle axis of (outer, n, inner), or its logarithm. */
typedef struct {
  $T *out;
  const $T *in;
  int64_t n, inner, blocks;
  int logarithm;
} CsourceSoftmax_$T;

static void csource_softmax_row_$T($T *BYOC_RESTRICT out, const $T *BYOC_RESTRICT in, int64_t n, int logarithm) {
  const $T most = csource_row_max_$T(in, n);
  for (int64_t i = 0; i < n; ++i) out[i] = csource_exp$f(in[i] - most);
  const $T sum = csource_row_sum_$T(out, n);
  if (logarithm) {
    const $T shift = csource_log$f(sum);
    for (int64_t i = 0; i < n; ++i) out[i] = in[i] - most - shift;
  } else {
    const $T factor = 1 / sum;
    for (int64_t i = 0; i < n; ++i) out[i] *= factor;
  }
}

static void csource_softmax_columns_$T($T *BYOC_RESTRICT out, const $T *BYOC_RESTRICT in, int64_t n, int64_t inner,
                                       int64_t width, int logarithm) {
  $T most[64], sum[64];
  for (int64_t l = 0; l < width; ++l) {
    most[l] = -INFINITY;
    sum[l] = 0;
  }
  for (int64_t i = 0; i < n; ++i)
    for (int64_t l = 0; l < width; ++l) {
      const $T x = in[i * inner + l];
      most[l] = x > most[l] || x != x ? x : most[l];
    }
  for (int64_t i = 0; i < n; ++i)
    for (int64_t l = 0; l < width; ++l) sum[l] += out[i * inner + l] = csource_exp$f(in[i * inner + l] - most[l]);
  for (int64_t l = 0; l < width; ++l) sum[l] = logarithm ? csource_log$f(sum[l]) : 1 / sum[l];
  for (int64_t i = 0; i < n; ++i)
    for (int64_t l = 0; l < width; ++l)
      out[i * inner + l] = logarithm ? in[i * inner + l] - most[l] - sum[l] : out[i * inner + l] * sum[l];
}

static void csource_softmax_range_$T(int64_t begin, int64_t end, void *ctx) {
  const CsourceSoftmax_$T *r = (const CsourceSoftmax_$T *)ctx;
  for (int64_t at = begin; at < end; ++at) {
    const int64_t column = at % r->blocks * 64, base = at / r->blocks * r->n * r->inner + column;
    if (r->inner == 1)
      csource_softmax_row_$T(r->out + base, r->in + base, r->n, r->logarithm);
    else
      csource_softmax_columns_$T(r->out + base, r->in + base, r->n, r->inner, byoc_min(r->inner - column, 64),
                                 r->logarithm);
  }
}

static void csource_softmax_$T($T *out, const $T *in, int64_t outer, int64_t n, int64_t inner, int logarithm) {
  CsourceSoftmax_$T r = {out, in, n, inner, (inner + 63) / 64, logarithm};
  byoc_parallel_for(outer * r.blocks, 4096 / byoc_max(n * byoc_min(inner, 64), 1), csource_softmax_range_$T, &r);
}
