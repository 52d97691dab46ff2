/* out[o, k, :] = in[o, index[k], :] */
typedef enum { CSOURCE_TAKE_FAST, CSOURCE_TAKE_CLIP, CSOURCE_TAKE_WRAP } CsourceTakeMode;

typedef struct {
  char *out;
  const char *in;
  const void *indices;
  int64_t index_bytes, count, extent, inner_bytes;
  CsourceTakeMode mode;
} CsourceTake;

static void csource_take_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceTake *t = (const CsourceTake *)ctx;
  for (int64_t at = begin; at < end; ++at) {
    int64_t i = csource_index(t->indices, t->index_bytes, at % t->count);
    if (t->mode == CSOURCE_TAKE_WRAP) i %= t->extent;
    if (t->mode == CSOURCE_TAKE_CLIP) i = byoc_max(i, 0);
    i = csource_index_inside(i, t->extent);
    const char *in = t->in + (at / t->count * t->extent + i) * t->inner_bytes;
    if (t->inner_bytes == 4) {
      memcpy(t->out + at * 4, in, 4);
    } else {
      memcpy(t->out + at * t->inner_bytes, in, (size_t)t->inner_bytes);
    }
  }
}

static void csource_take(void *out, const void *in, const void *indices, int64_t index_bytes, int64_t outer,
                         int64_t count, int64_t extent, int64_t inner_bytes, CsourceTakeMode mode) {
  CsourceTake t = {(char *)out, (const char *)in, indices, index_bytes, count, extent, inner_bytes, mode};
  if (inner_bytes == 0) return;
  if (extent == 0) {
    memset(out, 0, (size_t)(outer * count * inner_bytes));
    return;
  }
  byoc_parallel_for(outer * count, 131072 / inner_bytes, csource_take_range, &t);
}
