/* Up to CSOURCE_POOL_COLUMNS elements of one row of the result. */
static void ${name}_columns(const CsourcePool *p, const $element *plane, int64_t z, int64_t y, int64_t x,
                            int64_t columns, $sum *BYOC_RESTRICT value) {
  for (int64_t i = 0; i < columns; ++i) value[i] = $initial;
  for (int64_t kz = 0; kz < p->kernel[0]; ++kz)
    for (int64_t ky = 0; ky < p->kernel[1]; ++ky) {
      const int64_t iz = z * p->stride[0] + kz * p->dilation[0] - p->pad[0];
      const int64_t iy = y * p->stride[1] + ky * p->dilation[1] - p->pad[1];
      if (iz < 0 || iz >= p->in[0] || iy < 0 || iy >= p->in[1]) continue;
      const $element *row = plane + (iz * p->in[1] + iy) * p->in[2];
      for (int64_t kx = 0; kx < p->kernel[2]; ++kx) {
        const int64_t step = p->stride[2], shift = x * step + kx * p->dilation[2] - p->pad[2];
        const int64_t begin = byoc_min(columns, shift < 0 ? (-shift + step - 1) / step : 0);
        const int64_t end = byoc_min(columns, shift < p->in[2] ? (p->in[2] - shift + step - 1) / step : 0);
#define CSOURCE_POOL_ROW(STEP)                           \
  for (int64_t i = begin; i < end; ++i) {                \
    const $sum v = ($sum)$load, old = value[i];          \
    value[i] = $combine;                                 \
  }
        const $element *in = row + shift;
        if (step == 1) {
          CSOURCE_POOL_ROW(1)
        } else if (step == 2) {
          CSOURCE_POOL_ROW(2)
        } else {
          CSOURCE_POOL_ROW(step)
        }
#undef CSOURCE_POOL_ROW
      }
    }
}

/* One task is one row of the result. */
static void ${name}_range(int64_t begin, int64_t end, void *ctx) {
  const CsourcePoolCall *call = (const CsourcePoolCall *)ctx;
  const CsourcePool *p = call->pool;
  $sum value[CSOURCE_POOL_COLUMNS];
  for (int64_t task = begin; task < end; ++task) {
    const int64_t y = task % p->out[1], z = task / p->out[1] % p->out[0], plane = task / p->out[1] / p->out[0];
    const $element *in = (const $element *)call->in + plane * p->in[0] * p->in[1] * p->in[2];
    $element *out = ($element *)call->out + task * p->out[2];
    for (int64_t x = 0; x < p->out[2]; x += CSOURCE_POOL_COLUMNS) {
      const int64_t columns = byoc_min(CSOURCE_POOL_COLUMNS, p->out[2] - x);
      ${name}_columns(p, in, z, y, x, columns, value);
$finish
    }
  }
}

static void $name(const CsourcePool *p, const $element *in, $element *out) {
  CsourcePoolCall call = {p, in, out};
  const int64_t work = p->out[2] * p->kernel[0] * p->kernel[1] * p->kernel[2];
  byoc_parallel_for(p->planes * p->out[0] * p->out[1], 1 + 16384 / (work + 1), ${name}_range, &call);
}
