static void ${name}_row(const CsourceDirect *c, const $element *in, $element weight, int64_t shift, $sum *out) {
  int64_t begin, end;
  csource_direct_columns(c, shift, &begin, &end);
  if (c->stride[2] == 1)
    for (int64_t i = begin; i < end; ++i) out[i] += ($sum)weight * ($sum)in[i + shift];
  else
    for (int64_t i = begin; i < end; ++i) out[i] += ($sum)weight * ($sum)in[i * c->stride[2] + shift];
}

/* One task is one row of one channel of the result. */
static void ${name}_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceDirectCall *call = (const CsourceDirectCall *)ctx;
  const CsourceDirect *c = call->c;
  const int64_t channels = c->groups * c->out_channels;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t y = task % c->out[1], z = task / c->out[1] % c->out[0];
    const int64_t channel = task / c->out[1] / c->out[0] % channels, n = task / c->out[1] / c->out[0] / channels;
    const $element *weight =
        (const $element *)call->weights + channel * c->in_channels * c->kernel[0] * c->kernel[1] * c->kernel[2];
    const $element *image = (const $element *)call->x + (n * c->groups + channel / c->out_channels) * c->in_channels *
                                                            c->in[0] * c->in[1] * c->in[2];
    $sum *out = ($sum *)call->out + task * c->out[2];
    for (int64_t i = 0; i < c->out[2]; ++i) out[i] = 0;
    for (int64_t k = 0; k < c->in_channels; ++k)
      for (int64_t kz = 0; kz < c->kernel[0]; ++kz)
        for (int64_t ky = 0; ky < c->kernel[1]; ++ky, weight += c->kernel[2]) {
          const int64_t iz = z * c->stride[0] + kz * c->dilation[0] - c->pad[0];
          const int64_t iy = y * c->stride[1] + ky * c->dilation[1] - c->pad[1];
          if (iz < 0 || iz >= c->in[0] || iy < 0 || iy >= c->in[1]) continue;
          const $element *row = image + ((k * c->in[0] + iz) * c->in[1] + iy) * c->in[2];
          for (int64_t kx = 0; kx < c->kernel[2]; ++kx)
            ${name}_row(c, row, weight[kx], kx * c->dilation[2] - c->pad[2], out);
        }
  }
}

static void $name(const CsourceDirect *c, int64_t batch, const $element *x, const $element *weights, $sum *out) {
  CsourceDirectCall call = {c, x, weights, out};
  const int64_t work = c->out[2] * c->in_channels * c->kernel[0] * c->kernel[1] * c->kernel[2];
  byoc_parallel_for(batch * c->groups * c->out_channels * c->out[0] * c->out[1], 1 + 32768 / (work + 1),
                    ${name}_range, &call);
}
