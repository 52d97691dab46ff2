/* Attention of one token in each sequence over two caches of integers, tile by tile with a running softmax, the tokens
 * split over threads (flash-decoding).
 *
 * Sums of products stay integers: queries, and weights times the values' scales, are rounded to sixteen bits, kept as
 * 256 * high + low, so that products with the caches' integers are dot products of bytes. */
enum {
  KVD_ROWS_$id = $rows, /* query heads that share a key head */
  KVD_DIM_$id = $dim,
  KVD_KEY_QUADS_$id = $dim / 4,
  KVD_KEY_QUADS_IN_GROUP_$id = KV_CHANNELS_$k / 4,
  KVD_VECTORS_$id = $dim / KV_LANES,
  KVD_PER_BYTE_$id = 8 / KV_BITS_$v
};

typedef struct {
  const float *query;
  const uint8_t *keys, *values;
  const int64_t *lengths, *counts;
  float *out, *partial; /* partial: what each split of each row found: maximum, sum, DIM sums of values */
  int64_t kv_heads, splits, window;
  float scale;
} KvDecode_$id;

typedef struct {
  uint8_t keys[KVD_DIM_$id * KV_TILE];   /* [channel / 4][token][4] */
  uint8_t values[KVD_DIM_$id * KV_TILE]; /* [token / 4][vector][channel of the vector][4] */
  float key_scale[KV_GROUPS_$k][KV_TILE], key_low[KV_GROUPS_$k][KV_TILE];
  float value_scale[KV_GROUPS_$v][KV_TILE], value_low[KV_GROUPS_$v][KV_TILE];
  float largest_scale[KV_GROUPS_$v];
  float weights[KV_TILE], mixed[KVD_ROWS_$id][KVD_DIM_$id];
  kv_floats base[KVD_ROWS_$id][KV_GROUPS_$v], sum[KVD_ROWS_$id]; /* lanes are added up at the end */
  float most[KVD_ROWS_$id];
  float step[KVD_ROWS_$id][KV_GROUPS_$k], whole[KVD_ROWS_$id][KV_GROUPS_$k]; /* of the query's groups: scale, sum */
  int8_t query_high[KVD_ROWS_$id][KVD_DIM_$id], query_low[KVD_ROWS_$id][KVD_DIM_$id];
  int8_t high[KV_GROUPS_$v][KV_TILE], low[KV_GROUPS_$v][KV_TILE];
} KvDecodeTile_$id;

/* The channel whose integer is byte b of quad q in a transposed row of keys. */
static inline int64_t kvd_key_channel_$id(int64_t q, int64_t b) {
  enum { PER_BYTE = 8 / KV_BITS_$k };
  return q / PER_BYTE * 4 * PER_BYTE + b * PER_BYTE + q % PER_BYTE;
}
/* The channel of lane l in vector v of a row of values. */
static inline int64_t kvd_value_channel_$id(int64_t v, int64_t l) {
  enum { PER_BYTE = KVD_PER_BYTE_$id };
  return (v / PER_BYTE * KV_LANES + l) * PER_BYTE + v % PER_BYTE;
}

/* A head's query as sixteen bits for each group of channels. */
static void kvd_query_$id(const float *in, float scale, KvDecodeTile_$id *tile, int64_t row) {
  float scaled[KVD_DIM_$id];
  int32_t bits[KVD_DIM_$id], whole[KVD_DIM_$id];
  memcpy(bits, in, sizeof bits);
  for (int64_t g = 0; g < KV_GROUPS_$k; ++g) {
    const int64_t first = g * KV_CHANNELS_$k;
    int32_t most_bits = 0; /* magnitudes compare as integers too, of which the compiler takes many at a time */
    for (int64_t c = first; c < first + KV_CHANNELS_$k; ++c) {
      const int32_t magnitude = bits[c] & 0x7fffffff;
      most_bits = magnitude > most_bits ? magnitude : most_bits;
    }
    float most;
    memcpy(&most, &most_bits, sizeof most);
    const float inverse = most > 0 ? 32512.0f / most : 0.0f;
    for (int64_t c = first; c < first + KV_CHANNELS_$k; ++c) scaled[c] = in[c] * inverse;
    tile->step[row][g] = most / 32512.0f * scale;
  }
  for (int64_t v = 0; v < KVD_DIM_$id; v += KV_LANES) *(kv_ints *)(whole + v) = kv_round(*(const kv_floats *)(scaled + v));
  for (int64_t i = 0; i < KVD_DIM_$id; ++i) {
    const int32_t q = whole[kvd_key_channel_$id(i / 4, i % 4)];
    tile->query_high[row][i] = (int8_t)((q + 128) >> 8);
    tile->query_low[row][i] = (int8_t)q;
  }
  for (int64_t g = 0; g < KV_GROUPS_$k; ++g) { /* what was rounded off is then in no product */
    int32_t sum = 0;
    for (int64_t c = 0; c < KV_CHANNELS_$k; ++c) sum += whole[g * KV_CHANNELS_$k + c];
    tile->whole[row][g] = (float)sum * tile->step[row][g];
  }
}

