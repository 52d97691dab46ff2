/* Linear layers with weights of sixteen-bit floats ($dtype), computed in float.
 *
 * Weights come in panels of thirty-two outputs: for every input the thirty-two numbers, side by side. */
#if defined(__AVX512F__)
enum { HALF_ROWS_$id = 8 }; /* rows that are worked on together: as many as registers hold */
#else
enum { HALF_ROWS_$id = 2 };
#endif
enum { HALF_OUTPUTS_$id = 2 * KV_LANES };

typedef struct {
  const uint16_t *weights;
  const float *in;
  float *out;
  int64_t rows, inputs, outputs;
} HalfLinear_$id;

/* out[rows] of one panel; `rows` and `steps`, inputs with sums of their own, are known to the compiler. */
static inline __attribute__((always_inline)) void half_panel_$id(const uint16_t *weights, const float *in,
                                                                 int64_t inputs, int rows, int steps,
                                                                 float *out) {
  kv_floats low[8], high[8];
  _Pragma("GCC unroll 8") for (int i = 0; i < rows * steps; ++i) low[i] = high[i] = (kv_floats){0};
  const int64_t whole = inputs / steps * steps;
  for (int64_t k = 0; k < whole; k += steps) {
    _Pragma("GCC unroll 4") for (int s = 0; s < steps; ++s, weights += HALF_OUTPUTS_$id) {
      const kv_floats first = $load(weights), second = $load(weights + KV_LANES);
      _Pragma("GCC unroll 8") for (int r = 0; r < rows; ++r) {
        low[s * rows + r] += in[r * inputs + k + s] * first;
        high[s * rows + r] += in[r * inputs + k + s] * second;
      }
    }
  }
  for (int64_t k = whole; k < inputs; ++k, weights += HALF_OUTPUTS_$id) {
    _Pragma("GCC unroll 8") for (int r = 0; r < rows; ++r) {
      low[r] += in[r * inputs + k] * $load(weights);
      high[r] += in[r * inputs + k] * $load(weights + KV_LANES);
    }
  }
  _Pragma("GCC unroll 8") for (int r = 0; r < rows; ++r) {
    _Pragma("GCC unroll 4") for (int s = 1; s < steps; ++s) {
      low[r] += low[s * rows + r];
      high[r] += high[s * rows + r];
    }
    *(kv_floats *)(out + r * HALF_OUTPUTS_$id) = low[r];
    *(kv_floats *)(out + r * HALF_OUTPUTS_$id + KV_LANES) = high[r];
  }
}

static BYOC_UNUSED void half_range_$id(int64_t begin, int64_t end, void *ctx) {
  const HalfLinear_$id *p = (const HalfLinear_$id *)ctx;
  float sums[8 * 2 * KV_LANES];
  for (int64_t panel = begin; panel < end; ++panel) {
    const uint16_t *weights = p->weights + panel * p->inputs * HALF_OUTPUTS_$id;
    const int64_t outputs = byoc_min(HALF_OUTPUTS_$id, p->outputs - panel * HALF_OUTPUTS_$id);
    for (int64_t row = 0, rows; row < p->rows; row += rows) {
      const float *in = p->in + row * p->inputs;
      rows = p->rows - row >= HALF_ROWS_$id ? HALF_ROWS_$id : p->rows - row >= 2 ? 2 : 1;
      switch (rows) {
        case 8: half_panel_$id(weights, in, p->inputs, 8, 1, sums); break;
        case 2: half_panel_$id(weights, in, p->inputs, 2, HALF_ROWS_$id / 2, sums); break;
        default: half_panel_$id(weights, in, p->inputs, 1, HALF_ROWS_$id / 2, sums); break;
      }
      for (int64_t r = 0; r < rows; ++r)
        memcpy(p->out + (row + r) * p->outputs + panel * HALF_OUTPUTS_$id, sums + r * HALF_OUTPUTS_$id,
               (size_t)outputs * sizeof(float));
    }
  }
}

static BYOC_UNUSED void half_linear_$id(const void *weights, const float *in, int64_t rows, int64_t inputs,
                                        int64_t outputs, float *out) {
  HalfLinear_$id p = {(const uint16_t *)weights, in, out, rows, inputs, outputs};
  byoc_parallel_for((outputs + HALF_OUTPUTS_$id - 1) / HALF_OUTPUTS_$id,
                    1 + 49152 / (inputs * byoc_max(1, rows) * HALF_OUTPUTS_$id * 2 + 1), half_range_$id, &p);
}
