/* Attention with AVX-512 for numbers of any kind: a `Word` holds `kElements` of them that follow each other along the
 * depth of a product.  Each file that includes it is compiled for its own instructions: nothing of the standard library
 * may be instantiated here, since the linker could take it for the whole artifact. */
#ifndef BYOC_DNNL_ATTENTION_AVX512_H_
#define BYOC_DNNL_ATTENTION_AVX512_H_

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
  int64_t columns, width;             // rounded up to whole vectors
  int64_t depth_words, column_words;  // of a query, of a row of scores
  int64_t values, queries, scores, results, floats;

  explicit Scratch(const AttentionShape& shape, int64_t per_word)
      : columns(RoundUp(shape.columns, kLanes)),
        width(RoundUp(shape.width, kLanes)),
        depth_words((shape.depth + per_word - 1) / per_word),
        column_words((shape.columns + per_word - 1) / per_word) {
    values = columns * depth_words;
    queries = values + width * column_words;
    scores = queries + RoundUp(kRows * depth_words, kLanes);
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

/* 16 columns of a matrix in words, row of words after row; `step` words lie between two rows of the result. */
template <typename Word>
void PackColumns(const typename Word::Element* in, int64_t rows, int64_t columns, const MatrixStrides& strides,
                 float* out, int64_t step) {
  const int64_t words = (rows + Word::kElements - 1) / Word::kElements;
  auto row = [&](int64_t word) { return in + word * Word::kElements * strides.row; };
  auto left = [&](int64_t word) { return rows - word * Word::kElements; };
  if (strides.column == 1) {
    for (int64_t i = 0; i < words; ++i)
      _mm512_store_ps(out + i * step, Word::LoadAcross(row(i), strides.row, left(i), columns));
    return;
  }
  if (strides.row == 1) {
    for (int64_t i = 0; i < words; i += kLanes) {
      __m512 lines[kLanes], turned[kLanes];
      for (int j = 0; j < kLanes; ++j)
        lines[j] = j < columns ? Word::Load(row(i) + j * strides.column, left(i)) : _mm512_setzero_ps();
      Transpose(lines, turned);
      for (int64_t j = 0; j < Smaller(kLanes, words - i); ++j) _mm512_store_ps(out + (i + j) * step, turned[j]);
    }
    return;
  }
  for (int64_t i = 0; i < words; ++i)
    for (int64_t j = 0; j < kLanes; ++j)
      out[i * step + j] = j < columns ? Word::Make(row(i) + j * strides.column, strides.row, left(i)) : 0;
}

/* A matrix in panels of 32 columns, the last of which may have 16. */
template <typename Word>
void Pack(const typename Word::Element* in, int64_t rows, int64_t columns, const MatrixStrides& strides, float* out) {
  const int64_t whole = RoundUp(columns, kLanes), words = (rows + Word::kElements - 1) / Word::kElements;
  for (int64_t first = 0; first < columns; first += kLanes) {
    int64_t panel = first / kPanel * kPanel, step = Smaller(kPanel, whole - panel);
    PackColumns<Word>(in + first * strides.column, rows, columns - first, strides, out + panel * words + first - panel,
                      step);
  }
}

/* Rows of words next to each other. */
template <typename Word>
void PackRows(const typename Word::Element* in, int64_t rows, int64_t columns, const MatrixStrides& strides,
              float* out) {
  const int64_t words = (columns + Word::kElements - 1) / Word::kElements;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < words; ++i)
      out[r * words + i] = Word::Make(in + r * strides.row + i * Word::kElements * strides.column, strides.column,
                                      columns - i * Word::kElements);
}

/* [rows, depth] times a packed matrix of this many rounded columns. */
template <typename Word>
void MultiplyPacked(int64_t rows, const float* a, int64_t a_step, const float* packed, int64_t depth, int64_t columns,
                    float* c) {
  for (int64_t panel = 0; panel < columns; panel += kPanel) {
    if (columns - panel >= kPanel)
      MultiplyRows<2, Word>(rows, a, a_step, packed + panel * depth, depth, c + panel, columns);
    else
      MultiplyRows<1, Word>(rows, a, a_step, packed + panel * depth, depth, c + panel, columns);
  }
}

