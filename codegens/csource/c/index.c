/* Element i of a tensor of int32_t or int64_t indices. */
static inline BYOC_UNUSED int64_t csource_index(const void *indices, int64_t bytes, int64_t i) {
  return bytes == 8 ? ((const int64_t *)indices)[i] : ((const int32_t *)indices)[i];
}

/* An index into an extent > 0: negative ones count from the end, ones outside become the nearest inside. */
static inline BYOC_UNUSED int64_t csource_index_inside(int64_t i, int64_t extent) {
  if (i < 0) i += extent;
  return byoc_min(byoc_max(i, 0), extent - 1);
}
