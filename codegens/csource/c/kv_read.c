/* Reading tokens from a cache whose regions have the layout $layout. */
enum {
  KV_BITS_$id = $bits,
  KV_DIM_$id = $dim,
  KV_CAPACITY_$id = $capacity,
  KV_SPAN_$id = $span,
  KV_CHANNELS_$id = $channels,
  KV_GROUPS_$id = KV_DIM_$id / KV_CHANNELS_$id,
  KV_LEVELS_$id = $levels,
  KV_ROW_$id = $row
};

/* As kv_sixteen, wherever the numbers lie.  Not inlined: a scale for each channel would repeat it for each, and compilers
 * take seconds over that. */
static __attribute__((noinline)) BYOC_UNUSED kv_floats kv_gather_$id(const byoc_half *plane, int64_t slot, int64_t tokens,
                                                                     int64_t g) {
  byoc_half halves[KV_LANES];
  for (int l = 0; l < KV_LANES; ++l)
    halves[l] = plane[(slot + byoc_min(l, tokens - 1)) / KV_SPAN_$id * KV_GROUPS_$id + g];
  return kv_load_halves(halves);
}

/* What `plane` holds of channel group g for the tokens in sixteen slots. */
static inline BYOC_UNUSED kv_floats kv_sixteen_$id(const byoc_half *plane, int64_t slot, int64_t tokens, int64_t g) {
  if (KV_SPAN_$id % KV_LANES == 0 && slot % KV_LANES == 0)
    return (kv_floats){0} + byoc_half_to_float(plane[slot / KV_SPAN_$id * KV_GROUPS_$id + g]);
  /* Vectors that lie in memory are taken whole: one that was just written in parts would be waited for. */
  if (KV_SPAN_$id == 1 && tokens == KV_LANES) {
    const kv_ints *pairs = (const kv_ints *)(plane + slot * KV_GROUPS_$id);
    if (KV_GROUPS_$id == 1) return kv_load_halves(plane + slot);
    if (KV_GROUPS_$id == 2) return kv_halves(pairs[0] >> 16 * g & 0xffff);
    if (KV_GROUPS_$id == 4) {
      const kv_ints even = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
      return kv_halves(__builtin_shuffle(pairs[0], pairs[1], even + (int32_t)(g / 2)) >> 16 * (g % 2) & 0xffff);
    }
  }
  return kv_gather_$id(plane, slot, tokens, g);
}

/* Scale and minimum of channel group g for the tokens in sixteen slots; slots from `tokens` on repeat the last. */
static inline BYOC_UNUSED void kv_scales_$id(const uint8_t *region, int64_t slot, int64_t tokens, int64_t g,
                                             kv_floats *scale, kv_floats *low) {
#if $is_float
  (void)region; (void)slot; (void)tokens; (void)g;
  *scale = (kv_floats){0} + 1.0f, *low = (kv_floats){0};
#elif $is_fixed
  (void)region; (void)slot; (void)tokens; (void)g;
  *scale = (kv_floats){0} + $fixed_scale, *low = (kv_floats){0} + $fixed_low;
#else
  *scale = kv_sixteen_$id((const byoc_half *)(region + $scale_offset), slot, tokens, g);
#if $symmetric
  *low = *scale * -(float)$zero;
#else
  *low = kv_sixteen_$id((const byoc_half *)(region + $minimum_offset), slot, tokens, g);
#endif
#endif
}

/* words[w]: word w of the piece that begins at byte c of their rows, for the tokens in sixteen slots; slots from `tokens`
 * on repeat the last. */
static inline BYOC_UNUSED void kv_words_$id(const uint8_t *region, int64_t slot, int64_t tokens, int64_t c,
                                            kv_ints words[KV_LANES]) {
  enum { BYTES = $piece };
  const uint8_t *row = region + $data_offset + slot * KV_ROW_$id + c;
  if (tokens == KV_LANES && KV_ROW_$id == 32) {
    kv_transpose_pairs(row, words);
    return;
  }
  if (tokens == KV_LANES && row + (KV_LANES - 1) * KV_ROW_$id + 64 <= region + INT64_C($nbytes)) {
    /* More than a row may be loaded: what is behind it is not used. */
    for (int l = 0; l < KV_LANES; ++l) memcpy(&words[l], row + l * KV_ROW_$id, 64);
  } else {
    memset(words, 0, KV_LANES * sizeof words[0]);
    for (int l = 0; l < KV_LANES; ++l) memcpy(&words[l], row + byoc_min(l, tokens - 1) * KV_ROW_$id, BYTES);
  }
  kv_transpose(words);
}

/* out[DIM][stride]: `tokens` (up to sixteen) tokens from `slot` on, side by side; what stands behind them is unspecified
 * but finite. */
