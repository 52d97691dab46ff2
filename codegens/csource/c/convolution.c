/* Convolution as a product of packed weights [output channels][taps] and image patches [taps][pixels].
 *
 * The image is first copied with its padding, each row split into `phases` (every stride-th column together), so that
 * a tap of neighbouring output pixels always lies together.  Patches are packed one panel at a time. */
enum { CSOURCE_MAX_KERNEL = $max_kernel };

typedef struct {
  int64_t groups, in_channels, out_channels; /* channels of one group */
  int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
  int wide; /* weights are packed by columns; pixels become the rows of the product */
} CsourceConvolution;

typedef struct {
  CsourceConvolution c;
  int64_t extent[3], step[3]; /* of the copy: its size, and the step in the image from one of its elements to the next */
  int64_t phases, width, plane, taps, pixels, strip;
  const int64_t *tap_column; /* where a column of the kernel finds its first pixel in a row of the copy */
  const float *image, *weights;
  float *copy, *patches, *out;
  int64_t out_offset;
  const CsourceEpilogue *epilogue;
} CsourceConvolving;

static BYOC_UNUSED void csource_copy_layout(CsourceConvolving *v) {
  CsourceConvolution *c = &v->c;
  for (int d = 0; d < 3; ++d) {
    v->step[d] = c->kernel[d] == 1 ? c->stride[d] : 1;
    if (c->kernel[d] == 1) c->stride[d] = 1;
    v->extent[d] = (c->out[d] - 1) * c->stride[d] + (c->kernel[d] - 1) * c->dilation[d] + 1;
  }
  v->phases = c->stride[2];
  v->width = (v->extent[2] + v->phases - 1) / v->phases;
  v->plane = v->extent[0] * v->extent[1] * v->phases * v->width;
  v->taps = c->in_channels * c->kernel[0] * c->kernel[1] * c->kernel[2];
  v->pixels = c->out[0] * c->out[1] * c->out[2];
}

static BYOC_UNUSED void csource_tap_columns(CsourceConvolving *v, int64_t *column) {
  for (int64_t i = 0; i < v->c.kernel[2]; ++i) {
    const int64_t shift = i * v->c.dilation[2];
    column[i] = shift % v->phases * v->width + shift / v->phases;
  }
  v->tap_column = column;
}

/* Elements [begin, end) of out[i] = in[step * i]. */
static inline __attribute__((always_inline)) void csource_conv_copy_part(const float *in, int64_t step, int64_t begin,
                                                                         int64_t end, float *BYOC_RESTRICT out) {
  if (step == 1)
    for (int64_t i = begin; i < end; i += CSOURCE_LANES) csource_store(out + i, csource_load(in + i, end - i), end - i);
  else
    for (int64_t i = begin; i < end; ++i) out[i] = in[step * i];
}

/* One row of the copy from one row of the image, its phases `pitch` apart.  `step` divides: it is a constant where the
 * caller knows it. */
static inline __attribute__((always_inline)) void csource_conv_copy_phases(const CsourceConvolving *v, const float *row,
                                                                           int64_t step, int64_t pitch, float *out) {
  const int64_t size = v->c.in[2], width = v->width;
  for (int64_t phase = 0; phase < v->phases; ++phase, out += pitch) {
    const int64_t shift = phase * v->step[2] - v->c.pad[2]; /* column of the image under the first element */
    const int64_t begin = byoc_min(width, shift < 0 ? (-shift + step - 1) / step : 0);
    const int64_t end = byoc_max(begin, byoc_min(width, shift < size ? (size - shift + step - 1) / step : 0));
    for (int64_t i = 0; i < begin; ++i) out[i] = 0.0f;
    csource_conv_copy_part(row + shift, step, begin, end, out);
    for (int64_t i = end; i < width; ++i) out[i] = 0.0f;
  }
}
static BYOC_UNUSED void csource_conv_copy_row(const CsourceConvolving *v, const float *row, float *out) {
  const int64_t step = v->step[2] * v->phases;
  switch (step) {
    case 1: csource_conv_copy_phases(v, row, 1, v->width, out); break;
    case 2: csource_conv_copy_phases(v, row, 2, v->width, out); break;
    default: csource_conv_copy_phases(v, row, step, v->width, out); break;
  }
}

