/* Two axes resized with $taps taps each: (planes, height, width, inner) to another height and width. */
typedef struct {
  $T *out;
  const $T *in;
  int64_t in_height, in_width, out_height, out_width, inner;
  const int32_t *row_index, *col_index;
  const float *row_weight, *col_weight;
  const uint8_t *row_outside, *col_outside;
  $C extrapolation;
} CsourceResize_$name;

static void csource_resize_rows_$name(int64_t begin, int64_t end, void *ctx) {
  const CsourceResize_$name *r = (const CsourceResize_$name *)ctx;
  enum { TAPS = $taps };
  for (int64_t row = begin; row < end; ++row) {
    const int64_t y = row % r->out_height, line = r->in_width * r->inner;
    const $T *plane = r->in + row / r->out_height * r->in_height * line;
    $T *out = r->out + row * r->out_width * r->inner;
    const $T *lines[TAPS];
    $C down[TAPS];
    for (int k = 0; k < TAPS; ++k) {
      lines[k] = plane + r->row_index[y * TAPS + k] * line;
      down[k] = ($C)r->row_weight[y * TAPS + k];
    }
    for (int64_t x = 0; x < r->out_width; ++x) {
      const int32_t *index = r->col_index + x * TAPS;
      const float *across = r->col_weight + x * TAPS;
      const int outside = r->row_outside[y] || r->col_outside[x];
      (void)down;
      (void)across;
      for (int64_t c = 0; c < r->inner; ++c) {
        $C sum = 0;
        if (TAPS == 1) {
          sum = $load_nearest;
        } else {
          for (int k = 0; k < TAPS; ++k) {
            $C part = 0;
            for (int j = 0; j < TAPS; ++j) part += ($C)across[j] * $load;
            sum += down[k] * part;
          }
        }
        if (outside) sum = r->extrapolation;
        out[x * r->inner + c] = $store;
      }
    }
  }
}

/* `tables` has room for (height + width of the output) x (8 x taps + 1) bytes. */
static void csource_resize_$name($T *out, const $T *in, char *tables, int64_t planes, int64_t in_height,
                                 int64_t in_width, int64_t out_height, int64_t out_width, int64_t inner,
                                 const CsourceResize *how, const double *roi, $C extrapolation) {
  if (in_height * in_width == 0) return;
  int32_t *index = (int32_t *)tables;
  float *weight = (float *)(index + (out_height + out_width) * $taps);
  uint8_t *outside = (uint8_t *)(weight + (out_height + out_width) * $taps);
  csource_resize_axis(how, in_height, out_height, roi[0], roi[2], index, weight, outside);
  csource_resize_axis(how, in_width, out_width, roi[1], roi[3], index + out_height * $taps,
                      weight + out_height * $taps, outside + out_height);
  CsourceResize_$name r = {out, in, in_height, in_width, out_height, out_width, inner,
                           index, index + out_height * $taps, weight, weight + out_height * $taps,
                           outside, outside + out_height, extrapolation};
  byoc_parallel_for(planes * out_height, 4096 / byoc_max(out_width * inner, 1), csource_resize_rows_$name, &r);
}
