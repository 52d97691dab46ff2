/* Averages over windows.  One task is one row of the result.  Where padding does not count, `ending` has an entry for each
 * number of elements from 1 on. */
typedef struct {
  int excluding;
  int64_t planes, in[3], out[3], kernel[3], stride[3], pad[3];
  int32_t zero;
  const CsourceRequantise *ending;
  const void *source;
  void *result;
} ${type};

static void ${name}_rows(int64_t begin, int64_t end, void *ctx) {
  const ${type} *p = (const ${type} *)ctx;
  const CsourceRequantise ending = *p->ending; /* a copy: bytes that are written could be it */
  for (int64_t task = begin; task < end; ++task) {
    const int64_t y = task % p->out[1], z = task / p->out[1] % p->out[0], plane = task / p->out[1] / p->out[0];
    const $element *in = (const $element *)p->source + plane * p->in[0] * p->in[1] * p->in[2];
    for (int64_t x = 0; x < p->out[2]; ++x) {
      const int64_t z0 = z * p->stride[0] - p->pad[0], y0 = y * p->stride[1] - p->pad[1];
      const int64_t x0 = x * p->stride[2] - p->pad[2];
      const int64_t z1 = byoc_min(z0 + p->kernel[0], p->in[0]), y1 = byoc_min(y0 + p->kernel[1], p->in[1]);
      const int64_t x1 = byoc_min(x0 + p->kernel[2], p->in[2]);
      const int64_t zb = byoc_max(z0, 0), yb = byoc_max(y0, 0), xb = byoc_max(x0, 0);
      const int64_t entry = p->excluding ? (z1 - zb) * (y1 - yb) * (x1 - xb) - 1 : 0;
      int32_t total = 0;
      for (int64_t iz = zb; iz < z1; ++iz)
        for (int64_t iy = yb; iy < y1; ++iy)
          for (int64_t ix = xb; ix < x1; ++ix) total += in[(iz * p->in[1] + iy) * p->in[2] + ix] - p->zero;
      (($result *)p->result)[task * p->out[2] + x] =
          ($result)csource_requantised(&ending, total, ending.multiplier[entry], ending.shift[entry]);
    }
  }
}

static void $name(${type} *p) {
  byoc_parallel_for(p->planes * p->out[0] * p->out[1],
                    1 + 16384 / (p->out[2] * p->kernel[0] * p->kernel[1] * p->kernel[2] + 1), ${name}_rows, p);
}
