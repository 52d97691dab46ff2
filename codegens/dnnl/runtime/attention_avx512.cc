/* Compiled for AVX-512: nothing of the standard library may be instantiated here, since the linker could take it for
 * the whole artifact. */
#include <immintrin.h>
#include <math.h>

#include "attention.h"
#include "product_avx512.h"

extern "C" int omp_get_thread_num(void);

namespace byoc_dnnl {
namespace {

/* A thread's scratch memory: keys and values of one head packed, and one block of rows. */
constexpr int64_t kMostScratchFloats = 1 << 20;

struct Scratch {
  int64_t columns, width;  // rounded up to whole vectors
  int64_t values, queries, scores, results, floats;

  explicit Scratch(const AttentionShape& shape)
      : columns(RoundUp(shape.columns, kLanes)), width(RoundUp(shape.width, kLanes)) {
    values = columns * shape.depth;
    queries = values + width * shape.columns;
    scores = queries + RoundUp(kRows * shape.depth, kLanes);
    results = scores + kRows * columns;
    floats = results + kRows * width;
  }
};

/* e to the x, for x of 0 or less; accurate to 1e-7. */
__m512 Exp(__m512 x) {
  const __m512 log2e = _mm512_set1_ps(1.44269504f);
  const float taylor[] = {1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1, 1};
  __mmask16 tiny = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87), _CMP_LT_OQ);
  __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, log2e), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 sum = _mm512_set1_ps(taylor[0]);
#pragma GCC unroll 6
  for (int i = 1; i < 7; ++i) sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(taylor[i]));
  return _mm512_mask_mov_ps(_mm512_scalef_ps(sum, n), tiny, _mm512_setzero_ps());
}

void Transpose(const __m512* rows, __m512* out) {
  __m512 a[kLanes], b[kLanes];
  for (int i = 0; i < kLanes; i += 2) {
    a[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < kLanes; i += 4)
    for (int j = 0; j < 2; ++j) {
      __m512d low = _mm512_castps_pd(a[i + j]), high = _mm512_castps_pd(a[i + j + 2]);
      b[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
      b[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
  for (int j = 0; j < 4; ++j) {
    __m512 first = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x44), second = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x44);
    __m512 third = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xEE), fourth = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xEE);
    out[j] = _mm512_shuffle_f32x4(first, second, 0x88);
    out[4 + j] = _mm512_shuffle_f32x4(first, second, 0xDD);
    out[8 + j] = _mm512_shuffle_f32x4(third, fourth, 0x88);
    out[12 + j] = _mm512_shuffle_f32x4(third, fourth, 0xDD);
  }
}

/* 16 columns of a matrix, row after row; `step` floats lie between two rows of the result. */
void PackColumns(const float* in, int64_t rows, int64_t columns, const MatrixStrides& strides, float* out,
                 int64_t step) {
  const __mmask16 mask = MaskOf(columns);
  if (strides.column == 1) {
    for (int64_t i = 0; i < rows; ++i) _mm512_store_ps(out + i * step, _mm512_maskz_loadu_ps(mask, in + i * strides.row));
    return;
  }
  if (strides.row == 1) {
    for (int64_t i = 0; i < rows; i += kLanes) {
      __m512 lines[kLanes], turned[kLanes];
      for (int j = 0; j < kLanes; ++j)
        lines[j] = j < columns ? _mm512_maskz_loadu_ps(MaskOf(rows - i), in + j * strides.column + i)
                               : _mm512_setzero_ps();
      Transpose(lines, turned);
      for (int64_t j = 0; j < Smaller(kLanes, rows - i); ++j) _mm512_store_ps(out + (i + j) * step, turned[j]);
    }
    return;
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < kLanes; ++j) out[i * step + j] = j < columns ? in[i * strides.row + j * strides.column] : 0;
}

/* A matrix in panels of 32 columns, the last of which may have 16. */
void Pack(const float* in, int64_t rows, int64_t columns, const MatrixStrides& strides, float* out) {
  const int64_t whole = RoundUp(columns, kLanes);
  for (int64_t first = 0; first < columns; first += kLanes) {
    int64_t panel = first / kPanel * kPanel, step = Smaller(kPanel, whole - panel);
    PackColumns(in + first * strides.column, rows, columns - first, strides, out + panel * rows + first - panel, step);
  }
}

