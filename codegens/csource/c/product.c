/* A strip of a product: some panels of the left matrix times a few of the right one. */
typedef struct {
  CsourceRows rows;
  int64_t depth;     /* of the whole product */
  const float *left; /* packed */
  int transposed;    /* write the result turned: its columns are the rows of memory */
  int64_t first_row; /* of the result, where row 0 of the left matrix goes */
  int64_t offset, stride;
  const CsourceEpilogue *epilogue;
  float *out;
} CsourceStrip;

static BYOC_UNUSED void csource_finish_tile(const CsourceStrip *s, const float *sums, int64_t row, int64_t rows,
                                            int64_t column, int64_t columns) {
  if (!s->transposed) {
    csource_finish(s->epilogue, sums, CSOURCE_COLUMNS, rows, columns, s->first_row + row, column, s->offset, s->stride,
                   s->out);
    return;
  }
  float turned[CSOURCE_COLUMNS * CSOURCE_ROWS] __attribute__((aligned(64)));
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < CSOURCE_COLUMNS; ++j) turned[j * CSOURCE_ROWS + i] = sums[i * CSOURCE_COLUMNS + j];
  csource_finish(s->epilogue, turned, CSOURCE_ROWS, columns, rows, column, s->first_row + row, s->offset, s->stride,
                 s->out);
}

/* Left panels [first, last) times depth [from, from + depth) of the strip `right`, whose panels are `right_stride`
 * apart.  `sums` holds CSOURCE_TILES_DOWN x CSOURCE_TILES_ACROSS tiles from one piece of the depth to the next. */
static BYOC_UNUSED void csource_multiply(const CsourceStrip *s, int64_t first, int64_t last, int64_t from,
                                         int64_t depth, const float *right, int64_t right_stride, int64_t column,
                                         int64_t columns, float *sums) {
  const int whole = depth == s->depth, done = from + depth == s->depth;
  for (int64_t panel = first; panel < last; ++panel) {
    const int64_t row = csource_first_row(&s->rows, panel), rows = csource_height(&s->rows, panel);
    const float *left = s->left + row * s->depth + from * rows;
    for (int64_t at = 0, i = 0; at < columns; at += CSOURCE_COLUMNS, ++i) {
      float *tile = sums + (whole ? 0 : ((panel - first) * CSOURCE_TILES_ACROSS + i) * CSOURCE_TILE_SIZE);
      const float *ahead = right + i * right_stride + (depth + (panel - first) * depth / 2) * CSOURCE_COLUMNS;
      csource_tiles[rows](depth, left, right + i * right_stride, ahead, tile, from > 0);
      if (done) csource_finish_tile(s, tile, row, rows, column + at, byoc_min(CSOURCE_COLUMNS, columns - at));
    }
  }
}

/* Products of packed matrices: out[batch][rows][columns]. */
typedef struct {
  int64_t rows, columns, depth, batches;
  const float *left, *right;
  int64_t rank;                                          /* of the batch */
  const int64_t *extents, *left_strides, *right_strides; /* of the batch; strides count matrices, 0 where broadcast */
  int transposed;                                        /* write out[batch][columns][rows] */
  const CsourceEpilogue *epilogue;
  int64_t offset; /* of the result in `out` */
  float *out;
} CsourceProduct;

static BYOC_UNUSED int64_t csource_batch_offset(int64_t batch, int64_t rank, const int64_t *extents, const int64_t *strides) {
  int64_t offset = 0;
  for (int64_t axis = rank - 1; axis >= 0; --axis) {
    offset += batch % extents[axis] * strides[axis];
    batch /= extents[axis];
  }
  return offset;
}

typedef struct {
  const CsourceProduct *p;
  int64_t strip; /* panels in one */
} CsourceProductCall;

/* One task is one block of rows by one strip of columns. */
static BYOC_UNUSED void csource_product_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceProduct *p = ((CsourceProductCall *)ctx)->p;
  const int64_t width = ((CsourceProductCall *)ctx)->strip * CSOURCE_COLUMNS;
  float sums[CSOURCE_TILES_DOWN * CSOURCE_TILES_ACROSS * CSOURCE_TILE_SIZE] __attribute__((aligned(64)));
  CsourceStrip s = {.rows = csource_deal(p->rows), .depth = p->depth, .transposed = p->transposed,
                    .stride = p->transposed ? p->rows : p->columns, .epilogue = p->epilogue, .out = p->out};
  const int64_t blocks = csource_blocks(&s.rows);
  const int64_t strips = (p->columns + width - 1) / width, right_size = csource_column_panels(p->columns);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t batch = task / strips / blocks, block = task / strips % blocks;
    const int64_t column = task % strips * width, columns = byoc_min(width, p->columns - column);
    s.offset = p->offset + batch * p->rows * p->columns;
    s.left = p->left + csource_batch_offset(batch, p->rank, p->extents, p->left_strides) * p->rows * p->depth;
    const float *right = p->right + (csource_batch_offset(batch, p->rank, p->extents, p->right_strides) *
                                         right_size * CSOURCE_COLUMNS + column) * p->depth;
    int64_t k = 0;
    do {
      csource_multiply(&s, csource_first_panel(&s.rows, block), csource_first_panel(&s.rows, block + 1), k,
                       byoc_min(CSOURCE_DEPTH, p->depth - k), right + k * CSOURCE_COLUMNS, p->depth * CSOURCE_COLUMNS,
                       column, columns, sums);
      k += CSOURCE_DEPTH;
    } while (k < p->depth);
  }
}

