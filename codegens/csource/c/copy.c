/* Copies between two strided views of the same extents: transpose, slice, concatenate, repeat, reverse. */

#define CSOURCE_MAX_AXES 16

typedef struct {
  char *dst;
  const char *src;
  int64_t bytes; /* of an element: 1, 2, 4 or 8 */
  int rank;
  int64_t extent[CSOURCE_MAX_AXES], to[CSOURCE_MAX_AXES], from[CSOURCE_MAX_AXES]; /* strides in elements */
  int across; /* axis along which the source lies together, where that is not the last one; else -1 */
} CsourceCopy;

#define CSOURCE_COPY_ELEMENTS(type)                                                                       \
  {                                                                                                       \
    type *BYOC_RESTRICT d = (type *)dst;                                                                  \
    const type *BYOC_RESTRICT s = (const type *)src;                                                      \
    if (to == 1 && from == 0) {                                                                           \
      const type value = *s;                                                                              \
      for (int64_t i = 0; i < n; ++i) d[i] = value;                                                       \
    } else if (to == 1) {                                                                                 \
      for (int64_t i = 0; i < n; ++i) d[i] = s[i * from];                                                 \
    } else {                                                                                              \
      for (int64_t i = 0; i < n; ++i) d[i * to] = s[i * from];                                            \
    }                                                                                                     \
  }

static inline void csource_copy_row(char *dst, int64_t to, const char *src, int64_t from, int64_t n, int64_t bytes) {
  if (to == 1 && from == 1) {
    memcpy(dst, src, (size_t)(n * bytes));
  } else if (bytes == 4) {
    CSOURCE_COPY_ELEMENTS(uint32_t)
  } else if (bytes == 8) {
    CSOURCE_COPY_ELEMENTS(uint64_t)
  } else if (bytes == 2) {
    CSOURCE_COPY_ELEMENTS(uint16_t)
  } else {
    CSOURCE_COPY_ELEMENTS(uint8_t)
  }
}

/* Elements [begin, end) of the copy in the order of its axes. */
static void csource_copy_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceCopy *c = (const CsourceCopy *)ctx;
  const int last = c->rank - 1;
  const int64_t cols = c->extent[last];
  while (begin < end) {
    const int64_t col = begin % cols, n = byoc_min(cols - col, end - begin);
    int64_t to = col * c->to[last], from = col * c->from[last], rest = begin / cols;
    for (int axis = last - 1; axis >= 0; --axis) {
      const int64_t i = rest % c->extent[axis];
      rest /= c->extent[axis];
      to += i * c->to[axis];
      from += i * c->from[axis];
    }
    csource_copy_row(c->dst + to * c->bytes, c->to[last], c->src + from * c->bytes, c->from[last], n, c->bytes);
    begin += n;
  }
}

enum { CSOURCE_COPY_BLOCK = 16 };

#define CSOURCE_TRANSPOSE_BLOCK(type)                                                                     \
  {                                                                                                       \
    type *BYOC_RESTRICT d = (type *)dst;                                                                  \
    const type *BYOC_RESTRICT s = (const type *)src;                                                      \
    for (int64_t i = 0; i < rows; ++i)                                                                    \
      for (int64_t j = 0; j < cols; ++j) d[i * to_row + j * to_col] = s[i + j * from_col];                \
  }

static inline void csource_transpose_block(char *dst, int64_t to_row, int64_t to_col, const char *src,
                                           int64_t from_col, int64_t rows, int64_t cols, int64_t bytes) {
  if (bytes == 4) {
    CSOURCE_TRANSPOSE_BLOCK(uint32_t)
  } else if (bytes == 8) {
    CSOURCE_TRANSPOSE_BLOCK(uint64_t)
  } else if (bytes == 2) {
    CSOURCE_TRANSPOSE_BLOCK(uint16_t)
  } else {
    CSOURCE_TRANSPOSE_BLOCK(uint8_t)
  }
}

/* Strips [begin, end): a strip is CSOURCE_COPY_BLOCK rows along `across`, all columns, one place on the other axes. */
static void csource_transpose_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceCopy *c = (const CsourceCopy *)ctx;
  const int last = c->rank - 1, across = c->across;
  const int64_t strips = (c->extent[across] + CSOURCE_COPY_BLOCK - 1) / CSOURCE_COPY_BLOCK;
  for (int64_t strip = begin; strip < end; ++strip) {
    const int64_t row = strip % strips * CSOURCE_COPY_BLOCK;
    int64_t to = row * c->to[across], from = row, rest = strip / strips;
    for (int axis = last - 1; axis >= 0; --axis) {
      if (axis == across) continue;
      const int64_t i = rest % c->extent[axis];
      rest /= c->extent[axis];
      to += i * c->to[axis];
      from += i * c->from[axis];
    }
    const int64_t rows = byoc_min(CSOURCE_COPY_BLOCK, c->extent[across] - row);
    for (int64_t col = 0; col < c->extent[last]; col += CSOURCE_COPY_BLOCK) {
      const int64_t cols = byoc_min(CSOURCE_COPY_BLOCK, c->extent[last] - col);
      csource_transpose_block(c->dst + (to + col * c->to[last]) * c->bytes, c->to[across], c->to[last],
                              c->src + (from + col * c->from[last]) * c->bytes, c->from[last], rows, cols, c->bytes);
    }
  }
}

static BYOC_UNUSED void csource_copy(void *dst, const void *src, int64_t bytes, int rank, const int64_t *extents,
                                     const int64_t *to, const int64_t *from) {
  CsourceCopy c = {.dst = (char *)dst, .src = (const char *)src, .bytes = bytes, .rank = 0, .across = -1};
  int64_t n = 1;
  for (int axis = 0; axis < rank; ++axis) {
    n *= extents[axis];
    if (extents[axis] == 1) continue;
    const int k = c.rank - 1; /* merge with the axis before where both sides step on alike */
    if (k >= 0 && c.to[k] == to[axis] * extents[axis] && c.from[k] == from[axis] * extents[axis]) {
      c.extent[k] *= extents[axis];
      c.to[k] = to[axis];
      c.from[k] = from[axis];
    } else {
      c.extent[c.rank] = extents[axis];
      c.to[c.rank] = to[axis];
      c.from[c.rank++] = from[axis];
    }
  }
  if (n == 0) return;
  if (c.rank == 0) {
    c.rank = 1;
    c.extent[0] = c.to[0] = c.from[0] = 1;
  }
  for (int axis = 0; axis < c.rank - 1; ++axis)
    if (c.from[axis] == 1 && c.from[c.rank - 1] != 0 && c.from[c.rank - 1] != 1 && c.extent[axis] >= 4) c.across = axis;
  if (c.across < 0) {
    byoc_parallel_for(n, 65536, csource_copy_range, &c);
  } else {
    const int64_t rows = c.extent[c.across], strips = (rows + CSOURCE_COPY_BLOCK - 1) / CSOURCE_COPY_BLOCK;
    const int64_t strip_size = CSOURCE_COPY_BLOCK * c.extent[c.rank - 1];
    byoc_parallel_for(n / rows / c.extent[c.rank - 1] * strips, 65536 / strip_size, csource_transpose_range, &c);
  }
}

/* n elements that lie together on both sides. */
static BYOC_UNUSED void csource_copy_all(void *dst, const void *src, int64_t bytes, int64_t n) {
  const int64_t one = 1;
  csource_copy(dst, src, bytes, 1, &n, &one, &one);
}
