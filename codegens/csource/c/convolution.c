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
  int64_t phases, width, plane, taps, pixels;
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

/* One row of the copy from one row of the image. */
static BYOC_UNUSED void csource_conv_copy_row(const CsourceConvolving *v, const float *row, float *out) {
  const int64_t step = v->step[2] * v->phases, size = v->c.in[2];
  for (int64_t phase = 0; phase < v->phases; ++phase, out += v->width) {
    const int64_t shift = phase * v->step[2] - v->c.pad[2]; /* column of the image under the first element */
    const int64_t begin = byoc_min(v->width, shift < 0 ? (-shift + step - 1) / step : 0);
    const int64_t end = byoc_max(begin, byoc_min(v->width, shift < size ? (size - shift + step - 1) / step : 0));
    for (int64_t i = 0; i < begin; ++i) out[i] = 0.0f;
    const float *in = row + shift;
    if (step == 1)
      memcpy(out + begin, in + begin, (size_t)(end - begin) * sizeof(float));
    else if (step == 2)
      for (int64_t i = begin; i < end; ++i) out[i] = in[2 * i];
    else
      for (int64_t i = begin; i < end; ++i) out[i] = in[step * i];
    for (int64_t i = end; i < v->width; ++i) out[i] = 0.0f;
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

typedef struct {
  int64_t channel, z, y, x;
} CsourceTap;

static inline BYOC_UNUSED CsourceTap csource_tap(const CsourceConvolution *c, int64_t k) {
  const int64_t x = k % c->kernel[2], y = k / c->kernel[2] % c->kernel[1];
  const int64_t rest = k / c->kernel[2] / c->kernel[1];
  return (CsourceTap){rest / c->kernel[0], rest % c->kernel[0], y, x};
}
static inline BYOC_UNUSED void csource_next_tap(const CsourceConvolution *c, CsourceTap *t) {
  if (++t->x < c->kernel[2]) return;
  t->x = 0;
  if (++t->y < c->kernel[1]) return;
  t->y = 0;
  if (++t->z < c->kernel[0]) return;
  t->z = 0;
  ++t->channel;
}
static inline BYOC_UNUSED int64_t csource_tap_offset(const CsourceConvolving *v, const CsourceTap *t) {
  const CsourceConvolution *c = &v->c;
  const int64_t row = t->z * c->dilation[0] * v->extent[1] + t->y * c->dilation[1];
  return t->channel * v->plane + row * v->phases * v->width + v->tap_column[t->x];
}

/* Patches [from, from + depth) of `columns` pixels, as a panel of the right matrix. */
static BYOC_UNUSED void csource_pack_patches(const CsourceConvolving *v, const float *image, int64_t first, int64_t columns,
                                 int64_t from, int64_t depth, float *panel) {
  const CsourceConvolution *c = &v->c;
  int64_t origin[CSOURCE_COLUMNS], length[CSOURCE_COLUMNS];
  int runs = 0;
  for (int64_t done = 0; done < columns; done += length[runs++]) {
    origin[runs] = csource_pixel_origin(v, first + done);
    length[runs] = byoc_min(columns - done, c->out[2] - (first + done) % c->out[2]);
  }
  CsourceTap tap = csource_tap(c, from);
  for (int64_t k = 0; k < depth; ++k, panel += CSOURCE_COLUMNS, csource_next_tap(c, &tap)) {
    const float *in = image + csource_tap_offset(v, &tap);
    if (runs == 1 && columns == CSOURCE_COLUMNS) {
      in += origin[0];
      *(csource_vector *)panel = *(const csource_vector *)in;
      *(csource_vector *)(panel + CSOURCE_LANES) = *(const csource_vector *)(in + CSOURCE_LANES);
      continue;
    }
    if (!v->copy) { /* the image itself: nothing may be read past its end */
      for (int64_t j = 0; j < columns; ++j) panel[j] = in[origin[0] + j];
    } else { /* whole vectors: what is too much is overwritten by the next run */
      float *to = panel;
      for (int run = 0; run < runs; to += length[run++])
        for (int64_t j = 0; j < length[run]; j += CSOURCE_LANES)
          *(csource_vector *)(to + j) = *(const csource_vector *)(in + origin[run] + j);
    }
    for (int64_t j = columns; j < CSOURCE_COLUMNS; ++j) panel[j] = 0.0f;
  }
}

static BYOC_UNUSED void csource_convolution_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceConvolving *v = (const CsourceConvolving *)ctx;
  const CsourceConvolution *c = &v->c;
  float panel[(CSOURCE_DEPTH + 2) * CSOURCE_COLUMNS] __attribute__((aligned(64)));
  float sums[CSOURCE_BLOCK * CSOURCE_COLUMNS] __attribute__((aligned(64)));
  const int64_t panels = csource_panels(c->out_channels), blocks = (panels + 15) / 16;
  const int64_t column_panels = (v->pixels + CSOURCE_COLUMNS - 1) / CSOURCE_COLUMNS;
  int64_t packed = -1;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t group = task / blocks / column_panels, column = task / blocks % column_panels * CSOURCE_COLUMNS;
    const int64_t first = task % blocks * 16, last = byoc_min(first + 16, panels);
    const int64_t row = csource_panel_start(c->out_channels, first);
    const int64_t rows = csource_panel_start(c->out_channels, last) - row;
    const int64_t columns = byoc_min(CSOURCE_COLUMNS, v->pixels - column);
    const float *image = (v->copy ? v->copy : v->image) + group * c->in_channels * v->plane;
    const float *weights = v->weights + group * c->out_channels * v->taps;
    int64_t k = 0;
    do {
      const int64_t depth = byoc_min(CSOURCE_DEPTH, v->taps - k);
      if (packed != task / blocks || v->taps > CSOURCE_DEPTH)
        csource_pack_patches(v, image, column, columns, k, depth, panel);
      packed = task / blocks;
      csource_accumulate(c->out_channels, first, last, v->taps, k, depth, weights, panel, sums);
      k += CSOURCE_DEPTH;
    } while (k < v->taps);
    csource_finish(v->epilogue, sums, CSOURCE_COLUMNS, rows, columns, group * c->out_channels + row, column,
                   v->out_offset, v->pixels, v->out);
  }
}

