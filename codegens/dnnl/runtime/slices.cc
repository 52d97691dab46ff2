#include "slices.h"

#include <algorithm>
#include <set>

namespace byoc_dnnl {
namespace {

/* Measured on SqueezeNet, MobileNetV2 and ShuffleNet, which gain, and on Inception v1, which has more weights. */
constexpr int64_t kMostSliceBytes = 12 << 20, kMostWeightBytes = 16 << 20;

/* Tensors whose first dimension is the batch, found op by op; shapes are known. */
class Batch {
 public:
  explicit Batch(const Program& program) : program_(program), cut_(program.tensors.size(), false) {
    if (!program.outputs.empty() && !Shape(program.outputs[0]).empty()) images_ = Shape(program.outputs[0])[0];
    for (int tensor : program.inputs) cut_[tensor] = Leads(tensor);
  }

  int64_t images() const { return images_; }
  bool IsCut(int tensor) const { return cut_[tensor]; }

  /* Whether each image of every result comes from the same image of what is read, and all outputs are cut. */
  bool IsIndependent() {
    if (images_ < 2) return false;
    for (const Op& op : program_.ops) {
      if (!AnyIsCut(op)) continue;
      for (int result : op.outputs)
        if (!Leads(result)) return false;
      if (!KeepsImages(op) || !PostOpsKeepImages(op)) return false;
      for (int result : op.outputs) cut_[result] = true;
    }
    return std::all_of(program_.outputs.begin(), program_.outputs.end(), [this](int t) { return cut_[t]; });
  }

 private:
  const Numbers& Shape(int tensor) const { return program_.tensors[tensor].shape; }
  bool Leads(int tensor) const { return !Shape(tensor).empty() && Shape(tensor)[0] == images_; }

  bool AnyIsCut(const Op& op) const {
    auto cut = [this](int tensor) { return cut_[tensor]; };
    if (std::any_of(op.inputs.begin(), op.inputs.end(), cut)) return true;
    for (const PostOp& post_op : op.post_ops)
      if (post_op.input >= 0 && cut_[post_op.input]) return true;
    return std::any_of(op.scales.begin(), op.scales.end(), [&](const auto& scale) { return cut_[scale.second]; });
  }

  /* An operand that is cut has its images where the result has them; one that is not is the same for all of them. */
  bool Agrees(int operand, int result) const {
    const Numbers &own = Shape(operand), &whole = Shape(result);
    return cut_[operand] ? own.size() == whole.size() : own.size() < whole.size() || own[0] == 1;
  }

  bool OnlyFirstIsCut(const Op& op) const {
    for (size_t i = 0; i < op.inputs.size(); ++i)
      if (cut_[op.inputs[i]] != (i == 0)) return false;
    return true;
  }

  bool KeepsImages(const Op& op) const {
    static const std::set<std::string> by_image = {"convolution", "deconvolution", "pool",       "lrn",
                                                   "resampling",  "eltwise",       "copy",       "pad",
                                                   "reshape",     "reduction",     "convert",    "to_floats",
                                                   "shuffle"};
    const int result = op.outputs.at(0);
    if (op.kind == "binary") return Agrees(op.inputs[0], result) && Agrees(op.inputs[1], result);
    if (op.kind == "matmul") return ProductKeepsImages(op);
    if (op.kind == "concat")
      return op.Number("axis") != 0 && std::all_of(op.inputs.begin(), op.inputs.end(), [&](int t) { return cut_[t]; });
    if (!OnlyFirstIsCut(op)) return false;
    if (op.kind == "softmax") return op.Number("axis") != 0;
    if (op.kind == "layer_norm") return Shape(result).size() > 1;
    if (op.kind == "transpose") return op.Get("axes").at(0) == 0;
    if (op.kind == "slice") return op.Get("begin").at(0) == 0 && op.Get("steps").at(0) == 1;
    return by_image.count(op.kind) > 0;
  }

  /* Rows of the left side may be images; those of the right side are not. */
  bool ProductKeepsImages(const Op& op) const {
    const int result = op.outputs[0];
    if (op.inputs.size() > 2 && cut_[op.inputs[2]]) return false;
    bool right = Shape(result).size() > 2 ? Agrees(op.inputs[1], result) : !cut_[op.inputs[1]];
    return right && Agrees(op.inputs[0], result);
  }

  bool PostOpsKeepImages(const Op& op) const {
    for (const PostOp& post_op : op.post_ops)
      if (post_op.input >= 0 && !Agrees(post_op.input, op.outputs[0])) return false;
    return std::none_of(op.scales.begin(), op.scales.end(), [this](const auto& scale) { return cut_[scale.second]; });
  }

  const Program& program_;
  std::vector<bool> cut_;
  int64_t images_ = 1;
};

Program WithSizes(const Program& program, const Numbers& extents) {
  Program sized = program;
  for (Tensor& tensor : sized.tensors)
    for (int64_t& dim : tensor.shape)
      if (dim < 0) dim = extents.at(-1 - dim);
  return sized;
}

int64_t BytesOf(const Tensor& tensor) {
  int64_t bytes = tensor.dtype == "float32" || tensor.dtype == "int32" ? 4 : tensor.dtype == "int64" ? 8 : 1;
  for (int64_t dim : tensor.shape) bytes *= dim;
  return bytes;
}

/* Of what the op that moves most reads and writes, for the whole batch. */
int64_t WidestOp(const Program& program, const Batch& batch) {
  int64_t most = 0;
  for (const Op& op : program.ops) {
    int64_t bytes = 0;
    for (const auto* tensors : {&op.inputs, &op.outputs})
      for (int tensor : *tensors)
        if (batch.IsCut(tensor)) bytes += BytesOf(program.tensors[tensor]);
    most = std::max(most, bytes);
  }
  return most;
}

/* As few slices as keep what an op reads and writes in the cache; one where every slice would read many weights. */
int64_t CountOf(const Program& program, const Batch& batch) {
  int64_t weights = 0, widest = WidestOp(program, batch), images = batch.images();
  for (int tensor : program.constants) weights += BytesOf(program.tensors[tensor]);
  if (weights > kMostWeightBytes) return 1;
  int64_t count = 1;
  while (count < images && (images % count != 0 || widest / count > kMostSliceBytes)) ++count;
  return count;
}

}  // namespace

Slices SlicesOf(const Program& program, const Numbers& extents) {
  Slices slices{1, WithSizes(program, extents), {}, {}};
  slices.input_steps.resize(program.inputs.size());
  slices.output_steps.resize(program.outputs.size());
  Batch batch(slices.program);
  if (!batch.IsIndependent()) return slices;
  slices.count = CountOf(slices.program, batch);
  if (slices.count == 1) return slices;
  std::vector<Tensor>& tensors = slices.program.tensors;
  for (size_t i = 0; i < tensors.size(); ++i)
    if (batch.IsCut(static_cast<int>(i))) tensors[i].shape[0] /= slices.count;
  for (size_t i = 0; i < program.inputs.size(); ++i)
    if (batch.IsCut(program.inputs[i])) slices.input_steps[i] = BytesOf(tensors[program.inputs[i]]);
  for (size_t i = 0; i < program.outputs.size(); ++i) slices.output_steps[i] = BytesOf(tensors[program.outputs[i]]);
  return slices;
}

}  // namespace byoc_dnnl