/* The copies of channels [begin, end). */
static BYOC_UNUSED void csource_conv_copy_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceConvolving *v = (const CsourceConvolving *)ctx;
  const CsourceConvolution *c = &v->c;
  for (int64_t channel = begin; channel < end; ++channel) {
    float *out = v->copy + channel * v->plane;
    for (int64_t z = 0; z < v->extent[0]; ++z)
      for (int64_t y = 0; y < v->extent[1]; ++y, out += v->phases * v->width) {
        const int64_t iz = z * v->step[0] - c->pad[0], iy = y * v->step[1] - c->pad[1];
        if (iz < 0 || iz >= c->in[0] || iy < 0 || iy >= c->in[1])
          memset(out, 0, (size_t)(v->phases * v->width) * sizeof(float));
        else
          csource_conv_copy_row(v, v->image + ((channel * c->in[0] + iz) * c->in[1] + iy) * c->in[2], out);
      }
  }
}

/* Where output pixel `pixel` finds its first tap. */
static inline BYOC_UNUSED int64_t csource_pixel_origin(const CsourceConvolving *v, int64_t pixel) {
  const CsourceConvolution *c = &v->c;
  const int64_t x = pixel % c->out[2], y = pixel / c->out[2] % c->out[1], z = pixel / c->out[2] / c->out[1];
  return (z * c->stride[0] * v->extent[1] + y * c->stride[1]) * v->phases * v->width + x;
}

/* A tap of the kernel, and where it finds the first pixel of the image. */
typedef struct {
  int64_t channel, z, y, x, row, offset;
} CsourceTap;

static inline BYOC_UNUSED void csource_place_tap(const CsourceConvolving *v, CsourceTap *t) {
  const CsourceConvolution *c = &v->c;
  const int64_t row = t->z * c->dilation[0] * v->extent[1] + t->y * c->dilation[1];
  t->row = t->channel * v->plane + row * v->phases * v->width;
  t->offset = t->row + v->tap_column[t->x];
}
static inline BYOC_UNUSED CsourceTap csource_tap(const CsourceConvolving *v, int64_t k) {
  const int64_t *kernel = v->c.kernel, rest = k / kernel[2] / kernel[1];
  CsourceTap t = {rest / kernel[0], rest % kernel[0], k / kernel[2] % kernel[1], k % kernel[2], 0, 0};
  csource_place_tap(v, &t);
  return t;
}
static inline BYOC_UNUSED void csource_next_tap(const CsourceConvolving *v, CsourceTap *t) {
  if (++t->x < v->c.kernel[2]) {
    t->offset = t->row + v->tap_column[t->x];
    return;
  }
  t->x = 0;
  if (++t->y == v->c.kernel[1]) {
    t->y = 0;
    if (++t->z == v->c.kernel[0]) {
      t->z = 0;
      ++t->channel;
    }
  }
  csource_place_tap(v, t);
}

/* Neighbouring pixels of one row of the result that go to one panel of a strip. */
typedef struct {
  int64_t origin, to, length;
} CsourceRun;

enum { CSOURCE_STRIP_COLUMNS = CSOURCE_TILES_ACROSS * CSOURCE_COLUMNS };
enum { CSOURCE_STRIP_STRIDE = (CSOURCE_DEPTH + 1) * CSOURCE_COLUMNS };

