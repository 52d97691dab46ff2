/* Averages over windows.  One task is one row of the result. */
typedef struct {
  int64_t planes, in[3], out[3], kernel[3], stride[3], pad[3];
  int32_t zero;
  const CsourceRequantise *ending;
  const void *source;
  void *result;
} ${type};

static void ${name}_rows(int64_t begin, int64_t end, void *ctx) {
  const ${type} *p = (const ${type} *)ctx;
  const CsourceRequantise ending = *p->ending; /* copies: bytes that are written could be these */
  const int64_t multiplier = ending.multiplier[0];
  const int32_t shift = ending.shift[0];
  for (int64_t task = begin; task < end; ++task) {
    const int64_t y = task % p->out[1], z = task / p->out[1] % p->out[0], plane = task / p->out[1] / p->out[0];
    const $element *in = (const $element *)p->source + plane * p->in[0] * p->in[1] * p->in[2];
    for (int64_t x = 0; x < p->out[2]; ++x) {
      const int64_t z0 = z * p->stride[0] - p->pad[0], y0 = y * p->stride[1] - p->pad[1];
      const int64_t x0 = x * p->stride[2] - p->pad[2];
      int32_t total = 0;
      for (int64_t iz = byoc_max(z0, 0); iz < byoc_min(z0 + p->kernel[0], p->in[0]); ++iz)
        for (int64_t iy = byoc_max(y0, 0); iy < byoc_min(y0 + p->kernel[1], p->in[1]); ++iy)
          for (int64_t ix = byoc_max(x0, 0); ix < byoc_min(x0 + p->kernel[2], p->in[2]); ++ix)
            total += in[(iz * p->in[1] + iy) * p->in[2] + ix] - p->zero;
      (($result *)p->result)[task * p->out[2] + x] =
          ($result)csource_requantised(&ending, total, multiplier, shift);
    }
  }
}

static void $name(${type} *p) {
  byoc_parallel_for(p->planes * p->out[0] * p->out[1],
                    1 + 16384 / (p->out[2] * p->kernel[0] * p->kernel[1] * p->kernel[2] + 1), ${name}_rows, p);
}
