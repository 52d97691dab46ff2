/* Elementary functions of float, free of branches and calls so that loops over them vectorise.
 * Polynomials are minimax fits; errors are at most 3 units in the last place. */

static inline BYOC_UNUSED float csource_expf(float x) {
  x = x > 89.0f ? 89.0f : x; /* both limits are past overflow and underflow; NaN passes */
  x = x < -104.0f ? -104.0f : x;
  const float shifter = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
  const float shifted = x * 1.44269504f + shifter;
  const float n = shifted - shifter;
  const float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
  float p = 0.00138131445f;
  p = p * r + 0.00836941884f;
  p = p * r + 0.0416684568f;
  p = p * r + 0.166665148f;
  p = p * r + 0.499999931f;
  p = (p * r) * r + r + 1.0f;
  const int32_t k = (int32_t)(byoc_float_bits(shifted) - 0x4b400000u);
  const int32_t half = k >> 1; /* 2^k in two factors: one alone would leave the normal range */
  return p * byoc_bits_float((uint32_t)(half + 127) << 23) * byoc_bits_float((uint32_t)(k - half + 127) << 23);
}

static inline BYOC_UNUSED float csource_logf(float x) {
  const int tiny = x < 1.17549435e-38f;
  const float scaled = tiny ? x * 8388608.0f : x;
  const uint32_t bits = byoc_float_bits(scaled) - 0x3f3504f3u; /* sqrt(1/2) */
  const float e = (float)((int32_t)bits >> 23) - (tiny ? 23.0f : 0.0f);
  const float f = byoc_bits_float((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  float p = 0.0674664034f;
  p = p * f - 0.116756518f;
  p = p * f + 0.118881623f;
  p = p * f - 0.124055889f;
  p = p * f + 0.142195524f;
  p = p * f - 0.166679959f;
  p = p * f + 0.200021187f;
  p = p * f - 0.250000096f;
  p = p * f + 0.333333126f;
  const float f2 = f * f;
  const float low = p * f2 * f - 0.5f * f2 + e * 1.42860677e-6f;
  float y = low + f + e * 0.693145752f;
  y = x < INFINITY ? y : x; /* also NaN */
  y = x == 0.0f ? -INFINITY : y;
  return x < 0.0f ? NAN : y;
}

/* log(1 + u) for u >= 0 */
static inline BYOC_UNUSED float csource_log1pf(float u) {
  const float w = 1.0f + u;
  const float y = csource_logf(w) + (u - (w - 1.0f)) / w;
  return u < INFINITY ? y : u;
}

static inline BYOC_UNUSED float csource_tanhf(float x) {
  const float z = x * x, a = fabsf(x);
  float p = -0.00551516372f;
  p = p * z + 0.0204694197f;
  p = p * z - 0.053688023f;
  p = p * z + 0.133308303f;
  p = p * z - 0.333332598f;
  const float near = p * z * x + x;
  const float far = copysignf(1.0f - 2.0f / (csource_expf(2.0f * a) + 1.0f), x);
  return a < 0.65f ? near : far;
}

static inline BYOC_UNUSED float csource_erff(float x) {
  const float z = x * x, a = fabsf(x);
  float p = 7.85386113e-5f;
  p = p * z - 0.000801019356f;
  p = p * z + 0.00518832768f;
  p = p * z - 0.0268538119f;
  p = p * z + 0.112835851f;
  p = p * z - 0.376126258f;
  p = p * z + 1.12837917f;
  const float b = a > 4.0f ? 4.0f : a;
  float q = -0.000185574024f; /* -log(erfc(b)) on [1, 4] */
  q = q * b + 0.00293960744f;
  q = q * b - 0.0218053189f;
  q = q * b + 0.10303737f;
  q = q * b + 0.638225676f;
  q = q * b + 1.12704004f;
  q = q * b + 0.000353719318f;
  const float far = copysignf(1.0f - csource_expf(-q), x);
  return a < 1.0f ? p * x : far;
}

static inline BYOC_UNUSED float csource_sigmoidf(float x) { return 1.0f / (1.0f + csource_expf(-x)); }

static inline BYOC_UNUSED float csource_softplusf(float x) {
  return (x > 0.0f ? x : 0.0f) + csource_log1pf(csource_expf(-fabsf(x)));
}

static inline BYOC_UNUSED double csource_exp(double x) { return exp(x); }
static inline BYOC_UNUSED double csource_log(double x) { return log(x); }
static inline BYOC_UNUSED double csource_log1p(double u) { return log1p(u); }
static inline BYOC_UNUSED double csource_tanh(double x) { return tanh(x); }
static inline BYOC_UNUSED double csource_erf(double x) { return erf(x); }
static inline BYOC_UNUSED double csource_sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }
static inline BYOC_UNUSED double csource_softplus(double x) { return (x > 0.0 ? x : 0.0) + log1p(exp(-fabs(x))); }
