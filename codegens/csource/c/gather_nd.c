/* out[b, k, :] = in[b, index[b, k, 0], .., index[b, k, depth - 1], :] */
typedef struct {
  char *out;
  const char *in;
  const void *indices;
  int64_t index_bytes, per_batch, batch_size, inner_bytes;
  int depth;
  const int64_t *extents; /* of the input's axes that are indexed */
} CsourceGatherNd;

static void csource_gather_nd_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceGatherNd *g = (const CsourceGatherNd *)ctx;
  for (int64_t at = begin; at < end; ++at) {
    int64_t from = 0;
    for (int axis = 0; axis < g->depth; ++axis) {
      const int64_t i = csource_index(g->indices, g->index_bytes, at * g->depth + axis);
      from = from * g->extents[axis] + csource_index_inside(i, g->extents[axis]);
    }
    from += at / g->per_batch * g->batch_size;
    memcpy(g->out + at * g->inner_bytes, g->in + from * g->inner_bytes, (size_t)g->inner_bytes);
  }
}

static void csource_gather_nd(void *out, const void *in, const void *indices, int64_t index_bytes, int64_t batches,
                              int64_t per_batch, int64_t inner_bytes, int depth, const int64_t *extents) {
  CsourceGatherNd g = {(char *)out, (const char *)in, indices, index_bytes, per_batch, 1, inner_bytes, depth, extents};
  for (int axis = 0; axis < depth; ++axis) g.batch_size *= extents[axis];
  if (batches * per_batch * inner_bytes == 0) return;
  if (g.batch_size == 0) {
    memset(out, 0, (size_t)(batches * per_batch * inner_bytes));
    return;
  }
  byoc_parallel_for(batches * per_batch, 65536 / inner_bytes, csource_gather_nd_range, &g);
}
