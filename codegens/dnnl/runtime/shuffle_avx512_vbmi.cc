#include "shuffle_avx512.h"

namespace byoc_dnnl {
namespace {

struct Bytes {
  static constexpr int64_t kSize = 1;

  static __m512i Load(uint64_t mask, const char* in) { return _mm512_maskz_loadu_epi8(mask, in); }
  static void Store(char* out, uint64_t mask, __m512i value) { _mm512_mask_storeu_epi8(out, mask, value); }
  static __m512i Take(__m512i rest, uint64_t mask, __m512i lanes, __m512i from) {
    return _mm512_mask_permutexvar_epi8(rest, mask, lanes, from);
  }
};

struct Halves {
  static constexpr int64_t kSize = 2;

  static __m512i Load(uint64_t mask, const char* in) {
    return _mm512_maskz_loadu_epi16(static_cast<__mmask32>(mask), in);
  }
  static void Store(char* out, uint64_t mask, __m512i value) {
    _mm512_mask_storeu_epi16(out, static_cast<__mmask32>(mask), value);
  }
  static __m512i Take(__m512i rest, uint64_t mask, __m512i lanes, __m512i from) {
    return _mm512_mask_permutexvar_epi16(rest, static_cast<__mmask32>(mask), lanes, from);
  }
};

}  // namespace

bool HasByteShuffle() { return __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw"); }

void ShuffleBytes(const ChannelShuffle& shuffle, const char* in, char* out) {
  if (shuffle.size == 1) return ShufflePixels<Bytes>(shuffle, in, out);
  ShufflePixels<Halves>(shuffle, in, out);
}

}  // namespace byoc_dnnl