/* Integers, scales and minima of sixteen tokens; those from `tokens` on are made of other tokens or zeros. */
static void kvd_load_$id(const uint8_t *keys, const uint8_t *values, int64_t key_slot, int64_t value_slot, int64_t at,
                         int64_t tokens, KvDecodeTile_$id *tile) {
  enum { PIECE = $k_piece, PER_BYTE = 8 / KV_BITS_$k, WORDS = (PIECE + 3) / 4 };
  for (int64_t c = 0; c < KV_ROW_$k; c += PIECE) {
    kv_ints words[KV_LANES];
    kv_words_$k(keys, key_slot, tokens, c, words);
    kv_ints *out = (kv_ints *)(tile->keys + (c * PER_BYTE * KV_TILE + at * 4));
    _Pragma("GCC unroll 16") for (int w = 0; w < WORDS; ++w)
      _Pragma("GCC unroll 4") for (int k = 0; k < PER_BYTE; ++k)
        out[(w * PER_BYTE + k) * (KV_TILE / KV_LANES)] = words[w] >> KV_BITS_$k * k & $k_mask;
  }
  for (int64_t g = 0; g < KV_GROUPS_$k; ++g)
    kv_scales_$k(keys, key_slot, tokens, g, (kv_floats *)(tile->key_scale[g] + at),
                 (kv_floats *)(tile->key_low[g] + at));
  kv_ints *out = (kv_ints *)(tile->values + at * KVD_DIM_$id);
  const int64_t last = tokens == KV_LANES ? KV_LANES : tokens - 1;
  for (int64_t t = 0; t < KV_LANES; t += 4) {
    const uint8_t *rows[4];
    for (int64_t i = 0; i < 4; ++i)
      rows[i] = values + $v_data_offset + (value_slot + byoc_min(t + i, last)) * KV_ROW_$v;
    for (int64_t c = 0; c < KV_ROW_$v; c += 16) {
      const kv_ints bytes = kv_interleave(rows[0] + c, rows[1] + c, rows[2] + c, rows[3] + c);
      _Pragma("GCC unroll 4") for (int k = 0; k < KVD_PER_BYTE_$id; ++k) *out++ = bytes >> KV_BITS_$v * k & $v_mask;
    }
  }
  for (int64_t g = 0; g < KV_GROUPS_$v; ++g)
    kv_scales_$v(values, value_slot, tokens, g, (kv_floats *)(tile->value_scale[g] + at),
                 (kv_floats *)(tile->value_low[g] + at));
}

/* weights[TILE] = a row's query times the keys of a tile. */
static void kvd_scores_$id(KvDecodeTile_$id *tile, int64_t row) {
  enum { VECTORS = KV_TILE / KV_LANES, QUADS = KVD_KEY_QUADS_IN_GROUP_$id };
  kv_floats score[VECTORS];
  memset(score, 0, sizeof score);
  const int8_t *high = tile->query_high[row], *low = tile->query_low[row];
  const kv_ints *keys = (const kv_ints *)tile->keys;
  for (int64_t g = 0; g < KV_GROUPS_$k; ++g) {
    kv_ints upper[VECTORS], lower[VECTORS];
    memset(upper, 0, sizeof upper);
    memset(lower, 0, sizeof lower);
    for (int64_t q = 0; q < QUADS; ++q, keys += VECTORS, high += 4, low += 4)
      _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; ++v) {
        upper[v] = linear_dot(upper[v], keys[v], high);
        lower[v] = linear_dot(lower[v], keys[v], low);
      }
    const float step = tile->step[row][g], whole = tile->whole[row][g];
    _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; ++v) {
      const kv_floats sum = __builtin_convertvector((upper[v] << 8) + lower[v], kv_floats);
      score[v] += sum * step * ((const kv_floats *)tile->key_scale[g])[v];
      score[v] += whole * ((const kv_floats *)tile->key_low[g])[v];
    }
  }
  memcpy(tile->weights, score, sizeof score);
}

/* Scores of the tokens [begin, end) become weights of a running softmax, others 0.  Returns the factor for what was
 * there before; *largest is the largest weight. */
