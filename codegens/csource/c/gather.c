/* out[.., j, ..] = in[.., index[.., j, ..], ..]: the output has the indices' shape.
 * Where that reaches beyond the input on another axis, the input's last element there stands. */
typedef struct {
  char *out;
  const char *in;
  const void *indices;
  int64_t index_bytes, bytes;
  int rank, axis;
  const int64_t *in_shape, *out_shape;
} CsourceGather;

static void csource_gather_rows(int64_t begin, int64_t end, void *ctx) {
  const CsourceGather *g = (const CsourceGather *)ctx;
  const int last = g->rank - 1;
  const int64_t cols = g->out_shape[last], extent = g->in_shape[g->axis];
  for (int64_t row = begin; row < end; ++row) {
    int64_t base = 0, rest = row, stride = g->in_shape[last], along = 1;
    for (int axis = last - 1; axis >= 0; --axis) {
      if (axis == g->axis) along = stride;
      else base += byoc_min(rest % g->out_shape[axis], g->in_shape[axis] - 1) * stride;
      rest /= g->out_shape[axis];
      stride *= g->in_shape[axis];
    }
    for (int64_t col = 0; col < cols; ++col) {
      const int64_t at = row * cols + col;
      const int64_t i = csource_index_inside(csource_index(g->indices, g->index_bytes, at), extent);
      const int64_t from = g->axis == last ? base + i : base + byoc_min(col, g->in_shape[last] - 1) + i * along;
      memcpy(g->out + at * g->bytes, g->in + from * g->bytes, (size_t)g->bytes);
    }
  }
}

static void csource_gather(void *out, const void *in, const void *indices, int64_t index_bytes, int64_t bytes,
                           int rank, int axis, const int64_t *in_shape, const int64_t *out_shape) {
  CsourceGather g = {(char *)out, (const char *)in, indices, index_bytes, bytes, rank, axis, in_shape, out_shape};
  int64_t rows = 1;
  for (int i = 0; i < rank - 1; ++i) rows *= out_shape[i];
  const int64_t cols = out_shape[rank - 1];
  if (rows * cols == 0) return;
  int64_t size = 1;
  for (int i = 0; i < rank; ++i) size *= in_shape[i];
  if (size == 0) {
    memset(out, 0, (size_t)(rows * cols * bytes));
    return;
  }
  byoc_parallel_for(rows, 16384 / cols, csource_gather_rows, &g);
}
