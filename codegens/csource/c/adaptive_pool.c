/* Averages over bins that divide each plane evenly; one task is one plane. */
static $sum ${name}_bin(const CsourcePool *p, const $element *in, const int64_t *low, const int64_t *high) {
  $sum part[16] = {0};
  for (int64_t z = low[0]; z < high[0]; ++z)
    for (int64_t y = low[1]; y < high[1]; ++y) {
      const $element *row = in + (z * p->in[1] + y) * p->in[2];
      int64_t x = low[2];
      for (; x + 16 <= high[2]; x += 16)
        for (int i = 0; i < 16; ++i) part[i] += ($sum)${load_wide};
      for (; x < high[2]; ++x) part[x & 15] += ($sum)$load;
    }
  $sum sum = 0;
  for (int i = 0; i < 16; ++i) sum += part[i];
  return sum / ($sum)((high[0] - low[0]) * (high[1] - low[1]) * (high[2] - low[2]));
}

static void ${name}_range(int64_t begin, int64_t end, void *ctx) {
  const CsourcePoolCall *call = (const CsourcePoolCall *)ctx;
  const CsourcePool *p = call->pool;
  $element *out = ($element *)call->out + begin * p->out[0] * p->out[1] * p->out[2];
  for (int64_t plane = begin; plane < end; ++plane) {
    const $element *in = (const $element *)call->in + plane * p->in[0] * p->in[1] * p->in[2];
    int64_t at[3], low[3], high[3];
    for (at[0] = 0; at[0] < p->out[0]; ++at[0])
      for (at[1] = 0; at[1] < p->out[1]; ++at[1])
        for (at[2] = 0; at[2] < p->out[2]; ++at[2]) {
          for (int d = 0; d < 3; ++d) {
            low[d] = at[d] * p->in[d] / p->out[d];
            high[d] = ((at[d] + 1) * p->in[d] + p->out[d] - 1) / p->out[d];
          }
          const $sum v = ${name}_bin(p, in, low, high);
          *out++ = $store;
        }
  }
}

/* Planes whose rows may be taken as one: a single bin holds all of each. */
static void $name(const CsourcePool *pool, const $element *in, $element *out) {
  CsourcePool p = *pool;
  if (p.out[0] * p.out[1] * p.out[2] == 1) {
    p.in[2] *= p.in[0] * p.in[1];
    p.in[0] = p.in[1] = 1;
  }
  CsourcePoolCall call = {&p, in, out};
  byoc_parallel_for(p.planes, 1 + 16384 / (p.in[0] * p.in[1] * p.in[2] + 1), ${name}_range, &call);
}
