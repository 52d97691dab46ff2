/* Which ops of a program are attention, written as product, scale, mask, softmax, product, and their one kernel. */
#include "attention.h"

#include <algorithm>

#include "ops.h"

extern "C" int omp_get_max_threads(void);

namespace byoc_dnnl {
namespace {

struct Attention : Kernel {
  const AttentionKernel* kernel;
  AttentionShape shape;

  void Run(char* const* data) const override {
    char *query = *data++, *key = *data++, *value = *data++, *mask = shape.masked ? *data++ : nullptr;
    char *scratch = *data++, *out = *data++;
    kernel->run(shape, query, key, value, reinterpret_cast<float*>(mask), out, reinterpret_cast<float*>(scratch));
  }
};

const AttentionKernel& KernelFor(memory::data_type type) {
  return type == memory::data_type::bf16 ? kBfloat16Attention : kFloatAttention;
}

bool IsScaling(const std::string& algorithm, double beta) { return algorithm == "linear" && beta == 0; }

/* Who makes each tensor, and how many read it. */
class Uses {
 public:
  explicit Uses(const Program& program) : makers_(program.tensors.size(), nullptr), readers_(program.tensors.size()) {
    for (const Op& op : program.ops) {
      for (int tensor : op.outputs) makers_[tensor] = &op;
      for (int tensor : op.inputs) ++readers_[tensor];
      for (const auto& [name, tensor] : op.scales) ++readers_[tensor];
      for (const PostOp& post_op : op.post_ops)
        if (post_op.input >= 0) ++readers_[post_op.input];
    }
    for (int tensor : program.outputs) ++readers_[tensor];
  }

  /* The op of this kind whose result only one op reads. */
  const Op* OnlyFor(int tensor, const std::string& kind) const {
    const Op* maker = makers_[tensor];
    return maker != nullptr && maker->kind == kind && readers_[tensor] == 1 ? maker : nullptr;
  }

 private:
  std::vector<const Op*> makers_;
  std::vector<int> readers_;
};

/* Through the ops between the first product and softmax; null where one of them is anything else. */
const Op* ScoresOf(const Uses& uses, int tensor, AttentionChain* chain) {
  if (const Op* binary = uses.OnlyFor(tensor, "binary")) {
    if (binary->algorithm != "binary_add" || !binary->post_ops.empty() || chain->mask >= 0 || chain->scale != 1)
      return nullptr;
    for (int i = 0; i < 2; ++i) {
      AttentionChain with_mask = *chain;
      with_mask.mask = binary->inputs[1 - i];
      with_mask.absorbed.push_back(binary);
      if (const Op* scores = ScoresOf(uses, binary->inputs[i], &with_mask)) return *chain = with_mask, scores;
    }
    return nullptr;
  }
  if (const Op* scaled = uses.OnlyFor(tensor, "eltwise")) {
    if (!IsScaling(scaled->algorithm, scaled->Scalar("beta")) || !scaled->post_ops.empty()) return nullptr;
    chain->scale *= static_cast<float>(scaled->Scalar("alpha"));
    chain->absorbed.push_back(scaled);
    return ScoresOf(uses, scaled->inputs[0], chain);
  }
  const Op* scores = uses.OnlyFor(tensor, "matmul");
  if (scores == nullptr || scores->inputs.size() != 2) return nullptr;
  for (auto post_op = scores->post_ops.rbegin(); post_op != scores->post_ops.rend(); ++post_op) {
    bool adds = post_op->kind == "sum" ? post_op->alpha == 1 && post_op->beta == 0 : post_op->algorithm == "binary_add";
    if (adds && chain->mask < 0 && chain->scale == 1) {
      chain->mask = post_op->input;
    } else if (IsScaling(post_op->algorithm, post_op->beta)) {
      chain->scale *= post_op->alpha;
    } else {
      return nullptr;
    }
  }
  chain->absorbed.push_back(scores);
  return scores;
}

/* [batch, head, row, column] of a tensor of up to four dimensions, each of which may be 1 and stand for all. */
MatrixStrides StridesOf(const memory::desc& desc) {
  memory::dims shape = desc.get_dims(), strides = desc.get_strides();
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] == 1) strides[i] = 0;
  strides.insert(strides.begin(), 4 - strides.size(), 0);
  return {strides[0], strides[1], strides[2], strides[3]};
}

Value Strided(Builder& builder, int tensor) {
  Value value = builder.Computed(tensor);
  return IsStrided(value.desc) ? value : builder.Plain(value);
}

memory::dims OfRankFour(memory::dims shape) {
  shape.insert(shape.begin(), 4 - shape.size(), 1);
  return shape;
}

