/* Floats as unsigned bytes over their own range, zero included. */
typedef struct {
  const float *in;
  uint8_t *out;
  float scale, zero;
} CsourceDynamic;

static void csource_dynamic_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceDynamic *d = (const CsourceDynamic *)ctx;
  for (int64_t i = begin; i < end; ++i) {
    float value = rintf(d->in[i] / d->scale) + d->zero;
    value = value < 0 ? 0 : value;
    d->out[i] = (uint8_t)(int32_t)(value > 255 ? 255 : value);
  }
}

static void csource_dynamic_quantize(const float *in, int64_t n, uint8_t *out, float *scale, uint8_t *zero) {
  enum { LANES = 64 }; /* extremes of every 64th element: vectors, in an order that does not matter */
  float low[LANES] = {0}, high[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; ++j) {
      const float v = in[i + j];
      low[j] = v < low[j] ? v : low[j];
      high[j] = v > high[j] ? v : high[j];
    }
  for (; i < n; ++i) {
    low[0] = in[i] < low[0] ? in[i] : low[0];
    high[0] = in[i] > high[0] ? in[i] : high[0];
  }
  for (int j = 1; j < LANES; ++j) {
    low[0] = low[j] < low[0] ? low[j] : low[0];
    high[0] = high[j] > high[0] ? high[j] : high[0];
  }
  const float span = (high[0] - low[0]) / 255.0f;
  *scale = span > 0 ? span : 1.0f;
  float point = rintf(-low[0] / *scale);
  point = point < 0 ? 0 : point > 255 ? 255 : point;
  *zero = (uint8_t)(int32_t)point;
  CsourceDynamic d = {in, out, *scale, point};
  byoc_parallel_for(n, 16384, csource_dynamic_range, &d);
}
