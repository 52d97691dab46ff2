/* 3x3 convolution with 16 products for each 2x2 pixels of the result in place of 36: F(2x2, 3x3) of Lavin and Gray 2016,
 * "Fast Algorithms for Convolutional Neural Networks", section 4.1.
 *
 * The padded image is split into four planes by the parity of rows and columns, so that what the same tap of
 * neighbouring tiles reads lies together, also from one row of tiles to the next: each row of a plane has one column
 * more than there are tiles across, and the tile that would begin there is computed but not written. */
enum { CSOURCE_WINOGRAD = 16, CSOURCE_WINOGRAD_ROWS = 4 * CSOURCE_ROWS };

typedef struct {
  CsourceConvolving v;
  int64_t down, across; /* tiles of a column, and of a row with the one that is not written */
  int64_t plane;        /* floats in one of the four planes, of which an image has four for each channel */
  int64_t first, panels; /* of the band of tiles that is worked on: its first tile, its panels of CSOURCE_COLUMNS tiles */
  float *turned;         /* [panel][16][channels][CSOURCE_COLUMNS]: tiles of the band, transformed */
} CsourceWinograd;

/* The four planes of channels [begin, end). */
static void csource_winograd_copy_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceWinograd *w = (const CsourceWinograd *)ctx;
  const CsourceConvolution *c = &w->v.c;
  for (int64_t channel = begin; channel < end; ++channel) {
    float *planes = w->v.copy + channel * 4 * w->plane;
    for (int64_t y = 0; y < 2 * (w->down + 1); ++y) {
      float *even = planes + y % 2 * 2 * w->plane + y / 2 * w->across;
      const int64_t iy = y - c->pad[1];
      if (iy >= 0 && iy < c->in[1]) {
        csource_conv_copy_phases(&w->v, w->v.image + (channel * c->in[1] + iy) * c->in[2], 2, w->plane, even);
      } else {
        memset(even, 0, (size_t)w->across * sizeof(float));
        memset(even + w->plane, 0, (size_t)w->across * sizeof(float));
      }
    }
  }
}

/* One vector of tiles, rows and columns transformed: 16 vectors, `step` floats apart. */
static inline __attribute__((always_inline)) void csource_winograd_turn(const float *in, int64_t plane, int64_t across,
                                                                        int64_t step, float *out) {
  csource_vector rows[4][4];
  for (int x = 0; x < 4; ++x) {
    csource_vector d[4];
    for (int y = 0; y < 4; ++y)
      d[y] = *(const csource_vector *)(in + (y % 2 * 2 + x % 2) * plane + y / 2 * across + x / 2);
    rows[0][x] = d[0] - d[2];
    rows[1][x] = d[1] + d[2];
    rows[2][x] = d[2] - d[1];
    rows[3][x] = d[1] - d[3];
  }
  for (int y = 0; y < 4; ++y, out += 4 * step) {
    *(csource_vector *)out = rows[y][0] - rows[y][2];
    *(csource_vector *)(out + step) = rows[y][1] + rows[y][2];
    *(csource_vector *)(out + 2 * step) = rows[y][2] - rows[y][1];
    *(csource_vector *)(out + 3 * step) = rows[y][1] - rows[y][3];
  }
}

/* The band's tiles of channels [begin, end). */
static void csource_winograd_turn_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceWinograd *w = (const CsourceWinograd *)ctx;
  const int64_t channels = w->v.c.in_channels, step = channels * CSOURCE_COLUMNS;
  for (int64_t channel = begin; channel < end; ++channel) {
    const float *in = w->v.copy + channel * 4 * w->plane + w->first;
    float *out = w->turned + channel * CSOURCE_COLUMNS;
    for (int64_t panel = 0; panel < w->panels; ++panel, in += CSOURCE_COLUMNS, out += CSOURCE_WINOGRAD * step) {
      csource_winograd_turn(in, w->plane, w->across, step, out);
      csource_winograd_turn(in + CSOURCE_LANES, w->plane, w->across, step, out + CSOURCE_LANES);
    }
  }
}

/* From the 16 sums of a panel of tiles, `step` floats apart, two rows of pixels. */
static inline void csource_winograd_return(const float *sums, int64_t step, float pixels[2][2 * CSOURCE_COLUMNS]) {
  float columns[2][2][CSOURCE_COLUMNS] __attribute__((aligned(64))); /* of each row, the even ones and the odd ones */
  for (int half = 0; half < CSOURCE_COLUMNS; half += CSOURCE_LANES, sums += CSOURCE_LANES) {
    csource_vector rows[2][4];
    for (int x = 0; x < 4; ++x) {
      csource_vector m[4];
      for (int y = 0; y < 4; ++y) m[y] = *(const csource_vector *)(sums + (y * 4 + x) * step);
      rows[0][x] = m[0] + m[1] + m[2];
      rows[1][x] = m[1] - m[2] - m[3];
    }
    for (int y = 0; y < 2; ++y) {
      *(csource_vector *)(columns[y][0] + half) = rows[y][0] + rows[y][1] + rows[y][2];
      *(csource_vector *)(columns[y][1] + half) = rows[y][1] - rows[y][2] - rows[y][3];
    }
  }
  for (int y = 0; y < 2; ++y)
    for (int i = 0; i < CSOURCE_COLUMNS; ++i) {
      pixels[y][2 * i] = columns[y][0][i];
      pixels[y][2 * i + 1] = columns[y][1][i];
    }
}