static BYOC_UNUSED int csource_find_runs(const CsourceConvolving *v, int64_t first, int64_t columns,
                                         CsourceRun *runs) {
  int count = 0;
  for (int64_t done = 0; done < columns; done += runs[count++].length) {
    const int64_t in_row = v->c.out[2] - (first + done) % v->c.out[2];
    const int64_t in_panel = CSOURCE_COLUMNS - done % CSOURCE_COLUMNS;
    runs[count].origin = csource_pixel_origin(v, first + done);
    runs[count].to = done / CSOURCE_COLUMNS * CSOURCE_STRIP_STRIDE + done % CSOURCE_COLUMNS;
    runs[count].length = byoc_min(byoc_min(columns - done, in_row), in_panel);
  }
  return count;
}

/* Patches [from, from + depth) of `columns` pixels, as a strip of the right matrix. */
static BYOC_UNUSED void csource_pack_patches(const CsourceConvolving *v, const float *image, int64_t first,
                                             int64_t columns, int64_t from, int64_t depth, float *strip) {
  CsourceRun runs[CSOURCE_STRIP_COLUMNS];
  const int count = csource_find_runs(v, first, columns, runs);
  const int64_t used = (columns - 1) % CSOURCE_COLUMNS + 1; /* columns of the last panel */
  float *last = strip + (columns - 1) / CSOURCE_COLUMNS * CSOURCE_STRIP_STRIDE;
  CsourceTap tap = csource_tap(v, from);
  for (int64_t k = 0; k < depth; ++k, strip += CSOURCE_COLUMNS, last += CSOURCE_COLUMNS, csource_next_tap(v, &tap)) {
    const float *in = image + tap.offset;
    if (v->copy) { /* whole vectors: what is too much is overwritten later, or stands past the end of a panel */
      for (const CsourceRun *run = runs; run < runs + count; ++run) {
        *(csource_vector *)(strip + run->to) = *(const csource_vector *)(in + run->origin);
        if (run->length > CSOURCE_LANES)
          *(csource_vector *)(strip + run->to + CSOURCE_LANES) =
              *(const csource_vector *)(in + run->origin + CSOURCE_LANES);
      }
    } else { /* the image itself: nothing may be read past its end */
      for (const CsourceRun *run = runs; run < runs + count; ++run)
        for (int64_t j = 0; j < run->length; j += CSOURCE_LANES)
          *(csource_vector *)(strip + run->to + j) = csource_load(in + run->origin + j, run->length - j);
    }
    for (int64_t j = used; j < CSOURCE_COLUMNS; ++j) last[j] = 0.0f;
  }
}

/* One task is one block of channels by one strip of pixels. */
static BYOC_UNUSED void csource_convolution_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceConvolving *v = (const CsourceConvolving *)ctx;
  const CsourceConvolution *c = &v->c;
  float strip[CSOURCE_TILES_ACROSS * CSOURCE_STRIP_STRIDE + CSOURCE_COLUMNS] __attribute__((aligned(64)));
  float sums[CSOURCE_TILES_DOWN * CSOURCE_TILES_ACROSS * CSOURCE_TILE_SIZE] __attribute__((aligned(64)));
  CsourceStrip s = {.rows = csource_deal(c->out_channels), .depth = v->taps, .offset = v->out_offset,
                    .stride = v->pixels, .epilogue = v->epilogue, .out = v->out};
  const int64_t width = v->strip * CSOURCE_COLUMNS, strips = (v->pixels + width - 1) / width;
  const int64_t blocks = csource_blocks(&s.rows);
  int64_t packed = -1;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t group = task / blocks / strips, column = task / blocks % strips * width;
    const int64_t block = task % blocks, columns = byoc_min(width, v->pixels - column);
    const float *image = (v->copy ? v->copy : v->image) + group * c->in_channels * v->plane;
    s.left = v->weights + group * c->out_channels * v->taps;
    s.first_row = group * c->out_channels;
    for (int64_t k = 0; k < v->taps; k += CSOURCE_DEPTH) {
      const int64_t depth = byoc_min(CSOURCE_DEPTH, v->taps - k);
      if (packed != task / blocks || depth < v->taps) csource_pack_patches(v, image, column, columns, k, depth, strip);
      packed = task / blocks;
      csource_multiply(&s, csource_first_panel(&s.rows, block), csource_first_panel(&s.rows, block + 1), k, depth,
                       strip, CSOURCE_STRIP_STRIDE, column, columns, sums);
    }
  }
}

