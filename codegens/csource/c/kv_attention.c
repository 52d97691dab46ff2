/* Causal attention over two caches, tile by tile of tokens with a running softmax (FlashAttention, 2205.14135,
 * algorithm 1), the tokens of long contexts split over threads and merged (flash-decoding).
 *
 * Queries whose heads share a key head are rows of one block: each tile of keys and values is read once for all. */
enum {
  KV_HEAD_$id = $dim,
  KV_WIDTH_$id = ($dim + KV_LANES - 1) / KV_LANES * KV_LANES
};

typedef struct {
  const float *query;
  const uint8_t *keys, *values;
  const int64_t *lengths, *counts;
  float *out, *partial; /* partial: what each split of each row found: maximum, sum, WIDTH sums of values */
  int64_t queries, heads, kv_heads, shared, blocks, block_rows, splits, window;
  float scale;
} KvAttention_$id;

typedef struct {
  float most[KV_BLOCK_ROWS], sum[KV_BLOCK_ROWS];
  float query[KV_BLOCK_ROWS * KV_HEAD_$id], mixed[KV_BLOCK_ROWS * KV_WIDTH_$id];
  float keys[KV_HEAD_$id * KV_TILE], values[KV_TILE * KV_WIDTH_$id], weights[KV_QUAD * KV_TILE];
} KvBlock_$id;

/* weights[4][TILE] = rows of the query times keys[DIM][TILE]. */
static void kv_scores_$id(const float *query, const float *keys, float *weights) {
  kv_floats sum[KV_QUAD][KV_TILE / KV_LANES];
  memset(sum, 0, sizeof sum);
  for (int64_t d = 0; d < KV_HEAD_$id; ++d) {
    const kv_floats *key = (const kv_floats *)(keys + d * KV_TILE);
    _Pragma("GCC unroll 4") for (int r = 0; r < KV_QUAD; ++r)
      _Pragma("GCC unroll 4") for (int v = 0; v < KV_TILE / KV_LANES; ++v) sum[r][v] += query[r * KV_HEAD_$id + d] * key[v];
  }
  memcpy(weights, sum, sizeof sum);
}

/* mixed[4][WIDTH] = factor[4] * mixed + weights[4][tokens] times values[tokens][WIDTH]. */
static void kv_mix_$id(const float *weights, const float *values, int64_t tokens, const float *factor, float *mixed) {
  enum { ACROSS = KV_WIDTH_$id / KV_LANES % 4 == 0 ? 4 : KV_WIDTH_$id / KV_LANES % 2 == 0 ? 2 : 1 };
  for (int64_t at = 0; at < KV_WIDTH_$id; at += ACROSS * KV_LANES) {
    kv_floats sum[KV_QUAD][ACROSS];
    _Pragma("GCC unroll 4") for (int r = 0; r < KV_QUAD; ++r)
      _Pragma("GCC unroll 4") for (int v = 0; v < ACROSS; ++v)
        sum[r][v] = factor[r] * *(kv_floats *)(mixed + r * KV_WIDTH_$id + at + v * KV_LANES);
    for (int64_t t = 0; t < tokens; ++t) {
      const kv_floats *value = (const kv_floats *)(values + t * KV_WIDTH_$id + at);
      _Pragma("GCC unroll 4") for (int r = 0; r < KV_QUAD; ++r)
        _Pragma("GCC unroll 4") for (int v = 0; v < ACROSS; ++v) sum[r][v] += weights[r * KV_TILE + t] * value[v];
    }
    _Pragma("GCC unroll 4") for (int r = 0; r < KV_QUAD; ++r)
      _Pragma("GCC unroll 4") for (int v = 0; v < ACROSS; ++v)
        *(kv_floats *)(mixed + r * KV_WIDTH_$id + at + v * KV_LANES) = sum[r][v];
  }
}

