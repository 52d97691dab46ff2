/* The emulator.  Each thread that calls it has a device of its own. */
#include "device.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

struct Device {
  uint8_t activations[SYSTOLIC_ACTIVATIONS];
  int8_t weights[SYSTOLIC_WEIGHTS];
  int32_t accumulators[SYSTOLIC_ARRAY][SYSTOLIC_ACCUMULATORS];
};

thread_local Device device;

struct Call {
  const char *inputs[2];
  char *output;
  const void *const *parameters;
};

void Require(bool fits, const char *what) {
  if (fits) return;
  std::fprintf(stderr, "systolic: a command leaves the %s\n", what);
  std::abort();
}

int32_t Read(const uint8_t *from, bool is_signed) {
  return is_signed ? static_cast<int32_t>(static_cast<int8_t>(*from)) : static_cast<int32_t>(*from);
}

/* value * 2^-shift to the nearest, halves to even, then moved and clamped. */
uint8_t Requantised(int64_t value, int64_t shift, int64_t zero, int64_t low, int64_t high) {
  const int64_t odd = (value >> shift) & 1;
  int64_t result = ((value + (int64_t{1} << (shift - 1)) - 1 + odd) >> shift) + zero;
  result = result < low ? low : result > high ? high : result;
  return static_cast<uint8_t>(result);
}

void LoadWeights(const int64_t *w, const Call &call) {
  Require(w[1] >= 0 && w[1] + w[2] <= SYSTOLIC_WEIGHTS, "weight memory");
  std::memcpy(device.weights + w[1], call.parameters[0], static_cast<size_t>(w[2]));
}

void LoadRows(const int64_t *w, const Call &call) {
  Require(w[3] * w[4] <= SYSTOLIC_ACTIVATIONS, "activation memory");
  for (int64_t channel = 0; channel < w[3]; ++channel)
    std::memcpy(device.activations + channel * w[4], call.inputs[0] + w[1] + channel * w[2],
                static_cast<size_t>(w[4]));
}

void Multiply(const int64_t *w) {
  const int64_t channels = w[2], rows = w[3], width = w[4], kh = w[5], kw = w[6], columns = w[16];
  const int64_t filters = w[14], terms = channels * kh * kw;
  Require(filters <= SYSTOLIC_ARRAY && w[15] * columns <= SYSTOLIC_ACCUMULATORS, "accumulators");
  Require(w[1] + filters * terms <= SYSTOLIC_WEIGHTS, "weight memory");
  Require(channels * rows * width <= SYSTOLIC_ACTIVATIONS, "activation memory");
  for (int64_t o = 0; o < filters; ++o) {
    const int8_t *weights = device.weights + w[1] + o * terms;
    for (int64_t pixel = 0; pixel < w[15] * columns; ++pixel) {
      const int64_t top = pixel / columns * w[7] - w[11], left = pixel % columns * w[8] - w[12];
      int32_t sum = 0;
      for (int64_t c = 0; c < channels; ++c)
        for (int64_t u = 0; u < kh; ++u)
          for (int64_t v = 0; v < kw; ++v) {
            const int64_t y = top + u * w[9], x = left + v * w[10];
            if (y < 0 || y >= rows || x < 0 || x >= width) continue;
            const int32_t value = Read(device.activations + (c * rows + y) * width + x, w[18] != 0);
            sum += (value - static_cast<int32_t>(w[13])) * weights[(c * kh + u) * kw + v];
          }
      device.accumulators[o][pixel] = sum;
    }
  }
}

void Store(const int64_t *w, const Call &call) {
  const int32_t *bias = static_cast<const int32_t *>(call.parameters[1]);
  const int64_t *multiplier = static_cast<const int64_t *>(call.parameters[2]);
  const int64_t *shift = static_cast<const int64_t *>(call.parameters[3]);
  Require(w[2] <= SYSTOLIC_ARRAY && w[3] <= SYSTOLIC_ACCUMULATORS, "accumulators");
  for (int64_t o = 0; o < w[2]; ++o) {
    const int64_t filter = w[1] + o;
    for (int64_t pixel = 0; pixel < w[3]; ++pixel) {
      const int64_t total = static_cast<int64_t>(device.accumulators[o][pixel]) + bias[filter];
      call.output[w[4] + o * w[5] + pixel] =
          static_cast<char>(Requantised(total * multiplier[filter], shift[filter], w[6], w[7], w[8]));
    }
  }
}

void Add(const int64_t *w, const Call &call) {
  const uint8_t *a = reinterpret_cast<const uint8_t *>(call.inputs[0]);
  const uint8_t *b = reinterpret_cast<const uint8_t *>(call.inputs[1]);
  for (int64_t i = 0; i < w[1]; ++i) {
    const int64_t left = (Read(a + i, w[10] != 0) - w[2]) * w[4], right = (Read(b + i, w[11] != 0) - w[3]) * w[5];
    call.output[i] = static_cast<char>(Requantised(left + right, w[6], w[7], w[8], w[9]));
  }
}

float FloatOf(int64_t word) {
  const int32_t bits = static_cast<int32_t>(word);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

void Quantize(const int64_t *w, const Call &call) {
  const float *x = reinterpret_cast<const float *>(call.inputs[0]), scale = FloatOf(w[2]);
  const float low = w[4] ? -128.0f : 0.0f, high = w[4] ? 127.0f : 255.0f;
  for (int64_t i = 0; i < w[1]; ++i) {
    float value = std::nearbyint(x[i] / scale) + static_cast<float>(w[3]);
    value = value < low ? low : value > high ? high : value;
    call.output[i] = static_cast<char>(static_cast<int32_t>(value));
  }
}

void Dequantize(const int64_t *w, const Call &call) {
  const uint8_t *x = reinterpret_cast<const uint8_t *>(call.inputs[0]);
  float *out = reinterpret_cast<float *>(call.output);
  const float scale = FloatOf(w[2]);
  for (int64_t i = 0; i < w[1]; ++i)
    out[i] = static_cast<float>(Read(x + i, w[4] != 0) - static_cast<int32_t>(w[3])) * scale;
}

}  // namespace

void systolic_run(const int64_t *stream, int64_t words, const void *const *tensors, const void *const *parameters,
                  const int64_t *sizes, int64_t image) {
  const char *a = static_cast<const char *>(tensors[0]) + image * sizes[0];
  const char *b = tensors[1] ? static_cast<const char *>(tensors[1]) + image * sizes[0] : nullptr;
  char *out = static_cast<char *>(const_cast<void *>(tensors[2])) + image * sizes[1];
  const Call call = {{a, b}, out, parameters};
  for (const int64_t *w = stream; w < stream + words; w += SYSTOLIC_WORDS) {
    switch (w[0]) {
      case 0: LoadWeights(w, call); break;
      case 1: LoadRows(w, call); break;
      case 2: Multiply(w); break;
      case 3: Store(w, call); break;
      case 4: Add(w, call); break;
      case 5: Quantize(w, call); break;
      case 6: Dequantize(w, call); break;
      default: Require(false, "set of commands");
    }
  }
}
