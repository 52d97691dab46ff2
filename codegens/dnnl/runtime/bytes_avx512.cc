/* Compiled for AVX-512: nothing of the standard library may be instantiated here, since the linker could take it for
 * the whole artifact. */
#include "bytes.h"

#include <immintrin.h>

namespace byoc_dnnl {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kBlock = 4096; /* elements of a task */

int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }
__mmask16 MaskOf(int64_t left) { return left >= kLanes ? 0xffff : static_cast<__mmask16>((1u << left) - 1); }

inline __m128i Bytes(__m512i integers, bool is_signed) {
  if (is_signed) return _mm512_cvtsepi32_epi8(integers);
  return _mm512_cvtusepi32_epi8(_mm512_max_epi32(integers, _mm512_setzero_si512()));
}

inline __m128i Rounded(const float* in, __mmask16 mask, __m512 scale, __m512i zero, bool is_signed) {
  const __m512 far = _mm512_set1_ps(65536.0f); /* no type reaches so far, and 32-bit integers go further */
  __m512 value = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, in), scale);
  value = _mm512_max_ps(_mm512_min_ps(value, far), _mm512_sub_ps(_mm512_setzero_ps(), far));
  return Bytes(_mm512_add_epi32(_mm512_cvtps_epi32(value), zero), is_signed);
}

/* Indices for byte shuffles that spread 16 bytes of one of three channels; -1 gives 0. */
struct Spread {
  __m128i index[3][3]; /* by channel, by third of the result */

  Spread() {
    for (int channel = 0; channel < 3; ++channel)
      for (int third = 0; third < 3; ++third) {
        int8_t bytes[16];
        for (int i = 0; i < 16; ++i) {
          int place = third * 16 + i;
          bytes[i] = place % 3 == channel ? static_cast<int8_t>(place / 3) : -1;
        }
        index[channel][third] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
      }
  }
};

}  // namespace

bool HasByteKernels() { return __builtin_cpu_supports("avx512f"); }

void QuantizePixels(const float* in, int64_t images, int64_t plane, float scale, int32_t zero, bool is_signed,
                    uint8_t* out) {
  const Spread spread;
  const __m512 factor = _mm512_set1_ps(scale);
  const __m512i shift = _mm512_set1_epi32(zero);
  const int64_t blocks = (plane + kBlock - 1) / kBlock;
#pragma omp parallel for schedule(static)
  for (int64_t task = 0; task < images * blocks; ++task) {
    const int64_t image = task / blocks, first = task % blocks * kBlock, last = Smaller(plane, first + kBlock);
    const float* from = in + image * 3 * plane;
    uint8_t* to = out + image * 3 * plane;
    for (int64_t i = first; i < last; i += kLanes) {
      __m128i channel[3];
      for (int c = 0; c < 3; ++c)
        channel[c] = Rounded(from + c * plane + i, MaskOf(last - i), factor, shift, is_signed);
      uint8_t pixels[48];
      uint8_t* target = last - i >= kLanes ? to + 3 * i : pixels;
      for (int third = 0; third < 3; ++third) {
        __m128i part = _mm_setzero_si128();
        for (int c = 0; c < 3; ++c)
          part = _mm_or_si128(part, _mm_shuffle_epi8(channel[c], spread.index[c][third]));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(target + 16 * third), part);
      }
      if (target == pixels)
        for (int64_t b = 0; b < 3 * (last - i); ++b) to[3 * i + b] = pixels[b];
    }
  }
}

void FindRangeWide(const float* in, int64_t n, float* range) {
  float least = 0, most = 0;
#pragma omp parallel for schedule(static) reduction(min : least) reduction(max : most)
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t last = Smaller(n, first + kBlock);
    __m512 low = _mm512_setzero_ps(), high = _mm512_setzero_ps();
    for (int64_t i = first; i < last; i += kLanes) {
      const __m512 values = _mm512_maskz_loadu_ps(MaskOf(last - i), in + i);
      low = _mm512_min_ps(values, low), high = _mm512_max_ps(values, high); /* a NaN gives the second operand */
    }
    const float l = _mm512_reduce_min_ps(low), h = _mm512_reduce_max_ps(high);
    least = l < least ? l : least, most = h > most ? h : most;
  }
  range[0] = least, range[1] = most;
}

void QuantizeFloatsWide(const float* in, int64_t n, float scale, int32_t zero, uint8_t* out) {
  const __m512 step = _mm512_set1_ps(scale), far = _mm512_set1_ps(65536.0f);
  const __m512i shift = _mm512_set1_epi32(zero);
#pragma omp parallel for schedule(static)
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t last = Smaller(n, first + kBlock);
    for (int64_t i = first; i < last; i += kLanes) {
      const __mmask16 mask = MaskOf(last - i);
      __m512 value = _mm512_div_ps(_mm512_maskz_loadu_ps(mask, in + i), step);
      value = _mm512_max_ps(_mm512_min_ps(value, far), _mm512_sub_ps(_mm512_setzero_ps(), far));
      _mm512_mask_cvtusepi32_storeu_epi8(
          out + i, mask,
          _mm512_max_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(value), shift), _mm512_setzero_si512()));
    }
  }
}

}  // namespace byoc_dnnl
