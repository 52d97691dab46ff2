/* Updates written into a copy of the data, in order, so that the last of several at one place stands.
 * Updates whose index lies outside are left out. */
static BYOC_UNUSED void csource_scatter_elements_$name($T *out, const void *indices, int64_t index_bytes, const $T *updates,
                                           int rank, int axis, const int64_t *shape, const int64_t *index_shape) {
  int64_t n = 1;
  for (int i = 0; i < rank; ++i) n *= index_shape[i];
  for (int64_t at = 0; at < n; ++at) {
    int64_t i = csource_index(indices, index_bytes, at);
    if (i < 0) i += shape[axis];
    if (i < 0 || i >= shape[axis]) continue;
    int64_t to = 0, rest = at, stride = 1;
    int outside = 0;
    for (int k = rank - 1; k >= 0; --k) {
      const int64_t place = k == axis ? i : rest % index_shape[k];
      outside |= place >= shape[k];
      to += place * stride;
      rest /= index_shape[k];
      stride *= shape[k];
    }
    if (outside) continue;
    const $C a = $load_out, b = $load_update;
    (void)a;
    out[to] = $result;
  }
}
