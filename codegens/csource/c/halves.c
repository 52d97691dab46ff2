/* Conversion of whole tensors between half precision and float. */
typedef struct {
  const void *in;
  void *out;
} CsourceHalves;

static void csource_floats_of_halves_range(int64_t begin, int64_t end, void *ctx) {
  const byoc_half *in = (const byoc_half *)((CsourceHalves *)ctx)->in;
  float *out = (float *)((CsourceHalves *)ctx)->out;
  for (int64_t i = begin; i < end; ++i) out[i] = byoc_half_to_float(in[i]);
}
static void csource_halves_of_floats_range(int64_t begin, int64_t end, void *ctx) {
  const float *in = (const float *)((CsourceHalves *)ctx)->in;
  byoc_half *out = (byoc_half *)((CsourceHalves *)ctx)->out;
  for (int64_t i = begin; i < end; ++i) out[i] = byoc_float_to_half(in[i]);
}
static BYOC_UNUSED void csource_floats_of_halves(const byoc_half *in, int64_t n, float *out) {
  CsourceHalves h = {in, out};
  byoc_parallel_for(n, 16384, csource_floats_of_halves_range, &h);
}
static BYOC_UNUSED void csource_halves_of_floats(const float *in, int64_t n, byoc_half *out) {
  CsourceHalves h = {in, out};
  byoc_parallel_for(n, 16384, csource_halves_of_floats_range, &h);
}
