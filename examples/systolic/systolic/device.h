/* The device: a systolic array that is driven by a stream of commands.
 *
 * A command has twenty words of 64 bits; the first is its code.
 *
 *   0 LOAD_WEIGHTS  address bytes
 *   1 LOAD_ROWS     first stride count bytes     of the image, for each channel, one behind the other from address 0
 *   2 MULTIPLY      address channels rows width kernel[2] strides[2] dilation[2] top left zero filters out[2]
 *   3 STORE         first_filter filters pixels place stride zero low high       accumulators, requantised
 *   4 ADD           count zero[2] multiplier[2] shift zero low high signed[3]
 *   5 QUANTIZE      count scale zero signed       float32 to 8 bits; scale as the bits of a float
 *   6 DEQUANTIZE    count scale zero signed
 *
 * In MULTIPLY, `top` is how many rows of the window lie above the first row that is loaded; what lies outside of the
 * image counts as `zero`.  Words 18 and 19 of MULTIPLY and STORE say whether input and result are signed. */
#ifndef SYSTOLIC_DEVICE_H_
#define SYSTOLIC_DEVICE_H_

#include <stdint.h>

enum {
  SYSTOLIC_WORDS = 20,
  SYSTOLIC_ARRAY = 16,
  SYSTOLIC_ACTIVATIONS = 64 << 10,
  SYSTOLIC_WEIGHTS = 128 << 10,
  SYSTOLIC_ACCUMULATORS = 4096
};

#ifdef __cplusplus
extern "C" {
#endif

/* Run a stream of `words` words on one image of a batch.  `tensors` are two inputs and the result, `parameters` are
 * weights, bias, multiplier and shift by filter; `sizes` are the bytes of one image of the inputs and of the result.
 * A stream that would leave a memory of the device stops the process. */
void systolic_run(const int64_t *stream, int64_t words, const void *const *tensors, const void *const *parameters,
                  const int64_t *sizes, int64_t image);

#ifdef __cplusplus
}
#endif
#endif