/* Patches as panels of the left matrix: pixels are rows. */
static BYOC_UNUSED void csource_pack_pixels_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceConvolving *v = (const CsourceConvolving *)ctx;
  for (int64_t panel = begin; panel < end; ++panel) {
    const int64_t start = csource_panel_start(v->pixels, panel);
    const int64_t height = csource_panel_start(v->pixels, panel + 1) - start;
    float *out = v->patches + start * v->taps;
    int64_t origin[CSOURCE_ROWS];
    for (int64_t i = 0; i < height; ++i) origin[i] = csource_pixel_origin(v, start + i);
    CsourceTap tap = csource_tap(&v->c, 0);
    for (int64_t k = 0; k < v->taps; ++k, csource_next_tap(&v->c, &tap)) {
      const float *in = (v->copy ? v->copy : v->image) + csource_tap_offset(v, &tap);
      for (int64_t i = 0; i < height; ++i) *out++ = in[origin[i]];
    }
  }
}

static BYOC_UNUSED void csource_convolve_wide(const CsourceConvolving *v) {
  byoc_parallel_for(csource_panels(v->pixels), 1 + 16384 / (v->taps * CSOURCE_ROWS), csource_pack_pixels_range,
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
  const int64_t blocks = (csource_panels(c->out_channels) + 15) / 16;
  const int64_t column_panels = (v.pixels + CSOURCE_COLUMNS - 1) / CSOURCE_COLUMNS;
  const int64_t work = byoc_min(c->out_channels, CSOURCE_BLOCK) * CSOURCE_COLUMNS * (v.taps + 8);
  for (int64_t n = 0; n < batch; ++n) {
    v.image = x + n * channels * in;
    v.out_offset = n * c->groups * c->out_channels * v.pixels;
    if (copy) byoc_parallel_for(channels, 1 + 16384 / (v.plane + 1), csource_conv_copy_range, &v);
    if (c->wide)
      csource_convolve_wide(&v);
    else
      byoc_parallel_for(c->groups * column_panels * blocks, 1 + 131072 / (work + 1), csource_convolution_range, &v);
  }
}
