#include "shuffle_avx512.h"

namespace byoc_dnnl {
namespace {

struct Words {
  static constexpr int64_t kSize = 4;

  static __m512i Load(uint64_t mask, const char* in) {
    return _mm512_maskz_loadu_epi32(static_cast<__mmask16>(mask), in);
  }
  static void Store(char* out, uint64_t mask, __m512i value) {
    _mm512_mask_storeu_epi32(out, static_cast<__mmask16>(mask), value);
  }
  static __m512i Take(__m512i rest, uint64_t mask, __m512i lanes, __m512i from) {
    return _mm512_mask_permutexvar_epi32(rest, static_cast<__mmask16>(mask), lanes, from);
  }
};

}  // namespace

bool HasShuffle(int64_t size) { return size == 4 ? __builtin_cpu_supports("avx512f") : size < 4 && HasByteShuffle(); }

void ShuffleWords(const ChannelShuffle& shuffle, const char* in, char* out) { ShufflePixels<Words>(shuffle, in, out); }

}  // namespace byoc_dnnl
