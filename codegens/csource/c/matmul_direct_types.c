/* A matrix product of element types that have no register tiles; strides are in elements. */
typedef struct {
  int64_t rows, columns, depth, left_row, left_column, right_row, right_column, batches, rank;
  const int64_t *extents, *left_strides, *right_strides; /* of the batch */
  const void *left, *right;
  void *out;
} CsourceMatmul;

static int64_t csource_matmul_offset(int64_t batch, int64_t rank, const int64_t *extents, const int64_t *strides) {
  int64_t offset = 0;
  for (int64_t axis = rank - 1; axis >= 0; --axis) {
    offset += batch % extents[axis] * strides[axis];
    batch /= extents[axis];
  }
  return offset;
}
