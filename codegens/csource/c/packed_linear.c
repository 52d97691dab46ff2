/* Linear layers with weights of $bits bits: inputs are quantised to eight bits as they come, products are summed in
 * integers, and scaled for each group.
 *
 * Weights come in panels of sixteen outputs, each a sequence of groups.  A group holds, for every 32 / $bits inputs,
 * sixteen words, one for each output, in which input i of the first four has the lowest bits of byte i; then
 * sixteen scales (float16), and, where they differ, sixteen zeros (uint8). */
enum {
  LINEAR_GROUP_$id = $group,
  LINEAR_BLOCK_$id = $block, /* inputs that are quantised with one scale */
  LINEAR_WORDS_$id = 32 / $bits,
  LINEAR_GROUP_BYTES_$id = $group / LINEAR_WORDS_$id * 64 + 32 + ($zero < 0 ? 16 : 0),
  LINEAR_ROWS_$id = 8 /* rows that are worked on together */
};

typedef struct {
  const uint8_t *weights;
  const float *in;
  float *out;
  int8_t *quanta; /* [rows][inputs] */
  float *scales;  /* [rows][inputs / BLOCK] */
  float *sums;    /* [rows][inputs / GROUP]: sums of what the quanta stand for */
  int64_t rows, inputs, outputs;
} Linear_$id;

static BYOC_UNUSED void linear_quantise_$id(int64_t begin, int64_t end, void *ctx) {
  const Linear_$id *p = (const Linear_$id *)ctx;
  for (int64_t row = begin; row < end; ++row) {
    const float *in = p->in + row * p->inputs;
    int8_t *quanta = p->quanta + row * p->inputs;
    float *scales = p->scales + row * (p->inputs / LINEAR_BLOCK_$id);
    float *sums = p->sums + row * (p->inputs / LINEAR_GROUP_$id);
    for (int64_t g = 0; g < p->inputs / LINEAR_GROUP_$id; ++g) sums[g] = 0;
    for (int64_t k = 0; k < p->inputs; k += LINEAR_BLOCK_$id) {
#if $block % 16 == 0
      kv_floats largest = {0};
      kv_ints total = {0};
      for (int64_t i = 0; i < LINEAR_BLOCK_$id; i += KV_LANES)
        largest = kv_max(largest, (kv_floats)(*(const kv_ints *)(in + k + i) & 0x7fffffff));
      const float most = kv_largest(largest), inverse = most > 0 ? 127.0f / most : 0.0f;
      for (int64_t i = 0; i < LINEAR_BLOCK_$id; i += KV_LANES) {
        const kv_ints q = kv_round(*(const kv_floats *)(in + k + i) * inverse);
        *(kv_bytes *)(quanta + k + i) = __builtin_convertvector(q, kv_bytes);
        total += q;
      }
      const float sum = kv_total(__builtin_convertvector(total, kv_floats));
#else
      float most = 0, sum = 0;
      for (int64_t i = 0; i < LINEAR_BLOCK_$id; ++i) most = fabsf(in[k + i]) > most ? fabsf(in[k + i]) : most;
      const float inverse = most > 0 ? 127.0f / most : 0.0f;
      for (int64_t i = 0; i < LINEAR_BLOCK_$id; ++i) {
        const float q = rintf(in[k + i] * inverse);
        quanta[k + i] = (int8_t)q;
        sum += q;
      }
#endif
      scales[k / LINEAR_BLOCK_$id] = most / 127.0f;
      sums[k / LINEAR_GROUP_$id] += sum * (most / 127.0f);
    }
  }
}