/* [rows, depth] times a packed matrix of this many rounded columns. */
void MultiplyPacked(int64_t rows, const float* a, int64_t a_step, const float* packed, int64_t depth, int64_t columns,
                    float* c) {
  for (int64_t panel = 0; panel < columns; panel += kPanel) {
    if (columns - panel >= kPanel)
      MultiplyRows<2>(rows, a, a_step, packed + panel * depth, depth, c + panel, columns);
    else
      MultiplyRows<1>(rows, a, a_step, packed + panel * depth, depth, c + panel, columns);
  }
}

/* exp(score + mask - largest) in place; the sum is returned. */
float Softmax(float* scores, int64_t columns, const float* mask, int64_t mask_step) {
  __m512 largest = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < columns; i += kLanes) {
    __mmask16 inside = MaskOf(columns - i);
    __m512 value = _mm512_load_ps(scores + i);
    if (mask != nullptr) {
      __m512 added = mask_step == 1 ? _mm512_maskz_loadu_ps(inside, mask + i) : _mm512_set1_ps(mask[0]);
      value = _mm512_add_ps(value, added);
      _mm512_store_ps(scores + i, value);
    }
    largest = _mm512_mask_max_ps(largest, inside, largest, value);
  }
  const __m512 most = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
  for (int64_t i = 0; i < columns; i += kLanes) {
    __m512 value = Exp(_mm512_sub_ps(_mm512_load_ps(scores + i), most));
    _mm512_store_ps(scores + i, value);
    sum = _mm512_mask_add_ps(sum, MaskOf(columns - i), sum, value);
  }
  return _mm512_reduce_add_ps(sum);
}

void AttendBlock(const AttentionShape& shape, const Scratch& at, const float* query, const float* mask, int64_t rows,
                 float* out, float* scratch) {
  float *queries = scratch + at.queries, *scores = scratch + at.scores, *results = scratch + at.results;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < shape.depth; ++i)
      queries[r * shape.depth + i] = query[r * shape.query.row + i * shape.query.column] * shape.scale;
  MultiplyPacked(rows, queries, shape.depth, scratch, shape.depth, at.columns, scores);
  float sums[kRows];
  for (int64_t r = 0; r < rows; ++r)
    sums[r] = Softmax(scores + r * at.columns, shape.columns, mask ? mask + r * shape.mask.row : nullptr,
                      shape.mask.column);
  MultiplyPacked(rows, scores, at.columns, scratch + at.values, shape.columns, at.width, results);
  for (int64_t r = 0; r < rows; ++r) {
    const __m512 share = _mm512_set1_ps(1 / sums[r]);
    for (int64_t i = 0; i < shape.width; i += kLanes)
      _mm512_mask_storeu_ps(out + r * shape.out.row + i, MaskOf(shape.width - i),
                            _mm512_mul_ps(share, _mm512_load_ps(results + r * at.width + i)));
  }
}

int64_t Start(const MatrixStrides& strides, int64_t image, int64_t head) {
  return image * strides.batch + head * strides.head;
}

}  // namespace

bool AttentionPays(const AttentionShape& shape) {
  return __builtin_cpu_supports("avx512f") && Scratch(shape).floats <= kMostScratchFloats;
}

size_t AttentionScratchFloats(const AttentionShape& shape) {
  return static_cast<size_t>(Scratch(shape).floats * shape.threads);
}

void AttentionRun(const AttentionShape& shape, const float* query, const float* key, const float* value,
                  const float* mask, float* out, float* scratch) {
  const Scratch at(shape);
  const int64_t heads = shape.batch * shape.heads, blocks = (shape.rows + kRows - 1) / kRows;
#pragma omp parallel for schedule(static) num_threads(shape.threads)
  for (int64_t thread = 0; thread < shape.threads; ++thread) {
    float* own = scratch + omp_get_thread_num() * at.floats;
    int64_t packed = -1;
    for (int64_t item = heads * blocks * thread / shape.threads; item < heads * blocks * (thread + 1) / shape.threads;
         ++item) {
      int64_t image = item / blocks / shape.heads, head = item / blocks % shape.heads, block = item % blocks;
      if (packed != item / blocks) {
        Pack(key + Start(shape.key, image, head), shape.depth, shape.columns, shape.key, own);
        Pack(value + Start(shape.value, image, head), shape.columns, shape.width, shape.value, own + at.values);
        packed = item / blocks;
      }
      int64_t first = shape.rows * block / blocks, rows = shape.rows * (block + 1) / blocks - first;
      AttendBlock(shape, at, query + Start(shape.query, image, head) + first * shape.query.row,
                  mask ? mask + Start(shape.mask, image, head) + first * shape.mask.row : nullptr, rows,
                  out + Start(shape.out, image, head) + first * shape.out.row, own);
    }
  }
}

}  // namespace byoc_dnnl
