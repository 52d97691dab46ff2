/* Vectors of 32-bit lanes; the bytes of a lane are four factors. */
enum { CSOURCE_DOT_LANES = $lanes, CSOURCE_DOT_ROWS = $rows, CSOURCE_DOT_COLUMNS = 2 * $lanes };
typedef int32_t csource_dot __attribute__((vector_size(4 * $lanes), aligned(4), may_alias));
typedef int32_t csource_dot_bytes __attribute__((aligned(1), may_alias));

#if defined(__AVX2__)
#include <immintrin.h>
#endif

/* In every lane: the sum of products of four unsigned bytes with four signed ones, added to `sum`. */
static inline csource_dot csource_dot4(csource_dot sum, csource_dot u, csource_dot s) {
#if $lanes == 16 && defined(__AVX512VNNI__)
  return (csource_dot)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)u, (__m512i)s);
#elif $lanes == 16 && defined(__AVX512BW__)
  const __m512i even = _mm512_madd_epi16(_mm512_and_si512((__m512i)u, _mm512_set1_epi16(255)),
                                         _mm512_srai_epi16(_mm512_slli_epi16((__m512i)s, 8), 8));
  const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16((__m512i)u, 8), _mm512_srai_epi16((__m512i)s, 8));
  return sum + (csource_dot)even + (csource_dot)odd;
#elif $lanes == 8 && defined(__AVXVNNI__)
  return (csource_dot)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)u, (__m256i)s);
#elif $lanes == 8 && defined(__AVX2__)
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256((__m256i)u, _mm256_set1_epi16(255)),
                                         _mm256_srai_epi16(_mm256_slli_epi16((__m256i)s, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16((__m256i)u, 8), _mm256_srai_epi16((__m256i)s, 8));
  return sum + (csource_dot)even + (csource_dot)odd;
#else
  typedef uint32_t bits __attribute__((vector_size(4 * $lanes)));
  const bits b = (bits)s;
  sum += (u & 255) * ((csource_dot)(b << 24) >> 24);
  sum += ((u >> 8) & 255) * ((csource_dot)(b << 16) >> 24);
  sum += ((u >> 16) & 255) * ((csource_dot)(b << 8) >> 24);
  return sum + ((u >> 24) & 255) * (s >> 24);
#endif
}

static inline csource_dot csource_dot_splat(const void *bytes) {
  return *(const csource_dot_bytes *)bytes + (csource_dot){0};
}
