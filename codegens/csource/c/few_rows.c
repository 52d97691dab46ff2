/* Products with few rows, where packing the right matrix would take longer than the product. */
enum { CSOURCE_FEW = $few };

/* Strides are in elements.  Either right_column is 1, or right_row and left_column are. */
typedef struct {
  int64_t rows, columns, depth, left_row, left_column, right_row, right_column, batches, rank;
  const int64_t *extents, *left_strides, *right_strides; /* of the batch */
  const float *left, *right;
  const CsourceEpilogue *epilogue;
  float *out;
} CsourceFewRows;

/* The rows of the right matrix lie together: up to four vectors of columns. */
static inline __attribute__((always_inline)) void csource_few_by_rows(const CsourceFewRows *p, const float *left,
                                                                      const float *right, int64_t columns, int rows,
                                                                      float *sums) {
  csource_vector sum[CSOURCE_FEW][4];
  memset(sum, 0, sizeof sum);
  for (int64_t k = 0; k < p->depth; ++k, left += p->left_column, right += p->right_row) {
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; ++i) {
      if (i * CSOURCE_LANES >= columns) break;
      const csource_vector v = csource_load(right + i * CSOURCE_LANES, columns - i * CSOURCE_LANES);
      _Pragma("GCC unroll 4") for (int r = 0; r < rows; ++r) sum[r][i] += left[r * p->left_row] * v;
    }
  }
  memcpy(sums, sum, sizeof sum);
}

static inline BYOC_UNUSED float csource_add_lanes(csource_vector v) {
  float part[CSOURCE_LANES];
  memcpy(part, &v, sizeof v);
  for (int half = CSOURCE_LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) part[i] += part[i + half];
  return part[0];
}

/* The columns of the right matrix lie together: one dot product after the other. */
static inline __attribute__((always_inline)) void csource_few_by_columns(const CsourceFewRows *p, const float *left,
                                                                         const float *right, int64_t columns, int rows,
                                                                         float *sums) {
  for (int64_t j = 0; j < columns; ++j, right += p->right_column) {
    csource_vector sum[CSOURCE_FEW];
    memset(sum, 0, sizeof sum);
    for (int64_t k = 0; k < p->depth; k += CSOURCE_LANES) {
      const csource_vector v = csource_load(right + k, p->depth - k);
      _Pragma("GCC unroll 4") for (int r = 0; r < rows; ++r)
        sum[r] += csource_load(left + r * p->left_row + k, p->depth - k) * v;
    }
    _Pragma("GCC unroll 4") for (int r = 0; r < rows; ++r)
      sums[r * 4 * CSOURCE_LANES + j] = csource_add_lanes(sum[r]);
  }
}

static inline __attribute__((always_inline)) void csource_few_part(const CsourceFewRows *p, const float *left,
                                                                   const float *right, int64_t columns, int rows,
                                                                   float *sums) {
  if (p->right_column != 1)
    csource_few_by_columns(p, left, right, columns, rows, sums);
  else if (columns == 4 * CSOURCE_LANES)
    csource_few_by_rows(p, left, right, 4 * CSOURCE_LANES, rows, sums);
  else
    csource_few_by_rows(p, left, right, columns, rows, sums);
}

/* One task is four vectors of columns. */
static BYOC_UNUSED void csource_few_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceFewRows *p = (const CsourceFewRows *)ctx;
  const int64_t width = 4 * CSOURCE_LANES, parts = (p->columns + width - 1) / width;
  float sums[CSOURCE_FEW * 4 * CSOURCE_LANES] __attribute__((aligned(64)));
  for (int64_t task = begin; task < end; ++task) {
    const int64_t batch = task / parts, column = task % parts * width;
    const int64_t columns = byoc_min(width, p->columns - column);
    const float *left = p->left + csource_batch_offset(batch, p->rank, p->extents, p->left_strides);
    const float *right = p->right + csource_batch_offset(batch, p->rank, p->extents, p->right_strides) +
                         column * p->right_column;
    switch (p->rows) {
      case 1: csource_few_part(p, left, right, columns, 1, sums); break;
      case 2: csource_few_part(p, left, right, columns, 2, sums); break;
      case 3: csource_few_part(p, left, right, columns, 3, sums); break;
      default: csource_few_part(p, left, right, columns, 4, sums); break;
    }
    csource_finish(p->epilogue, sums, width, p->rows, columns, 0, column, batch * p->rows * p->columns, p->columns,
                   p->out);
  }
}

static BYOC_UNUSED void csource_few_rows(const CsourceFewRows *p) {
  const int64_t width = 4 * CSOURCE_LANES;
  byoc_parallel_for(p->batches * ((p->columns + width - 1) / width), 1 + 32768 / (p->depth * width + 1),
                    csource_few_range, (void *)p);
}
