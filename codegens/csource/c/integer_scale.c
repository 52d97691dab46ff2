/* Integers of 16 bits at another scale. */
typedef struct {
  const $element *in;
  $result *out;
  int32_t zero;
  const CsourceRequantise *ending;
} ${type};

static void ${name}_range(int64_t begin, int64_t end, void *ctx) {
  const ${type} *p = (const ${type} *)ctx;
  const CsourceRequantise ending = *p->ending; /* copies: bytes that are written could be these */
  const int64_t multiplier = ending.multiplier[0];
  const int32_t shift = ending.shift[0];
  for (int64_t i = begin; i < end; ++i)
    p->out[i] = ($result)csource_requantised(&ending, (int64_t)p->in[i] - p->zero, multiplier, shift);
}
