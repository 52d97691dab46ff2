/* product / 2**shift to the nearest integer, ties to the even one; 1 <= shift <= 62. */
static inline BYOC_UNUSED int64_t csource_shift_half_even(int64_t product, int32_t shift) {
  return (product + (((int64_t)1 << (shift - 1)) - 1) + ((product >> shift) & 1)) >> shift;
}

/* How totals become integers again: one multiplier and shift for each channel. */
typedef struct {
  const int32_t *multiplier, *shift;
  int32_t zero, low, high;
} CsourceRequantise;

static inline BYOC_UNUSED int64_t csource_requantised(const CsourceRequantise *r, int64_t total, int64_t multiplier,
                                                      int32_t shift) {
  const int64_t value = csource_shift_half_even(total * multiplier, shift) + r->zero;
  return value < r->low ? r->low : value > r->high ? r->high : value;
}

/* n totals of one channel.  Bytes are those of int8 or uint8. */
static inline BYOC_UNUSED void csource_requantise_channel(const CsourceRequantise *r, int64_t channel,
                                                          const int32_t *BYOC_RESTRICT total, int64_t n,
                                                          uint8_t *BYOC_RESTRICT out) {
  const int64_t multiplier = r->multiplier[channel];
  const int32_t shift = r->shift[channel];
  for (int64_t i = 0; i < n; ++i) out[i] = (uint8_t)csource_requantised(r, total[i], multiplier, shift);
}

/* One total of each of n channels. */
static inline BYOC_UNUSED void csource_requantise_channels(const CsourceRequantise *r, int64_t channel,
                                                           const int32_t *BYOC_RESTRICT total, int64_t n,
                                                           uint8_t *BYOC_RESTRICT out) {
  const int32_t *BYOC_RESTRICT multiplier = r->multiplier + channel, *BYOC_RESTRICT shift = r->shift + channel;
  for (int64_t i = 0; i < n; ++i) out[i] = (uint8_t)csource_requantised(r, total[i], multiplier[i], shift[i]);
}
