#include "kvnpu.h"

#include <math.h>
#include <string.h>

enum { TAIL = 4 }; /* bytes of a record behind its integers: scale and minimum */

static uint8_t *record_of(const KvNpuAttention *c, uint8_t *cache, int64_t b, int64_t token, int64_t head) {
  return cache + b * c->cache_bytes + (token % c->capacity * c->kv_heads + head) * (c->dim + TAIL);
}

static void store(const KvNpuAttention *c, const float *in, uint8_t *record) {
  float most = in[0], least = in[0];
  for (int64_t d = 1; d < c->dim; ++d) {
    most = fmaxf(most, in[d]);
    least = fminf(least, in[d]);
  }
  const byoc_half tail[2] = {byoc_float_to_half((most - least) / 255.0f), byoc_float_to_half(least)};
  const float scale = byoc_half_to_float(tail[0]), low = byoc_half_to_float(tail[1]);
  for (int64_t d = 0; d < c->dim; ++d) {
    const float steps = scale > 0 ? rintf((in[d] - low) / scale) : 0;
    record[d] = (uint8_t)fminf(fmaxf(steps, 0), 255);
  }
  memcpy(record + c->dim, tail, TAIL);
}

static void append(const KvNpuAttention *c, int64_t b) {
  for (int64_t i = 0; i < c->counts[b]; ++i)
    for (int64_t h = 0; h < c->kv_heads; ++h) {
      const int64_t at = ((b * c->tokens + i) * c->kv_heads + h) * c->dim;
      store(c, c->new_keys + at, record_of(c, c->keys, b, c->lengths[b] + i, h));
      store(c, c->new_values + at, record_of(c, c->values, b, c->lengths[b] + i, h));
    }
}

/* One query of one head, by online softmax (1805.02867): what was summed is scaled whenever the maximum grows. */
static void attend(const KvNpuAttention *c, int64_t b, int64_t i, int64_t h) {
  const int64_t at = ((b * c->tokens + i) * c->heads + h) * c->dim, kv_head = h / (c->heads / c->kv_heads);
  const float *query = c->query + at;
  float *out = c->out + at, query_sum = 0, most = -INFINITY, total = 0;
  for (int64_t d = 0; d < c->dim; ++d) {
    query_sum += query[d];
    out[d] = 0;
  }
  for (int64_t t = 0; t <= c->lengths[b] + i; ++t) {
    const uint8_t *key = record_of(c, c->keys, b, t, kv_head), *value = record_of(c, c->values, b, t, kv_head);
    byoc_half k[2], v[2];
    memcpy(k, key + c->dim, TAIL);
    memcpy(v, value + c->dim, TAIL);
    float product = 0;
    for (int64_t d = 0; d < c->dim; ++d) product += query[d] * (float)key[d];
    const float score = c->scale * (byoc_half_to_float(k[0]) * product + byoc_half_to_float(k[1]) * query_sum);
    const float grown = fmaxf(most, score), fade = expf(most - grown), weight = expf(score - grown);
    const float step = weight * byoc_half_to_float(v[0]), low = weight * byoc_half_to_float(v[1]);
    for (int64_t d = 0; d < c->dim; ++d) out[d] = out[d] * fade + step * (float)value[d] + low;
    total = total * fade + weight;
    most = grown;
  }
  for (int64_t d = 0; d < c->dim; ++d) out[d] /= total;
}

static void append_range(int64_t begin, int64_t end, void *context) {
  for (int64_t b = begin; b < end; ++b) append(context, b);
}

static void attend_range(int64_t begin, int64_t end, void *context) {
  const KvNpuAttention *c = context;
  for (int64_t k = begin; k < end; ++k) {
    const int64_t row = k / c->heads, b = row / c->tokens, i = row % c->tokens;
    if (i < c->counts[b]) attend(c, b, i, k % c->heads);
  }
}

void kvnpu_attention(const KvNpuAttention *call) {
  memset(call->out, 0, sizeof(float) * (size_t)(call->batch * call->tokens * call->heads * call->dim));
  byoc_parallel_for(call->batch, 1, append_range, (void *)call);
  byoc_parallel_for(call->batch * call->tokens * call->heads, 1, attend_range, (void *)call);
}

typedef struct {
  const float *x;
  const uint8_t *packed, *zero;
  const byoc_half *scale;
  float *out;
  int64_t inputs, outputs, group;
} Linear;

static void linear_range(int64_t begin, int64_t end, void *context) {
  const Linear *c = context;
  const int64_t groups = c->inputs / c->group;
  for (int64_t k = begin; k < end; ++k) {
    const int64_t o = k % c->outputs;
    const float *x = c->x + k / c->outputs * c->inputs;
    const uint8_t *packed = c->packed + o * c->inputs / 2;
    float sum = 0;
    for (int64_t g = 0; g < groups; ++g, x += c->group, packed += c->group / 2) {
      const int zero = c->zero[o * groups + g];
      float part = 0;
      for (int64_t j = 0; j < c->group; ++j)
        part += x[j] * (float)((packed[j / 2] >> (j % 2 * 4) & 15) - zero);
      sum += byoc_half_to_float(c->scale[o * groups + g]) * part;
    }
    c->out[k] = sum;
  }
}

void kvnpu_linear(const float *x, const uint8_t *packed, const byoc_half *scale, const uint8_t *zero, float *out,
                  int64_t rows, int64_t inputs, int64_t outputs, int64_t group) {
  Linear call = {x, packed, zero, scale, out, inputs, outputs, group};
  byoc_parallel_for(rows * outputs, 64, linear_range, &call);
}
