/* Sums and maxima of n elements that lie together, in many lanes so that they vectorise. */

#define CSOURCE_ROW_REDUCTION(name, init, step, combine)                                            \
  static BYOC_UNUSED $T csource_lanes_##name##_$T(const $T *in, int64_t n, $T s) {                  \
    enum { LANES = 64 };                                                                            \
    $T lane[LANES];                                                                                 \
    int64_t i = 0;                                                                                  \
    (void)s;                                                                                        \
    for (int l = 0; l < LANES; ++l) lane[l] = init;                                                 \
    for (; i + LANES <= n; i += LANES)                                                              \
      for (int l = 0; l < LANES; ++l) {                                                             \
        const $T a = lane[l], x = in[i + l];                                                        \
        lane[l] = step;                                                                             \
      }                                                                                             \
    for (; i < n; i += 16)                                                                          \
      for (int l = 0; l < byoc_min(16, n - i); ++l) {                                               \
        const $T a = lane[l], x = in[i + l];                                                        \
        lane[l] = step;                                                                             \
      }                                                                                             \
    for (int half = LANES / 2; half > 0; half /= 2)                                                 \
      for (int l = 0; l < half; ++l) {                                                              \
        const $T a = lane[l], x = lane[l + half];                                                   \
        lane[l] = combine;                                                                          \
      }                                                                                             \
    return lane[0];                                                                                 \
  }
CSOURCE_ROW_REDUCTION(max, -INFINITY, x > a || x != x ? x : a, x > a || x != x ? x : a)
CSOURCE_ROW_REDUCTION(sum, 0, a + x, a + x)
CSOURCE_ROW_REDUCTION(squares, 0, a + (x - s) * (x - s), a + x)
#undef CSOURCE_ROW_REDUCTION

enum { CSOURCE_ROW_PIECE_$T = 4096 }; /* summed in $T; the sums of pieces in double, or long rows would lose digits */

static BYOC_UNUSED $T csource_row_max_$T(const $T *in, int64_t n) { return csource_lanes_max_$T(in, n, 0); }

static BYOC_UNUSED $T csource_row_sum_$T(const $T *in, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i += CSOURCE_ROW_PIECE_$T)
    sum += csource_lanes_sum_$T(in + i, byoc_min(CSOURCE_ROW_PIECE_$T, n - i), 0);
  return ($T)sum;
}

/* Squared distances from s. */
static BYOC_UNUSED $T csource_row_squares_$T(const $T *in, int64_t n, $T s) {
  double sum = 0;
  for (int64_t i = 0; i < n; i += CSOURCE_ROW_PIECE_$T)
    sum += csource_lanes_squares_$T(in + i, byoc_min(CSOURCE_ROW_PIECE_$T, n - i), s);
  return ($T)sum;
}
