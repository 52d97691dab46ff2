/* Walks over a broadcast: a tile function computes up to rows x cols elements that lie together in the output. */

typedef void (*csource_tile)(int64_t rows, int64_t cols, void *out, const void *const *in, const int64_t *step);

typedef struct {
  csource_tile tile;
  char *out;
  int64_t out_bytes;
  int inputs, rank;
  const void *const *in;
  const int64_t *in_bytes, *extents, *strides; /* strides: inputs x rank, in elements */
} CsourceBroadcast;

static void csource_broadcast_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceBroadcast *b = (const CsourceBroadcast *)ctx;
  const int last = b->rank - 1;
  const int64_t cols = b->extents[last], rows = last > 0 ? b->extents[last - 1] : 1;
  while (begin < end) {
    const int64_t row = begin / cols, col = begin % cols;
    int64_t tile_rows = 1, tile_cols = byoc_min(cols - col, end - begin);
    if (tile_cols == cols) tile_rows = byoc_min(rows - row % rows, (end - begin) / cols);
    const void *at[3];
    int64_t step[3];
    for (int i = 0; i < b->inputs; ++i) {
      const int64_t *stride = b->strides + i * b->rank;
      int64_t offset = col * stride[last], rest = row;
      for (int axis = last - 1; axis >= 0; --axis) {
        offset += rest % b->extents[axis] * stride[axis];
        rest /= b->extents[axis];
      }
      at[i] = (const char *)b->in[i] + offset * b->in_bytes[i];
      step[i] = last > 0 ? stride[last - 1] : 0;
    }
    b->tile(tile_rows, tile_cols, b->out + begin * b->out_bytes, at, step);
    begin += tile_rows * tile_cols;
  }
}

static void csource_broadcast(csource_tile tile, void *out, int64_t out_bytes, int inputs, const void *const *in,
                              const int64_t *in_bytes, int rank, const int64_t *extents, const int64_t *strides,
                              int64_t grain) {
  CsourceBroadcast b = {tile, (char *)out, out_bytes, inputs, rank, in, in_bytes, extents, strides};
  int64_t n = 1;
  for (int axis = 0; axis < rank; ++axis) n *= extents[axis];
  byoc_parallel_for(n, grain, csource_broadcast_range, &b);
}
