/* softmax(scale * Q K + mask) V in blocks of rows, whose scores stay in the cache: the fused form of attention of Rabe and
 * Staats 2021, "Self-attention Does Not Need O(n^2) Memory", with all columns of a block at once. */
#ifndef BYOC_DNNL_ATTENTION_H_
#define BYOC_DNNL_ATTENTION_H_

#include <stddef.h>
#include <stdint.h>

namespace byoc_dnnl {

/* In elements; 0 for what is repeated. */
struct MatrixStrides {
  int64_t batch, head, row, column;
};

struct AttentionShape {
  int64_t batch, heads;
  int64_t rows, columns;  // of the scores
  int64_t depth, width;   // of a query, of a value
  MatrixStrides query, key, value, mask, out;  // [rows, depth] [depth, columns] [columns, width] [rows, columns]
  float scale;
  bool masked;
  int threads;
};

/* The kernel for one type of queries, keys, values and results. */
struct AttentionKernel {
  /* Whether this processor has the instructions, and scratch memory stays in the cache. */
  bool (*pays)(const AttentionShape& shape);
  size_t (*scratch_floats)(const AttentionShape& shape);
  /* `mask`, of floats, is null where there is none; `scratch` is aligned to 64 bytes. */
  void (*run)(const AttentionShape& shape, const void* query, const void* key, const void* value, const float* mask,
              void* out, float* scratch);
};

extern const AttentionKernel kFloatAttention;     // AVX-512
extern const AttentionKernel kBfloat16Attention;  // AVX-512 with bfloat16's products

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_ATTENTION_H_
