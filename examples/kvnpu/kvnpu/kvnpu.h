/* The device library of kvnpu, emulated on the processor. */
#ifndef KVNPU_H
#define KVNPU_H

#include "byoc.h"

/* A cache is, for each sequence, `capacity` slots of one burst each: for every key head a record of `dim` integers, a
 * scale and a minimum, both float16.  number = scale * integer + minimum.  Token t lies in slot t % capacity. */
typedef struct {
  const float *query;                  /* [batch][tokens][heads][dim] */
  const float *new_keys, *new_values;  /* [batch][tokens][kv_heads][dim] */
  float *out;                          /* like query */
  uint8_t *keys, *values;              /* [batch][cache_bytes] */
  const int64_t *lengths, *counts;     /* [batch]: tokens before, tokens that are new */
  int64_t batch, tokens, heads, kv_heads, dim, cache_bytes, capacity;
  float scale;                         /* of the products of queries and keys */
} KvNpuAttention;

/* Appends the new keys and values, then attends causally. */
void kvnpu_attention(const KvNpuAttention *call);

/* out[rows][outputs] = x[rows][inputs] * weights; weight = scale * (integer - zero), two integers in a byte. */
void kvnpu_linear(const float *x, const uint8_t *packed, const byoc_half *scale, const uint8_t *zero, float *out,
                  int64_t rows, int64_t inputs, int64_t outputs, int64_t group);

#endif
