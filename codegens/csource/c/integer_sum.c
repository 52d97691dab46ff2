/* Sums over windows or axes, requantised: `outer` blocks of `count` by `inner` elements. */
typedef struct {
  int64_t outer, count, inner;
  int32_t zero;
  const CsourceRequantise *ending;
  const void *in;
  void *out;
} ${type};

static void ${name}_range(int64_t begin, int64_t end, void *ctx) {
  const ${type} *p = (const ${type} *)ctx;
  const CsourceRequantise ending = *p->ending; /* copies: bytes that are written could be these */
  const int64_t multiplier = ending.multiplier[0];
  const int32_t shift = ending.shift[0];
  for (int64_t block = begin; block < end; ++block) {
    const $element *in = (const $element *)p->in + block * p->count * p->inner;
    for (int64_t i = 0; i < p->inner; ++i) {
      int32_t total = 0;
      for (int64_t k = 0; k < p->count; ++k) total += in[k * p->inner + i] - p->zero;
      (($result *)p->out)[block * p->inner + i] =
          ($result)csource_requantised(&ending, total, multiplier, shift);
    }
  }
}

static void $name(${type} *p) {
  byoc_parallel_for(p->outer, 1 + 16384 / (p->count * p->inner + 1), ${name}_range, p);
}
