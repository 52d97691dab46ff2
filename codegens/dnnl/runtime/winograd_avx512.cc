/* Compiled for AVX-512: nothing of the standard library may be instantiated here, since the linker could take it for
 * the whole artifact. */
#include <immintrin.h>
#include <string.h>

#include "product_avx512.h"
#include "winograd.h"

namespace byoc_dnnl {
namespace {

constexpr int kTile = 6, kProducts = kTile * kTile;
constexpr int64_t kBandFloats = 1 << 19;
/* With fewer, reading the weights, which are 36 numbers for each window, takes longer than the products saved. */
constexpr int64_t kFewestTiles = 9;
/* With fewer, transforming the image is too much for what it is used for. */
constexpr int64_t kFewestOutputs = 48;
/* Sums of a direct convolution; with fewer, threads that wait for each other three times take longer. */
constexpr int64_t kFewestSums = 15000000;

/* Results of a tile in one direction, and tiles. */
int64_t TileSize(const WinogradShape& shape) { return kTile + 1 - shape.window; }
int64_t Down(const WinogradShape& shape) { return (shape.out_height + TileSize(shape) - 1) / TileSize(shape); }
int64_t Across(const WinogradShape& shape) { return (shape.out_width + TileSize(shape) - 1) / TileSize(shape); }
int64_t Tiles(const WinogradShape& shape) { return shape.batch * Down(shape) * Across(shape); }

/* Tiles are worked on in bands, whose transformed tiles stay in the cache; a band's products read all weights. */
struct Band {
  int64_t tiles, inputs, outputs;  // tiles of a whole band; channels rounded up to whole vectors
  int64_t in_step, out_step;       // floats between the planes of two products; an odd number of cache lines

  explicit Band(const WinogradShape& shape) {
    inputs = RoundUp(shape.inputs, kLanes), outputs = RoundUp(shape.outputs, kLanes);
    int64_t per_tile = kProducts * (inputs + outputs), weights = kProducts * inputs * outputs;
    int64_t bands = Larger(1, Larger(kBandFloats, weights) / per_tile);
    int64_t count = (Tiles(shape) + bands - 1) / bands;
    tiles = (Tiles(shape) + count - 1) / count;
    in_step = Spread(tiles * inputs), out_step = Spread(tiles * outputs);
  }