static BYOC_UNUSED void csource_product(const CsourceProduct *p) {
  const CsourceRows rows = csource_deal(p->rows);
  const int64_t blocks = csource_blocks(&rows);
  const int64_t panels = csource_column_panels(p->columns);
  CsourceProductCall call = {p, CSOURCE_TILES_ACROSS};
  while (call.strip > 1 && p->batches * blocks * panels < 32 * call.strip) call.strip /= 2;
  const int64_t work = byoc_min(p->rows, CSOURCE_TILES_DOWN * CSOURCE_ROWS) * call.strip * CSOURCE_COLUMNS * (p->depth + 8);
  byoc_parallel_for(p->batches * blocks * ((panels + call.strip - 1) / call.strip), 1 + 131072 / (work + 1),
                    csource_product_range, &call);
}

/* Packing of matrices that are known only at run time. */
typedef struct {
  const float *matrix;
  int64_t rows, columns, row_stride, column_stride;
  int64_t batches, rank; /* a batch index is split by `extents`, innermost last, and each part goes by its stride */
  const int64_t *extents, *strides;
  float *packed;
} CsourcePack;

/* out[k][i] = in[i][k] for `height` rows */
static inline BYOC_UNUSED void csource_pack_panel(const CsourcePack *p, const float *in, int64_t height, float *out) {
  for (int64_t k = 0; k < p->columns; ++k, in += p->column_stride, out += height)
    for (int64_t i = 0; i < height; ++i) out[i] = in[i * p->row_stride];
}

static BYOC_UNUSED void csource_pack_rows_range(int64_t begin, int64_t end, void *ctx) {
  const CsourcePack *p = (const CsourcePack *)ctx;
  const CsourceRows rows = csource_deal(p->rows);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t batch = task / rows.panels, start = csource_first_row(&rows, task % rows.panels);
    const int64_t height = csource_height(&rows, task % rows.panels);
    const float *in =
        p->matrix + csource_batch_offset(batch, p->rank, p->extents, p->strides) + start * p->row_stride;
    float *out = p->packed + (batch * p->rows + start) * p->columns;
    if (height == CSOURCE_ROWS)
      csource_pack_panel(p, in, CSOURCE_ROWS, out);
    else
      csource_pack_panel(p, in, height, out);
  }
}

static BYOC_UNUSED void csource_pack_columns_range(int64_t begin, int64_t end, void *ctx) {
  const CsourcePack *p = (const CsourcePack *)ctx;
  const int64_t panels = csource_column_panels(p->columns);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t start = task % panels * CSOURCE_COLUMNS, width = byoc_min(CSOURCE_COLUMNS, p->columns - start);
    const float *in = p->matrix + csource_batch_offset(task / panels, p->rank, p->extents, p->strides) +
                      start * p->column_stride;
    float *out = p->packed + task * CSOURCE_COLUMNS * p->rows;
    if (p->column_stride == 1) {
      for (int64_t k = 0; k < p->rows; ++k, in += p->row_stride, out += CSOURCE_COLUMNS) {
        *(csource_vector *)out = csource_load(in, width);
        *(csource_vector *)(out + CSOURCE_LANES) =
            width > CSOURCE_LANES ? csource_load(in + CSOURCE_LANES, width - CSOURCE_LANES) : (csource_vector){0};
      }
    } else {
      for (int64_t j = 0; j < CSOURCE_COLUMNS; ++j)
        for (int64_t k = 0; k < p->rows; ++k)
          out[k * CSOURCE_COLUMNS + j] = j < width ? in[j * p->column_stride + k * p->row_stride] : 0.0f;
    }
  }
}

static BYOC_UNUSED void csource_pack_rows(const CsourcePack *p) {
  byoc_parallel_for(p->batches * csource_deal(p->rows).panels, 1 + 16384 / (p->columns * CSOURCE_ROWS + 1),
                    csource_pack_rows_range, (void *)p);
}
static BYOC_UNUSED void csource_pack_columns(const CsourcePack *p) {
  byoc_parallel_for(p->batches * csource_column_panels(p->columns), 1 + 16384 / (p->rows * CSOURCE_COLUMNS + 1),
                    csource_pack_columns_range, (void *)p);
}
