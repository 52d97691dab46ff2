/* Integers of 16 bits at another scale. */
typedef struct {
  const $element *in;
  $result *out;
  int32_t zero;
  const CsourceRequantise *ending;
} ${type};

static void ${name}_range(int64_t begin, int64_t end, void *ctx) {
  const ${type} *p = (const ${type} *)ctx;
  for (int64_t i = begin; i < end; ++i)
    p->out[i] = ($result)csource_requantised(p->ending, (int64_t)p->in[i] - p->zero, p->ending->multiplier[0],
                                             p->ending->shift[0]);
}