/* out[rows] of one panel; `rows` is known to the compiler where this is inlined. */
static inline __attribute__((always_inline)) void linear_panel_$id(const Linear_$id *p, const uint8_t *weights,
                                                                   int64_t row, int rows, kv_floats *out) {
  const int8_t *quanta = p->quanta + row * p->inputs;
  const int64_t blocks = p->inputs / LINEAR_BLOCK_$id, groups = p->inputs / LINEAR_GROUP_$id;
  const float *scales = p->scales + row * blocks, *sums = p->sums + row * groups;
  _Pragma("GCC unroll 8") for (int r = 0; r < rows; ++r) out[r] = (kv_floats){0};
  for (int64_t g = 0; g < groups; ++g) {
    kv_floats part[LINEAR_ROWS_$id];
    _Pragma("GCC unroll 8") for (int r = 0; r < rows; ++r) part[r] = (kv_floats){0};
    for (int b = 0; b < LINEAR_GROUP_$id / LINEAR_BLOCK_$id; ++b) {
      kv_ints sum[LINEAR_ROWS_$id];
      _Pragma("GCC unroll 8") for (int r = 0; r < rows; ++r) sum[r] = (kv_ints){0};
      for (int i = 0; i < LINEAR_BLOCK_$id / LINEAR_WORDS_$id; ++i, weights += 64) {
        const kv_ints words = *(const kv_ints *)weights;
        _Pragma("GCC unroll 4") for (int k = 0; k < LINEAR_WORDS_$id / 4; ++k) {
          const kv_ints four = words >> $bits * k & $mask;
          _Pragma("GCC unroll 8") for (int r = 0; r < rows; ++r)
            sum[r] = linear_dot(sum[r], four, quanta + r * p->inputs + i * LINEAR_WORDS_$id + 4 * k);
        }
      }
      quanta += LINEAR_BLOCK_$id;
      _Pragma("GCC unroll 8") for (int r = 0; r < rows; ++r)
        part[r] += __builtin_convertvector(sum[r], kv_floats) * scales[r * blocks];
      ++scales;
    }
    const kv_floats scale = kv_load_halves(weights);
#if $zero >= 0
    const kv_floats zero = (kv_floats){0} + (float)$zero;
    weights += 32;
#else
    kv_ints bytes = {0};
    for (int l = 0; l < KV_LANES; ++l) bytes[l] = weights[32 + l];
    const kv_floats zero = __builtin_convertvector(bytes, kv_floats);
    weights += 48;
#endif
    _Pragma("GCC unroll 8") for (int r = 0; r < rows; ++r) out[r] += scale * (part[r] - zero * sums[r * groups + g]);
  }
}

static BYOC_UNUSED void linear_range_$id(int64_t begin, int64_t end, void *ctx) {
  const Linear_$id *p = (const Linear_$id *)ctx;
  for (int64_t panel = begin; panel < end; ++panel) {
    const uint8_t *weights = p->weights + panel * (p->inputs / LINEAR_GROUP_$id) * LINEAR_GROUP_BYTES_$id;
    const int64_t outputs = byoc_min(KV_LANES, p->outputs - panel * KV_LANES);
    kv_floats sums[LINEAR_ROWS_$id];
    for (int64_t row = 0, rows; row < p->rows; row += rows) {
      rows = p->rows - row >= 8 ? 8 : p->rows - row >= 4 ? 4 : p->rows - row >= 2 ? 2 : 1;
      switch (rows) {
        case 8: linear_panel_$id(p, weights, row, 8, sums); break;
        case 4: linear_panel_$id(p, weights, row, 4, sums); break;
        case 2: linear_panel_$id(p, weights, row, 2, sums); break;
        default: linear_panel_$id(p, weights, row, 1, sums); break;
      }
      for (int64_t r = 0; r < rows; ++r)
        memcpy(p->out + (row + r) * p->outputs + panel * KV_LANES, &sums[r], (size_t)outputs * sizeof(float));
    }
  }
}

static BYOC_UNUSED void linear_$id(const uint8_t *weights, const float *in, int64_t rows, int64_t inputs,
                                   int64_t outputs, char *scratch, float *out) {
  const int64_t scales = rows * (inputs / LINEAR_BLOCK_$id);
  Linear_$id p = {weights, in, out, (int8_t *)(scratch + 4 * (scales + rows * (inputs / LINEAR_GROUP_$id))),
                  (float *)scratch, (float *)scratch + scales, rows, inputs, outputs};
  byoc_parallel_for(rows, 1 + 65536 / inputs, linear_quantise_$id, &p);
  const int64_t panel = inputs / LINEAR_GROUP_$id * LINEAR_GROUP_BYTES_$id;
  byoc_parallel_for((outputs + KV_LANES - 1) / KV_LANES, 1 + 49152 / (panel * byoc_max(1, rows)), linear_range_$id, &p);
}
