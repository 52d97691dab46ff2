static void ${name}_pad(int64_t begin, int64_t end, void *ctx) {
  const CsourceIntegersCall *call = (const CsourceIntegersCall *)ctx;
  const CsourceIntegers *s = call->shape;
  for (int64_t plane = begin; plane < end; ++plane) {
    const $element *in = (const $element *)call->image + plane * s->in[0] * s->in[1] * s->in[2];
    $copy *out = ($copy *)call->copy + plane * s->padded[0] * s->padded[1] * s->padded[2];
    memset(out, 0, (size_t)(s->padded[0] * s->padded[1] * s->padded[2]) * sizeof *out);
    for (int64_t z = 0; z < byoc_min(s->in[0], s->padded[0] - s->pad[0]); ++z)
      for (int64_t y = 0; y < byoc_min(s->in[1], s->padded[1] - s->pad[1]); ++y) {
        const $element *from = in + (z * s->in[1] + y) * s->in[2];
        $copy *to = out + ((z + s->pad[0]) * s->padded[1] + y + s->pad[1]) * s->padded[2] + s->pad[2];
        const int64_t n = byoc_min(s->in[2], s->padded[2] - s->pad[2]);
        for (int64_t x = 0; x < n; ++x) to[x] = ($copy)(from[x] - s->zero);
      }
  }
}

/* One task is one row of the result. */
static void ${name}_rows(int64_t begin, int64_t end, void *ctx) {
  const CsourceIntegersCall *call = (const CsourceIntegersCall *)ctx;
  const CsourceIntegers *s = call->shape;
  const int64_t channels = s->groups * s->out_channels, plane = s->padded[0] * s->padded[1] * s->padded[2];
  const int64_t taps = s->kernel[0] * s->kernel[1] * s->kernel[2];
  $sum total[CSOURCE_INTEGERS_COLUMNS];
  for (int64_t task = begin; task < end; ++task) {
    const int64_t y = task % s->out[1], z = task / s->out[1] % s->out[0], map = task / s->out[1] / s->out[0];
    const int64_t channel = map % channels, image = map / channels, group = channel / s->out_channels;
    const $weight *w = (const $weight *)call->weights + channel * s->in_channels * taps;
    const $copy *in = (const $copy *)call->copy + (image * s->groups + group) * s->in_channels * plane;
    for (int64_t x = 0; x < s->out[2]; x += CSOURCE_INTEGERS_COLUMNS) {
      const int64_t n = byoc_min(CSOURCE_INTEGERS_COLUMNS, s->out[2] - x);
      for (int64_t i = 0; i < n; ++i) total[i] = call->bias[channel];
      for (int64_t c = 0; c < s->in_channels; ++c)
        for (int64_t kz = 0; kz < s->kernel[0]; ++kz)
          for (int64_t ky = 0; ky < s->kernel[1]; ++ky) {
            const int64_t line = (z * s->stride[0] + kz * s->dilation[0]) * s->padded[1] + y * s->stride[1];
            const $copy *row = in + c * plane + (line + ky * s->dilation[1]) * s->padded[2] + x * s->stride[2];
            for (int64_t kx = 0; kx < s->kernel[2]; ++kx) {
              const $sum factor = w[((c * s->kernel[0] + kz) * s->kernel[1] + ky) * s->kernel[2] + kx];
              const $copy *at = row + kx * s->dilation[2];
              if (s->stride[2] == 1)
                for (int64_t i = 0; i < n; ++i) total[i] += factor * at[i];
              else if (s->stride[2] == 2)
                for (int64_t i = 0; i < n; ++i) total[i] += factor * at[i * 2];
              else
                for (int64_t i = 0; i < n; ++i) total[i] += factor * at[i * s->stride[2]];
            }
          }
      $result *out = ($result *)call->out + task * s->out[2] + x;
      $round;
    }
  }
}

static void $name(const CsourceIntegers *s, int64_t batch, const void *image, void *copy, const void *weights,
                  const int32_t *bias, const CsourceRequantise *ending, void *out) {
  CsourceIntegersCall call = {s, image, copy, weights, bias, ending, out};
  const int64_t work = s->out[2] * s->in_channels * s->kernel[0] * s->kernel[1] * s->kernel[2];
  byoc_parallel_for(batch * s->groups * s->in_channels, 8, ${name}_pad, &call);
  byoc_parallel_for(batch * s->groups * s->out_channels * s->out[0] * s->out[1], 1 + 16384 / (work + 1), ${name}_rows,
                    &call);
}
