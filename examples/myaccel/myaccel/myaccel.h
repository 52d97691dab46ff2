/* The device library of myaccel, as a vendor would ship it. */
#ifndef MYACCEL_H_
#define MYACCEL_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* out = max(x * w, 0); x is rows by inner, w is inner by cols, out is rows by cols, all row-major. */
void myaccel_dense_relu(const float *x, const float *w, float *out, int64_t rows, int64_t inner, int64_t cols);

#ifdef __cplusplus
}
#endif
#endif
