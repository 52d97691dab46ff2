/* gate * sigmoid(gate) * up, element by element. */
typedef struct {
  const float *gate, *up;
  float *out;
} CsourceSwiglu;

static BYOC_UNUSED void csource_swiglu_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceSwiglu *r = (const CsourceSwiglu *)ctx;
  const float *BYOC_RESTRICT gate = r->gate, *BYOC_RESTRICT up = r->up;
  float *BYOC_RESTRICT out = r->out;
  for (int64_t i = begin; i < end; ++i) out[i] = gate[i] * csource_sigmoidf(gate[i]) * up[i];
}

static BYOC_UNUSED void csource_swiglu(const float *gate, const float *up, int64_t n, float *out) {
  CsourceSwiglu r = {gate, up, out};
  byoc_parallel_for(n, 1024, csource_swiglu_range, &r);
}
