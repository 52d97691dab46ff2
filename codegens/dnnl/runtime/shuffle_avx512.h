/* The kernel for elements that `Lanes` moves.  Nothing of the standard library may be instantiated here, since the linker
 * could take it for the whole artifact. */
#ifndef BYOC_DNNL_SHUFFLE_AVX512_H_
#define BYOC_DNNL_SHUFFLE_AVX512_H_

#include <immintrin.h>

#include "shuffle.h"

namespace byoc_dnnl {
namespace {

template <typename Lanes>
void ShufflePixels(const ChannelShuffle& shuffle, const char* in, char* out) {
  const int64_t group = shuffle.depth * Lanes::kSize, pixel = shuffle.groups * group;
#pragma omp parallel for schedule(static)
  for (int64_t p = 0; p < shuffle.pixels; ++p) {
    const uint64_t* taken = shuffle.taken;
    for (int64_t v = 0; v < shuffle.vectors; ++v) {
      const ShuffledVector& how = shuffle.how[v];
      const __m512i lanes = _mm512_loadu_si512(how.lanes);
      const char* from = in + p * pixel + how.first * Lanes::kSize;
      __m512i result = _mm512_setzero_si512();
      for (int64_t g = 0; g < shuffle.groups; ++g, from += group)
        result = Lanes::Take(result, *taken++, lanes, Lanes::Load(how.inside, from));
      Lanes::Store(out + p * pixel + v * 64, how.stored, result);
    }
  }
}

}  // namespace
}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_SHUFFLE_AVX512_H_
