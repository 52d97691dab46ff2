/* Index of the first element of a slice, which may begin before or after the tensor. */
static inline BYOC_UNUSED int64_t csource_slice_start(int64_t begin, int64_t extent, int64_t step) {
  if (begin < 0) begin += extent;
  return step > 0 ? byoc_min(byoc_max(begin, 0), extent) : byoc_min(byoc_max(begin, -1), extent - 1);
}