/* exp(scale * score + mask - largest) in place, in words; the sum is returned. */
template <typename Word>
float Softmax(float* scores, int64_t columns, float scale, const float* mask, int64_t mask_step) {
  const __m512 factor = _mm512_set1_ps(scale);
  __m512 largest = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < columns; i += kLanes) {
    __mmask16 inside = MaskOf(columns - i);
    __m512 value = _mm512_mul_ps(factor, _mm512_load_ps(scores + i));
    if (mask != nullptr) {
      __m512 added = mask_step == 1 ? _mm512_maskz_loadu_ps(inside, mask + i) : _mm512_set1_ps(mask[0]);
      value = _mm512_add_ps(value, added);
    }
    _mm512_store_ps(scores + i, value);
    largest = _mm512_mask_max_ps(largest, inside, largest, value);
  }
  const __m512 most = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
  for (int64_t i = 0; i < columns; i += kLanes) {
    __m512 value = _mm512_maskz_mov_ps(MaskOf(columns - i), Exp(_mm512_sub_ps(_mm512_load_ps(scores + i), most)));
    Word::Store(scores, i, value);
    sum = _mm512_add_ps(sum, value);
  }
  return _mm512_reduce_add_ps(sum);
}

template <typename Word>
void AttendBlock(const AttentionShape& shape, const Scratch& at, const typename Word::Element* query, const float* mask,
                 int64_t rows, typename Word::Element* out, float* scratch) {
  float *queries = scratch + at.queries, *scores = scratch + at.scores, *results = scratch + at.results;
  PackRows<Word>(query, rows, shape.depth, shape.query, queries);
  MultiplyPacked<Word>(rows, queries, at.depth_words, scratch, at.depth_words, at.columns, scores);
  float sums[kRows];
  for (int64_t r = 0; r < rows; ++r)
    sums[r] = Softmax<Word>(scores + r * at.columns, shape.columns, shape.scale,
                            mask ? mask + r * shape.mask.row : nullptr, shape.mask.column);
  MultiplyPacked<Word>(rows, scores, at.columns, scratch + at.values, at.column_words, at.width, results);
  for (int64_t r = 0; r < rows; ++r) {
    const __m512 share = _mm512_set1_ps(1 / sums[r]);
    for (int64_t i = 0; i < shape.width; i += kLanes)
      Word::StorePart(out + r * shape.out.row + i, shape.width - i,
                      _mm512_mul_ps(share, _mm512_load_ps(results + r * at.width + i)));
  }
}

int64_t Start(const MatrixStrides& strides, int64_t image, int64_t head) {
  return image * strides.batch + head * strides.head;
}

template <typename Word>
size_t ScratchFloats(const AttentionShape& shape) {
  return static_cast<size_t>(Scratch(shape, Word::kElements).floats * shape.threads);
}

template <typename Word>
bool Pays(const AttentionShape& shape) {
  return Word::IsSupported() && Scratch(shape, Word::kElements).floats <= kMostScratchFloats;
}

template <typename Word>
void Run(const AttentionShape& shape, const void* query, const void* key, const void* value, const float* mask,
         void* out, float* scratch) {
  using Element = typename Word::Element;
  const Element *queries = static_cast<const Element*>(query), *keys = static_cast<const Element*>(key);
  const Element* values = static_cast<const Element*>(value);
  Element* results = static_cast<Element*>(out);
  const Scratch at(shape, Word::kElements);
  const int64_t heads = shape.batch * shape.heads, blocks = (shape.rows + kRows - 1) / kRows;
#pragma omp parallel for schedule(static) num_threads(shape.threads)
  for (int64_t thread = 0; thread < shape.threads; ++thread) {
    float* own = scratch + omp_get_thread_num() * at.floats;
    int64_t packed = -1;
    for (int64_t item = heads * blocks * thread / shape.threads; item < heads * blocks * (thread + 1) / shape.threads;
         ++item) {
      int64_t image = item / blocks / shape.heads, head = item / blocks % shape.heads, block = item % blocks;
      if (packed != item / blocks) {
        Pack<Word>(keys + Start(shape.key, image, head), shape.depth, shape.columns, shape.key, own);
        Pack<Word>(values + Start(shape.value, image, head), shape.columns, shape.width, shape.value, own + at.values);
        packed = item / blocks;
      }
      int64_t first = shape.rows * block / blocks, rows = shape.rows * (block + 1) / blocks - first;
      AttendBlock<Word>(shape, at, queries + Start(shape.query, image, head) + first * shape.query.row,
                        mask ? mask + Start(shape.mask, image, head) + first * shape.mask.row : nullptr, rows,
                        results + Start(shape.out, image, head) + first * shape.out.row, own);
    }
  }
}

}  // namespace
}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_ATTENTION_AVX512_H_
