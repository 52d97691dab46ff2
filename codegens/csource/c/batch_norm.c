/* out = in * factor[c] + shift[c] over (outer, channels, inner). */
typedef struct {
  $T *out;
  const $T *in, *factor, *shift;
  int64_t channels, inner;
} CsourceBatchNorm_$T;

static void csource_batch_norm_range_$T(int64_t begin, int64_t end, void *ctx) {
  const CsourceBatchNorm_$T *r = (const CsourceBatchNorm_$T *)ctx;
  for (int64_t row = begin; row < end; ++row) {
    if (r->inner == 1) { /* rows of channels */
      const $T *BYOC_RESTRICT in = r->in + row * r->channels;
      $T *BYOC_RESTRICT out = r->out + row * r->channels;
      for (int64_t c = 0; c < r->channels; ++c) out[c] = in[c] * r->factor[c] + r->shift[c];
    } else { /* rows of one channel */
      const $T *BYOC_RESTRICT in = r->in + row * r->inner;
      $T *BYOC_RESTRICT out = r->out + row * r->inner;
      const $T factor = r->factor[row % r->channels], shift = r->shift[row % r->channels];
      for (int64_t i = 0; i < r->inner; ++i) out[i] = in[i] * factor + shift;
    }
  }
}

/* `factors` has room for 2 x channels; gamma and beta may be NULL. */
static void csource_batch_norm_$T($T *out, const $T *in, const $T *gamma, const $T *beta, const $T *mean,
                                  const $T *variance, $T *factors, int64_t outer, int64_t channels, int64_t inner,
                                  $T epsilon) {
  CsourceBatchNorm_$T r = {out, in, factors, factors + channels, channels, inner};
  for (int64_t c = 0; c < channels; ++c) {
    factors[c] = (gamma ? gamma[c] : 1) / $sqrt(variance[c] + epsilon);
    factors[channels + c] = (beta ? beta[c] : 0) - mean[c] * factors[c];
  }
  const int64_t rows = inner == 1 ? outer : outer * channels, width = inner == 1 ? channels : inner;
  byoc_parallel_for(rows, 32768 / byoc_max(width, 1), csource_batch_norm_range_$T, &r);
}
