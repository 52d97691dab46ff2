/* What follows a matrix product or a convolution: bias, addition of another tensor, activation. */
enum { $activations };

typedef struct {
  const float *row_bias;    /* one for each row of the result, or NULL */
  const float *column_bias; /* one for each column, or NULL */
  const float *residual;    /* laid out like the result, or NULL */
  int activation;
  float low, high; /* limits of a clip; slope of a leaky ReLU in `low` */
} CsourceEpilogue;

/* Vectors of which only the first n elements lie in memory. */
#if CSOURCE_LANES == 16 && defined(__AVX512F__)
#include <immintrin.h>
static inline BYOC_UNUSED csource_vector csource_load(const float *p, int64_t n) {
  if (n >= CSOURCE_LANES) return *(const csource_vector *)p;
  return (csource_vector)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
static inline BYOC_UNUSED void csource_store(float *p, csource_vector v, int64_t n) {
  _mm512_mask_storeu_ps(p, n >= CSOURCE_LANES ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1), (__m512)v);
}
#else
static inline BYOC_UNUSED csource_vector csource_load(const float *p, int64_t n) {
  csource_vector v = {0};
  memcpy(&v, p, n >= CSOURCE_LANES ? sizeof v : (size_t)n * sizeof(float));
  return v;
}
static inline BYOC_UNUSED void csource_store(float *p, csource_vector v, int64_t n) {
  memcpy(p, &v, n >= CSOURCE_LANES ? sizeof v : (size_t)n * sizeof(float));
}
#endif

typedef int32_t csource_lanes_mask __attribute__((vector_size(4 * CSOURCE_LANES), may_alias));

/* v between low and high; NaN passes.  Lane by lane, the compiler would take the vector apart. */
static inline BYOC_UNUSED csource_vector csource_limit(csource_vector v, float low, float high) {
  const csource_vector zero = {0}, least = zero + low, most = zero + high;
  const csource_lanes_mask below = v < least;
  v = (csource_vector)((below & (csource_lanes_mask)least) | (~below & (csource_lanes_mask)v));
  const csource_lanes_mask above = v > most;
  return (csource_vector)((above & (csource_lanes_mask)most) | (~above & (csource_lanes_mask)v));
}

#define CSOURCE_EACH_LANE(expression)           \
  for (int i = 0; i < CSOURCE_LANES; ++i) {     \
    const float x = v[i];                       \
    v[i] = (expression);                        \
  }                                             \
  break

/* The activation of one vector in place. */
static BYOC_UNUSED void csource_activate(float *BYOC_RESTRICT v, const CsourceEpilogue *e) {
  const float low = e->low, high = e->high;
  (void)low;
  (void)high;
  switch (e->activation) {
$cases
    default: break;
  }
}

/* out[rows][columns] from sums, both with their strides; `row` and `column` are the position in the whole result. */
static BYOC_UNUSED void csource_finish(const CsourceEpilogue *e, const float *sums, int64_t sums_stride, int64_t rows,
                           int64_t columns, int64_t row, int64_t column, int64_t offset, int64_t stride, float *out) {
  out += offset + row * stride + column;
  const float *residual = e->residual ? e->residual + offset + row * stride + column : NULL;
  const float *column_bias = e->column_bias ? e->column_bias + column : NULL;
  for (int64_t i = 0; i < rows; ++i, out += stride, sums += sums_stride) {
    const float bias = e->row_bias ? e->row_bias[row + i] : 0.0f;
    for (int64_t j = 0; j < columns; j += CSOURCE_LANES) {
      const int64_t n = columns - j;
      csource_vector v = csource_load(sums + j, n) + bias;
      if (column_bias) v += csource_load(column_bias + j, n);
      if (residual) v += csource_load(residual + i * stride + j, n);
      if (e->activation == CSOURCE_CLIP)
        v = csource_limit(v, e->low, e->high);
      else if (e->activation != CSOURCE_NONE)
        csource_activate((float *)&v, e);
      csource_store(out + j, v, n);
    }
  }
}
