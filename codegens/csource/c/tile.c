/* Register tiles of a matrix product.
 *
 * The left matrix is packed in panels of up to CSOURCE_ROWS rows, each [depth][rows]; the right one in panels of
 * CSOURCE_COLUMNS columns, each [depth][CSOURCE_COLUMNS].  A tile keeps all its sums in vector registers. */
#define CSOURCE_LANES $lanes
#define CSOURCE_ROWS $rows
#define CSOURCE_COLUMNS (2 * CSOURCE_LANES)
#define CSOURCE_DEPTH 512 /* depth of a panel that is worked on at a time, so that it stays in cache */
#define CSOURCE_BLOCK (CSOURCE_ROWS * 16) /* rows whose sums are kept while the depth is walked */

typedef float csource_vector __attribute__((vector_size(4 * CSOURCE_LANES), aligned(4), may_alias));

/* sums[rows][CSOURCE_COLUMNS] = (or, with `add`, +=) left[depth][rows] transposed times right[depth][columns] */
typedef void (*csource_tile_fn)(int64_t depth, const float *left, const float *right, float *sums, int add);

#define CSOURCE_TILE(ROWS)                                                                                         \
  static void csource_tile_##ROWS(int64_t depth, const float *left, const float *right, float *sums, int add) {    \
    csource_vector sum[ROWS][2];                                                                                   \
    _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; ++i) {                                                      \
      sum[i][0] = add ? *(csource_vector *)(sums + i * CSOURCE_COLUMNS) : (csource_vector){0};                     \
      sum[i][1] = add ? *(csource_vector *)(sums + i * CSOURCE_COLUMNS + CSOURCE_LANES) : (csource_vector){0};     \
    }                                                                                                              \
    for (int64_t k = 0; k < depth; ++k, left += ROWS, right += CSOURCE_COLUMNS) {                                  \
      const csource_vector first = *(const csource_vector *)right;                                                 \
      const csource_vector second = *(const csource_vector *)(right + CSOURCE_LANES);                              \
      _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; ++i) {                                                    \
        sum[i][0] += left[i] * first;                                                                              \
        sum[i][1] += left[i] * second;                                                                             \
      }                                                                                                            \
    }                                                                                                              \
    _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; ++i) {                                                      \
      *(csource_vector *)(sums + i * CSOURCE_COLUMNS) = sum[i][0];                                                 \
      *(csource_vector *)(sums + i * CSOURCE_COLUMNS + CSOURCE_LANES) = sum[i][1];                                 \
    }                                                                                                              \
  }
$tiles
static const csource_tile_fn csource_tiles[CSOURCE_ROWS + 1] = {0, $names};

/* Rows are dealt to panels as evenly as can be. */
static inline BYOC_UNUSED int64_t csource_panels(int64_t rows) { return (rows + CSOURCE_ROWS - 1) / CSOURCE_ROWS; }
static inline BYOC_UNUSED int64_t csource_panel_start(int64_t rows, int64_t panel) {
  const int64_t panels = csource_panels(rows);
  return panels ? panel * (rows / panels) + byoc_min(panel, rows % panels) : 0;
}

/* Panels [first, last) of the left matrix times `depth` rows of one panel of the right one. */
static BYOC_UNUSED void csource_accumulate(int64_t rows, int64_t first, int64_t last, int64_t full_depth, int64_t from,
                               int64_t depth, const float *left, const float *right, float *sums) {
  const int64_t base = csource_panel_start(rows, first);
  for (int64_t panel = first; panel < last; ++panel) {
    const int64_t start = csource_panel_start(rows, panel), height = csource_panel_start(rows, panel + 1) - start;
    csource_tiles[height](depth, left + start * full_depth + from * height, right,
                          sums + (start - base) * CSOURCE_COLUMNS, from > 0);
  }
}