static float kvd_softmax_$id(KvDecodeTile_$id *tile, int64_t row, int64_t begin, int64_t end, float *largest) {
  float *w = tile->weights;
  if (begin > 0 || end < KV_TILE)
    for (int64_t t = 0; t < KV_TILE; ++t) w[t] = t >= begin && t < end ? w[t] : -INFINITY;
  kv_floats above = *(const kv_floats *)w;
  for (int64_t t = KV_LANES; t < KV_TILE; t += KV_LANES) above = kv_max(*(const kv_floats *)(w + t), above);
  const float here = kv_largest(above), before = tile->most[row], most = here > before ? here : before;
  const float shift = most > -INFINITY ? most : 0.0f, factor = csource_expf(before - shift);
  *largest = csource_expf(here - shift);
  for (int64_t t = 0; t < KV_TILE; ++t) w[t] = csource_expf(w[t] - shift);
  kv_floats sum = tile->sum[row] * factor;
  for (int64_t t = 0; t < KV_TILE; t += KV_LANES) sum += *(const kv_floats *)(w + t);
  tile->sum[row] = sum;
  tile->most[row] = most;
  return factor;
}

/* Weights times the scales of each group of channels, of which none is above `largest` times the group's largest scale,
 * as sixteen bits; `base` adds up what all channels of a group share. */
static void kvd_weigh_$id(KvDecodeTile_$id *tile, int64_t row, float factor, float largest) {
  const kv_floats *weights = (const kv_floats *)tile->weights;
  for (int64_t g = 0; g < KV_GROUPS_$v; ++g) {
    const kv_floats *scale = (const kv_floats *)tile->value_scale[g], *least = (const kv_floats *)tile->value_low[g];
    const float bound = largest * tile->largest_scale[g], inverse = bound > 1e-30f ? 32512.0f / bound : 0.0f;
    const float step = bound / 32512.0f, middle = (float)(1 << (KV_BITS_$v - 1));
    kv_floats base = tile->base[row][g] * factor;
    _Pragma("GCC unroll 4") for (int v = 0; v < KV_TILE / KV_LANES; ++v) {
      const kv_floats scaled = weights[v] * scale[v];
      const kv_ints q = kv_round(scaled * inverse);
      /* What is rounded off meets the middle of the integers here, so that no error is common to all channels. */
      base += weights[v] * least[v] + (scaled - __builtin_convertvector(q, kv_floats) * step) * middle;
      ((kv_bytes *)tile->high[g])[v] = __builtin_convertvector((q + 128) >> 8, kv_bytes);
      ((kv_bytes *)tile->low[g])[v] = __builtin_convertvector(q, kv_bytes);
    }
    tile->base[row][g] = base;
  }
}

/* mixed = factor * mixed + weights times values. */
static void kvd_mix_$id(KvDecodeTile_$id *tile, int64_t row, float factor, float largest) {
  enum {
    IN_GROUP = KVD_VECTORS_$id / KV_GROUPS_$v,
    TOGETHER = KVD_VECTORS_$id % 4 == 0 ? 4 : KVD_VECTORS_$id % 2 == 0 ? 2 : 1
  };
  for (int64_t first = 0; first < KVD_VECTORS_$id; first += TOGETHER) {
    kv_ints upper[TOGETHER], lower[TOGETHER];
    memset(upper, 0, sizeof upper);
    memset(lower, 0, sizeof lower);
    const kv_ints *values = (const kv_ints *)tile->values + first;
    for (int64_t t = 0; t < KV_TILE; t += 4, values += KVD_VECTORS_$id)
      _Pragma("GCC unroll 4") for (int v = 0; v < TOGETHER; ++v) {
        upper[v] = linear_dot(upper[v], values[v], tile->high[(first + v) / IN_GROUP] + t);
        lower[v] = linear_dot(lower[v], values[v], tile->low[(first + v) / IN_GROUP] + t);
      }
    kv_floats *mixed = (kv_floats *)(tile->mixed[row] + first * KV_LANES);
    _Pragma("GCC unroll 4") for (int v = 0; v < TOGETHER; ++v) {
      const float step = largest * tile->largest_scale[(first + v) / IN_GROUP] / 32512.0f;
      mixed[v] = mixed[v] * factor + __builtin_convertvector((upper[v] << 8) + lower[v], kv_floats) * step;
    }
  }
}