static inline BYOC_UNUSED void kv_read_columns_$id(const uint8_t *region, int64_t slot, int64_t tokens, float *out,
                                                   int64_t stride) {
  enum { BYTES = $piece, PER_WORD = 32 / KV_BITS_$id };
  kv_floats scale = {0}, low = {0};
  for (int64_t c = 0; c < KV_ROW_$id; c += BYTES) {
    const int64_t first = c * 8 / KV_BITS_$id;
    kv_ints words[KV_LANES];
    kv_words_$id(region, slot, tokens, c, words);
    _Pragma("GCC unroll 16") for (int w = 0; w < (BYTES + 3) / 4; ++w) {
      float *column = out + (first + w * PER_WORD) * stride;
      if (first + w * PER_WORD >= KV_DIM_$id) break;
#if $bits == 32
      *(kv_floats *)column = (kv_floats)words[w];
#elif $bits == 16
      *(kv_floats *)column = kv_halves(words[w] & 0xffff);
      *(kv_floats *)(column + stride) = kv_halves(words[w] >> 16 & 0xffff);
#else
      _Pragma("GCC unroll 16") for (int k = 0; k < PER_WORD; ++k) {
        const int64_t d = first + w * PER_WORD + k;
        if (d >= KV_DIM_$id) break;
        if ((k == 0 || KV_CHANNELS_$id < PER_WORD) && d % KV_CHANNELS_$id == 0)
          kv_scales_$id(region, slot, tokens, d / KV_CHANNELS_$id, &scale, &low);
        const kv_ints quanta = words[w] >> k * KV_BITS_$id & KV_LEVELS_$id;
        *(kv_floats *)(column + k * stride) = __builtin_convertvector(quanta, kv_floats) * scale + low;
      }
#endif
    }
  }
  (void)scale; (void)low;
}

/* out[tokens][width]: tokens from `slot` on, one row each, up to sixteen; `width` is at least DIM, what stands behind is
 * left alone. */
static inline BYOC_UNUSED void kv_read_rows_$id(const uint8_t *region, int64_t slot, int64_t tokens, float *out,
                                                int64_t width) {
#if !$is_float
  float scales[KV_GROUPS_$id][KV_LANES], lows[KV_GROUPS_$id][KV_LANES];
  for (int64_t g = 0; g < KV_GROUPS_$id; ++g)
    kv_scales_$id(region, slot, tokens, g, (kv_floats *)scales[g], (kv_floats *)lows[g]);
#endif
  for (int64_t t = 0; t < tokens; ++t, out += width) {
    const uint8_t *row = region + $data_offset + (slot + t) * KV_ROW_$id;
#if $bits == 32
    memcpy(out, row, KV_ROW_$id);
#elif $bits == 16
    const byoc_half *halves = (const byoc_half *)row;
    int64_t d = 0;
    for (; d + KV_LANES <= KV_DIM_$id; d += KV_LANES) *(kv_floats *)(out + d) = kv_load_halves(halves + d);
    for (; d < KV_DIM_$id; ++d) out[d] = byoc_half_to_float(halves[d]);
#elif $dim % 16 == 0 && $channels % 16 == 0
    for (int64_t d = 0; d < KV_DIM_$id; d += KV_LANES) {
      const kv_ints quanta = kv_quanta_$bits(row + d * KV_BITS_$id / 8);
      const int64_t g = d / KV_CHANNELS_$id;
      *(kv_floats *)(out + d) = __builtin_convertvector(quanta, kv_floats) * scales[g][t] + lows[g][t];
    }
#else
    for (int64_t d = 0; d < KV_DIM_$id; ++d) {
      const int quantum = row[d * KV_BITS_$id / 8] >> d * KV_BITS_$id % 8 & KV_LEVELS_$id;
      out[d] = (float)quantum * scales[d / KV_CHANNELS_$id][t] + lows[d / KV_CHANNELS_$id][t];
    }
#endif
  }
}

/* Fetch what the tokens from `slot` on will read; past the end of a plane it fetches in vain. */
static inline BYOC_UNUSED void kv_fetch_$id(const uint8_t *region, int64_t slot, int64_t tokens) {
  const uint8_t *data = region + $data_offset + slot * KV_ROW_$id;
  for (int64_t i = 0; i < tokens * KV_ROW_$id; i += 64) __builtin_prefetch(data + i);
#if !$is_float && !$is_fixed
  const int64_t at = slot / KV_SPAN_$id * KV_GROUPS_$id * 2, size = tokens / KV_SPAN_$id * KV_GROUPS_$id * 2;
  for (int64_t i = 0; i < size; i += 64) {
    __builtin_prefetch(region + $scale_offset + at + i);
    __builtin_prefetch(region + $minimum_offset + at + i);
  }
#endif
}

/* Slot `slot` lies in the tile of tokens that still wait as float16, if `total` tokens were appended. */
static inline BYOC_UNUSED int kv_waits_$id(int64_t slot, int64_t total) {
  const int64_t tile = (total - 1) / KV_SPAN_$id * KV_SPAN_$id % KV_CAPACITY_$id;
  return $waits && total % KV_SPAN_$id != 0 && slot >= tile && slot < tile + KV_SPAN_$id;
}
static inline BYOC_UNUSED float kv_waiting_$id(const uint8_t *region, int64_t slot, int64_t d) {
  return byoc_half_to_float(((const byoc_half *)(region + $residual_offset))[slot % KV_SPAN_$id * KV_DIM_$id + d]);
}
