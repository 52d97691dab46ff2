/* The splits of each row become one result.  partial[places][splits][2 + width]: a split's largest score, the sum of its
 * weights, and its sums of values, of which the first `dim` count. */
static BYOC_UNUSED void kv_merge(const float *partial, int64_t places, int64_t splits, int64_t width, int64_t dim,
                                 float *out) {
  for (int64_t place = 0; place < places; ++place, partial += splits * (width + 2), out += dim) {
    float most = -INFINITY, sum = 0;
    for (int64_t s = 0; s < splits; ++s) {
      const float here = partial[s * (width + 2)];
      most = here > most ? here : most;
    }
    for (int64_t d = 0; d < dim; ++d) out[d] = 0;
    for (int64_t s = 0; s < splits; ++s) {
      const float *p = partial + s * (width + 2), factor = p[0] > -INFINITY ? csource_expf(p[0] - most) : 0.0f;
      sum += factor * p[1];
      for (int64_t d = 0; d < dim; ++d) out[d] += factor * p[2 + d];
    }
    for (int64_t d = 0; d < dim; ++d) out[d] /= sum;
  }
}
