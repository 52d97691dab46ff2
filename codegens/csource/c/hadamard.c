/* Rows of $size numbers, each rotated by the orthonormal Hadamard matrix: the fast transform, a butterfly of
 * log2($size) stages. */
typedef struct {
  const float *in;
  float *out;
} CsourceHadamard;

static BYOC_UNUSED void csource_hadamard_range_$size(int64_t begin, int64_t end, void *ctx) {
  const CsourceHadamard *r = (const CsourceHadamard *)ctx;
  for (int64_t row = begin; row < end; ++row) {
    float x[$size];
    for (int i = 0; i < $size; ++i) x[i] = r->in[row * $size + i] * $scale;
    for (int half = 1; half < $size; half *= 2)
      for (int at = 0; at < $size; at += 2 * half)
        for (int i = at; i < at + half; ++i) {
          const float a = x[i], b = x[i + half];
          x[i] = a + b;
          x[i + half] = a - b;
        }
    memcpy(r->out + row * $size, x, sizeof x);
  }
}

static BYOC_UNUSED void csource_hadamard_$size(const float *in, int64_t rows, float *out) {
  CsourceHadamard r = {in, out};
  byoc_parallel_for(rows, 1 + 16384 / $size, csource_hadamard_range_$size, &r);
}
