/* Appending to a cache whose regions have the layout $layout. */
enum {
  KV_APPEND_BITS_$id = $bits,
  KV_APPEND_DIM_$id = $dim,
  KV_APPEND_CAPACITY_$id = $capacity,
  KV_APPEND_SPAN_$id = $span,         /* tokens that share a scale */
  KV_APPEND_CHANNELS_$id = $channels, /* channels that share a scale */
  KV_APPEND_LEVELS_$id = $levels,
  KV_APPEND_ZERO_$id = $zero,         /* the stored integer that means 0, where the format is symmetric */
  KV_APPEND_ROW_$id = $row            /* bytes of a token's numbers */
};

typedef struct {
  uint8_t *cache;
  const float *in;
  const int64_t *lengths, *counts;
  int64_t tokens, heads, parts;
} KvAppend_$id;

/* SPAN tokens of CHANNELS channels become integers. */
static inline BYOC_UNUSED void kv_quantise_$id(const float *in, float scale, float low, uint8_t *out) {
  const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
  for (int64_t t = 0; t < KV_APPEND_SPAN_$id; ++t)
    for (int64_t c = 0; c < KV_APPEND_CHANNELS_$id; ++c) {
      float q = rintf((in[t * KV_APPEND_DIM_$id + c] - low) * inverse);
      q = q < (float)$lowest ? (float)$lowest : q;
      q = q > (float)KV_APPEND_LEVELS_$id ? (float)KV_APPEND_LEVELS_$id : q;
      out[t * KV_APPEND_DIM_$id + c] = scale > 0 ? (uint8_t)q : (uint8_t)KV_APPEND_ZERO_$id;
    }
}

/* A whole tile of tokens, in[SPAN][DIM], goes to `slot` and the slots behind it. */
static BYOC_UNUSED void kv_store_tile_$id(uint8_t *region, const float *in, int64_t slot) {
  enum { GROUPS = KV_APPEND_DIM_$id / KV_APPEND_CHANNELS_$id, PER_BYTE = 8 / KV_APPEND_BITS_$id };
  uint8_t quanta[KV_APPEND_SPAN_$id * KV_APPEND_DIM_$id];
  byoc_half *scales = (byoc_half *)(region + $scale_offset) + slot / KV_APPEND_SPAN_$id * GROUPS;
  byoc_half *minima = (byoc_half *)(region + $minimum_offset) + slot / KV_APPEND_SPAN_$id * GROUPS;
  (void)scales; (void)minima;
  for (int64_t g = 0; g < GROUPS; ++g) {
    const float *part = in + g * KV_APPEND_CHANNELS_$id;
    float scale = $fixed_scale, low = $fixed_low;
#if !$is_fixed
    float most = -INFINITY, least = INFINITY;
    for (int64_t t = 0; t < KV_APPEND_SPAN_$id; ++t)
      for (int64_t c = 0; c < KV_APPEND_CHANNELS_$id; ++c) {
        const float x = part[t * KV_APPEND_DIM_$id + c];
        most = x > most ? x : most;
        least = x < least ? x : least;
      }
#if $symmetric
    scales[g] = byoc_float_to_half((most > -least ? most : -least) / (float)(KV_APPEND_LEVELS_$id / 2));
    scale = byoc_half_to_float(scales[g]);
    low = scale * -(float)KV_APPEND_ZERO_$id;
#else
    scales[g] = byoc_float_to_half((most - least) / (float)KV_APPEND_LEVELS_$id);
    minima[g] = byoc_float_to_half(least);
    scale = byoc_half_to_float(scales[g]);
    low = byoc_half_to_float(minima[g]);
#endif
#endif
    kv_quantise_$id(part, scale, low, quanta + g * KV_APPEND_CHANNELS_$id);
  }
  uint8_t *out = region + $data_offset + slot * KV_APPEND_ROW_$id;
  for (int64_t i = 0; i < KV_APPEND_SPAN_$id * KV_APPEND_ROW_$id; ++i) {
    unsigned byte = 0;
    for (int k = 0; k < PER_BYTE; ++k) byte |= (unsigned)quanta[i * PER_BYTE + k] << k * KV_APPEND_BITS_$id;
    out[i] = (uint8_t)byte;
  }
}