  static int64_t Spread(int64_t floats) { return floats + (floats / kLanes % 2 == 0 ? kLanes : 0); }
};

/* Six points 0, 1, -1, 2, -2 and infinity. */
inline __attribute__((always_inline)) void TransformInput(const __m512* d, int step, __m512* out, int out_step) {
  const __m512 two = _mm512_set1_ps(2), four = _mm512_set1_ps(4), five = _mm512_set1_ps(5);
  __m512 d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
  __m512 even = _mm512_fnmadd_ps(four, d2, d4), odd = _mm512_fnmadd_ps(four, d1, d3);
  __m512 far_even = _mm512_sub_ps(d4, d2), far_odd = _mm512_mul_ps(two, _mm512_sub_ps(d3, d1));
  out[0] = _mm512_fnmadd_ps(five, d2, _mm512_fmadd_ps(four, d0, d4));
  out[out_step] = _mm512_add_ps(even, odd);
  out[2 * out_step] = _mm512_sub_ps(even, odd);
  out[3 * out_step] = _mm512_add_ps(far_even, far_odd);
  out[4 * out_step] = _mm512_sub_ps(far_even, far_odd);
  out[5 * out_step] = _mm512_fnmadd_ps(five, d3, _mm512_fmadd_ps(four, d1, d5));
}

/* To `Size` results: powers of the points, the last with what is at infinity. */
template <int Size>
inline __attribute__((always_inline)) void TransformOutput(const __m512* m, int step, __m512* out, int out_step) {
  const __m512 two = _mm512_set1_ps(2), four = _mm512_set1_ps(4), eight = _mm512_set1_ps(8);
  __m512 near_sum = _mm512_add_ps(m[step], m[2 * step]), near_difference = _mm512_sub_ps(m[step], m[2 * step]);
  __m512 far_sum = _mm512_add_ps(m[3 * step], m[4 * step]), far_difference = _mm512_sub_ps(m[3 * step], m[4 * step]);
  out[0] = _mm512_add_ps(_mm512_add_ps(m[0], near_sum), far_sum);
  out[out_step] = _mm512_fmadd_ps(two, far_difference, near_difference);
  if (Size == 4) {
    out[2 * out_step] = _mm512_fmadd_ps(four, far_sum, near_sum);
    out[3 * out_step] = _mm512_fmadd_ps(eight, far_difference, near_difference);
  }
  out[(Size - 1) * out_step] = _mm512_add_ps(out[(Size - 1) * out_step], m[5 * step]);
}

/* One row or column of a window to six numbers. */
inline __attribute__((always_inline)) void TransformWindow(const __m512* g, int step, int window, __m512* out,
                                                           int out_step) {
  const float scales[] = {0.25f, -1.f / 6, -1.f / 6, 1.f / 24, 1.f / 24}, points[] = {0, 1, -1, 2, -2};
  for (int i = 0; i < kTile - 1; ++i) {
    __m512 sum = g[(window - 1) * step];
    for (int j = window - 2; j >= 0; --j) sum = _mm512_fmadd_ps(sum, _mm512_set1_ps(points[i]), g[j * step]);
    out[i * out_step] = _mm512_mul_ps(sum, _mm512_set1_ps(scales[i]));
  }
  out[5 * out_step] = g[(window - 1) * step];
}

struct Place {
  int64_t image, y, x;  // in tiles
  Place(const WinogradShape& shape, int64_t tile)
      : image(tile / (Down(shape) * Across(shape))),
        y(tile / Across(shape) % Down(shape)), x(tile % Across(shape)) {}
};

/* One tile of all channels into the 36 planes. */
void GatherTile(const WinogradShape& shape, const Band& band, const float* in, const float* zeros, int64_t tile,
                float* out) {
  Place place(shape, tile);
  const float* pixels[kProducts];
  int64_t top = place.y * TileSize(shape) - shape.top, left = place.x * TileSize(shape) - shape.left;
  for (int y = 0; y < kTile; ++y)
    for (int x = 0; x < kTile; ++x) {
      int64_t iy = top + y, ix = left + x;
      bool inside = iy >= 0 && iy < shape.in_height && ix >= 0 && ix < shape.in_width;
      pixels[y * kTile + x] =
          inside ? in + place.image * shape.in.image + iy * shape.in.row + ix * shape.in.pixel : zeros;
    }
  for (int64_t c = 0; c < shape.inputs; c += kLanes) {
    __mmask16 mask = MaskOf(shape.inputs - c);
    __m512 columns[kProducts], row[kTile];
    for (int x = 0; x < kTile; ++x) {
      __m512 column[kTile];
      for (int y = 0; y < kTile; ++y) column[y] = _mm512_maskz_loadu_ps(mask, pixels[y * kTile + x] + c);
      TransformInput(column, 1, columns + x, kTile);
    }
    for (int y = 0; y < kTile; ++y) {
      TransformInput(columns + y * kTile, 1, row, 1);
      for (int x = 0; x < kTile; ++x) _mm512_store_ps(out + (y * kTile + x) * band.in_step + c, row[x]);
    }
  }
}

/* One tile of all channels from the 36 planes, with what follows the convolution. */
template <int Size>
void ScatterTile(const WinogradShape& shape, const Band& band, const float* in, const float* bias, const float* added,
                 int64_t tile, float* out) {
  Place place(shape, tile);
  int64_t top = place.y * Size, left = place.x * Size;
  int64_t rows = Smaller(Size, shape.out_height - top), across = Smaller(Size, shape.out_width - left);
  const __m512 low = _mm512_set1_ps(shape.low), high = _mm512_set1_ps(shape.high);
  out += place.image * shape.out.image + top * shape.out.row + left * shape.out.pixel;
  if (added) added += place.image * shape.added.image + top * shape.added.row + left * shape.added.pixel;
  for (int64_t k = 0; k < shape.outputs; k += kLanes) {
    __mmask16 mask = MaskOf(shape.outputs - k);
    __m512 columns[Size * kTile], row[Size];
    for (int x = 0; x < kTile; ++x) {
      __m512 column[kTile];
      for (int y = 0; y < kTile; ++y) column[y] = _mm512_load_ps(in + (y * kTile + x) * band.out_step + k);
      TransformOutput<Size>(column, 1, columns + x, kTile);
    }
    const __m512 shift = bias ? _mm512_maskz_loadu_ps(mask, bias + k) : _mm512_setzero_ps();
    for (int y = 0; y < rows; ++y) {
      TransformOutput<Size>(columns + y * kTile, 1, row, 1);
      for (int x = 0; x < across; ++x) {
        __m512 value = _mm512_add_ps(row[x], shift);
        if (added)
          value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(
                                           mask, added + y * shape.added.row + x * shape.added.pixel + k));
        value = _mm512_min_ps(high, _mm512_max_ps(low, value));  // NaN stays
        _mm512_mask_storeu_ps(out + y * shape.out.row + x * shape.out.pixel + k, mask, value);
      }
    }
  }
}

/* One product's plane of a band times one panel of its weights. */
void MultiplyPanel(const WinogradShape& shape, const Band& band, int64_t tiles, const float* transformed, int64_t item,
                   const float* in, float* out) {
  int64_t panels = (band.outputs + kPanel - 1) / kPanel, product = item / panels, first = item % panels * kPanel;
  const float* a = in + product * band.in_step;
  const float* b = transformed + (product * band.outputs + first) * shape.inputs;
  float* c = out + product * band.out_step + first;
  if (band.outputs - first >= kPanel)
    MultiplyRows<2>(tiles, a, band.inputs, b, shape.inputs, c, band.outputs);
  else
    MultiplyRows<1>(tiles, a, band.inputs, b, shape.inputs, c, band.outputs);
}

int64_t GroupWeightFloats(const WinogradShape& shape) {
  return kProducts * shape.inputs * RoundUp(shape.outputs, kLanes);
}

/* 16 output channels of one input channel; `place` is where their lanes lie in the panels of the first product. */
void TransformSixteen(const WinogradShape& shape, const float* weights, int64_t outputs, float* place) {
  const int window = static_cast<int>(shape.window);
  const int64_t area = shape.window * shape.window, step = shape.inputs * RoundUp(shape.outputs, kLanes);
  float taps[25 * kLanes] __attribute__((aligned(64)));
  memset(taps, 0, sizeof taps);
  for (int64_t k = 0; k < outputs; ++k)
    for (int64_t i = 0; i < area; ++i) taps[i * kLanes + k] = weights[k * shape.inputs * area + i];
  __m512 rows[5 * kTile], columns[kTile], tap[5];
  for (int y = 0; y < window; ++y) {
    for (int x = 0; x < window; ++x) tap[x] = _mm512_load_ps(taps + (y * window + x) * kLanes);
    TransformWindow(tap, 1, window, rows + y * kTile, 1);
  }
  for (int x = 0; x < kTile; ++x) {
    TransformWindow(rows + x, kTile, window, columns, 1);
    for (int y = 0; y < kTile; ++y) _mm512_store_ps(place + (y * kTile + x) * step, columns[y]);
  }
}

}  // namespace

