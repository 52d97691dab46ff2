/* Reading tokens from a cache whose regions have the layout $layout. */
enum {
  KV_BITS_$id = $bits,
  KV_DIM_$id = $dim,
  KV_CAPACITY_$id = $capacity,
  KV_SPAN_$id = $span,
  KV_CHANNELS_$id = $channels,
  KV_GROUPS_$id = KV_DIM_$id / KV_CHANNELS_$id,
  KV_LEVELS_$id = $levels,
  KV_ROW_$id = $row,
  KV_UNIT_$id = KV_ROW_$id % 4 == 0 ? 4 : 1 /* bytes that are read at a time */
};

/* What `plane` holds of channel group g for the tokens in sixteen slots. */
static inline BYOC_UNUSED kv_floats kv_sixteen_$id(const byoc_half *plane, int64_t slot, int64_t tokens, int64_t g) {
  if (KV_SPAN_$id % KV_LANES == 0 && slot % KV_LANES == 0)
    return (kv_floats){0} + byoc_half_to_float(plane[slot / KV_SPAN_$id * KV_GROUPS_$id + g]);
  byoc_half halves[KV_LANES];
  if (KV_SPAN_$id == 1 && tokens == KV_LANES)
    for (int l = 0; l < KV_LANES; ++l) halves[l] = plane[(slot + l) * KV_GROUPS_$id + g];
  else
    for (int l = 0; l < KV_LANES; ++l)
      halves[l] = plane[(slot + byoc_min(l, tokens - 1)) / KV_SPAN_$id * KV_GROUPS_$id + g];
  return kv_load_halves(halves);
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

/* out[DIM][stride]: `tokens` (up to sixteen) tokens from `slot` on, side by side; what stands behind them is unspecified
 * but finite. */
static inline BYOC_UNUSED void kv_read_columns_$id(const uint8_t *region, int64_t slot, int64_t tokens, float *out,
                                                   int64_t stride) {
  const uint8_t *rows[KV_LANES];
  for (int l = 0; l < KV_LANES; ++l) rows[l] = region + $data_offset + (slot + byoc_min(l, tokens - 1)) * KV_ROW_$id;
  kv_floats scale = {0}, low = {0};
  for (int64_t c = 0, d = 0; c < KV_ROW_$id; c += KV_UNIT_$id) {
    kv_ints words = {0};
    for (int l = 0; l < KV_LANES; ++l) words[l] = KV_UNIT_$id == 4 ? (int32_t)kv_word(rows[l] + c) : rows[l][c];
#if $bits == 32
    *(kv_floats *)(out + d++ * stride) = (kv_floats)words;
#elif $bits == 16
    *(kv_floats *)(out + d++ * stride) = kv_halves(words & 0xffff);
    *(kv_floats *)(out + d++ * stride) = kv_halves((kv_ints)((uint32_t __attribute__((vector_size(64))))words >> 16));
#else
    for (int k = 0; k < 8 * KV_UNIT_$id; k += KV_BITS_$id, ++d) {
      if (d % KV_CHANNELS_$id == 0) kv_scales_$id(region, slot, tokens, d / KV_CHANNELS_$id, &scale, &low);
      const kv_ints quanta = words >> k & KV_LEVELS_$id;
      *(kv_floats *)(out + d * stride) = __builtin_convertvector(quanta, kv_floats) * scale + low;
    }
#endif
  }
  (void)scale; (void)low;
}

/* out[tokens][width]: tokens from `slot` on, one row each; `width` is at least DIM, what stands behind is left alone. */
static inline BYOC_UNUSED void kv_read_rows_$id(const uint8_t *region, int64_t slot, int64_t tokens, float *out,
                                                int64_t width) {
  for (int64_t t = 0; t < tokens; ++t, out += width) {
    const uint8_t *row = region + $data_offset + (slot + t) * KV_ROW_$id;
#if $bits == 32
    memcpy(out, row, KV_ROW_$id);
#elif $bits == 16
    const byoc_half *halves = (const byoc_half *)row;
    int64_t d = 0;
    for (; d + KV_LANES <= KV_DIM_$id; d += KV_LANES) *(kv_floats *)(out + d) = kv_load_halves(halves + d);
    for (; d < KV_DIM_$id; ++d) out[d] = byoc_half_to_float(halves[d]);
#else
    float quanta[KV_DIM_$id];
    for (int64_t i = 0; i < KV_ROW_$id; ++i)
      for (int k = 0; k < 8 / KV_BITS_$id; ++k)
        quanta[i * (8 / KV_BITS_$id) + k] = (float)(row[i] >> k * KV_BITS_$id & KV_LEVELS_$id);
    for (int64_t g = 0; g < KV_GROUPS_$id; ++g) {
#if $is_fixed
      const float scale = $fixed_scale, low = $fixed_low;
#else
      const int64_t at = (slot + t) / KV_SPAN_$id * KV_GROUPS_$id + g;
      const float scale = byoc_half_to_float(((const byoc_half *)(region + $scale_offset))[at]);
#if $symmetric
      const float low = scale * -(float)$zero;
#else
      const float low = byoc_half_to_float(((const byoc_half *)(region + $minimum_offset))[at]);
#endif
#endif
      for (int64_t c = g * KV_CHANNELS_$id; c < (g + 1) * KV_CHANNELS_$id; ++c) out[c] = quanta[c] * scale + low;
    }
#endif
  }
}

/* Slot `slot` lies in the tile of tokens that still wait as float16, if `total` tokens were appended. */
static inline BYOC_UNUSED int kv_waits_$id(int64_t slot, int64_t total) {
  const int64_t tile = (total - 1) / KV_SPAN_$id * KV_SPAN_$id % KV_CAPACITY_$id;
  return $waits && total % KV_SPAN_$id != 0 && slot >= tile && slot < tile + KV_SPAN_$id;
}
static inline BYOC_UNUSED float kv_waiting_$id(const uint8_t *region, int64_t slot, int64_t d) {
  return byoc_half_to_float(((const byoc_half *)(region + $residual_offset))[slot % KV_SPAN_$id * KV_DIM_$id + d]);
}