static BYOC_UNUSED void kv_append_token_$id(uint8_t *region, const float *x, int64_t slot) {
#if $bits == 32
  memcpy(region + $data_offset + slot * KV_APPEND_ROW_$id, x, KV_APPEND_ROW_$id);
#elif $bits == 16
  byoc_half *out = (byoc_half *)(region + $data_offset + slot * KV_APPEND_ROW_$id);
  for (int64_t d = 0; d < KV_APPEND_DIM_$id; ++d) out[d] = byoc_float_to_half(x[d]);
#elif $waits
  byoc_half *waiting = (byoc_half *)(region + $residual_offset);
  for (int64_t d = 0; d < KV_APPEND_DIM_$id; ++d)
    waiting[slot % KV_APPEND_SPAN_$id * KV_APPEND_DIM_$id + d] = byoc_float_to_half(x[d]);
  if (slot % KV_APPEND_SPAN_$id < KV_APPEND_SPAN_$id - 1) return;
  float tile[KV_APPEND_SPAN_$id * KV_APPEND_DIM_$id];
  for (int64_t i = 0; i < KV_APPEND_SPAN_$id * KV_APPEND_DIM_$id; ++i) tile[i] = byoc_half_to_float(waiting[i]);
  kv_store_tile_$id(region, tile, slot + 1 - KV_APPEND_SPAN_$id);
#else
  kv_store_tile_$id(region, x, slot);
#endif
}

/* One task is a part of the tokens for one head of one sequence. */
static BYOC_UNUSED void kv_append_range_$id(int64_t begin, int64_t end, void *ctx) {
  const KvAppend_$id *r = (const KvAppend_$id *)ctx;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t part = task % r->parts, h = task / r->parts % r->heads, b = task / r->parts / r->heads;
    const int64_t count = byoc_min(r->tokens, byoc_max(0, r->counts[b]));
    const int64_t first = count * part / r->parts, last = count * (part + 1) / r->parts;
    uint8_t *region = r->cache + (b * r->heads + h) * INT64_C($nbytes);
    const float *in = r->in + (b * r->tokens * r->heads + h) * KV_APPEND_DIM_$id;
    const int64_t step = r->heads * KV_APPEND_DIM_$id;
#if $mean
    float *mean = (float *)(region + $mean_offset);
    if (r->lengths[b] == 0 && count > 0)
      for (int64_t d = 0; d < KV_APPEND_DIM_$id; ++d) {
        double sum = 0;
        for (int64_t i = 0; i < count; ++i) sum += in[i * step + d];
        mean[d] = (float)(sum / (double)count);
      }
#endif
    for (int64_t i = first; i < last; ++i) {
      const float *x = in + i * step;
#if $mean
      float centred[KV_APPEND_DIM_$id];
      for (int64_t d = 0; d < KV_APPEND_DIM_$id; ++d) centred[d] = x[d] - mean[d];
      x = centred;
#endif
      kv_append_token_$id(region, x, (r->lengths[b] + i) % KV_APPEND_CAPACITY_$id);
    }
  }
}

static BYOC_UNUSED void kv_append_$id(uint8_t *cache, const float *in, const int64_t *lengths, const int64_t *counts,
                                      int64_t batch, int64_t tokens, int64_t heads) {
  /* Tokens that wait for their tile, and a mean of them all, want one task for each head. */
  KvAppend_$id r = {cache, in, lengths, counts, tokens, heads, $waits || $mean ? 1 : (tokens + 63) / 64};
  byoc_parallel_for(batch * heads * r.parts, 1 + 64 / byoc_max(tokens, 1), kv_append_range_$id, &r);
}
