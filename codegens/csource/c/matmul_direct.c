/* One task is one row of the result. */
static void ${name}_range(int64_t begin, int64_t end, void *ctx) {
  const CsourceMatmul *p = (const CsourceMatmul *)ctx;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t batch = task / p->rows;
    const $element *left = (const $element *)p->left + task % p->rows * p->left_row +
                           csource_matmul_offset(batch, p->rank, p->extents, p->left_strides);
    const $element *right =
        (const $element *)p->right + csource_matmul_offset(batch, p->rank, p->extents, p->right_strides);
    $sum *BYOC_RESTRICT out = ($sum *)p->out + task * p->columns;
    for (int64_t j = 0; j < p->columns; ++j) out[j] = 0;
    for (int64_t k = 0; k < p->depth; ++k) {
      const $sum factor = ($sum)left[k * p->left_column];
      const $element *row = right + k * p->right_row;
      if (p->right_column == 1)
        for (int64_t j = 0; j < p->columns; ++j) out[j] += factor * ($sum)row[j];
      else
        for (int64_t j = 0; j < p->columns; ++j) out[j] += factor * ($sum)row[j * p->right_column];
    }
  }
}

static void $name(const CsourceMatmul *p) {
  byoc_parallel_for(p->batches * p->rows, 1 + 32768 / (p->columns * p->depth + 1), ${name}_range, (void *)p);
}
