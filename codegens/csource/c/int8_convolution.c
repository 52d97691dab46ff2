/* Convolutions of bytes: a panel of pixels is gathered once and multiplied with the weights of all channels.  Weights
 * lie as [groups][channels / ROWS][depth / 4][ROWS][4], a panel as [depth / 4][COLUMNS][4]. */
typedef struct {
  int64_t groups, in_channels, out_channels, in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], padded[3];
  uint8_t flip, fill; /* `flip` makes int8 unsigned; `fill` is the zero point after that */
  int pointwise;
} CsourceBytes;

typedef struct {
  const CsourceBytes *shape;
  const uint8_t *image;
  uint8_t *copy;
  const int8_t *weights;
  const int32_t *bias;
  const CsourceRequantise *ending;
  uint8_t *out;
  int64_t panels, splits;
} CsourceBytesCall;

/* Padded copies of the planes [begin, end). */
static void csource_bytes_pad(int64_t begin, int64_t end, void *ctx) {
  const CsourceBytesCall *call = (const CsourceBytesCall *)ctx;
  const CsourceBytes *s = call->shape;
  for (int64_t plane = begin; plane < end; ++plane) {
    const uint8_t *in = call->image + plane * s->in[0] * s->in[1] * s->in[2];
    uint8_t *out = call->copy + plane * s->padded[0] * s->padded[1] * s->padded[2];
    memset(out, s->fill, (size_t)(s->padded[0] * s->padded[1] * s->padded[2]));
    for (int64_t z = 0; z < byoc_min(s->in[0], s->padded[0] - s->pad[0]); ++z)
      for (int64_t y = 0; y < byoc_min(s->in[1], s->padded[1] - s->pad[1]); ++y) {
        const uint8_t *from = in + (z * s->in[1] + y) * s->in[2];
        uint8_t *to = out + ((z + s->pad[0]) * s->padded[1] + y + s->pad[1]) * s->padded[2] + s->pad[2];
        const int64_t n = byoc_min(s->in[2], s->padded[2] - s->pad[2]);
        for (int64_t x = 0; x < n; ++x) to[x] = from[x] ^ s->flip;
      }
  }
}

/* The lines of the result that a panel of up to COLUMNS pixels runs over: where each begins in the panel and in a padded
 * plane at the first tap, and its pixels. */
typedef struct {
  int64_t lines, to[CSOURCE_DOT_COLUMNS], from[CSOURCE_DOT_COLUMNS], count[CSOURCE_DOT_COLUMNS];
} CsourceBytesLines;

static inline void csource_bytes_lines(const CsourceBytes *s, int64_t first, int64_t n, CsourceBytesLines *l) {
  l->lines = 0;
  for (int64_t done = 0; done < n; ++l->lines) {
    const int64_t pixel = first + done, x = pixel % s->out[2], line = pixel / s->out[2];
    const int64_t y = line % s->out[1], z = line / s->out[1];
    l->to[l->lines] = done;
    l->from[l->lines] = (z * s->stride[0] * s->padded[1] + y * s->stride[1]) * s->padded[2] + x * s->stride[2];
    l->count[l->lines] = byoc_min(n - done, s->out[2] - x);
    done += l->count[l->lines];
  }
}

/* The pixels of one tap of one channel; `at` points at the tap of pixel 0. */
static inline void csource_bytes_row(const CsourceBytesLines *l, int64_t step, const uint8_t *at, uint8_t *row) {
  for (int64_t line = 0; line < l->lines; ++line) {
    const uint8_t *from = at + l->from[line];
    uint8_t *to = row + l->to[line];
    if (step == 1) { /* copies of 16 bytes reach beyond the line: later pixels, and slack behind the last */
      memcpy(to, from, 16);
      if (l->count[line] > 16) memcpy(to + 16, from + 16, 16);
    } else {
      for (int64_t i = 0; i < l->count[line]; ++i) to[i] = from[i * step];
    }
  }
}

static void csource_bytes_gather(const CsourceBytes *s, const uint8_t *group, int64_t first, int64_t n,
                                 uint32_t *panel) {
  uint8_t rows[4][CSOURCE_DOT_COLUMNS + 16];
  const int64_t taps = s->kernel[0] * s->kernel[1] * s->kernel[2], depth = s->in_channels * taps;
  const int64_t plane = s->padded[0] * s->padded[1] * s->padded[2];
  const uint32_t flip = s->pointwise ? s->flip * 0x01010101u : 0;
  int64_t x = 0, y = 0, z = 0; /* the next tap, of the plane at `group` */
  CsourceBytesLines lines;
  if (!s->pointwise) csource_bytes_lines(s, first, n, &lines);
  memset(rows, 0, sizeof rows);
  for (int64_t k = 0; k < depth; k += 4) {
    const uint8_t *row[4] = {rows[0], rows[1], rows[2], rows[3]};
    for (int64_t j = 0; j < 4; ++j) {
      if (k + j >= depth) {
        memset(rows[j], 0, sizeof rows[j]);
      } else if (s->pointwise && n == CSOURCE_DOT_COLUMNS) {
        row[j] = group + (k + j) * plane + first;
      } else if (s->pointwise) {
        memcpy(rows[j], group + (k + j) * plane + first, (size_t)n);
      } else {
        const int64_t line = z * s->dilation[0] * s->padded[1] + y * s->dilation[1];
        csource_bytes_row(&lines, s->stride[2], group + line * s->padded[2] + x * s->dilation[2], rows[j]);
        if (++x == s->kernel[2]) x = 0, ++y;
        if (y == s->kernel[1]) y = 0, ++z;
        if (z == s->kernel[0]) z = 0, group += plane;
      }
    }
    uint32_t *to = panel + k / 4 * CSOURCE_DOT_COLUMNS;
    for (int64_t i = 0; i < CSOURCE_DOT_COLUMNS; ++i)
      to[i] = ((uint32_t)row[0][i] | (uint32_t)row[1][i] << 8 | (uint32_t)row[2][i] << 16 | (uint32_t)row[3][i] << 24) ^
              flip;
  }
}

