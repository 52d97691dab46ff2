/* Convolutions of integers by their definition: an integer copy of the image, padded, less its zero point. */
typedef struct {
  int64_t groups, in_channels, out_channels, in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], padded[3];
  int32_t zero;
} CsourceIntegers;

typedef struct {
  const CsourceIntegers *shape;
  const void *image;
  void *copy;
  const void *weights;
  const int32_t *bias;
  const CsourceRequantise *ending;
  void *out;
} CsourceIntegersCall;
enum { CSOURCE_INTEGERS_COLUMNS = 128 };