bool Fits(const memory::dims& shape, const memory::dims& whole) {
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1 && shape[i] != whole[i]) return false;
  return true;
}

/* Its sizes; false where it is not worth a kernel of its own. */
bool HasShape(const Builder& builder, const AttentionChain& chain, const Op& product, AttentionShape* shape) {
  memory::dims out = builder.Shape(product.outputs[0]), query = builder.Shape(chain.query);
  memory::dims key = builder.Shape(chain.key), value = builder.Shape(chain.value);
  memory::dims mask = chain.mask < 0 ? memory::dims{1} : builder.Shape(chain.mask);
  for (const memory::dims* dims : {&out, &query, &key, &value})
    if (dims->size() < 2 || dims->size() > 4) return false;
  if (mask.size() > 4) return false;
  out = OfRankFour(out), query = OfRankFour(query), key = OfRankFour(key), value = OfRankFour(value);
  shape->batch = out[0], shape->heads = out[1], shape->rows = out[2], shape->width = out[3];
  shape->depth = key[2], shape->columns = key[3], shape->scale = chain.scale, shape->masked = chain.mask >= 0;
  shape->threads = omp_get_max_threads();
  return Fits(OfRankFour(mask), {out[0], out[1], shape->rows, shape->columns}) &&
         KernelFor(builder.Type(product.outputs[0])).pays(*shape);
}

}  // namespace

std::map<const Op*, AttentionChain> FindAttention(const Builder& builder, const Program& program) {
  std::map<const Op*, AttentionChain> found;
  Uses uses(program);
  for (const Op& product : program.ops) {
    if (product.kind != "matmul" || product.inputs.size() != 2 || !product.post_ops.empty()) continue;
    const Op* softmax = uses.OnlyFor(product.inputs[0], "softmax");
    if (softmax == nullptr || softmax->algorithm != "softmax" || !softmax->post_ops.empty()) continue;
    int64_t last_axis = static_cast<int64_t>(builder.Shape(softmax->outputs[0]).size()) - 1;
    AttentionChain chain;
    chain.absorbed.push_back(softmax);
    const Op* scores = softmax->Number("axis") == last_axis ? ScoresOf(uses, softmax->inputs[0], &chain) : nullptr;
    if (scores == nullptr) continue;
    chain.query = scores->inputs[0], chain.key = scores->inputs[1], chain.value = product.inputs[1];
    const Op* scaled = uses.OnlyFor(chain.query, "eltwise");
    if (scaled != nullptr && IsScaling(scaled->algorithm, scaled->Scalar("beta")) && scaled->post_ops.empty()) {
      chain.scale *= static_cast<float>(scaled->Scalar("alpha"));
      chain.query = scaled->inputs[0];
      chain.absorbed.push_back(scaled);
    }
    AttentionShape shape;
    if (HasShape(builder, chain, product, &shape)) found[&product] = chain;
  }
  return found;
}

/* Heads come out next to each other, as what joins them wants them. */
void BuildAttention(Builder& builder, const Op& product, const AttentionChain& chain) {
  auto kernel = std::make_shared<Attention>();
  AttentionShape& shape = kernel->shape;
  HasShape(builder, chain, product, &shape);
  memory::data_type type = builder.Type(product.outputs[0]);
  kernel->kernel = &KernelFor(type);
  Value query = Strided(builder, chain.query), key = Strided(builder, chain.key), value = Strided(builder, chain.value);
  memory::dims out = builder.Shape(product.outputs[0]);
  memory::desc layout = PlainDesc(out, type);
  if (out.size() == 4)
    layout = memory::desc(out, type, memory::dims{out[1] * out[2] * out[3], out[3], out[1] * out[3], 1});
  Value result = builder.New(layout);
  shape.query = StridesOf(query.desc), shape.key = StridesOf(key.desc), shape.value = StridesOf(value.desc);
  shape.out = StridesOf(layout);
  Arguments operands = {{DNNL_ARG_SRC_0, query}, {DNNL_ARG_SRC_1, key}, {DNNL_ARG_SRC_2, value}};
  if (shape.masked) {
    Value mask = builder.Plain(builder.Float(chain.mask));
    shape.mask = StridesOf(mask.desc);
    operands.push_back({DNNL_ARG_SHIFT, mask});
  }
  int64_t floats = static_cast<int64_t>(kernel->kernel->scratch_floats(shape));
  operands.push_back({DNNL_ARG_SCRATCHPAD, builder.New(PlainDesc({floats}, memory::data_type::f32))});
  builder.EmitKernel(product, operands, result, kernel, "attention");
}

}  // namespace byoc_dnnl