/* Keys and values of the tokens [first, first + tokens), which lie in neighbouring slots. */
static void kv_load_$id(const uint8_t *keys, const uint8_t *values, int64_t first, int64_t tokens, int64_t total,
                        KvBlock_$id *block) {
  const int64_t key_slot = first % KV_CAPACITY_$k, value_slot = first % KV_CAPACITY_$v;
  kv_fetch_$k(keys, key_slot + 2 * KV_TILE, KV_TILE);
  kv_fetch_$v(values, value_slot + 2 * KV_TILE, KV_TILE);
  for (int64_t t = 0; t < tokens; t += KV_LANES) {
    const int64_t some = byoc_min(KV_LANES, tokens - t);
    kv_read_columns_$k(keys, key_slot + t, some, block->keys + t, KV_TILE);
    kv_read_rows_$v(values, value_slot + t, some, block->values + t * KV_WIDTH_$id, KV_WIDTH_$id);
  }
  for (int64_t t = 0; t < tokens; ++t) {
    if (kv_waits_$k(key_slot + t, total))
      for (int64_t d = 0; d < KV_HEAD_$id; ++d) block->keys[d * KV_TILE + t] = kv_waiting_$k(keys, key_slot + t, d);
    if (kv_waits_$v(value_slot + t, total))
      for (int64_t d = 0; d < KV_HEAD_$id; ++d)
        block->values[t * KV_WIDTH_$id + d] = kv_waiting_$v(values, value_slot + t, d);
  }
}

/* Four rows meet a tile. */
static void kv_meet_$id(const KvAttention_$id *r, KvBlock_$id *block, int64_t row, int64_t first_row, int64_t length,
                        int64_t first, int64_t tokens) {
  float *weights = block->weights, factor[KV_QUAD];
  kv_scores_$id(block->query + row * KV_HEAD_$id, block->keys, weights);
  for (int i = 0; i < KV_QUAD; ++i) {
    const int64_t here = length + (first_row + row + i) / r->shared;
    const int64_t end = byoc_min(tokens, here + 1 - first);
    const int64_t begin = r->window ? byoc_max(0, here + 1 - r->window - first) : 0;
    float *w = weights + i * KV_TILE, most = block->most[row + i], sum = 0;
    for (int64_t t = 0; t < KV_TILE; ++t) w[t] = t >= begin && t < end ? w[t] : -INFINITY;
    float lane[KV_LANES];
    for (int l = 0; l < KV_LANES; ++l) lane[l] = most;
    for (int64_t t = 0; t < KV_TILE; t += KV_LANES)
      for (int l = 0; l < KV_LANES; ++l) lane[l] = w[t + l] > lane[l] ? w[t + l] : lane[l];
    for (int l = 0; l < KV_LANES; ++l) most = lane[l] > most ? lane[l] : most;
    const float shift = most > -INFINITY ? most : 0.0f;
    factor[i] = csource_expf(block->most[row + i] - shift);
    for (int64_t t = 0; t < KV_TILE; ++t) w[t] = csource_expf(w[t] - shift);
    for (int l = 0; l < KV_LANES; ++l) lane[l] = 0;
    for (int64_t t = 0; t < KV_TILE; t += KV_LANES)
      for (int l = 0; l < KV_LANES; ++l) lane[l] += w[t + l];
    for (int l = 0; l < KV_LANES; ++l) sum += lane[l];
    block->sum[row + i] = block->sum[row + i] * factor[i] + sum;
    block->most[row + i] = most;
  }
  kv_mix_$id(weights, block->values, tokens, factor, block->mixed + row * KV_WIDTH_$id);
}