/* Patches as panels of the left matrix: pixels are rows. */
static BYOC_UNUSED void csource_pack_pixels_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceConvolving *v = (const CsourceConvolving *)ctx;
  const CsourceRows rows = csource_deal(v->pixels);
  for (int64_t panel = begin; panel < end; ++panel) {
    const int64_t start = csource_first_row(&rows, panel), height = csource_height(&rows, panel);
    float *out = v->patches + start * v->taps;
    int64_t origin[CSOURCE_ROWS];
    for (int64_t i = 0; i < height; ++i) origin[i] = csource_pixel_origin(v, start + i);
    CsourceTap tap = csource_tap(v, 0);
    for (int64_t k = 0; k < v->taps; ++k, csource_next_tap(v, &tap)) {
      const float *in = (v->copy ? v->copy : v->image) + tap.offset;
      for (int64_t i = 0; i < height; ++i) *out++ = in[origin[i]];
    }
  }
}

static BYOC_UNUSED void csource_convolve_wide(const CsourceConvolving *v) {
  byoc_parallel_for(csource_deal(v->pixels).panels, 1 + 16384 / (v->taps * CSOURCE_ROWS), csource_pack_pixels_range,
                    (void *)v);
  const CsourceProduct product = {.rows = v->pixels, .columns = v->c.out_channels, .depth = v->taps, .batches = 1,
                                  .left = v->patches, .right = v->weights, .transposed = 1,
                                  .epilogue = v->epilogue, .offset = v->out_offset, .out = v->out};
  csource_product(&product);
}

/* Images [batch][channels][depth][height][width]; `copy` is NULL where the kernel is one pixel, with no stride or
 * padding, and `patches` is memory for [pixels][taps] where `wide` is set. */
static BYOC_UNUSED void csource_convolution(const CsourceConvolution *c, int64_t batch, const float *x, const float *weights,
                                float *copy, float *patches, const CsourceEpilogue *epilogue, float *out) {
  CsourceConvolving v = {.c = *c, .weights = weights, .copy = copy, .patches = patches, .out = out,
                         .epilogue = epilogue};
  csource_copy_layout(&v);
  const int64_t channels = c->groups * c->in_channels, in = c->in[0] * c->in[1] * c->in[2];
  int64_t tap_column[CSOURCE_MAX_KERNEL];
  csource_tap_columns(&v, tap_column);
  if (v.plane == v.pixels) { /* kernel of one pixel: the rows of the image form a single one */
    v.c.out[0] = v.c.out[1] = 1;
    v.c.out[2] = v.pixels;
  }
  const CsourceRows out_rows = csource_deal(c->out_channels);
  const int64_t blocks = csource_blocks(&out_rows);
  const int64_t panels = csource_column_panels(v.pixels);
  for (v.strip = CSOURCE_TILES_ACROSS; v.strip > 1 && c->groups * blocks * panels < 32 * v.strip;) v.strip /= 2;
  const int64_t tasks = c->groups * blocks * ((panels + v.strip - 1) / v.strip);
  const int64_t rows = byoc_min(c->out_channels, CSOURCE_TILES_DOWN * CSOURCE_ROWS);
  const int64_t work = rows * v.strip * CSOURCE_COLUMNS * (v.taps + 8);
  for (int64_t n = 0; n < batch; ++n) {
    v.image = x + n * channels * in;
    v.out_offset = n * c->groups * c->out_channels * v.pixels;
    if (copy) byoc_parallel_for(channels, 1 + 16384 / (v.plane + 1), csource_conv_copy_range, &v);
    if (c->wide)
      csource_convolve_wide(&v);
    else
      byoc_parallel_for(tasks, 1 + 131072 / (work + 1), csource_convolution_range, &v);
  }
}
