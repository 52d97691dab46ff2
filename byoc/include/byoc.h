/* What generated C may rely on: tensors as the runtime passes them, the library's threads, half-precision storage.
 * C99 and C++11.  Needs only tvm_ffi's C headers. */
#ifndef BYOC_H_
#define BYOC_H_

#include <dlpack/dlpack.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tvm/ffi/c_api.h>

#ifdef __cplusplus
#define BYOC_EXPORT extern "C" __attribute__((visibility("default")))
#define BYOC_RESTRICT __restrict__
extern "C" {
#else
#define BYOC_EXPORT __attribute__((visibility("default")))
#define BYOC_RESTRICT restrict
#endif

#define BYOC_UNUSED __attribute__((unused))

/* The tensor behind an argument: the VM passes tensor objects, other callers may pass plain DLTensor pointers. */
static inline BYOC_UNUSED DLTensor *byoc_tensor(const TVMFFIAny *arg) {
  return arg->type_index == kTVMFFIDLTensorPtr ? (DLTensor *)arg->v_ptr
                                               : (DLTensor *)((char *)arg->v_obj + sizeof(TVMFFIObject));
}
static inline BYOC_UNUSED void *byoc_data(const TVMFFIAny *arg) {
  DLTensor *t = byoc_tensor(arg);
  return (char *)t->data + t->byte_offset;
}
static inline BYOC_UNUSED int64_t byoc_shape_dim(const TVMFFIAny *arg, int i) {
  return ((const TVMFFIShapeCell *)((char *)arg->v_obj + sizeof(TVMFFIObject)))->data[i];
}
static inline BYOC_UNUSED int64_t byoc_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline BYOC_UNUSED int64_t byoc_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline BYOC_UNUSED char *byoc_align(char *p) { return (char *)(((uintptr_t)p + 63) & ~(uintptr_t)63); }

/* fn(begin, end, ctx) over [0, n), by the library's threads once there are at least two grains of work: each call gets
 * a range that begins at a multiple of the grain.  Calls may come from loops and from any thread. */
typedef void (*byoc_range_fn)(int64_t begin, int64_t end, void *ctx);
void byoc_parallel_for(int64_t n, int64_t grain, byoc_range_fn fn, void *ctx);
int byoc_threads(void); /* that a loop uses, the one that calls included */

/* float16 and bfloat16 are stored as uint16_t; arithmetic is in float. */
typedef uint16_t byoc_half;
typedef uint16_t byoc_bfloat;
static inline BYOC_UNUSED float byoc_bits_float(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}
static inline BYOC_UNUSED uint32_t byoc_float_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}
static inline BYOC_UNUSED float byoc_half_to_float(byoc_half h) {
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;
  if (rest >= 0x7c00u) return byoc_bits_float(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  if (rest >= 0x0400u) return byoc_bits_float(sign | ((rest << 13) + (112u << 23)));
  float magnitude = (float)rest * 5.9604644775390625e-8f;
  return sign ? -magnitude : magnitude;
}
static inline BYOC_UNUSED byoc_half byoc_float_to_half(float f) {
  uint32_t u = byoc_float_bits(f), sign = (u >> 16) & 0x8000u, rest = u & 0x7fffffffu;
  if (rest > 0x7f800000u) return (byoc_half)(sign | 0x7e00u);
  if (rest >= 0x477ff000u) return (byoc_half)(sign | 0x7c00u);
  if (rest < 0x38800000u) { /* subnormal: let the float adder round to nearest even */
    uint32_t bits = byoc_float_bits(byoc_bits_float(rest) + 0.5f);
    return (byoc_half)(sign | (bits - 0x3f000000u));
  }
  rest += 0xfffu + ((rest >> 13) & 1u);
  return (byoc_half)(sign | ((rest - (112u << 23)) >> 13));
}
static inline BYOC_UNUSED float byoc_bfloat_to_float(byoc_bfloat b) { return byoc_bits_float((uint32_t)b << 16); }
static inline BYOC_UNUSED byoc_bfloat byoc_float_to_bfloat(float f) {
  uint32_t u = byoc_float_bits(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return (byoc_bfloat)((u >> 16) | 0x40u);
  return (byoc_bfloat)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

#ifdef __cplusplus
}
#endif
#endif /* BYOC_H_ */
