/* Products of small matrices with AVX-512, for the kernels that include it.  Matrices are of words of 32 bits: a float,
 * or several narrower numbers that follow each other along the depth. */
#ifndef BYOC_DNNL_PRODUCT_AVX512_H_
#define BYOC_DNNL_PRODUCT_AVX512_H_

#include <immintrin.h>
#include <stdint.h>

namespace byoc_dnnl {
namespace {

/* Floats of a vector; columns that the right side of a product is packed by; rows of the largest block. */
constexpr int kLanes = 16, kPanel = 2 * kLanes, kRows = 14;

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }
int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t Larger(int64_t a, int64_t b) { return a > b ? a : b; }

__mmask16 MaskOf(int64_t left) { return left >= kLanes ? 0xffff : static_cast<__mmask16>((1u << left) - 1); }

struct Floats {
  static __m512 AddProduct(__m512 sum, __m512 a, __m512 b) { return _mm512_fmadd_ps(a, b, sum); }
};

/* [Rows, depth] times [depth, 16 * Vectors], in words of this kind. */
template <typename Word, int Rows, int Vectors>
void Multiply(const float* a, int64_t a_step, const float* b, int64_t depth, float* c, int64_t c_step) {
  __m512 sums[Rows][Vectors];
#pragma GCC unroll 14
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sums[r][v] = _mm512_setzero_ps();
  for (int64_t k = 0; k < depth; ++k) {
    __m512 weights[Vectors];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) weights[v] = _mm512_load_ps(b + (k * Vectors + v) * kLanes);
#pragma GCC unroll 14
    for (int r = 0; r < Rows; ++r) {
      __m512 one = _mm512_set1_ps(a[r * a_step + k]);
      __asm__("" : "+v"(one));  // one load for both products: as their memory operand it would be loaded twice
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sums[r][v] = Word::AddProduct(sums[r][v], one, weights[v]);
    }
  }
#pragma GCC unroll 14
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) _mm512_store_ps(c + r * c_step + v * kLanes, sums[r][v]);
}

template <int Vectors, typename Word = Floats>
void MultiplyRows(int64_t rows, const float* a, int64_t a_step, const float* b, int64_t depth, float* c,
                  int64_t c_step) {
  using Kernel = void (*)(const float*, int64_t, const float*, int64_t, float*, int64_t);
  static const Kernel kernels[] = {
      Multiply<Word, 1, Vectors>,  Multiply<Word, 2, Vectors>,  Multiply<Word, 3, Vectors>,  Multiply<Word, 4, Vectors>,
      Multiply<Word, 5, Vectors>,  Multiply<Word, 6, Vectors>,  Multiply<Word, 7, Vectors>,  Multiply<Word, 8, Vectors>,
      Multiply<Word, 9, Vectors>,  Multiply<Word, 10, Vectors>, Multiply<Word, 11, Vectors>,
      Multiply<Word, 12, Vectors>, Multiply<Word, 13, Vectors>, Multiply<Word, 14, Vectors>};
  int64_t blocks = (rows + kRows - 1) / kRows;
  for (int64_t block = 0; block < blocks; ++block) {
    int64_t begin = rows * block / blocks, end = rows * (block + 1) / blocks;
    kernels[end - begin - 1](a + begin * a_step, a_step, b, depth, c + begin * c_step, c_step);
  }
}

}  // namespace
}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_PRODUCT_AVX512_H_
