/* A convolution of element types that have no register tiles. */
typedef struct {
  int64_t groups, in_channels, out_channels; /* channels of one group */
  int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
} CsourceDirect;

typedef struct {
  const CsourceDirect *c;
  const void *x, *weights;
  void *out;
} CsourceDirectCall;

/* Output columns [*begin, *end) whose tap, `shift` columns further, lies in the image. */
static inline BYOC_UNUSED void csource_direct_columns(const CsourceDirect *c, int64_t shift, int64_t *begin, int64_t *end) {
  const int64_t stride = c->stride[2];
  *begin = byoc_min(c->out[2], shift < 0 ? (-shift + stride - 1) / stride : 0);
  *end = byoc_min(c->out[2], shift < c->in[2] ? (c->in[2] - shift + stride - 1) / stride : 0);
}
