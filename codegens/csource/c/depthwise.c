/* Depthwise convolution: each channel of the image makes its own channels of the result. */

/* `vectors` vectors of the result whose first taps are `step` apart, from `bias` on.  All of them share each weight.
 * The sizes of the kernel are constants where the caller knows them. */
static inline __attribute__((always_inline)) void csource_depthwise_strip(
    const CsourceConvolving *v, const float *in, int64_t step, const float *weights, int64_t depth, int64_t height,
    int64_t width, int vectors, float bias, float *sums) {
  const int64_t pitch = v->phases * v->width;
  const csource_vector start = (csource_vector){0} + bias;
  csource_vector sum[4] = {start, start, start, start};
  for (int64_t z = 0; z < depth; ++z)
    _Pragma("GCC unroll 8") for (int64_t y = 0; y < height; ++y) {
      const float *row = in + (z * v->c.dilation[0] * v->extent[1] + y * v->c.dilation[1]) * pitch;
      _Pragma("GCC unroll 8") for (int64_t x = 0; x < width; ++x, ++weights) {
        const float *tap = row + v->tap_column[x], weight = *weights;
        _Pragma("GCC unroll 4") for (int i = 0; i < vectors; ++i)
          sum[i] += weight * *(const csource_vector *)(tap + i * step);
      }
    }
  _Pragma("GCC unroll 4") for (int i = 0; i < vectors; ++i)
    *(csource_vector *)(sums + i * CSOURCE_LANES) = sum[i];
}

/* One row of the result; `at` is where it begins in `out`. */
static inline __attribute__((always_inline)) void csource_depthwise_row(const CsourceConvolving *v,
                                                                        const CsourceEpilogue *epilogue,
                                                                        const float *in, const float *weights,
                                                                        float bias, int64_t at, int64_t depth,
                                                                        int64_t height, int64_t width) {
  float sums[4 * CSOURCE_LANES] __attribute__((aligned(64)));
  for (int64_t x = 0; x < v->c.out[2]; x += 4 * CSOURCE_LANES) {
    const int64_t columns = byoc_min(4 * CSOURCE_LANES, v->c.out[2] - x);
    if (columns > 2 * CSOURCE_LANES)
      csource_depthwise_strip(v, in + x, CSOURCE_LANES, weights, depth, height, width, 4, bias, sums);
    else if (columns > CSOURCE_LANES)
      csource_depthwise_strip(v, in + x, CSOURCE_LANES, weights, depth, height, width, 2, bias, sums);
    else
      csource_depthwise_strip(v, in + x, CSOURCE_LANES, weights, depth, height, width, 1, bias, sums);
    csource_finish(epilogue, sums, 0, 1, columns, 0, 0, at + x, 0, v->out);
  }
}

static inline __attribute__((always_inline)) void csource_depthwise_plane(const CsourceConvolving *v, int64_t channel,
                                                                          int64_t depth, int64_t height,
                                                                          int64_t width) {
  const CsourceConvolution *c = &v->c;
  const float *copy = v->copy + channel / c->out_channels * v->plane;
  const float *weights = v->weights + channel * depth * height * width;
  const float bias = v->epilogue->row_bias ? v->epilogue->row_bias[channel] : 0.0f;
  const int64_t pitch = c->stride[1] * v->phases * v->width;
  CsourceEpilogue rest = *v->epilogue;
  rest.row_bias = NULL;
  float sums[4 * CSOURCE_LANES] __attribute__((aligned(64)));
  int64_t at = v->out_offset + channel * v->pixels;
  for (int64_t z = 0; z < c->out[0]; ++z) {
    const float *in = copy + z * c->stride[0] * v->extent[1] * v->phases * v->width;
    int64_t y = 0;
    if (c->out[2] <= CSOURCE_LANES) /* narrow: four rows together */
      for (; y + 4 <= c->out[1]; y += 4, in += 4 * pitch, at += 4 * c->out[2]) {
        csource_depthwise_strip(v, in, pitch, weights, depth, height, width, 4, bias, sums);
        csource_finish(&rest, sums, CSOURCE_LANES, 4, c->out[2], 0, 0, at, c->out[2], v->out);
      }
    for (; y < c->out[1]; ++y, in += pitch, at += c->out[2])
      csource_depthwise_row(v, &rest, in, weights, bias, at, depth, height, width);
  }
}

/* One task is one channel of the image. */
static BYOC_UNUSED void csource_depthwise_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceConvolving *v = (const CsourceConvolving *)ctx;
  const CsourceConvolution *c = &v->c;
  for (int64_t channel = begin * c->out_channels; channel < end * c->out_channels; ++channel) {
    const int64_t image = channel / c->out_channels;
    if (channel % c->out_channels == 0) csource_conv_copy_range(image, image + 1, ctx);
    if (c->kernel[0] == 1 && c->kernel[1] == 3 && c->kernel[2] == 3)
      csource_depthwise_plane(v, channel, 1, 3, 3);
    else if (c->kernel[0] == 1 && c->kernel[1] == 5 && c->kernel[2] == 5)
      csource_depthwise_plane(v, channel, 1, 5, 5);
    else
      csource_depthwise_plane(v, channel, c->kernel[0], c->kernel[1], c->kernel[2]);
  }
}

static BYOC_UNUSED void csource_depthwise(const CsourceConvolution *c, int64_t batch, const float *x, const float *weights,
                              float *copy, const CsourceEpilogue *epilogue, float *out) {
  CsourceConvolving v = {.c = *c, .weights = weights, .copy = copy, .out = out, .epilogue = epilogue};
  csource_copy_layout(&v);
  v.plane += CSOURCE_COLUMNS; /* the last vector of a plane reads that far on, where no other task may write */
  int64_t tap_column[CSOURCE_MAX_KERNEL];
  csource_tap_columns(&v, tap_column);
  const int64_t channels = c->groups * c->out_channels;
  for (int64_t n = 0; n < batch; ++n) {
    v.image = x + n * c->groups * c->in[0] * c->in[1] * c->in[2];
    v.out_offset = n * channels * v.pixels;
    byoc_parallel_for(c->groups, 1 + 32768 / (v.pixels * v.taps * c->out_channels + 1), csource_depthwise_range, &v);
  }
}
