/* Convolutions by Winograd's minimal filtering: 36 products for 16 results of a 3x3 window (in place of 144), or for 4
 * results of a 5x5 window (in place of 100).  F(4x4, 3x3) and F(2x2, 5x5) of Lavin and Gray 2016, "Fast Algorithms for
 * Convolutional Neural Networks", section 4; both cut the image into overlapping tiles of 6x6. */
#ifndef BYOC_DNNL_WINOGRAD_H_
#define BYOC_DNNL_WINOGRAD_H_

#include <stddef.h>
#include <stdint.h>

namespace byoc_dnnl {

/* In float elements; channels lie next to each other. */
struct PixelStrides {
  int64_t image, row, pixel;
};

struct WinogradShape {
  int64_t batch, groups;
  int64_t inputs, outputs;  // channels of one group
  int64_t in_height, in_width, out_height, out_width;
  int64_t top, left;        // padding
  int64_t window;           // 3 or 5
  PixelStrides in, out, added;
  float low, high;          // what results are clipped to
};

/* Whether it is quicker than a direct convolution, and this processor has the instructions (AVX-512). */
bool WinogradPays(const WinogradShape& shape);

/* Floats of all weights once transformed, and of the scratch memory of a run. */
size_t WinogradWeightFloats(const WinogradShape& shape);
size_t WinogradScratchFloats(const WinogradShape& shape);

/* `weights`: [groups * outputs, inputs, window, window]. */
void WinogradTransformWeights(const WinogradShape& shape, const float* weights, float* transformed);

/* out = clip(convolution(in) + bias + added); `bias` and `added` may be null.  `scratch` is aligned to 64 bytes. */
void WinogradRun(const WinogradShape& shape, const float* in, const float* transformed, const float* bias,
                 const float* added, float* out, float* scratch);

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_WINOGRAD_H_
