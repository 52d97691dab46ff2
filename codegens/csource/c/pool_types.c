/* Windows over planes of three spatial axes; those that the op lacks have size 1. */
typedef struct {
  int64_t planes, in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], pad_after[3];
  int count_padding; /* padding counts as elements of an average */
} CsourcePool;

typedef struct {
  const CsourcePool *pool;
  const void *in;
  void *out;
} CsourcePoolCall;

enum {
  CSOURCE_POOL_COLUMNS = 64, /* of the result, worked on together */
  CSOURCE_POOL_BLOCK = 32, /* of a row; the compiler takes loops of 16 apart and does not put them together again */
  CSOURCE_POOL_SPAN = 512 /* most elements of a row of the image that these may need for the quick way */
};

/* Taps of the window at `start` that fall on [low, high). */
static inline BYOC_UNUSED int64_t csource_pool_taps(int64_t start, int64_t taps, int64_t step, int64_t low,
                                                    int64_t high) {
  if (start >= low && start + (taps - 1) * step < high) return taps;
  int64_t first = byoc_max(0, low - start), last = byoc_max(0, high - start);
  if (step > 1) { /* division takes long */
    first = (first + step - 1) / step;
    last = (last + step - 1) / step;
  }
  return byoc_max(0, byoc_min(taps, last) - byoc_min(taps, first));
}

/* Elements that a window's average is over, along one axis. */
static inline BYOC_UNUSED int64_t csource_pool_count(const CsourcePool *p, int axis, int64_t position) {
  const int64_t margin = p->count_padding ? p->pad[axis] : 0, after = p->count_padding ? p->pad_after[axis] : 0;
  return csource_pool_taps(position * p->stride[axis] - p->pad[axis], p->kernel[axis], p->dilation[axis], -margin,
                           p->in[axis] + after);
}
