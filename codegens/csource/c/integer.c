/* Integer arithmetic where C leaves a case undefined: division by zero gives 0, overflow wraps around. */

static inline BYOC_UNUSED int64_t csource_quotient(int64_t a, int64_t b) {
  if (b == 0) return 0;
  return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}
static inline BYOC_UNUSED int64_t csource_remainder(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
static inline BYOC_UNUSED int64_t csource_floor_quotient(int64_t a, int64_t b) {
  const int64_t r = csource_remainder(a, b);
  return csource_quotient(a, b) - (r != 0 && (r < 0) != (b < 0));
}
static inline BYOC_UNUSED int64_t csource_floor_remainder(int64_t a, int64_t b) {
  const int64_t r = csource_remainder(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static inline BYOC_UNUSED int64_t csource_integer_power(int64_t a, int64_t exponent) {
  if (exponent < 0) return a == 1 ? 1 : a == -1 ? (exponent % 2 ? -1 : 1) : 0;
  uint64_t base = (uint64_t)a, result = 1;
  for (; exponent; exponent >>= 1, base *= base)
    if (exponent & 1) result *= base;
  return (int64_t)result;
}
