/* $name: from $init, a becomes $step_text with every element x. */
static inline $A csource_${name}_step($A a, $A x, $A s) {
  (void)s;
  return $step;
}

/* Into one result: `rows` rows of n elements that lie together. */
static BYOC_UNUSED $A csource_${name}_rows(const CsourceReduce *r, int64_t base, $A s) {
  $A lane[CSOURCE_REDUCE_LANES];
  for (int l = 0; l < CSOURCE_REDUCE_LANES; ++l) lane[l] = $init;
  for (int64_t row = 0; row < r->rows; ++row) {
    const $T *in = (const $T *)r->in + base + csource_reduce_row(r, row);
    int64_t i = 0;
    for (; i + CSOURCE_REDUCE_LANES <= r->last; i += CSOURCE_REDUCE_LANES)
      for (int l = 0; l < CSOURCE_REDUCE_LANES; ++l) lane[l] = csource_${name}_step(lane[l], $load_lane, s);
    for (; i < r->last; i += 16)
      for (int l = 0; l < byoc_min(16, r->last - i); ++l) lane[l] = csource_${name}_step(lane[l], $load_lane, s);
  }
  for (int half = CSOURCE_REDUCE_LANES / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) {
      const $A a = lane[l], x = lane[l + half];
      lane[l] = $combine;
    }
  return lane[0];
}

/* Into n results side by side: `rows` rows of n elements. */
static BYOC_UNUSED void csource_${name}_columns(const CsourceReduce *r, int64_t base, int64_t n, $A *acc, const $A *s) {
  for (int64_t l = 0; l < n; ++l) acc[l] = $init;
  for (int64_t row = 0; row < r->rows; ++row) {
    const $T *in = (const $T *)r->in + base + csource_reduce_row(r, row);
    for (int64_t l = 0; l < n; ++l) acc[l] = csource_${name}_step(acc[l], $load_column, s ? s[l] : 0);
  }
}
