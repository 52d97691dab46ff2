#include "attention_avx512.h"

namespace byoc_dnnl {
namespace {

struct Float : Floats {
  using Element = float;
  static constexpr int64_t kElements = 1;

  static bool IsSupported() { return __builtin_cpu_supports("avx512f"); }
  static float Make(const float* in, int64_t, int64_t) { return *in; }
  static __m512 Load(const float* in, int64_t left) { return _mm512_maskz_loadu_ps(MaskOf(left), in); }
  static __m512 LoadAcross(const float* in, int64_t, int64_t, int64_t columns) { return Load(in, columns); }
  static void Store(float* row, int64_t at, __m512 value) { _mm512_store_ps(row + at, value); }
  static void StorePart(float* out, int64_t left, __m512 value) { _mm512_mask_storeu_ps(out, MaskOf(left), value); }
};

}  // namespace

const AttentionKernel kFloatAttention = {Pays<Float>, ScratchFloats<Float>, Run<Float>};

}  // namespace byoc_dnnl