/* One task is a split of the tokens, for one key head of one sequence. */
static void kvd_task_$id(const KvDecode_$id *r, int64_t task, KvDecodeTile_$id *tile) {
  const int64_t split = task % r->splits, h = task / r->splits % r->kv_heads, b = task / r->splits / r->kv_heads;
  const int64_t length = r->lengths[b], total = length + r->counts[b];
  const uint8_t *keys = r->keys + (b * r->kv_heads + h) * INT64_C($key_bytes);
  const uint8_t *values = r->values + (b * r->kv_heads + h) * INT64_C($value_bytes);
  const int64_t place = (b * r->kv_heads + h) * KVD_ROWS_$id;
  for (int64_t i = 0; i < KVD_ROWS_$id; ++i) {
    kvd_query_$id(r->query + (place + i) * KVD_DIM_$id, r->scale, tile, i);
    tile->most[i] = -INFINITY;
  }
  memset(tile->mixed, 0, sizeof tile->mixed);
  memset(tile->base, 0, sizeof tile->base);
  memset(tile->sum, 0, sizeof tile->sum);
  int64_t oldest = byoc_max(0, total - KV_CAPACITY_$k);
  if (r->window) oldest = byoc_max(oldest, length + 1 - r->window);
  oldest = oldest / KV_LANES * KV_LANES;
  const int64_t tiles = (total - oldest + KV_TILE - 1) / KV_TILE;
  const int64_t from = oldest + tiles * split / r->splits * KV_TILE;
  const int64_t to = byoc_min(total, oldest + tiles * (split + 1) / r->splits * KV_TILE);
  for (int64_t t = from, tokens; t < to; t += tokens) {
    const int64_t key_slot = t % KV_CAPACITY_$k, value_slot = t % KV_CAPACITY_$v;
    tokens = byoc_min(byoc_min(KV_TILE, to - t), byoc_min(KV_CAPACITY_$k - key_slot, KV_CAPACITY_$v - value_slot));
    kv_fetch_$k(keys, key_slot + 2 * KV_TILE, KV_TILE);
    kv_fetch_$v(values, value_slot + 2 * KV_TILE, KV_TILE);
    for (int64_t i = 0; i < tokens; i += KV_LANES)
      kvd_load_$id(keys, values, key_slot + i, value_slot + i, i, byoc_min(KV_LANES, tokens - i), tile);
    for (int64_t g = 0; g < KV_GROUPS_$v; ++g) {
      kv_floats scale = {0};
      for (int64_t i = 0; i < KV_TILE; i += KV_LANES) scale = kv_max(scale, *(kv_floats *)(tile->value_scale[g] + i));
      tile->largest_scale[g] = kv_largest(scale);
    }
    const int64_t begin = r->window ? byoc_max(0, length + 1 - r->window - t) : 0;
    for (int64_t row = 0; row < KVD_ROWS_$id; ++row) {
      kvd_scores_$id(tile, row);
      float largest;
      const float factor = kvd_softmax_$id(tile, row, begin, tokens, &largest);
      kvd_weigh_$id(tile, row, factor, largest);
      kvd_mix_$id(tile, row, factor, largest);
    }
  }
  for (int64_t i = 0; i < KVD_ROWS_$id; ++i) {
    float *found = r->partial + ((place + i) * r->splits + split) * (KVD_DIM_$id + 2);
    float base[KV_GROUPS_$v];
    for (int64_t g = 0; g < KV_GROUPS_$v; ++g) base[g] = kv_total(tile->base[i][g]);
    found[0] = tile->most[i], found[1] = kv_total(tile->sum[i]);
    for (int64_t j = 0; j < KVD_DIM_$id; ++j) {
      const int64_t channel = kvd_value_channel_$id(j / KV_LANES, j % KV_LANES);
      found[2 + channel] = tile->mixed[i][j] + base[channel / KV_CHANNELS_$v];
    }
  }
}

static BYOC_UNUSED void kvd_range_$id(int64_t begin, int64_t end, void *ctx) {
  KvDecodeTile_$id tile __attribute__((aligned(64)));
  memset(&tile, 0, sizeof tile); /* what a short tile leaves alone is to be finite */
  for (int64_t task = begin; task < end; ++task) kvd_task_$id((const KvDecode_$id *)ctx, task, &tile);
}

static BYOC_UNUSED void kv_decode_$id(const float *query, const uint8_t *keys, const uint8_t *values,
                                      const int64_t *lengths, const int64_t *counts, float *out, float *partial,
                                      int64_t batch, int64_t kv_heads, int64_t most_splits, int64_t window,
                                      float scale) {
  int64_t longest = 1;
  for (int64_t b = 0; b < batch; ++b) longest = byoc_max(longest, lengths[b] + counts[b]);
  const int64_t splits = byoc_min(most_splits, (longest + $split_tokens - 1) / $split_tokens);
  KvDecode_$id r = {query, keys, values, lengths, counts, out, partial, kv_heads, splits, window, scale};
  byoc_parallel_for(batch * kv_heads * splits, 1, kvd_range_$id, &r);
  kv_merge(partial, batch * kv_heads * KVD_ROWS_$id, splits, KVD_DIM_$id, KVD_DIM_$id, out);
}
