/* Results [begin, end) of $op: the mean first, then the squared distances from it. */
static void csource_$op(int64_t begin, int64_t end, void *ctx) {
  const CsourceReduce *r = (const CsourceReduce *)ctx;
  const int64_t count = r->count;
  for (int64_t at = begin; at < end; ++at) {
    const int64_t place = at / r->blocks, column = at % r->blocks * CSOURCE_REDUCE_COLUMNS;
    const int64_t base = csource_reduce_offset(place, r->kept, r->kept_extent, r->kept_stride) + column;
    if (r->last_is_reduced) {
      const $A mean = csource_${sum}_rows(r, base, 0) / ($A)count;
      const $A a = csource_${squares}_rows(r, base, mean);
      (($T *)r->out)[place] = $finish;
      continue;
    }
    const int64_t n = byoc_min(r->last - column, CSOURCE_REDUCE_COLUMNS);
    $A mean[CSOURCE_REDUCE_COLUMNS], acc[CSOURCE_REDUCE_COLUMNS];
    csource_${sum}_columns(r, base, n, mean, NULL);
    for (int64_t l = 0; l < n; ++l) mean[l] /= ($A)count;
    csource_${squares}_columns(r, base, n, acc, mean);
    $T *out = ($T *)r->out + place * r->last + column;
    for (int64_t l = 0; l < n; ++l) {
      const $A a = acc[l];
      out[l] = $finish;
    }
  }
}
