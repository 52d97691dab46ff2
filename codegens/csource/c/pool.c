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

/* The same where windows are not wide: whole rows of the image first, combined into a line, then shifts of the line.
 * Whole blocks are read where memory goes on; what they hold past the row is taken out again. */
static void ${name}_line(const CsourcePool *p, const $element *plane, const $element *limit, int64_t z, int64_t y,
                         int64_t x, int64_t columns, $sum *BYOC_RESTRICT value) {
  $sum line[CSOURCE_POOL_SPAN + 2 * CSOURCE_POOL_BLOCK];
  const int64_t step = p->stride[2], shift = x * step - p->pad[2];
  const int64_t span = (columns - 1) * step + (p->kernel[2] - 1) * p->dilation[2] + 1;
  const int64_t begin = byoc_min(span, byoc_max(0, -shift)), end = byoc_max(begin, byoc_min(span, p->in[2] - shift));
  for (int64_t i = 0; i < span + CSOURCE_POOL_BLOCK; ++i) line[i] = $initial;
  for (int64_t kz = 0; kz < p->kernel[0]; ++kz)
    for (int64_t ky = 0; ky < p->kernel[1]; ++ky) {
      const int64_t iz = z * p->stride[0] + kz * p->dilation[0] - p->pad[0];
      const int64_t iy = y * p->stride[1] + ky * p->dilation[1] - p->pad[1];
      if (iz < 0 || iz >= p->in[0] || iy < 0 || iy >= p->in[1]) continue;
      const $element *in = plane + (iz * p->in[1] + iy) * p->in[2] + shift;
      for (int64_t first = begin; first < end; first += CSOURCE_POOL_BLOCK) {
        $sum *BYOC_RESTRICT to = line + first;
        const $element *from = in + first;
#define CSOURCE_POOL_BLOCK_OF(count)                 \
  for (int64_t i = 0; i < (count); ++i) {            \
    const $sum v = ($sum)$load_line, old = to[i];    \
    to[i] = $combine;                                \
  }
        if (limit - from >= CSOURCE_POOL_BLOCK) {
          CSOURCE_POOL_BLOCK_OF(CSOURCE_POOL_BLOCK)
        } else {
          CSOURCE_POOL_BLOCK_OF(byoc_min(CSOURCE_POOL_BLOCK, end - first))
        }
#undef CSOURCE_POOL_BLOCK_OF
      }
    }
  for (int64_t i = 0; i < CSOURCE_POOL_BLOCK; ++i) line[end + i] = $initial;
  for (int64_t i = end + CSOURCE_POOL_BLOCK; i < span; ++i) line[i] = $initial;
  for (int64_t first = 0; first < columns; first += CSOURCE_POOL_BLOCK) {
    $sum *BYOC_RESTRICT to = value + first;
    for (int64_t i = 0; i < CSOURCE_POOL_BLOCK; ++i) to[i] = $initial;
    for (int64_t kx = 0; kx < p->kernel[2]; ++kx) {
      const $sum *from = line + first * step + kx * p->dilation[2];
#define CSOURCE_POOL_SHIFT(STEP)                              \
  for (int64_t i = 0; i < CSOURCE_POOL_BLOCK; ++i) {          \
    const $sum v = from[i * STEP], old = to[i];               \
    to[i] = $combine;                                         \
  }
      if (step == 1) {
        CSOURCE_POOL_SHIFT(1)
      } else if (step == 2) {
        CSOURCE_POOL_SHIFT(2)
      } else {
        CSOURCE_POOL_SHIFT(step)
      }
#undef CSOURCE_POOL_SHIFT
    }
  }
}

/* One task is one row of the result. */
static void ${name}_range(int64_t begin, int64_t end, void *ctx) {
  const CsourcePoolCall *call = (const CsourcePoolCall *)ctx;
  const CsourcePool *p = call->pool;
  $sum value[CSOURCE_POOL_COLUMNS];
  const int64_t span = CSOURCE_POOL_COLUMNS * p->stride[2] + (p->kernel[2] - 1) * p->dilation[2];
  const int narrow = span <= CSOURCE_POOL_SPAN;
  const $element *limit = (const $element *)call->in + p->planes * p->in[0] * p->in[1] * p->in[2];
  for (int64_t task = begin; task < end; ++task) {
    const int64_t y = task % p->out[1], z = task / p->out[1] % p->out[0], plane = task / p->out[1] / p->out[0];
    const $element *in = (const $element *)call->in + plane * p->in[0] * p->in[1] * p->in[2];
    $element *out = ($element *)call->out + task * p->out[2];
    for (int64_t x = 0; x < p->out[2]; x += CSOURCE_POOL_COLUMNS) {
      const int64_t columns = byoc_min(CSOURCE_POOL_COLUMNS, p->out[2] - x);
      if (narrow)
        ${name}_line(p, in, limit, z, y, x, columns, value);
      else
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