/* ROWS channels of a panel. */
static void csource_bytes_block(const uint32_t *panel, const int8_t *weights, const int32_t *bias, int64_t steps,
                                int32_t total[CSOURCE_DOT_ROWS][CSOURCE_DOT_COLUMNS]) {
  csource_dot sum[CSOURCE_DOT_ROWS][2];
  for (int r = 0; r < CSOURCE_DOT_ROWS; ++r) sum[r][0] = sum[r][1] = bias[r] + (csource_dot){0};
  for (int64_t k = 0; k < steps; ++k) {
    const csource_dot u0 = *(const csource_dot *)(panel + k * CSOURCE_DOT_COLUMNS);
    const csource_dot u1 = *(const csource_dot *)(panel + k * CSOURCE_DOT_COLUMNS + CSOURCE_DOT_LANES);
#pragma GCC unroll 8
    for (int r = 0; r < CSOURCE_DOT_ROWS; ++r) {
      const csource_dot w = csource_dot_splat(weights + (k * CSOURCE_DOT_ROWS + r) * 4);
      sum[r][0] = csource_dot4(sum[r][0], u0, w);
      sum[r][1] = csource_dot4(sum[r][1], u1, w);
    }
  }
  for (int r = 0; r < CSOURCE_DOT_ROWS; ++r) memcpy(total[r], sum[r], sizeof total[r]);
}

/* One task is one panel of one group of one image, and a share of the channels. */
static void csource_bytes_tasks(int64_t begin, int64_t end, void *ctx) {
  const CsourceBytesCall *call = (const CsourceBytesCall *)ctx;
  const CsourceBytes *s = call->shape;
  const int64_t pixels = s->out[0] * s->out[1] * s->out[2], plane = s->padded[0] * s->padded[1] * s->padded[2];
  const int64_t depth = s->in_channels * s->kernel[0] * s->kernel[1] * s->kernel[2], steps = (depth + 3) / 4;
  const int64_t blocks = (s->out_channels + CSOURCE_DOT_ROWS - 1) / CSOURCE_DOT_ROWS;
  uint32_t panel[steps * CSOURCE_DOT_COLUMNS] __attribute__((aligned(64)));
  int32_t total[CSOURCE_DOT_ROWS][CSOURCE_DOT_COLUMNS] __attribute__((aligned(64)));
  int64_t gathered = -1;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t split = task % call->splits, here = task / call->splits;
    const int64_t first = here % call->panels * CSOURCE_DOT_COLUMNS, image = here / call->panels;
    const int64_t group = image % s->groups, n = byoc_min(CSOURCE_DOT_COLUMNS, pixels - first);
    if (gathered != here) {
      const uint8_t *source = s->pointwise ? call->image : call->copy;
      csource_bytes_gather(s, source + image * s->in_channels * plane, first, n, panel);
      gathered = here;
    }
    for (int64_t block = blocks * split / call->splits; block < blocks * (split + 1) / call->splits; ++block) {
      const int64_t padded = group * blocks + block, channel = block * CSOURCE_DOT_ROWS;
      csource_bytes_block(panel, call->weights + padded * steps * CSOURCE_DOT_ROWS * 4,
                          call->bias + padded * CSOURCE_DOT_ROWS, steps, total);
      for (int64_t r = 0; r < byoc_min(CSOURCE_DOT_ROWS, s->out_channels - channel); ++r)
        csource_requantise_channel(call->ending, group * s->out_channels + channel + r, total[r], n,
                                   call->out + (image * s->out_channels + channel + r) * pixels + first);
    }
  }
}

static void csource_bytes_convolution(const CsourceBytes *s, int64_t batch, const void *image, void *copy,
                                      const int8_t *weights, const int32_t *bias, const CsourceRequantise *ending,
                                      void *out) {
  const int64_t pixels = s->out[0] * s->out[1] * s->out[2];
  const int64_t panels = (pixels + CSOURCE_DOT_COLUMNS - 1) / CSOURCE_DOT_COLUMNS, tasks = batch * s->groups * panels;
  const int64_t blocks = (s->out_channels + CSOURCE_DOT_ROWS - 1) / CSOURCE_DOT_ROWS;
  const int64_t splits = byoc_max(1, byoc_min(blocks, 8 / byoc_max(1, tasks)));
  CsourceBytesCall call = {s, (const uint8_t *)image, (uint8_t *)copy, weights, bias, ending, (uint8_t *)out,
                           panels, splits};
  if (!s->pointwise) byoc_parallel_for(batch * s->groups * s->in_channels, 8, csource_bytes_pad, &call);
  byoc_parallel_for(tasks * splits, 1, csource_bytes_tasks, &call);
}
