/* Products of packed matrices: out[batch][rows][columns]. */
typedef struct {
  int64_t rows, columns, depth, batches;
  const float *left, *right;
  int64_t rank;                                         /* of the batch */
  const int64_t *extents, *left_strides, *right_strides; /* of the batch; strides count matrices, 0 where broadcast */
  int transposed;                                       /* write out[batch][columns][rows] */
  const CsourceEpilogue *epilogue;
  int64_t offset; /* of the result in `out` */
  float *out;
} CsourceProduct;

static inline BYOC_UNUSED int64_t csource_column_panels(int64_t columns) {
  return (columns + CSOURCE_COLUMNS - 1) / CSOURCE_COLUMNS;
}

static BYOC_UNUSED int64_t csource_batch_offset(int64_t batch, int64_t rank, const int64_t *extents, const int64_t *strides) {
  int64_t offset = 0;
  for (int64_t axis = rank - 1; axis >= 0; --axis) {
    offset += batch % extents[axis] * strides[axis];
    batch /= extents[axis];
  }
  return offset;
}

static BYOC_UNUSED void csource_product_block(const CsourceProduct *p, int64_t batch, int64_t block, int64_t panel) {
  float sums[CSOURCE_BLOCK * CSOURCE_COLUMNS] __attribute__((aligned(64)));
  const int64_t first = block * 16, last = byoc_min(first + 16, csource_panels(p->rows));
  const int64_t row = csource_panel_start(p->rows, first), rows = csource_panel_start(p->rows, last) - row;
  const int64_t column = panel * CSOURCE_COLUMNS, columns = byoc_min(CSOURCE_COLUMNS, p->columns - column);
  const float *left =
      p->left + csource_batch_offset(batch, p->rank, p->extents, p->left_strides) * p->rows * p->depth;
  const float *right = p->right + (csource_batch_offset(batch, p->rank, p->extents, p->right_strides) *
                                       csource_column_panels(p->columns) + panel) * CSOURCE_COLUMNS * p->depth;
  int64_t k = 0;
  do {
    const int64_t depth = byoc_min(CSOURCE_DEPTH, p->depth - k);
    csource_accumulate(p->rows, first, last, p->depth, k, depth, left, right + k * CSOURCE_COLUMNS, sums);
    k += CSOURCE_DEPTH;
  } while (k < p->depth);
  const int64_t offset = p->offset + batch * p->rows * p->columns;
  if (!p->transposed) {
    csource_finish(p->epilogue, sums, CSOURCE_COLUMNS, rows, columns, row, column, offset, p->columns, p->out);
    return;
  }
  float turned[CSOURCE_COLUMNS * CSOURCE_BLOCK + CSOURCE_LANES] __attribute__((aligned(64)));
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t i = 0; i < rows; ++i) turned[j * CSOURCE_BLOCK + i] = sums[i * CSOURCE_COLUMNS + j];
  csource_finish(p->epilogue, turned, CSOURCE_BLOCK, columns, rows, column, row, offset, p->rows, p->out);
}

static BYOC_UNUSED void csource_product_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceProduct *p = (const CsourceProduct *)ctx;
  const int64_t blocks = (csource_panels(p->rows) + 15) / 16, panels = csource_column_panels(p->columns);
  for (int64_t task = begin; task < end; ++task)
    csource_product_block(p, task / (panels * blocks), task / panels % blocks, task % panels);
}

static BYOC_UNUSED void csource_product(const CsourceProduct *p) {
  const int64_t blocks = (csource_panels(p->rows) + 15) / 16;
  const int64_t work = byoc_min(p->rows, CSOURCE_BLOCK) * CSOURCE_COLUMNS * (p->depth + 8);
  byoc_parallel_for(p->batches * blocks * csource_column_panels(p->columns), 1 + 131072 / (work + 1),
                    csource_product_range, (void *)p);
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
  const int64_t panels = csource_panels(p->rows);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t batch = task / panels, start = csource_panel_start(p->rows, task % panels);
    const int64_t height = csource_panel_start(p->rows, task % panels + 1) - start;
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
  byoc_parallel_for(p->batches * csource_panels(p->rows), 1 + 16384 / (p->columns * CSOURCE_ROWS + 1),
                    csource_pack_rows_range, (void *)p);
}
static BYOC_UNUSED void csource_pack_columns(const CsourcePack *p) {
  byoc_parallel_for(p->batches * csource_column_panels(p->columns), 1 + 16384 / (p->rows * CSOURCE_COLUMNS + 1),
                    csource_pack_columns_range, (void *)p);
}
