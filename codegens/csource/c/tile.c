/* Register tiles of a matrix product.
 *
 * The left matrix is packed in panels of up to CSOURCE_ROWS rows, each [depth][rows]; the right one in panels of
 * CSOURCE_COLUMNS columns, each [depth][CSOURCE_COLUMNS].  A tile keeps all its sums in vector registers. */
#define CSOURCE_LANES $lanes
#define CSOURCE_ROWS $rows
#define CSOURCE_COLUMNS (2 * CSOURCE_LANES)
#define CSOURCE_TILES_ACROSS 4 /* panels of the right matrix that are worked on together */
#define CSOURCE_DEPTH 256      /* depth of a strip that is worked on at a time, so that it stays in cache */
#define CSOURCE_TILES_DOWN 16  /* panels of the left matrix whose sums are kept while the depth is walked */
#define CSOURCE_TILE_SIZE (CSOURCE_ROWS * CSOURCE_COLUMNS)

typedef float csource_vector __attribute__((vector_size(4 * CSOURCE_LANES), aligned(4), may_alias));

/* sums[rows][CSOURCE_COLUMNS] = (or, with `add`, +=) left[depth][rows] transposed times right[depth][columns].
 * `ahead` is what will be read soon; it is fetched as the sums go on. */
typedef void (*csource_tile_fn)(int64_t depth, const float *left, const float *right, const float *ahead, float *sums,
                                int add);

#define CSOURCE_TILE(ROWS)                                                                                         \
  static void csource_tile_##ROWS(int64_t depth, const float *left, const float *right, const float *ahead,         \
                                  float *sums, int add) {                                                          \
    csource_vector sum[ROWS][2];                                                                                   \
    _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; ++i) {                                                      \
      sum[i][0] = add ? *(csource_vector *)(sums + i * CSOURCE_COLUMNS) : (csource_vector){0};                     \
      sum[i][1] = add ? *(csource_vector *)(sums + i * CSOURCE_COLUMNS + CSOURCE_LANES) : (csource_vector){0};     \
    }                                                                                                              \
    for (int64_t k = 0; k < depth; ++k, left += ROWS, right += CSOURCE_COLUMNS, ahead += CSOURCE_LANES) {          \
      __builtin_prefetch(ahead);                                                                                   \
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

/* Rows are dealt to panels as evenly as can be: the first `taller` panels have height + 1 of them. */
typedef struct {
  int64_t rows, panels, height, taller;
} CsourceRows;

static inline BYOC_UNUSED CsourceRows csource_deal(int64_t rows) {
  const int64_t panels = (rows + CSOURCE_ROWS - 1) / CSOURCE_ROWS;
  return (CsourceRows){rows, panels, panels ? rows / panels : 0, panels ? rows % panels : 0};
}
static inline BYOC_UNUSED int64_t csource_first_row(const CsourceRows *r, int64_t panel) {
  return panel * r->height + byoc_min(panel, r->taller);
}
static inline BYOC_UNUSED int64_t csource_height(const CsourceRows *r, int64_t panel) {
  return r->height + (panel < r->taller);
}
/* Rows are worked on in blocks of up to CSOURCE_TILES_DOWN panels, dealt evenly too, or threads would wait. */
static inline BYOC_UNUSED int64_t csource_blocks(const CsourceRows *r) {
  return (r->panels + CSOURCE_TILES_DOWN - 1) / CSOURCE_TILES_DOWN;
}
static inline BYOC_UNUSED int64_t csource_first_panel(const CsourceRows *r, int64_t block) {
  return r->panels * block / byoc_max(1, csource_blocks(r));
}
static inline BYOC_UNUSED int64_t csource_column_panels(int64_t columns) {
  return (columns + CSOURCE_COLUMNS - 1) / CSOURCE_COLUMNS;
}
