/* Rotary position embedding.  Sines and cosines are made once for each token and serve all heads. */
typedef struct {
  const float *in, *frequencies;
  const int64_t *lengths;
  float *out, *turns; /* turns: [batch * tokens][pairs] cosines, then sines */
  int64_t tokens, heads, dim, pairs;
  int interleaved;
  float factor;
} CsourceRope;

static BYOC_UNUSED void csource_rope_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceRope *r = (const CsourceRope *)ctx;
  for (int64_t token = begin; token < end; ++token) {
    float *cosine = r->turns + token * 2 * r->pairs, *sine = cosine + r->pairs;
    const float position = (float)(r->lengths[token / r->tokens] + token % r->tokens);
    for (int64_t k = 0; k < r->pairs; ++k) {
      cosine[k] = cosf(position * r->frequencies[k]) * r->factor;
      sine[k] = sinf(position * r->frequencies[k]) * r->factor;
    }
    for (int64_t h = 0; h < r->heads; ++h) {
      const float *in = r->in + (token * r->heads + h) * r->dim;
      float *out = r->out + (token * r->heads + h) * r->dim;
      const int64_t next = r->interleaved ? 1 : r->pairs, step = r->interleaved ? 2 : 1;
      for (int64_t k = 0; k < r->pairs; ++k) {
        const float a = in[k * step], b = in[k * step + next];
        out[k * step] = a * cosine[k] - b * sine[k];
        out[k * step + next] = b * cosine[k] + a * sine[k];
      }
      for (int64_t d = 2 * r->pairs; d < r->dim; ++d) out[d] = in[d];
    }
  }
}

static BYOC_UNUSED void csource_rope(const CsourceRope *r, int64_t batch) {
  byoc_parallel_for(batch * r->tokens, 8, csource_rope_range, (void *)r);
}
