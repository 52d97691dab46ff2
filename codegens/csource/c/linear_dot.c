/* sum[l] += the four bytes of lane l of `weights` (unsigned) times the four bytes at `in` (signed). */
#if defined(__AVX512F__) || defined(__AVXVNNI__)
#include <immintrin.h>
#endif
static inline BYOC_UNUSED kv_ints linear_dot(kv_ints sum, kv_ints weights, const int8_t *in) {
  int32_t four;
  memcpy(&four, in, 4);
#if defined(__AVX512VNNI__)
  return (kv_ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)weights, _mm512_set1_epi32(four));
#elif defined(__AVXVNNI__)
  __m256i *halves = (__m256i *)&sum;
  const __m256i *w = (const __m256i *)&weights;
  for (int i = 0; i < 2; ++i) halves[i] = _mm256_dpbusd_avx_epi32(halves[i], w[i], _mm256_set1_epi32(four));
  return sum;
#else
  for (int k = 0; k < 4; ++k) sum += (weights >> 8 * k & 0xff) * (int32_t)in[k];
  return sum;
#endif
}

/* Sixteen float16. */
static inline BYOC_UNUSED kv_floats linear_halves(const uint8_t *p) {
#if defined(__AVX512F__)
  return (kv_floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#else
  kv_ints bits = {0};
  byoc_half halves[KV_LANES];
  memcpy(halves, p, sizeof halves);
  for (int l = 0; l < KV_LANES; ++l) bits[l] = halves[l];
  return kv_halves(bits);
#endif
}
