/* The part of each matrix on and above (upper) or below its k-th diagonal; zeros elsewhere. */
typedef struct {
  char *out;
  const char *in;
  int64_t bytes, rows, cols, k;
  int upper;
} CsourceTriangle;

static void csource_triangle_rows(int64_t begin, int64_t end, void *ctx) {
  const CsourceTriangle *t = (const CsourceTriangle *)ctx;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t diagonal = row % t->rows + t->k; /* the first column that belongs to the upper part */
    const int64_t split = byoc_min(byoc_max(t->upper ? diagonal : diagonal + 1, 0), t->cols);
    const size_t left = (size_t)(split * t->bytes), right = (size_t)((t->cols - split) * t->bytes);
    char *out = t->out + row * t->cols * t->bytes;
    const char *in = t->in + row * t->cols * t->bytes;
    if (t->upper) {
      memset(out, 0, left);
      memcpy(out + left, in + left, right);
    } else {
      memcpy(out, in, left);
      memset(out + left, 0, right);
    }
  }
}

static void csource_triangle(void *out, const void *in, int64_t bytes, int64_t matrices, int64_t rows, int64_t cols,
                             int64_t k, int upper) {
  CsourceTriangle t = {(char *)out, (const char *)in, bytes, rows, cols, k, upper};
  byoc_parallel_for(matrices * rows, 65536 / byoc_max(cols, 1), csource_triangle_rows, &t);
}
