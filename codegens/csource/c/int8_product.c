/* Products of rows of bytes with a constant matrix, which lies as [columns / COLUMNS][depth / 4][COLUMNS][4]. */
typedef struct {
  int64_t rows, columns, depth;
  uint8_t flip; /* makes int8 unsigned */
  const uint8_t *left;
  uint8_t *copy; /* the rows, unsigned, their depth rounded up to 4 */
  const int8_t *weights;
  const int32_t *bias;             /* one for each column, rounded up to whole blocks */
  const int32_t *sums;             /* of the columns; NULL where `zero` is in the bias already */
  int32_t zero;                    /* zero point of the unsigned rows, subtracted through `sums` */
  const CsourceRequantise *ending; /* NULL: totals are the result */
  void *out;
} CsourceByteProduct;

static void csource_byte_rows(int64_t begin, int64_t end, void *ctx) {
  const CsourceByteProduct *p = (const CsourceByteProduct *)ctx;
  const int64_t padded = (p->depth + 3) / 4 * 4;
  for (int64_t row = begin; row < end; ++row) {
    const uint8_t *from = p->left + row * p->depth;
    uint8_t *to = p->copy + row * padded;
    for (int64_t k = 0; k < p->depth; ++k) to[k] = from[k] ^ p->flip;
    for (int64_t k = p->depth; k < padded; ++k) to[k] = 0;
  }
}

#define CSOURCE_BYTE_TILE(ROWS)                                                                                  \
  static void csource_byte_tile_##ROWS(const uint8_t *left, int64_t stride, const int8_t *weights,               \
                                       const int32_t *bias, int64_t steps,                                       \
                                       int32_t total[][CSOURCE_DOT_COLUMNS]) {                                   \
    csource_dot sum[ROWS][2];                                                                                    \
    for (int r = 0; r < ROWS; ++r) {                                                                             \
      sum[r][0] = *(const csource_dot *)bias;                                                                    \
      sum[r][1] = *(const csource_dot *)(bias + CSOURCE_DOT_LANES);                                              \
    }                                                                                                            \
    for (int64_t k = 0; k < steps; ++k) {                                                                        \
      const csource_dot w0 = *(const csource_dot *)(weights + k * CSOURCE_DOT_COLUMNS * 4);                      \
      const csource_dot w1 = *(const csource_dot *)(weights + (k * CSOURCE_DOT_COLUMNS + CSOURCE_DOT_LANES) * 4);\
      _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; ++r) {                                                   \
        const csource_dot u = csource_dot_splat(left + r * stride + k * 4);                                      \
        sum[r][0] = csource_dot4(sum[r][0], u, w0);                                                              \
        sum[r][1] = csource_dot4(sum[r][1], u, w1);                                                              \
      }                                                                                                          \
    }                                                                                                            \
    for (int r = 0; r < ROWS; ++r) memcpy(total[r], sum[r], sizeof sum[r]);                                      \
  }
$tiles

/* One task is a block of columns and ROWS rows. */
static void csource_byte_product_tasks(int64_t begin, int64_t end, void *ctx) {
  typedef void (*Tile)(const uint8_t *, int64_t, const int8_t *, const int32_t *, int64_t,
                       int32_t[][CSOURCE_DOT_COLUMNS]);
  static const Tile tiles[] = {$names};
  const CsourceByteProduct *p = (const CsourceByteProduct *)ctx;
  const int64_t steps = (p->depth + 3) / 4, row_blocks = (p->rows + CSOURCE_DOT_ROWS - 1) / CSOURCE_DOT_ROWS;
  int32_t total[CSOURCE_DOT_ROWS][CSOURCE_DOT_COLUMNS] __attribute__((aligned(64)));
  for (int64_t task = begin; task < end; ++task) {
    const int64_t row = task % row_blocks * CSOURCE_DOT_ROWS, block = task / row_blocks;
    const int64_t column = block * CSOURCE_DOT_COLUMNS, n = byoc_min(CSOURCE_DOT_COLUMNS, p->columns - column);
    const int64_t rows = byoc_min(CSOURCE_DOT_ROWS, p->rows - row);
    tiles[rows - 1](p->copy + row * steps * 4, steps * 4, p->weights + block * steps * CSOURCE_DOT_COLUMNS * 4,
                    p->bias + column, steps, total);
    for (int64_t r = 0; r < rows; ++r) {
      if (p->sums)
        for (int64_t i = 0; i < n; ++i) total[r][i] -= p->zero * p->sums[column + i];
      const int64_t at = (row + r) * p->columns + column;
      if (p->ending)
        csource_requantise_channels(p->ending, column, total[r], n, (uint8_t *)p->out + at);
      else
        memcpy((int32_t *)p->out + at, total[r], (size_t)n * sizeof(int32_t));
    }
  }
}

static void csource_byte_product(CsourceByteProduct *p) {
  const int64_t blocks = (p->columns + CSOURCE_DOT_COLUMNS - 1) / CSOURCE_DOT_COLUMNS;
  const int64_t row_blocks = (p->rows + CSOURCE_DOT_ROWS - 1) / CSOURCE_DOT_ROWS;
  byoc_parallel_for(p->rows, 1 + 65536 / (p->depth + 1), csource_byte_rows, p);
  byoc_parallel_for(blocks * row_blocks, 1 + 8192 / (p->depth + 1), csource_byte_product_tasks, p);
}
