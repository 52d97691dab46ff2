/* Every byte replaced by the entry of a table. */
typedef struct {
  const uint8_t *in;
  const $result *table;
  $result *out;
} ${type};

static void ${name}_range(int64_t begin, int64_t end, void *ctx) {
  const ${type} *p = (const ${type} *)ctx;
  for (int64_t i = begin; i < end; ++i) p->out[i] = p->table[p->in[i]];
}
