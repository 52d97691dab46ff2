/* Where the elements of a resized axis come from: for each place of the output up to four places of the input. */

typedef enum {
  CSOURCE_HALF_PIXEL,
  CSOURCE_ALIGN_CORNERS,
  CSOURCE_ASYMMETRIC,
  CSOURCE_PYTORCH_HALF_PIXEL,
  CSOURCE_TF_HALF_PIXEL_FOR_NN,
  CSOURCE_TF_CROP_AND_RESIZE
} CsourceCoordinates;
typedef enum {
  CSOURCE_ROUND,
  CSOURCE_ROUND_PREFER_FLOOR,
  CSOURCE_ROUND_PREFER_CEIL,
  CSOURCE_FLOOR,
  CSOURCE_CEIL
} CsourceRounding;

typedef struct {
  CsourceCoordinates coordinates;
  CsourceRounding rounding;
  int taps; /* 1 nearest, 2 linear, 4 cubic */
  int cubic_exclude_outside;
  double cubic_alpha;
} CsourceResize;

static double csource_resize_coordinate(int64_t x, int64_t in, int64_t out, CsourceCoordinates how, double first,
                                        double last) {
  switch (how) {
    case CSOURCE_ALIGN_CORNERS:
      return out > 1 ? (double)(x * (in - 1)) / (double)(out - 1) : 0.0;
    case CSOURCE_ASYMMETRIC:
      return (double)(x * in) / (double)out;
    case CSOURCE_TF_HALF_PIXEL_FOR_NN:
      return ((double)x + 0.5) * (double)in / (double)out;
    case CSOURCE_TF_CROP_AND_RESIZE:
      if (out <= 1) return 0.5 * (first + last) * (double)(in - 1);
      return first * (double)(in - 1) + (double)x * (last - first) * (double)(in - 1) / (double)(out - 1);
    case CSOURCE_PYTORCH_HALF_PIXEL:
      if (out <= 1) return 0.0;
      break;
    default:
      break;
  }
  return ((double)x + 0.5) * (double)in / (double)out - 0.5;
}

static int64_t csource_resize_nearest(double x, CsourceRounding rounding) {
  switch (rounding) {
    case CSOURCE_ROUND_PREFER_FLOOR:
      return (int64_t)ceil(x - 0.5);
    case CSOURCE_ROUND_PREFER_CEIL:
      return (int64_t)floor(x + 0.5);
    case CSOURCE_FLOOR: /* what rounding errors may have put just below an integer counts as that integer */
      return (int64_t)floor(x + 1e-5);
    case CSOURCE_CEIL:
      return (int64_t)ceil(x - 1e-5);
    default:
      return (int64_t)rint(x);
  }
}

static void csource_cubic_weights(double t, double alpha, double *w) {
  w[0] = alpha * t * (t - 1) * (t - 1);
  w[1] = ((alpha + 2) * t - (alpha + 3)) * t * t + 1;
  w[2] = t * (t * ((2 * alpha + 3) - (alpha + 2) * t) - alpha);
  w[3] = alpha * t * t * (1 - t);
}

/* Tables of out x taps: `index` into the input and `weight`; `outside` tells places beyond the input. */
static void csource_resize_axis(const CsourceResize *r, int64_t in, int64_t out, double first, double last,
                                int32_t *index, float *weight, uint8_t *outside) {
  for (int64_t i = 0; i < out; ++i) {
    const double x = csource_resize_coordinate(i, in, out, r->coordinates, first, last);
    const double below = floor(x), t = x - below;
    int64_t start = (int64_t)below;
    double w[4] = {1, 0, 0, 0};
    if (r->taps == 1) {
      start = csource_resize_nearest(x, r->rounding);
    } else if (r->taps == 2) {
      w[0] = 1 - t;
      w[1] = t;
    } else {
      csource_cubic_weights(t, r->cubic_alpha, w);
      double sum = 0;
      start -= 1;
      for (int k = 0; k < 4; ++k) {
        if (r->cubic_exclude_outside && (start + k < 0 || start + k >= in)) w[k] = 0;
        sum += w[k];
      }
      for (int k = 0; k < 4 && r->cubic_exclude_outside; ++k) w[k] /= sum;
    }
    outside[i] = r->coordinates == CSOURCE_TF_CROP_AND_RESIZE && (x < 0 || x > (double)(in - 1));
    for (int k = 0; k < r->taps; ++k) {
      index[i * r->taps + k] = (int32_t)byoc_min(byoc_max(start + k, 0), in - 1);
      weight[i * r->taps + k] = (float)w[k];
    }
  }
}
