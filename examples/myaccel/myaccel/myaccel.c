/* Stands in for a driver: a real one would hand the pointers to the device and wait. */
#include "myaccel.h"

void myaccel_dense_relu(const float *x, const float *w, float *out, int64_t rows, int64_t inner, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row) {
    float *result = out + row * cols;
    for (int64_t col = 0; col < cols; ++col) result[col] = 0.0f;
    for (int64_t k = 0; k < inner; ++k) {
      float factor = x[row * inner + k];
      for (int64_t col = 0; col < cols; ++col) result[col] += factor * w[k * cols + col];
    }
    for (int64_t col = 0; col < cols; ++col) result[col] = result[col] > 0.0f ? result[col] : 0.0f;
  }
}
