/* A reduction over some axes: the input's axes, those alike side by side merged, split into kept and reduced ones. */

#define CSOURCE_MAX_REDUCE_AXES 8
enum { CSOURCE_REDUCE_LANES = 64, CSOURCE_REDUCE_COLUMNS = 256 };

typedef struct {
  void *out;
  const void *in;
  int kept, reduced; /* numbers of axes besides the last one */
  int64_t kept_extent[CSOURCE_MAX_REDUCE_AXES], kept_stride[CSOURCE_MAX_REDUCE_AXES];
  int64_t reduced_extent[CSOURCE_MAX_REDUCE_AXES], reduced_stride[CSOURCE_MAX_REDUCE_AXES];
  int last_is_reduced;
  int64_t last; /* extent of the last axis, along which elements lie together */
  int64_t rows; /* rows of the last axis that go into one result */
  int64_t count; /* elements that go into one result */
  int64_t places; /* positions on the kept axes besides the last one */
  int64_t blocks; /* pieces of at most CSOURCE_REDUCE_COLUMNS columns; 1 where the last axis is reduced */
} CsourceReduce;

static inline int64_t csource_reduce_offset(int64_t i, int rank, const int64_t *extent, const int64_t *stride) {
  int64_t offset = 0;
  for (int axis = rank - 1; axis >= 0; --axis) {
    offset += i % extent[axis] * stride[axis];
    i /= extent[axis];
  }
  return offset;
}

static inline int64_t csource_reduce_row(const CsourceReduce *r, int64_t row) {
  return r->reduced == 0 ? 0 : csource_reduce_offset(row, r->reduced, r->reduced_extent, r->reduced_stride);
}

static void csource_reduce(void *out, const void *in, int rank, const int64_t *extents, const int64_t *is_reduced,
                           byoc_range_fn range) {
  CsourceReduce r = {.out = out, .in = in, .last_is_reduced = (int)is_reduced[rank - 1], .last = extents[rank - 1]};
  r.rows = r.places = r.count = 1;
  int64_t stride = 1;
  int64_t strides[CSOURCE_MAX_REDUCE_AXES];
  for (int axis = rank - 1; axis >= 0; --axis) {
    strides[axis] = stride;
    stride *= extents[axis];
  }
  for (int axis = 0; axis < rank; ++axis) {
    if (is_reduced[axis]) r.count *= extents[axis];
    if (axis == rank - 1) break;
    if (is_reduced[axis]) {
      r.reduced_extent[r.reduced] = extents[axis];
      r.reduced_stride[r.reduced++] = strides[axis];
      r.rows *= extents[axis];
    } else {
      r.kept_extent[r.kept] = extents[axis];
      r.kept_stride[r.kept++] = strides[axis];
      r.places *= extents[axis];
    }
  }
  r.blocks = r.last_is_reduced ? 1 : (r.last + CSOURCE_REDUCE_COLUMNS - 1) / CSOURCE_REDUCE_COLUMNS;
  const int64_t width = r.last_is_reduced ? r.last : byoc_min(r.last, CSOURCE_REDUCE_COLUMNS);
  const int64_t work = byoc_max(r.rows * width, 1);
  byoc_parallel_for(r.places * r.blocks, 32768 / work, range, &r);
}
