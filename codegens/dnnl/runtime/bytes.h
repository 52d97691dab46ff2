/* Kernels of our own for tensors of bytes, where oneDNN's reorders take many times as long. */
#ifndef BYOC_DNNL_BYTES_H_
#define BYOC_DNNL_BYTES_H_

#include <stdint.h>

namespace byoc_dnnl {

/* Whether this processor has the instructions (AVX-512). */
bool HasByteKernels();

/* Images of three planes of floats as pixels of three bytes: in * scale, rounded to nearest, ties to even, plus zero. */
void QuantizePixels(const float* in, int64_t images, int64_t plane, float scale, int32_t zero, bool is_signed,
                    uint8_t* out);

/* The least and the largest of n floats and 0, a NaN left out. */
void FindRange(const float* in, int64_t n, float* range);

/* n floats as unsigned bytes: in / scale, rounded to nearest, ties to even, plus zero. */
void QuantizeFloats(const float* in, int64_t n, float scale, int32_t zero, uint8_t* out);

/* The same with AVX-512. */
void FindRangeWide(const float* in, int64_t n, float* range);
void QuantizeFloatsWide(const float* in, int64_t n, float scale, int32_t zero, uint8_t* out);

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_BYTES_H_
