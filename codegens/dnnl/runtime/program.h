/* A partition as the codegen wrote it: tensors, and the ops between them in an order in which they can run. */
#ifndef BYOC_DNNL_PROGRAM_H_
#define BYOC_DNNL_PROGRAM_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace byoc_dnnl {

using Numbers = std::vector<int64_t>;

/* A dimension -1 - k is the k-th extent that a run gives. */
struct Tensor {
  std::string dtype;
  Numbers shape;
};

/* What is applied to an op's result before it is stored: kind is "eltwise", "binary" or "sum", which adds `alpha` times
 * the input less `beta`. */
struct PostOp {
  std::string kind, algorithm;
  float alpha = 0, beta = 0;
  int input = -1;
};

struct Op {
  std::string kind, algorithm, name;
  std::vector<int> inputs, outputs;
  std::map<std::string, Numbers> numbers;
  std::map<std::string, double> scalars;
  std::vector<PostOp> post_ops;
  std::map<std::string, int> scales;  // tensors of factors and zero points, by the operand that they belong to

  const Numbers& Get(const std::string& key) const;
  double Scalar(const std::string& key) const;
  int64_t Number(const std::string& key) const { return Get(key).at(0); }
};

struct Program {
  std::string precision;
  std::vector<Tensor> tensors;
  std::vector<int> inputs, outputs, constants;
  std::vector<Op> ops;
  int extents = 0;
  bool winograd = true;
  bool vendor_only = false;  // oneDNN's primitives even where our own kernels are quicker; no text says so

  /* Throws on text that is no program. */
  static Program Parse(const std::string& text);
};

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_PROGRAM_H_
