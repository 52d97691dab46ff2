/* sum[l] += the four bytes of lane l of `weights` (unsigned) times the four bytes at `in` (signed). */
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
