/* Depthwise convolution: each channel of the image makes its own channels of the result. */
/* `vectors` vectors of one row of the result; the kernel's rows and columns are constants where the caller knows them. */
static inline __attribute__((always_inline)) void csource_depthwise_strip(
    const CsourceConvolving *v, const float *in, const float *weights, int64_t depth, int64_t height, int64_t width,
    int vectors, float *sums) {
  const int64_t pitch = v->phases * v->width;
  csource_vector sum[4] = {{0}, {0}, {0}, {0}};
  for (int64_t z = 0; z < depth; ++z)
    for (int64_t y = 0; y < height; ++y) {
      const float *row = in + (z * v->c.dilation[0] * v->extent[1] + y * v->c.dilation[1]) * pitch;
      for (int64_t x = 0; x < width; ++x, ++weights) {
        const float *tap = row + v->tap_column[x];
        _Pragma("GCC unroll 4") for (int i = 0; i < vectors; ++i)
          sum[i] += *weights * *(const csource_vector *)(tap + i * CSOURCE_LANES);
      }
    }
  _Pragma("GCC unroll 4") for (int i = 0; i < vectors; ++i)
    *(csource_vector *)(sums + i * CSOURCE_LANES) = sum[i];
}

static inline __attribute__((always_inline)) void csource_depthwise_plane(const CsourceConvolving *v, int64_t channel,
                                                                          int64_t depth, int64_t height,
                                                                          int64_t width) {
  const CsourceConvolution *c = &v->c;
  const float *copy = v->copy + channel / c->out_channels * v->plane;
  const float *weights = v->weights + channel * depth * height * width;
  float sums[4 * CSOURCE_LANES] __attribute__((aligned(64)));
  for (int64_t z = 0; z < c->out[0]; ++z)
    for (int64_t y = 0; y < c->out[1]; ++y) {
      const float *in = copy + (z * c->stride[0] * v->extent[1] + y * c->stride[1]) * v->phases * v->width;
      const int64_t start = (z * c->out[1] + y) * c->out[2];
      for (int64_t x = 0; x < c->out[2]; x += 4 * CSOURCE_LANES) {
        const int64_t columns = byoc_min(4 * CSOURCE_LANES, c->out[2] - x);
        if (columns > 2 * CSOURCE_LANES)
          csource_depthwise_strip(v, in + x, weights, depth, height, width, 4, sums);
        else if (columns > CSOURCE_LANES)
          csource_depthwise_strip(v, in + x, weights, depth, height, width, 2, sums);
        else
          csource_depthwise_strip(v, in + x, weights, depth, height, width, 1, sums);
        csource_finish(v->epilogue, sums, 0, 1, columns, channel, start + x, v->out_offset, v->pixels, v->out);
      }
    }
}

static BYOC_UNUSED void csource_depthwise_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceConvolving *v = (const CsourceConvolving *)ctx;
  const CsourceConvolution *c = &v->c;
  for (int64_t channel = begin; channel < end; ++channel) {
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
  int64_t tap_column[CSOURCE_MAX_KERNEL];
  csource_tap_columns(&v, tap_column);
  const int64_t channels = c->groups * c->out_channels;
  for (int64_t n = 0; n < batch; ++n) {
    v.image = x + n * c->groups * c->in[0] * c->in[1] * c->in[2];
    v.out_offset = n * channels * v.pixels;
    byoc_parallel_for(c->groups, 1 + 16384 / (v.plane + 1), csource_conv_copy_range, &v);
    byoc_parallel_for(channels, 1 + 32768 / (v.pixels * v.taps + 1), csource_depthwise_range, &v);
  }
}
