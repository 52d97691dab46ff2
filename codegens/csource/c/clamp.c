static inline BYOC_UNUSED float csource_clampf(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}
