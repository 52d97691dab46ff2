/* Sums of two tensors of integers, each with its multiplier, one shift for both. */
typedef struct {
  const void *a, *b;
  void *out;
  int32_t a_zero, b_zero, zero, low, high;
  $wide a_multiplier, b_multiplier;
  int32_t shift;
} ${type};

static void ${name}_range(int64_t begin, int64_t end, void *ctx) {
  const ${type} *p = (const ${type} *)ctx;
  const $first *BYOC_RESTRICT a = (const $first *)p->a;
  const $second *BYOC_RESTRICT b = (const $second *)p->b;
  $result *BYOC_RESTRICT out = ($result *)p->out;
  const ${type} q = *p; /* a copy: bytes that are written could be it */
  const $wide below = (($wide)1 << (q.shift - 1)) - 1;
  for (int64_t i = begin; i < end; ++i) {
    const $wide total = (a[i] - q.a_zero) * q.a_multiplier + (b[i] - q.b_zero) * q.b_multiplier;
    const $wide rounded = ((total + below + ((total >> q.shift) & 1)) >> q.shift) + q.zero;
    const $wide value = rounded > q.low ? rounded : q.low;
    out[i] = ($result)(value < q.high ? value : q.high);
  }
}
