/* From a program to a schedule: each op chooses its layouts, reorders come in where two ops disagree. */
#ifndef BYOC_DNNL_BUILDER_H_
#define BYOC_DNNL_BUILDER_H_

#include <functional>
#include <set>

#include "layout.h"
#include "schedule.h"

namespace byoc_dnnl {

using dnnl::primitive_attr;
using Descriptor = dnnl::primitive_desc_base;

/* The ops of attention, whose last product stands for all of them; tensors, or -1. */
struct AttentionChain {
  int query = -1, key = -1, value = -1, mask = -1;
  float scale = 1;
  std::vector<const Op*> absorbed;
};

class Builder {
 public:
  Builder(const Program& program, const Numbers& extents, dnnl::engine engine, PackedConstants* packed);
  Schedule Build();

  /* Makes a primitive descriptor for a result of this layout; an empty one where oneDNN has none. */
  using Make = std::function<Descriptor(const memory::desc& result, const primitive_attr& attributes)>;

  const dnnl::engine& engine() const { return engine_; }
  const Value& Get(int tensor) const { return values_[tensor]; }
  memory::dims Shape(int tensor) const;
  memory::data_type Type(int tensor) const;
  memory::desc Any(int tensor) const;
  bool IsConstant(const Value& value) const;
  /* Whether it is a constant in its own layout, and float32. */
  bool IsPlainConstant(const Value& value) const;

  /* The same elements in another layout or type; constants are converted now, others in every run. */
  Value As(const Value& value, const memory::desc& desc);
  Value Plain(const Value& value);
  /* With the element type that the program computes in, and the layout it has. */
  Value Computed(int tensor);
  /* As float32, whatever the program computes in. */
  Value Float(int tensor);
  /* A view where the layout allows it, else of a plain copy. */
  Value Reshaped(const Value& value, const memory::dims& shape);

  void Set(int tensor, const Value& value) { values_[tensor] = value; }
  Value New(const memory::desc& desc);
  /* `op` is the one whose scales and zero points the elements are converted with, if any. */
  void AddCopy(const Value& from, const Value& to, const Op* op = nullptr);
  void AddFill(const Value& value, int byte);

  /* Append an op's primitive with its post-ops: operands come in the layouts that the primitive wants.  `rows` is the
   * result's shape as a matrix, where the primitive computes one in place of a tensor of more dimensions. */
  bool Emit(const Op& op, const Arguments& operands, const Make& make, const memory::dims& rows = {});

  /* Append an op's kernel of our own, which is given the memory of `operands`, then of the result. */
  void EmitKernel(const Op& op, const Arguments& operands, const Value& result, std::shared_ptr<const Kernel> kernel,
                  const std::string& name);

  /* A constant as a function of our own packs it. */
  Value Packed(const Value& constant, const std::string& kind, size_t floats, const PackedConstants::Fill& fill);
  bool UsesWinograd() const { return program_.winograd && program_.precision == "f32" && !PrefersVendor(); }
  /* Whether oneDNN's primitives are wanted where there are kernels of our own as well. */
  bool PrefersVendor() const { return program_.vendor_only; }

 private:
  struct Epilogue {
    primitive_attr attributes;
    Arguments operands;
    Value sum;  // what the result is added to, in its memory; no buffer where there is none
  };
  void AddScales(const Op& op, const Arguments& operands, Epilogue* epilogue) const;
  Epilogue EpilogueOf(const Op& op, const Arguments& operands, const memory::dims& shape);
  Value PostOperand(const PostOp& post_op, const memory::dims& whole, const memory::dims& shape);
  bool MayOverwrite(int buffer, const Arguments& operands) const;
  void ForgetCopies(int buffer);
  Descriptor Preferred(const Op& op, const memory::desc& any, const Epilogue& epilogue, const Make& make) const;
  Value Result(const Epilogue& epilogue, const Make& make, Descriptor* descriptor);
  void Deliver(size_t output);
  void ChooseAttention();
  void BuildOp(const Op& op);

  const Program& program_;
  const Numbers& extents_;
  dnnl::engine engine_;
  PackedConstants* packed_;
  Schedule schedule_;
  std::vector<Value> values_;
  std::vector<int> last_use_;  // op, by tensor
  std::vector<std::pair<Value, Value>> copies_;
  std::map<const Op*, AttentionChain> attentions_;
  std::set<const Op*> absorbed_;
  int current_ = 0;
};

dnnl::algorithm AlgorithmOf(const std::string& name);

/* The functions that build each kind of op. */
using Build = void (*)(Builder&, const Op&);
const std::map<std::string, Build>& Builds();

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_BUILDER_H_
