// Runs an artifact without Python: inputs from .npy files, or random, and outputs to .npy files.
#include <byoc_load.h>

#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "npy.h"

namespace {

constexpr char kUsage[] =
    "usage: run_model MODEL.byoc [--entry NAME] [--threads N] [--output FOLDER] [--dim NAME=SIZE]... [INPUT=FILE.npy]...\n"
    "Inputs without a file are random; a dimension without a size is 1.\n";

struct Options {
  std::string model, entry, output;
  int threads = 0;
  std::map<std::string, int64_t> dims;
  std::map<std::string, std::string> files;
};

std::pair<std::string, std::string> Assignment(const std::string& text) {
  size_t sign = text.find('=');
  if (sign == std::string::npos || sign == 0) throw byoc::Error("\"" + text + "\" is not of the form NAME=VALUE");
  return {text.substr(0, sign), text.substr(sign + 1)};
}

int64_t Number(const std::string& text) {
  if (text.empty() || text.size() > 15 || text.find_first_not_of("0123456789") != std::string::npos)
    throw byoc::Error("\"" + text + "\" is not a number");
  return std::stoll(text);
}

Options Parse(const std::vector<std::string>& words) {
  Options options;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.rfind("--", 0) == 0) {
      if (i + 1 == words.size()) throw byoc::Error(word + " needs a value");
      const std::string& value = words[++i];
      if (word == "--entry") options.entry = value;
      else if (word == "--output") options.output = value;
      else if (word == "--threads") options.threads = static_cast<int>(Number(value));
      else if (word == "--dim") options.dims[Assignment(value).first] = Number(Assignment(value).second);
      else throw byoc::Error("there is no option " + word);
    } else if (options.model.empty()) {
      options.model = word;
    } else {
      options.files.insert(Assignment(word));
    }
  }
  return options;
}

const byoc::EntryFunction& Choose(const byoc::Model& model, const std::string& name) {
  const auto& entries = model.entry_functions();
  for (const auto& entry : entries)
    if (entry.name == name || (name.empty() && (entries.size() == 1 || entry.name == "main"))) return entry;
  std::string known;
  for (const auto& entry : entries) known += " " + entry.name;
  throw byoc::Error("there is no entry function \"" + name + "\"; there are:" + known);
}

tvm::ffi::Tensor Random(const byoc::TensorSpec& spec, const std::map<std::string, int64_t>& dims) {
  std::vector<int64_t> shape;
  for (const auto& dim : spec.shape) {
    auto given = dims.find(dim);
    bool fixed = dim.find_first_not_of("0123456789") == std::string::npos;
    shape.push_back(fixed ? std::stoll(dim) : given == dims.end() ? 1 : given->second);
  }
  tvm::ffi::Tensor tensor = byoc::AlignedTensor(shape, spec.dtype);
  size_t bytes = tvm::ffi::GetDataSize(tensor);
  std::memset(tensor.data_ptr(), 0, bytes);
  std::mt19937 chance(0);
  std::normal_distribution<float> normal;
  if (spec.dtype == "float32")
    for (size_t i = 0; i < bytes / 4; ++i) static_cast<float*>(tensor.data_ptr())[i] = normal(chance);
  return tensor;
}

std::string Described(const std::string& name, const tvm::ffi::Tensor& tensor) {
  std::string text = name + ": " + std::string(tvm::ffi::DLDataTypeToString(tensor.dtype())) + "[";
  for (int d = 0; d < tensor.ndim(); ++d) text += (d ? ", " : "") + std::to_string(tensor.size(d));
  return text + "]";
}

void Run(const Options& options) {
  byoc::Model model(options.model, options.threads);
  const byoc::EntryFunction& entry = Choose(model, options.entry);
  std::map<std::string, std::string> files = options.files;
  std::vector<tvm::ffi::Tensor> inputs;
  for (const auto& spec : entry.inputs) {
    auto file = files.find(spec.name);
    inputs.push_back(file == files.end() ? Random(spec, options.dims) : npy::Read(file->second, spec.dtype));
    if (file != files.end()) files.erase(file);
  }
  if (!files.empty()) throw byoc::Error("\"" + entry.name + "\" has no input \"" + files.begin()->first + "\"");
  std::vector<tvm::ffi::Tensor> outputs = model.Run(entry.name, inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    std::string name = entry.outputs.at(i).name;
    std::printf("%s\n", Described(name, outputs[i]).c_str());
    std::string file = name;
    for (char& c : file)
      if (c == '/') c = '_';  // ONNX names may hold slashes, file names may not
    if (!options.output.empty()) npy::Write(options.output + "/" + file + ".npy", outputs[i]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Options options = Parse({argv + 1, argv + argc});
    if (options.model.empty()) {
      std::fputs(kUsage, stderr);
      return 2;
    }
    Run(options);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "run_model: %s\n", error.what());
    return 1;
  }
}