/* Pixels of one channel of the result from its panel of tiles. */
static void csource_winograd_finish(const CsourceWinograd *w, const float *sums, int64_t step, int64_t tile,
                                    int64_t channel) {
  float pixels[2][2 * CSOURCE_COLUMNS] __attribute__((aligned(64)));
  const CsourceConvolution *c = &w->v.c;
  csource_winograd_return(sums, step, pixels);
  const int64_t end = byoc_min(tile + CSOURCE_COLUMNS, w->down * w->across);
  for (int64_t at = tile, length; at < end; at += length) {
    const int64_t row = at / w->across, column = at % w->across;
    length = byoc_min(w->across - column, end - at);
    const int64_t columns = byoc_min(2 * length, c->out[2] - 2 * column);
    for (int y = 0; y < 2 && 2 * row + y < c->out[1] && columns > 0; ++y)
      csource_finish(w->v.epilogue, pixels[y] + 2 * (at - tile), 0, 1, columns, channel,
                     (2 * row + y) * c->out[2] + 2 * column, w->v.out_offset, w->v.pixels, w->v.out);
  }
}

/* One task is some channels of the result for one panel of tiles. */
static void csource_winograd_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceWinograd *w = (const CsourceWinograd *)ctx;
  const CsourceRows rows = csource_deal(w->v.c.out_channels);
  const int64_t depth = w->v.c.in_channels;
  enum { STEP = CSOURCE_WINOGRAD_ROWS * CSOURCE_COLUMNS };
  float sums[CSOURCE_WINOGRAD * STEP] __attribute__((aligned(64)));
  for (int64_t task = begin; task < end; ++task) {
    const int64_t panel = task % w->panels, first = task / w->panels * 4, last = byoc_min(first + 4, rows.panels);
    const float *right = w->turned + panel * CSOURCE_WINOGRAD * depth * CSOURCE_COLUMNS;
    const int64_t top = csource_first_row(&rows, first);
    for (int64_t f = 0; f < CSOURCE_WINOGRAD; ++f, right += depth * CSOURCE_COLUMNS)
      for (int64_t p = first; p < last; ++p) {
        const int64_t row = csource_first_row(&rows, p);
        const float *left = w->v.weights + (f * rows.rows + row) * depth;
        csource_tiles[csource_height(&rows, p)](depth, left, right, left + rows.rows * depth,
                                                sums + f * STEP + (row - top) * CSOURCE_COLUMNS, 0);
      }
    for (int64_t row = top; row < csource_first_row(&rows, last); ++row)
      csource_winograd_finish(w, sums + (row - top) * CSOURCE_COLUMNS, STEP, w->first + panel * CSOURCE_COLUMNS, row);
  }
}

/* `weights` are packed as 16 matrices [output channels][channels]; `copy` is memory for the planes of an image and a
 * band of tiles past their end, `turned` for `band` panels of transformed tiles. */
static BYOC_UNUSED void csource_winograd(const CsourceConvolution *c, int64_t batch, const float *x, const float *weights,
                                         float *copy, float *turned, int64_t band, const CsourceEpilogue *epilogue,
                                         float *out) {
  CsourceWinograd w = {.down = (c->out[1] + 1) / 2, .across = (c->out[2] + 1) / 2 + 1, .turned = turned};
  w.plane = (w.down + 1) * w.across;
  w.v = (CsourceConvolving){.c = *c, .step = {1, 1, 1}, .phases = 2, .width = w.across, .weights = weights,
                            .copy = copy, .out = out, .epilogue = epilogue, .pixels = c->out[1] * c->out[2]};
  const int64_t panels = csource_column_panels(w.down * w.across);
  const int64_t blocks = (csource_deal(c->out_channels).panels + 3) / 4;
  const int64_t work = byoc_min(c->out_channels, CSOURCE_WINOGRAD_ROWS) * CSOURCE_COLUMNS * c->in_channels * 16;
  for (int64_t n = 0; n < batch; ++n) {
    w.v.image = x + n * c->in_channels * c->in[1] * c->in[2];
    w.v.out_offset = n * c->out_channels * w.v.pixels;
    byoc_parallel_for(c->in_channels, 1 + 4096 / w.plane, csource_winograd_copy_range, &w);
    for (int64_t panel = 0; panel < panels; panel += band) {
      w.first = panel * CSOURCE_COLUMNS;
      w.panels = byoc_min(band, panels - panel);
      byoc_parallel_for(c->in_channels, 1 + 128 / w.panels, csource_winograd_turn_range, &w);
      byoc_parallel_for(w.panels * blocks, 1 + 131072 / work, csource_winograd_range, &w);
    }
  }
}
