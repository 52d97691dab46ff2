#if defined(__AVX512F__) || defined(__AVXVNNI__) || defined(__F16C__)
#include <immintrin.h>
#endif

/* Sixteen numbers side by side; where the target's vectors are shorter the compiler uses several. */
enum { KV_LANES = 16 };
typedef float kv_floats __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t kv_ints __attribute__((vector_size(64), aligned(4), may_alias));
typedef int8_t kv_bytes __attribute__((vector_size(16), aligned(1), may_alias));

static inline BYOC_UNUSED kv_floats kv_max(kv_floats a, kv_floats b) {
  const kv_ints more = a > b;
  return (kv_floats)(((kv_ints)a & more) | ((kv_ints)b & ~more));
}
/* Rounded to the nearest integer, halves to even; magnitudes below 2^22. */
static inline BYOC_UNUSED kv_ints kv_round(kv_floats x) {
#if defined(__AVX512F__)
  return (kv_ints)_mm512_cvtps_epi32((__m512)x);
#else
  return (kv_ints)(x + 12582912.0f) - 0x4b400000; /* 1.5 * 2^23, and its bits */
#endif
}
#define KV_FOLD(STEP, JOIN)                                                                                    \
  {                                                                                                            \
    const kv_ints from = {0 ^ STEP, 1 ^ STEP, 2 ^ STEP,  3 ^ STEP,  4 ^ STEP,  5 ^ STEP,  6 ^ STEP,  7 ^ STEP, \
                          8 ^ STEP, 9 ^ STEP, 10 ^ STEP, 11 ^ STEP, 12 ^ STEP, 13 ^ STEP, 14 ^ STEP, 15 ^ STEP}; \
    JOIN;                                                                                                      \
  }
static inline BYOC_UNUSED float kv_largest(kv_floats x) {
  KV_FOLD(8, x = kv_max(x, __builtin_shuffle(x, from)))
  KV_FOLD(4, x = kv_max(x, __builtin_shuffle(x, from)))
  KV_FOLD(2, x = kv_max(x, __builtin_shuffle(x, from)))
  KV_FOLD(1, x = kv_max(x, __builtin_shuffle(x, from)))
  return x[0];
}
static inline BYOC_UNUSED float kv_total(kv_floats x) {
  KV_FOLD(8, x += __builtin_shuffle(x, from))
  KV_FOLD(4, x += __builtin_shuffle(x, from))
  KV_FOLD(2, x += __builtin_shuffle(x, from))
  KV_FOLD(1, x += __builtin_shuffle(x, from))
  return x[0];
}
#undef KV_FOLD

/* float16 in the low halves of integers, as float.  Infinities and NaN are not kept. */
static inline BYOC_UNUSED kv_floats kv_halves(kv_ints h) {
  const kv_floats magnitude = (kv_floats)((h & 0x7fff) << 13) * 5.192296858534828e33f; /* 2^112 */
  return (kv_floats)((kv_ints)magnitude | (h & 0x8000) << 16);
}
static inline BYOC_UNUSED uint32_t kv_word(const uint8_t *p) {
  uint32_t word;
  memcpy(&word, p, 4);
  return word;
}
/* Sixteen float16 that lie together. */
static inline BYOC_UNUSED kv_floats kv_load_halves(const void *p) {
#if defined(__AVX512F__)
  return (kv_floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif defined(__F16C__)
  kv_floats floats;
  _mm256_storeu_ps((float *)&floats, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)));
  _mm256_storeu_ps((float *)&floats + 8, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p + 1)));
  return floats;
#else
  kv_ints bits = {0};
  byoc_half halves[KV_LANES];
  memcpy(halves, p, sizeof halves);
  for (int l = 0; l < KV_LANES; ++l) bits[l] = halves[l];
  return kv_halves(bits);