/* One task is a block of rows and a split of the tokens, for one key head of one sequence. */
static void kv_attention_task_$id(const KvAttention_$id *r, int64_t task, KvBlock_$id *block) {
  const int64_t split = task % r->splits, at = task / r->splits % r->blocks;
  const int64_t h = task / r->splits / r->blocks % r->kv_heads, b = task / r->splits / r->blocks / r->kv_heads;
  const int64_t first_row = at * r->block_rows, rows = byoc_min(r->block_rows, r->queries * r->shared - first_row);
  const int64_t length = r->lengths[b], total = length + r->counts[b];
  const uint8_t *keys = r->keys + (b * r->kv_heads + h) * INT64_C($key_bytes);
  const uint8_t *values = r->values + (b * r->kv_heads + h) * INT64_C($value_bytes);
  memset(block->mixed, 0, sizeof block->mixed);
  memset(block->query, 0, sizeof block->query);
  for (int64_t i = 0; i < KV_BLOCK_ROWS; ++i) block->most[i] = -INFINITY, block->sum[i] = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = first_row + i, head = h * r->shared + row % r->shared;
    const float *in = r->query + ((b * r->queries + row / r->shared) * r->heads + head) * KV_HEAD_$id;
    for (int64_t d = 0; d < KV_HEAD_$id; ++d) block->query[i * KV_HEAD_$id + d] = in[d] * r->scale;
  }
  const int64_t newest = byoc_min(total, length + (first_row + rows - 1) / r->shared + 1);
  int64_t oldest = byoc_max(0, total - KV_CAPACITY_$k);
  if (r->window) oldest = byoc_max(oldest, length + first_row / r->shared + 1 - r->window);
  oldest = oldest / KV_LANES * KV_LANES;
  const int64_t tiles = (newest - oldest + KV_TILE - 1) / KV_TILE;
  const int64_t from = oldest + tiles * split / r->splits * KV_TILE;
  const int64_t to = byoc_min(newest, oldest + tiles * (split + 1) / r->splits * KV_TILE);
  for (int64_t t = from, tokens; t < to; t += tokens) {
    tokens = byoc_min(byoc_min(KV_TILE, to - t),
                      byoc_min(KV_CAPACITY_$k - t % KV_CAPACITY_$k, KV_CAPACITY_$v - t % KV_CAPACITY_$v));
    kv_load_$id(keys, values, t, tokens, total, block);
    for (int64_t row = 0; row < rows; row += KV_QUAD) kv_meet_$id(r, block, row, first_row, length, t, tokens);
  }
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = first_row + i, head = h * r->shared + row % r->shared;
    const int64_t place = (b * r->queries + row / r->shared) * r->heads + head;
    const float *mixed = block->mixed + i * KV_WIDTH_$id;
    if (r->splits == 1) {
      for (int64_t d = 0; d < KV_HEAD_$id; ++d) r->out[place * KV_HEAD_$id + d] = mixed[d] / block->sum[i];
    } else {
      float *partial = r->partial + (place * r->splits + split) * (KV_WIDTH_$id + 2);
      partial[0] = block->most[i], partial[1] = block->sum[i];
      memcpy(partial + 2, mixed, KV_WIDTH_$id * sizeof(float));
    }
  }
}

static BYOC_UNUSED void kv_attention_range_$id(int64_t begin, int64_t end, void *ctx) {
  KvBlock_$id block __attribute__((aligned(64)));
  memset(block.keys, 0, sizeof block.keys);
  memset(block.values, 0, sizeof block.values);
  for (int64_t task = begin; task < end; ++task) kv_attention_task_$id((const KvAttention_$id *)ctx, task, &block);
}

static BYOC_UNUSED void kv_attention_$id(const float *query, const uint8_t *keys, const uint8_t *values,
                                         const int64_t *lengths, const int64_t *counts, float *out, float *partial,
                                         int64_t batch, int64_t queries, int64_t heads, int64_t kv_heads,
                                         int64_t splits, int64_t window, float scale) {
  const int64_t shared = heads / kv_heads, rows = byoc_min(KV_BLOCK_ROWS, queries * shared);
  const int64_t blocks = rows ? (queries * shared + rows - 1) / rows : 0;
  KvAttention_$id r = {query,  keys, values, lengths, counts, out,  partial, queries,
                       heads, kv_heads, shared, blocks, rows, splits, window, scale};
  byoc_parallel_for(batch * kv_heads * blocks * splits, 1, kv_attention_range_$id, &r);
  if (splits > 1) kv_merge(partial, batch * queries * heads, splits, KV_WIDTH_$id, KV_HEAD_$id, out);
}
