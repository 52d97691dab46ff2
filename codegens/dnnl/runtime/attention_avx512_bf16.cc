#include "attention_avx512.h"

namespace byoc_dnnl {
namespace {

/* Two bfloat16, whose products are summed as floats. */
struct Bfloat16Pair {
  using Element = uint16_t;
  static constexpr int64_t kElements = 2;

  static bool IsSupported() {
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
  }

  static __m512 AddProduct(__m512 sum, __m512 a, __m512 b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }

  /* Of elements that lie `step` apart, of which `left` are there. */
  static float Make(const uint16_t* in, int64_t step, int64_t left) {
    uint32_t bits = in[0] | (left > 1 ? static_cast<uint32_t>(in[step]) << 16 : 0);
    float word;
    __builtin_memcpy(&word, &bits, sizeof word);
    return word;
  }

  static __m512 Load(const uint16_t* in, int64_t left) {
    __mmask32 inside = left >= 2 * kLanes ? 0xffffffff : (1u << left) - 1;
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(inside, in));
  }

  /* Words of 16 columns: elements of one row, and of the next if it is there. */
  static __m512 LoadAcross(const uint16_t* in, int64_t step, int64_t left, int64_t columns) {
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(MaskOf(columns), in));
    if (left < 2) return _mm512_castsi512_ps(low);
    __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(MaskOf(columns), in + step));
    return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }

  /* Over floats of the same row, which lie behind. */
  static void Store(float* row, int64_t at, __m512 value) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(reinterpret_cast<uint16_t*>(row) + at), Rounded(value));
  }

  static void StorePart(uint16_t* out, int64_t left, __m512 value) {
    _mm256_mask_storeu_epi16(out, MaskOf(left), Rounded(value));
  }

  static __m256i Rounded(__m512 value) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)); }
};

}  // namespace

const AttentionKernel kBfloat16Attention = {Pays<Bfloat16Pair>, ScratchFloats<Bfloat16Pair>, Run<Bfloat16Pair>};

}  // namespace byoc_dnnl
