#if defined(__AVX512F__) || defined(__AVXVNNI__)
#include <immintrin.h>
#endif

/* Sixteen numbers side by side; where the target's vectors are shorter the compiler uses several. */
enum { KV_LANES = 16 };
typedef float kv_floats __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t kv_ints __attribute__((vector_size(64), aligned(4), may_alias));

/* float16 in the low halves of integers, as float.  Infinities and NaN are not kept. */
static inline BYOC_UNUSED kv_floats kv_halves(kv_ints h) {
  const kv_floats magnitude = (kv_floats)((h & 0x7fff) << 13) * 5.192296858534828e33f; /* 2^112 */
  return (kv_floats)((kv_ints)magnitude | (h & 0x8000) << 16);
}
/* Sixteen float16 that lie together. */
static inline BYOC_UNUSED kv_floats kv_load_halves(const void *p) {
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
static inline BYOC_UNUSED uint32_t kv_word(const uint8_t *p) {
  uint32_t word;
  memcpy(&word, p, 4);
  return word;
}
