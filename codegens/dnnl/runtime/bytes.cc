#include "bytes.h"

#include <algorithm>
#include <cmath>

namespace byoc_dnnl {

void FindRange(const float* in, int64_t n, float* range) {
  if (HasByteKernels()) return FindRangeWide(in, n, range);
  range[0] = range[1] = 0;
  for (int64_t i = 0; i < n; ++i) {
    range[0] = in[i] < range[0] ? in[i] : range[0];
    range[1] = in[i] > range[1] ? in[i] : range[1];
  }
}

void QuantizeFloats(const float* in, int64_t n, float scale, int32_t zero, uint8_t* out) {
  if (HasByteKernels()) return QuantizeFloatsWide(in, n, scale, zero, out);
  for (int64_t i = 0; i < n; ++i)
    out[i] = static_cast<uint8_t>(std::clamp(std::nearbyint(in[i] / scale) + static_cast<float>(zero), 0.0f, 255.0f));
}

}  // namespace byoc_dnnl
