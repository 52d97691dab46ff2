/* Slices of `inner` updates written into a copy of the data, in order; those whose index lies outside are left out. */
static BYOC_UNUSED void csource_scatter_nd_$name($T *out, const void *indices, int64_t index_bytes, const $T *updates,
                                     int64_t count, int64_t inner, int depth, const int64_t *extents) {
  for (int64_t k = 0; k < count; ++k) {
    int64_t row = 0;
    int outside = 0;
    for (int axis = 0; axis < depth; ++axis) {
      int64_t i = csource_index(indices, index_bytes, k * depth + axis);
      if (i < 0) i += extents[axis];
      outside |= i < 0 || i >= extents[axis];
      row = row * extents[axis] + i;
    }
    for (int64_t j = 0; j < inner && !outside; ++j) {
      const int64_t at = k * inner + j, to = row * inner + j;
      const $C a = $load_out, b = $load_update;
      (void)a;
      out[to] = $result;
    }
  }
}
