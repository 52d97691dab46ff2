/* Transposed convolution: each pixel of the image times the weights gives the contributions of its taps
 * (a product [channels x taps][pixels]), which are then added up where they overlap. */
typedef struct {
  int64_t groups, in_channels, out_channels; /* channels of one group */
  int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
} CsourceTransposed;

typedef struct {
  const CsourceTransposed *c;
  const float *parts; /* [channels][taps][pixels of the image] */
  const CsourceEpilogue *epilogue;
  int64_t out_offset;
  float *out;
} CsourceAdding;

/* Pixels [*begin, *end) of the image, along an axis, whose tap falls on the result. */
static BYOC_UNUSED void csource_landing(const CsourceTransposed *c, int axis, int64_t tap, int64_t *begin, int64_t *end) {
  const int64_t stride = c->stride[axis], shift = tap * c->dilation[axis] - c->pad[axis], size = c->out[axis];
  *begin = byoc_min(c->in[axis], shift < 0 ? (-shift + stride - 1) / stride : 0);
  *end = byoc_min(c->in[axis], shift < size ? (size - shift + stride - 1) / stride : 0);
}

static BYOC_UNUSED void csource_add_tap(const CsourceTransposed *c, const float *parts, const int64_t *tap, float *plane) {
  int64_t begin[3], end[3];
  for (int axis = 0; axis < 3; ++axis) csource_landing(c, axis, tap[axis], &begin[axis], &end[axis]);
  const int64_t step = c->stride[2], shift = tap[2] * c->dilation[2] - c->pad[2];
  for (int64_t z = begin[0]; z < end[0]; ++z)
    for (int64_t y = begin[1]; y < end[1]; ++y) {
      const int64_t oz = z * c->stride[0] + tap[0] * c->dilation[0] - c->pad[0];
      const int64_t oy = y * c->stride[1] + tap[1] * c->dilation[1] - c->pad[1];
      const float *BYOC_RESTRICT in = parts + (z * c->in[1] + y) * c->in[2];
      float *BYOC_RESTRICT out = plane + (oz * c->out[1] + oy) * c->out[2] + shift;
      if (step == 1)
        for (int64_t x = begin[2]; x < end[2]; ++x) out[x] += in[x];
      else if (step == 2)
        for (int64_t x = begin[2]; x < end[2]; ++x) out[2 * x] += in[x];
      else
        for (int64_t x = begin[2]; x < end[2]; ++x) out[step * x] += in[x];
    }
}

/* One task is one channel of the result. */
static BYOC_UNUSED void csource_adding_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceAdding *a = (const CsourceAdding *)ctx;
  const CsourceTransposed *c = a->c;
  const int64_t in = c->in[0] * c->in[1] * c->in[2], out = c->out[0] * c->out[1] * c->out[2];
  const int64_t taps = c->kernel[0] * c->kernel[1] * c->kernel[2];
  for (int64_t channel = begin; channel < end; ++channel) {
    float *plane = a->out + a->out_offset + channel * out;
    memset(plane, 0, (size_t)out * sizeof(float));
    for (int64_t k = 0; k < taps; ++k) {
      const int64_t tap[3] = {k / c->kernel[2] / c->kernel[1], k / c->kernel[2] % c->kernel[1], k % c->kernel[2]};
      csource_add_tap(c, a->parts + (channel * taps + k) * in, tap, plane);
    }
    csource_finish(a->epilogue, plane, 0, 1, out, channel, 0, a->out_offset, out, a->out);
  }
}

/* `weights` are panels of [channels x taps][in_channels] for each group; `columns` and `parts` are memory. */
static BYOC_UNUSED void csource_conv_transpose(const CsourceTransposed *c, int64_t batch, const float *x, const float *weights,
                                   float *columns, float *parts, const CsourceEpilogue *epilogue, float *out) {
  const int64_t in = c->in[0] * c->in[1] * c->in[2], taps = c->kernel[0] * c->kernel[1] * c->kernel[2];
  const int64_t pixels = c->out[0] * c->out[1] * c->out[2], channels = c->groups * c->out_channels;
  const int64_t one = 1, image = c->in_channels * in;
  const CsourceEpilogue none = {.activation = CSOURCE_NONE};
  for (int64_t n = 0; n < batch; ++n) {
    const CsourcePack pack = {.matrix = x + n * c->groups * image, .rows = c->in_channels, .columns = in,
                              .row_stride = in, .column_stride = 1, .batches = c->groups, .rank = 1,
                              .extents = &c->groups, .strides = &image, .packed = columns};
    csource_pack_columns(&pack);
    const CsourceProduct product = {.rows = c->out_channels * taps, .columns = in, .depth = c->in_channels,
                                    .batches = c->groups, .left = weights, .right = columns, .rank = 1,
                                    .extents = &c->groups, .left_strides = &one, .right_strides = &one,
                                    .epilogue = &none, .out = parts};
    csource_product(&product);
    CsourceAdding adding = {c, parts, epilogue, n * channels * pixels, out};
    byoc_parallel_for(channels, 1 + 16384 / (taps * in + pixels + 1), csource_adding_range, &adding);
  }
}
