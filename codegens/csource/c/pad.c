/* Padding of every kind, one row of the output at a time. */

typedef enum { CSOURCE_PAD_CONSTANT, CSOURCE_PAD_REFLECT, CSOURCE_PAD_REPLICATE, CSOURCE_PAD_CIRCULAR } CsourcePadMode;

typedef struct {
  char *dst;
  const char *src, *value;
  int64_t bytes;
  CsourcePadMode mode;
  int rank;
  const int64_t *in, *out, *before; /* extents of both tensors, elements put before the input */
} CsourcePad;

/* Where along an axis of the input the element at place i before or behind it comes from; -1 for the pad value. */
static inline int64_t csource_pad_source(int64_t i, int64_t extent, CsourcePadMode mode) {
  if (i >= 0 && i < extent) return i;
  if (mode == CSOURCE_PAD_CONSTANT || extent == 0) return -1;
  if (mode == CSOURCE_PAD_REPLICATE) return i < 0 ? 0 : extent - 1;
  const int64_t period = mode == CSOURCE_PAD_CIRCULAR ? extent : extent > 1 ? 2 * (extent - 1) : 1;
  i = (i % period + period) % period;
  return i < extent ? i : period - i;
}

static void csource_pad_rows(int64_t begin, int64_t end, void *ctx) {
  const CsourcePad *p = (const CsourcePad *)ctx;
  const int last = p->rank - 1;
  const int64_t cols = p->out[last], before = p->before[last], width = p->in[last];
  for (int64_t row = begin; row < end; ++row) {
    char *dst = p->dst + row * cols * p->bytes;
    int64_t rest = row, source = 0, step = 1;
    for (int axis = last - 1; axis >= 0 && source >= 0; --axis) {
      const int64_t i = csource_pad_source(rest % p->out[axis] - p->before[axis], p->in[axis], p->mode);
      rest /= p->out[axis];
      source = i < 0 ? -1 : source + i * step;
      step *= p->in[axis];
    }
    const char *src = p->src + source * width * p->bytes;
    for (int64_t col = 0; col < cols; ++col) {
      const int64_t inside = col - before;
      if (source >= 0 && inside == 0 && width > 0) { /* the input's own row in one piece */
        memcpy(dst + col * p->bytes, src, (size_t)(width * p->bytes));
        col += width - 1;
        continue;
      }
      const int64_t i = source < 0 ? -1 : csource_pad_source(inside, width, p->mode);
      memcpy(dst + col * p->bytes, i < 0 ? p->value : src + i * p->bytes, (size_t)p->bytes);
    }
  }
}

static void csource_pad(void *dst, const void *src, const void *value, int64_t bytes, CsourcePadMode mode, int rank,
                        const int64_t *in, const int64_t *out, const int64_t *before) {
  CsourcePad p = {(char *)dst, (const char *)src, (const char *)value, bytes, mode, rank, in, out, before};
  int64_t rows = 1;
  for (int axis = 0; axis < rank - 1; ++axis) rows *= out[axis];
  if (out[rank - 1] > 0) byoc_parallel_for(rows, 32768 / out[rank - 1], csource_pad_rows, &p);
}
