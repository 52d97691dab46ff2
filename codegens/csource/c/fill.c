/* n copies of one element of 1, 2, 4 or 8 bytes. */
typedef struct {
  char *out;
  const char *value;
  int64_t bytes;
} CsourceFill;

static void csource_fill_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceFill *f = (const CsourceFill *)ctx;
  uint64_t word;
  memcpy(&word, f->value, (size_t)f->bytes);
  if (f->bytes == 4)
    for (int64_t i = begin; i < end; ++i) ((uint32_t *)f->out)[i] = (uint32_t)word;
  else if (f->bytes == 8)
    for (int64_t i = begin; i < end; ++i) ((uint64_t *)f->out)[i] = word;
  else if (f->bytes == 2)
    for (int64_t i = begin; i < end; ++i) ((uint16_t *)f->out)[i] = (uint16_t)word;
  else
    memset(f->out + begin, (int)(uint8_t)word, (size_t)(end - begin));
}

static void csource_fill(void *out, const void *value, int64_t bytes, int64_t n) {
  CsourceFill f = {(char *)out, (const char *)value, bytes};
  byoc_parallel_for(n, 65536, csource_fill_range, &f);
}
