/* Results [begin, end) of $op; a result, or a block of results side by side, counts as one. */
static void csource_$op(int64_t begin, int64_t end, void *ctx) {
  const CsourceReduce *r = (const CsourceReduce *)ctx;
  const int64_t count = r->count;
  (void)count;
  for (int64_t at = begin; at < end; ++at) {
    const int64_t place = at / r->blocks, column = at % r->blocks * CSOURCE_REDUCE_COLUMNS;
    const int64_t base = csource_reduce_offset(place, r->kept, r->kept_extent, r->kept_stride) + column;
    if (r->last_is_reduced) {
      const $A a = csource_${name}_rows(r, base, 0);
      (($T *)r->out)[place] = $finish;
      continue;
    }
    const int64_t n = byoc_min(r->last - column, CSOURCE_REDUCE_COLUMNS);
    $A acc[CSOURCE_REDUCE_COLUMNS];
    csource_${name}_columns(r, base, n, acc, NULL);
    $T *out = ($T *)r->out + place * r->last + column;
    for (int64_t l = 0; l < n; ++l) {
      const $A a = acc[l];
      out[l] = $finish;
    }
  }
}