#endif
}
/* Sixteen bfloat16 that lie together. */
static inline BYOC_UNUSED kv_floats kv_load_bfloats(const void *p) {
#if defined(__AVX512F__)
  return (kv_floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#else
  kv_ints bits = {0};
  byoc_bfloat bfloats[KV_LANES];
  memcpy(bfloats, p, sizeof bfloats);
  for (int l = 0; l < KV_LANES; ++l) bits[l] = bfloats[l];
  return (kv_floats)(bits << 16);
#endif
}
/* Sixteen integers of two, four or eight bits. */
static inline BYOC_UNUSED kv_ints kv_quanta_2(const uint8_t *p) {
  const kv_ints shifts = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
  return ((kv_ints){0} + (int32_t)kv_word(p)) >> shifts & 3;
}
static inline BYOC_UNUSED kv_ints kv_quanta_4(const uint8_t *p) {
  const kv_ints shifts = {0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28};
  const kv_ints first = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
  const kv_ints low = (kv_ints){0} + (int32_t)kv_word(p), high = (kv_ints){0} + (int32_t)kv_word(p + 4);
  return ((low & first) | (high & ~first)) >> shifts & 15;
}
static inline BYOC_UNUSED kv_ints kv_quanta_8(const uint8_t *p) {
#if defined(__AVX512F__)
  return (kv_ints)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
#else
  kv_ints quanta = {0};
  for (int l = 0; l < KV_LANES; ++l) quanta[l] = p[l];
  return quanta;
#endif
}

/* Lane l: byte l of each of four rows. */
static inline BYOC_UNUSED kv_ints kv_interleave(const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d) {
#if defined(__AVX512VBMI__)
  const __m512i lanes = _mm512_setr_epi32(0x30201000, 0x31211101, 0x32221202, 0x33231303, 0x34241404, 0x35251505,
                                          0x36261606, 0x37271707, 0x38281808, 0x39291909, 0x3a2a1a0a, 0x3b2b1b0b,
                                          0x3c2c1c0c, 0x3d2d1d0d, 0x3e2e1e0e, 0x3f2f1f0f);
  __m512i rows = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)a));
  rows = _mm512_inserti32x4(rows, _mm_loadu_si128((const __m128i *)b), 1);
  rows = _mm512_inserti32x4(rows, _mm_loadu_si128((const __m128i *)c), 2);
  rows = _mm512_inserti32x4(rows, _mm_loadu_si128((const __m128i *)d), 3);
  return (kv_ints)_mm512_permutexvar_epi8(lanes, rows);
#else
  return kv_quanta_8(a) | kv_quanta_8(b) << 8 | kv_quanta_8(c) << 16 | kv_quanta_8(d) << 24;
#endif
}

#define KV_SWAP(STEP, ROWS, FIRST, SECOND)                                    \
  _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; ++i) if (!(i & STEP)) {  \
    const kv_ints a = row[i], b = row[i + STEP];                              \
    row[i] = __builtin_shuffle(a, b, (kv_ints)FIRST);                         \
    row[i + STEP] = __builtin_shuffle(a, b, (kv_ints)SECOND);                 \
  }
#define KV_LIST(...) {__VA_ARGS__}
/* Rows become columns: sixteen vectors of sixteen words, in four steps that each swap blocks of twice the size. */
static inline __attribute__((always_inline)) void kv_transpose(kv_ints row[KV_LANES]) {
  KV_SWAP(1, 16, KV_LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
          KV_LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
  KV_SWAP(2, 16, KV_LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
          KV_LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
  KV_SWAP(4, 16, KV_LIST(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
          KV_LIST(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
  KV_SWAP(8, 16, KV_LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
          KV_LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
}
/* Sixteen rows of eight words, which lie together, become eight vectors of sixteen words. */
static inline BYOC_UNUSED void kv_transpose_pairs(const uint8_t *rows, kv_ints row[KV_LANES / 2]) {
  for (int i = 0; i < KV_LANES / 2; ++i) row[i] = *(const kv_ints *)(rows + 64 * i);
  KV_SWAP(1, 8, KV_LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
          KV_LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
  KV_SWAP(2, 8, KV_LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
          KV_LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
  /* Rows of even number are in the lower halves by now, the others in the upper ones: they are put in turns as well. */
  KV_SWAP(4, 8, KV_LIST(0, 8, 1, 9, 2, 10, 3, 11, 16, 24, 17, 25, 18, 26, 19, 27),
          KV_LIST(4, 12, 5, 13, 6, 14, 7, 15, 20, 28, 21, 29, 22, 30, 23, 31))
}
#undef KV_LIST
#undef KV_SWAP