bool WinogradPays(const WinogradShape& shape) {
  int64_t sums = shape.batch * shape.out_height * shape.out_width * shape.groups * shape.outputs * shape.inputs *
                 shape.window * shape.window;
  return __builtin_cpu_supports("avx512f") && shape.inputs >= kLanes && shape.outputs >= kFewestOutputs &&
         Tiles(shape) >= kFewestTiles && sums >= kFewestSums;
}

size_t WinogradWeightFloats(const WinogradShape& shape) {
  return static_cast<size_t>(shape.groups * GroupWeightFloats(shape));
}

size_t WinogradScratchFloats(const WinogradShape& shape) {
  Band band(shape);
  return static_cast<size_t>(kProducts * (band.in_step + band.out_step) + band.inputs);
}

void WinogradTransformWeights(const WinogradShape& shape, const float* weights, float* transformed) {
  const int64_t outputs = RoundUp(shape.outputs, kLanes), area = shape.window * shape.window;
  const int64_t vectors = outputs / kLanes;
#pragma omp parallel for schedule(static)
  for (int64_t item = 0; item < shape.groups * vectors; ++item) {
    int64_t group = item / vectors, first = item % vectors * kLanes, panel = first / kPanel * kPanel;
    int64_t width = Smaller(kPanel, outputs - panel);
    const float* from = weights + (group * shape.outputs + first) * shape.inputs * area;
    float* to = transformed + group * GroupWeightFloats(shape) + panel * shape.inputs + first - panel;
    for (int64_t c = 0; c < shape.inputs; ++c)
      TransformSixteen(shape, from + c * area, Smaller(kLanes, shape.outputs - first), to + c * width);
  }
}

void WinogradRun(const WinogradShape& shape, const float* in, const float* transformed, const float* bias,
                 const float* added, float* out, float* scratch) {
  const Band band(shape);
  float *turned = scratch, *products = scratch + kProducts * band.in_step;
  float* zeros = products + kProducts * band.out_step;
  memset(zeros, 0, band.inputs * sizeof(float));
  const int64_t panels = (band.outputs + kPanel - 1) / kPanel, all = Tiles(shape);
#pragma omp parallel
  for (int64_t group = 0; group < shape.groups; ++group) {
    const float* source = in + group * shape.inputs;
    const float* shift = bias ? bias + group * shape.outputs : nullptr;
    const float* extra = added ? added + group * shape.outputs : nullptr;
    const float* weights = transformed + group * GroupWeightFloats(shape);
    float* target = out + group * shape.outputs;
    for (int64_t first = 0; first < all; first += band.tiles) {
      const int64_t tiles = Smaller(band.tiles, all - first);
#pragma omp for schedule(static)
      for (int64_t i = 0; i < tiles; ++i)
        GatherTile(shape, band, source, zeros, first + i, turned + i * band.inputs);
#pragma omp for schedule(static)
      for (int64_t item = 0; item < kProducts * panels; ++item)
        MultiplyPanel(shape, band, tiles, weights, item, turned, products);
#pragma omp for schedule(static)
      for (int64_t i = 0; i < tiles; ++i) {
        const float* from = products + i * band.outputs;
        if (shape.window == 3)
          ScatterTile<4>(shape, band, from, shift, extra, first + i, target);
        else
          ScatterTile<2>(shape, band, from, shift, extra, first + i, target);
      }
    }
  }
}

}  // namespace byoc_dnnl
