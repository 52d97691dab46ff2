#include "program.h"

#include <tvm/ffi/extra/json.h>

#include <stdexcept>

namespace byoc_dnnl {
namespace {

namespace json = tvm::ffi::json;

json::Array ArrayOf(const json::Object& object, const char* key) {
  return object.count(key) ? object[key].cast<json::Array>() : json::Array();
}

std::string TextOf(const json::Object& object, const char* key) {
  return object.count(key) ? std::string(object[key].cast<tvm::ffi::String>()) : std::string();
}

template <typename Number>
std::vector<Number> NumbersOf(const json::Array& array) {
  std::vector<Number> result;
  for (const auto& item : array) result.push_back(static_cast<Number>(item.cast<int64_t>()));
  return result;
}

PostOp PostOpOf(const json::Object& object) {
  PostOp result;
  result.kind = TextOf(object, "kind");
  result.algorithm = TextOf(object, "algorithm");
  if (object.count("alpha")) result.alpha = static_cast<float>(object["alpha"].cast<double>());
  if (object.count("beta")) result.beta = static_cast<float>(object["beta"].cast<double>());
  if (object.count("input")) result.input = static_cast<int>(object["input"].cast<int64_t>());
  return result;
}

Op OpOf(const json::Object& object) {
  Op op;
  op.kind = TextOf(object, "kind");
  op.algorithm = TextOf(object, "algorithm");
  op.name = TextOf(object, "name");
  op.inputs = NumbersOf<int>(ArrayOf(object, "inputs"));
  op.outputs = NumbersOf<int>(ArrayOf(object, "outputs"));
  if (object.count("numbers"))
    for (const auto& [key, value] : object["numbers"].cast<json::Object>())
      op.numbers[key.cast<tvm::ffi::String>()] = NumbersOf<int64_t>(value.cast<json::Array>());
  if (object.count("scalars"))
    for (const auto& [key, value] : object["scalars"].cast<json::Object>())
      op.scalars[key.cast<tvm::ffi::String>()] = value.cast<double>();
  if (object.count("scales"))
    for (const auto& [key, value] : object["scales"].cast<json::Object>())
      op.scales[key.cast<tvm::ffi::String>()] = static_cast<int>(value.cast<int64_t>());
  for (const auto& item : ArrayOf(object, "post_ops")) op.post_ops.push_back(PostOpOf(item.cast<json::Object>()));
  return op;
}

}  // namespace

const Numbers& Op::Get(const std::string& key) const {
  auto found = numbers.find(key);
  if (found == numbers.end()) throw std::invalid_argument(kind + " has no " + key);
  return found->second;
}

double Op::Scalar(const std::string& key) const {
  auto found = scalars.find(key);
  if (found == scalars.end()) throw std::invalid_argument(kind + " has no " + key);
  return found->second;
}

Program Program::Parse(const std::string& text) {
  auto object = json::Parse(text).cast<json::Object>();
  Program program;
  program.precision = TextOf(object, "precision");
  program.extents = static_cast<int>(object["extents"].cast<int64_t>());
  if (object.count("winograd")) program.winograd = object["winograd"].cast<bool>();
  program.inputs = NumbersOf<int>(ArrayOf(object, "inputs"));
  program.outputs = NumbersOf<int>(ArrayOf(object, "outputs"));
  program.constants = NumbersOf<int>(ArrayOf(object, "constants"));
  for (const auto& item : ArrayOf(object, "tensors")) {
    auto tensor = item.cast<json::Object>();
    program.tensors.push_back({TextOf(tensor, "dtype"), NumbersOf<int64_t>(ArrayOf(tensor, "shape"))});
  }
  for (const auto& item : ArrayOf(object, "ops")) program.ops.push_back(OpOf(item.cast<json::Object>()));
  return program;
}

}  // namespace byoc_dnnl
