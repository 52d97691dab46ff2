/* product / 2**shift to the nearest integer, ties to the even one; 1 <= shift <= 62. */
static inline BYOC_UNUSED int64_t csource_shift_half_even(int64_t product, int32_t shift) {
  return (product + (((int64_t)1 << (shift - 1)) - 1) + ((product >> shift) & 1)) >> shift;
}

/* How totals become integers again: one multiplier and shift for each channel. */
typedef struct {
  const int32_t *multiplier, *shift;
  int32_t zero, low, high;
} CsourceRequantise;

static inline BYOC_UNUSED int64_t csource_requantised(const CsourceRequantise *r, int64_t total, int64_t multiplier,
                                                      int32_t shift) {
  const int64_t rounded = csource_shift_half_even(total * multiplier, shift) + r->zero;
  const int64_t value = rounded > r->low ? rounded : r->low;
  return value < r->high ? value : r->high;
}

#if defined(__AVX512F__)
#include <immintrin.h>
/* The same for 16 totals, as bytes: with every shift above 32 the upper halves of the products hold all but what decides
 * ties.  Lanes beyond `used` are not written. */
static inline BYOC_UNUSED void csource_requantise_16(const CsourceRequantise *r, __m512i total, __m512i multiplier,
                                                     __m512i shift, __mmask16 used, uint8_t *out) {
  const __m512i above = _mm512_sub_epi32(shift, _mm512_set1_epi32(32));
  const __m512i half = _mm512_sllv_epi32(_mm512_set1_epi32(1), _mm512_sub_epi32(above, _mm512_set1_epi32(1)));
  const __m512i below = _mm512_sub_epi32(_mm512_add_epi32(half, half), _mm512_set1_epi32(1));
  const __m512i even = _mm512_mul_epi32(total, multiplier);
  const __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(total, 32), _mm512_srli_epi64(multiplier, 32));
  const __m512i upper = _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xaaaa, odd);
  const __m512i lower = _mm512_mask_mov_epi32(even, 0xaaaa, _mm512_slli_epi64(odd, 32));
  const __m512i sum = _mm512_add_epi32(upper, half);
  const __mmask16 tie = _mm512_testn_epi32_mask(_mm512_or_si512(_mm512_and_si512(sum, below), lower),
                                                _mm512_set1_epi32(-1));
  __m512i value = _mm512_srav_epi32(sum, above);
  value = _mm512_mask_and_epi32(value, tie, value, _mm512_set1_epi32(-2));
  value = _mm512_add_epi32(value, _mm512_set1_epi32(r->zero));
  value = _mm512_min_epi32(_mm512_max_epi32(value, _mm512_set1_epi32(r->low)), _mm512_set1_epi32(r->high));
  _mm512_mask_cvtepi32_storeu_epi8(out, used, value);
}
#endif

/* n totals of one channel.  Bytes are those of int8 or uint8. */
static inline BYOC_UNUSED void csource_requantise_channel(const CsourceRequantise *r, int64_t channel,
                                                          const int32_t *BYOC_RESTRICT total, int64_t n,
                                                          uint8_t *BYOC_RESTRICT out) {
  const CsourceRequantise ending = *r; /* a copy: bytes that are written could be it */
  const int64_t multiplier = ending.multiplier[channel];
  const int32_t shift = ending.shift[channel];
  int64_t i = 0;
#if defined(__AVX512F__)
  const __m512i factor = _mm512_set1_epi32((int32_t)multiplier), shifts = _mm512_set1_epi32(shift);
  for (; shift > 32 && i < n; i += 16) {
    const __mmask16 used = n - i < 16 ? (__mmask16)((1 << (n - i)) - 1) : 0xffff;
    csource_requantise_16(&ending, _mm512_maskz_loadu_epi32(used, total + i), factor, shifts, used, out + i);
  }
#endif
  for (; i < n; ++i) out[i] = (uint8_t)csource_requantised(&ending, total[i], multiplier, shift);
}

/* One total of each of n channels. */
static inline BYOC_UNUSED void csource_requantise_channels(const CsourceRequantise *r, int64_t channel,
                                                           const int32_t *BYOC_RESTRICT total, int64_t n,
                                                           uint8_t *BYOC_RESTRICT out) {
  const CsourceRequantise ending = *r;
  const int32_t *BYOC_RESTRICT multiplier = ending.multiplier + channel, *BYOC_RESTRICT shift = ending.shift + channel;
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i < n; i += 16) {
    const __mmask16 used = n - i < 16 ? (__mmask16)((1 << (n - i)) - 1) : 0xffff;
    const __m512i shifts = _mm512_maskz_loadu_epi32(used, shift + i);
    if (_mm512_mask_cmple_epi32_mask(used, shifts, _mm512_set1_epi32(32))) break;
    csource_requantise_16(&ending, _mm512_maskz_loadu_epi32(used, total + i),
                          _mm512_maskz_loadu_epi32(used, multiplier + i), shifts, used, out + i);
  }
#endif
  for (; i < n; ++i) out[i] = (uint8_t)csource_requantised(&ending, total[i], multiplier[i], shift[i]);
}
