/* Rows of `channels` x `inner` elements, each normalised by its own mean and variance, or by its mean square alone;
 * then scaled and shifted by the weights of its group of channels. */
typedef struct {
  $T *out;
  const $T *in, *gamma, *beta; /* gamma and beta: groups x channels; beta may be NULL */
  int64_t groups, channels, inner;
  $T epsilon;
  int centred;
} CsourceNorm_$T;

static void csource_norm_range_$T(int64_t begin, int64_t end, void *ctx) {
  const CsourceNorm_$T *r = (const CsourceNorm_$T *)ctx;
  const int64_t n = r->channels * r->inner;
  for (int64_t row = begin; row < end; ++row) {
    const $T *BYOC_RESTRICT in = r->in + row * n;
    $T *BYOC_RESTRICT out = r->out + row * n;
    const $T mean = r->centred ? csource_row_sum_$T(in, n) / ($T)n : 0;
    const $T scale = 1 / $sqrt(csource_row_squares_$T(in, n, mean) / ($T)n + r->epsilon);
    const $T *BYOC_RESTRICT gamma = r->gamma + row % r->groups * r->channels;
    const $T *BYOC_RESTRICT beta = r->beta ? r->beta + row % r->groups * r->channels : NULL;
    if (r->inner == 1 && beta) {
      for (int64_t i = 0; i < n; ++i) out[i] = (in[i] - mean) * scale * gamma[i] + beta[i];
    } else if (r->inner == 1) {
      for (int64_t i = 0; i < n; ++i) out[i] = (in[i] - mean) * scale * gamma[i];
    } else {
      for (int64_t c = 0; c < r->channels; ++c) {
        const $T factor = scale * gamma[c], shift = beta ? beta[c] : 0;
        for (int64_t i = c * r->inner; i < (c + 1) * r->inner; ++i) out[i] = (in[i] - mean) * factor + shift;
      }
    }
  }
}

static void csource_norm_$T($T *out, const $T *in, const $T *gamma, const $T *beta, int64_t outer, int64_t groups,
                            int64_t channels, int64_t inner, $T epsilon, int centred) {
  CsourceNorm_$T r = {out, in, gamma, beta, groups, channels, inner, epsilon, centred};
  byoc_parallel_for(outer * groups, 16384 / byoc_max(channels * inner, 1), csource_norm_range_$T, &r);
}
