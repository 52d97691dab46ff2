/* Load and run an artifact from C++, with no Python in the process.
 *
 *   byoc::Model model("model.byoc");
 *   auto x = byoc::AlignedTensor({1, 3, 224, 224}, "float32");
 *   std::vector<tvm::ffi::Tensor> y = model.Run("main", {x});
 *
 * C++17, Linux.  Needs tvm_ffi's headers, libtvm_ffi and libtvm_runtime.  Define BYOC_TVM_VERSION and
 * BYOC_TVM_FFI_VERSION as the versions of the packages these come from, to have them checked.  Loading runs the file's native code: load
 * only what you trust.  A Model serves one call at a time; make one for each thread.
 */
#ifndef BYOC_LOAD_H_
#define BYOC_LOAD_H_

#include <dlfcn.h>
#include <sys/utsname.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "byoc_archive.h"
#include "byoc_interface.h"

namespace byoc {

namespace ffi = tvm::ffi;

/* A dimension is a number, or else a symbol or an expression over symbols whose size each run fixes. */
struct TensorSpec {
  std::string name, dtype;
  std::vector<std::string> shape;
};

struct EntryFunction {
  std::string name;
  std::vector<TensorSpec> inputs, outputs;
  std::vector<int64_t> weights, states;
};

namespace detail {

constexpr size_t kAlignment = 64;  // bytes; what TVM's generated code assumes of every tensor

struct AlignedAllocator {
  void AllocData(DLTensor* tensor) {
    size_t size = ffi::GetDataSize(*tensor);
    tensor->data = std::aligned_alloc(kAlignment, std::max(size, size_t(1)) / kAlignment * kAlignment + kAlignment);
    if (tensor->data == nullptr) throw Error("no memory for a tensor of " + std::to_string(size) + " bytes");
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

/* Memory of the mapped file; the mapping lives as long as the last tensor on it. */
struct MappedAllocator {
  std::shared_ptr<MappedFile> file;
  void* data;
  void AllocData(DLTensor* tensor) { tensor->data = data; }
  void FreeData(DLTensor*) {}
};

inline std::vector<std::string> Strings(const ffi::Any& value) {
  std::vector<std::string> result;
  for (const auto& item : value.cast<ffi::json::Array>()) {
    auto text = item.as<ffi::String>();
    result.push_back(text ? std::string(*text) : std::to_string(item.cast<int64_t>()));
  }
  return result;
}

inline std::vector<int64_t> Numbers(const ffi::Any& value) {
  std::vector<int64_t> result;
  for (const auto& item : value.cast<ffi::json::Array>()) result.push_back(item.cast<int64_t>());
  return result;
}

inline std::vector<TensorSpec> Specs(const ffi::Any& value) {
  std::vector<TensorSpec> result;
  for (const auto& item : value.cast<ffi::json::Array>()) {
    auto spec = item.cast<ffi::json::Object>();
    result.push_back({spec["name"].cast<ffi::String>(), spec["dtype"].cast<ffi::String>(), Strings(spec["shape"])});
  }
  return result;
}

inline std::string Spelling(std::string feature) {
  std::string result;
  for (char c : feature)
    if (c != '_' && c != '.' && c != '-' && c != '+') result += static_cast<char>(std::tolower(c));
  return result;
}

/* Features that the compiled code uses and this processor lacks; as byoc.artifact.compatibility judges them. */
inline std::vector<std::string> MissingFeatures(const std::vector<std::string>& wanted) {
  static const std::map<std::string, std::string> kernel_names = {
      {"sse3", "pni"},     {"lzcnt", "abm"},      {"pclmul", "pclmulqdq"},      {"rdrnd", "rdrand"},
      {"sha", "shani"},    {"sahf", "lahflm"},    {"prfchw", "3dnowprefetch"},  {"neon", "asimd"},
      {"lse", "atomics"},  {"crc", "crc32"},      {"dotprod", "asimddp"},       {"fullfp16", "asimdhp"}};
  std::set<std::string> present;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; present.empty() && std::getline(file, line);) {
    if (line.rfind("flags", 0) != 0 && line.rfind("Features", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string word; words >> word;) present.insert(Spelling(word));
  }
  std::vector<std::string> missing;
  for (const auto& name : wanted) {
    std::string spelling = Spelling(name);
    auto other = kernel_names.find(spelling);
    if (!present.count(spelling) && (other == kernel_names.end() || !present.count(other->second)))
      missing.push_back(name);
  }
  return missing;
}

inline void RequireVersion(const std::string& package, const std::string& compiled, const std::string& linked) {
  if (compiled != linked)
    throw Error("the artifact was compiled with " + package + " " + compiled + "; " + linked + " is linked");
}

inline void RequireCompatible(const ffi::json::Object& manifest) {
  // Neither library tells the version of its package (libtvm_ffi tells another one), so the build that links them must.
#if defined(BYOC_TVM_VERSION) && defined(BYOC_TVM_FFI_VERSION)
  RequireVersion("apache-tvm", manifest["tvm_version"].cast<ffi::String>(), BYOC_TVM_VERSION);
  RequireVersion("apache-tvm-ffi", manifest["tvm_ffi_version"].cast<ffi::String>(), BYOC_TVM_FFI_VERSION);
#endif
  struct utsname here;
  std::string machine = ::uname(&here) == 0 ? here.machine : "unknown";
  std::string architecture = manifest["architecture"].cast<ffi::String>();
  if (architecture != machine)
    throw Error("the artifact is for " + architecture + " processors; this is " + machine);
  auto missing = MissingFeatures(Strings(manifest["cpu_features"]));
  if (!missing.empty()) throw Error("the artifact needs a processor with " + missing[0] + ", which this one lacks");
}

/* The pool is as large as it may have to be, and nothing is bound to one processor (which is TVM's default). */
inline void PreparePool(int threads) {
  int wanted = std::max<int>(threads, std::thread::hardware_concurrency());
  const char* present = std::getenv("TVM_NUM_THREADS");
  ::setenv("TVM_BIND_THREADS", "0", 0);
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) ::setenv("GOMP_SPINCOUNT", "2000", 0);  // as byoc.runtime.threads
  if (present == nullptr || std::atoi(present) < wanted) ::setenv("TVM_NUM_THREADS", std::to_string(wanted).c_str(), 1);
}

/* The library passes through a private file that is gone when this returns. */
inline ffi::Module LoadLibrary(const Bytes& content) {
  const char* root = std::getenv("TMPDIR");
  std::string folder = std::string(root != nullptr && *root != '\0' ? root : "/tmp") + "/byoc-XXXXXX";
  if (::mkdtemp(&folder[0]) == nullptr) throw Error("no private folder can be made as " + folder + "; set TMPDIR");
  std::string path = folder + "/library.so";
  struct Remover {
    std::string folder, path;
    ~Remover() { ::unlink(path.c_str()), ::rmdir(folder.c_str()); }
  } remover{folder, path};
  std::ofstream file(path, std::ios::binary);
  file.write(content.data, static_cast<std::streamsize>(content.size));
  file.close();
  if (!file) throw Error("the native library cannot be unpacked to " + folder + "; set TMPDIR to a folder with room");
  return ffi::Module::LoadFromFile(path);
}

}  // namespace detail

/* An uninitialised tensor in memory that models take without a copy. */
inline ffi::Tensor AlignedTensor(const std::vector<int64_t>& shape, const std::string& dtype) {
  return ffi::Tensor::FromNDAlloc(detail::AlignedAllocator(), ffi::ShapeView(shape.data(), shape.size()),
                                  ffi::StringToDLDataType(dtype), DLDevice{kDLCPU, 0});
}

/* A loaded artifact.  Every member function may throw byoc::Error. */
class Model {
 public:
  /* threads: how many a run uses; 0: as many as the pool has. */
  explicit Model(const std::string& path, int threads = 0) {
    try {
      Archive archive(path);
      detail::RequireCompatible(archive.manifest());
      detail::PreparePool(threads);
      ::dlopen("libtvm_runtime_extra.so", RTLD_NOW | RTLD_GLOBAL);  // only some models need it
      ReadEntries(archive);
      ReadWeights(archive);
      library_ = detail::LoadLibrary(archive.library());
      RequireInterface(archive);
      if (threads > 0) Function("byoc_use_threads", *library_)(threads);
      BindConstants(archive);
      machine_ = Function("vm_load_executable", *library_)().cast<ffi::Module>();
      constexpr int kPooledAllocator = 2;
      Function("vm_initialization", *machine_)(static_cast<int>(kDLCPU), 0, kPooledAllocator);
    } catch (const ffi::Error& error) {
      throw Error("the artifact \"" + path + "\" cannot be loaded: " + error.message());
    } catch (const std::out_of_range&) {
      throw Error("the artifact \"" + path + "\" refers to a weight that is not there");
    }
  }

  const std::vector<EntryFunction>& entry_functions() const { return entries_; }

  /* Tensors that entry functions update in place, all zero at first. */
  const std::vector<ffi::Tensor>& states() const { return states_; }

  /* Run one entry function; inputs in its order, contiguous and aligned (see AlignedTensor). */
  std::vector<ffi::Tensor> Run(const std::string& entry, const std::vector<ffi::Tensor>& inputs) {
    const EntryFunction& function = Find(entry);
    Check(function, inputs);
    std::vector<ffi::AnyView> arguments(inputs.begin(), inputs.end());
    for (int64_t index : function.states) arguments.push_back(states_.at(index));
    for (int64_t index : function.weights) arguments.push_back(weights_.at(index));
    ffi::Any result;
    try {
      Function(entry.c_str(), *machine_).CallPacked(arguments.data(), static_cast<int32_t>(arguments.size()), &result);
    } catch (const ffi::Error& error) {
      throw Error("the run of \"" + entry + "\" failed: " + error.message());
    }
    std::vector<ffi::Tensor> outputs;
    if (auto single = result.as<ffi::Tensor>()) {
      outputs.push_back(*single);
    } else {
      for (const auto& item : result.cast<ffi::Array<ffi::Tensor>>()) outputs.push_back(item);
    }
    return outputs;
  }

 private:
  static ffi::Function Function(const char* name, const ffi::Module& module) {
    auto function = module->GetFunction(name, /*query_imports=*/true);
    if (!function.has_value()) throw Error(std::string("the artifact's library has no function ") + name);
    return *function;
  }

  void RequireInterface(const Archive& archive) const {
    auto words = detail::InterfaceWords(archive.manifest());
    ffi::Any own = Function("byoc_interface", *library_)(words[0], words[1], words[2], words[3]);
    if (own.cast<int64_t>() != 1) throw Error("the artifact's manifest does not describe its library");
  }

  void ReadEntries(const Archive& archive) {
    for (const auto& item : archive.manifest()["entry_functions"].cast<ffi::json::Array>()) {
      auto entry = item.cast<ffi::json::Object>();
      entries_.push_back({entry["name"].cast<ffi::String>(), detail::Specs(entry["inputs"]),
                          detail::Specs(entry["outputs"]), detail::Numbers(entry["weights"]),
                          detail::Numbers(entry["states"])});
    }
    for (const auto& item : archive.manifest()["states"].cast<ffi::json::Array>()) {
      auto spec = item.cast<ffi::json::Object>();
      states_.push_back(AlignedTensor(detail::Numbers(spec["shape"]), spec["dtype"].cast<ffi::String>()));
      std::memset(states_.back().data_ptr(), 0, ffi::GetDataSize(states_.back()));
    }
  }

  void ReadWeights(const Archive& archive) {
    for (const auto& item : archive.manifest()["weights"].cast<ffi::json::Array>()) {
      auto record = item.cast<ffi::json::Object>();
      auto shape = detail::Numbers(record["shape"]);
      uint64_t offset = record["offset"].cast<int64_t>(), size = record["nbytes"].cast<int64_t>();
      if (offset % detail::kAlignment || offset > archive.weights().size || size > archive.weights().size - offset)
        throw Error("a weight lies outside the artifact's weights");
      detail::MappedAllocator memory{archive.file(), archive.weights().data + offset};
      ffi::Tensor weight = ffi::Tensor::FromNDAlloc(
          memory, ffi::ShapeView(shape.data(), shape.size()),
          ffi::StringToDLDataType(record["dtype"].cast<ffi::String>()), DLDevice{kDLCPU, 0});
      if (ffi::GetDataSize(weight) != size)
        throw Error("a weight's size is not the one that its shape gives");
      weights_.push_back(weight);
    }
  }

  /* Partitions keep pointers to these weights; both live as long as the model. */
  void BindConstants(const Archive& archive) {
    for (const auto& item : archive.manifest()["partitions"].cast<ffi::json::Array>()) {
      auto partition = item.cast<ffi::json::Object>();
      auto bind = partition["bind"].as<ffi::String>();
      if (!bind) continue;
      std::vector<ffi::AnyView> constants;
      for (int64_t index : detail::Numbers(partition["constants"])) constants.push_back(weights_.at(index));
      ffi::Any result;
      Function(bind->c_str(), *library_).CallPacked(constants.data(), static_cast<int32_t>(constants.size()), &result);
    }
  }

  const EntryFunction& Find(const std::string& name) const {
    for (const auto& entry : entries_)
      if (entry.name == name) return entry;
    throw Error("the artifact has no entry function \"" + name + "\"");
  }

  static void Check(const EntryFunction& function, const std::vector<ffi::Tensor>& inputs) {
    if (inputs.size() != function.inputs.size())
      throw Error("\"" + function.name + "\" takes " + std::to_string(function.inputs.size()) + " inputs, " +
                  std::to_string(inputs.size()) + " are given");
    std::map<std::string, int64_t> symbols;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const TensorSpec& spec = function.inputs[i];
      std::string given = "input \"" + spec.name + "\" of \"" + function.name + "\"";
      if (ffi::DLDataTypeToString(inputs[i].dtype()) != ffi::String(spec.dtype))
        throw Error(given + " is " + std::string(ffi::DLDataTypeToString(inputs[i].dtype())) + ", " + spec.dtype +
                    " is expected");
      if (inputs[i].ndim() != static_cast<int>(spec.shape.size()))
        throw Error(given + " has " + std::to_string(inputs[i].ndim()) + " dimensions, " +
                    std::to_string(spec.shape.size()) + " are expected");
      if (!inputs[i].IsContiguous() || reinterpret_cast<uintptr_t>(inputs[i].data_ptr()) % detail::kAlignment)
        throw Error(given + " is not contiguous or not aligned to 64 bytes");
      for (int d = 0; d < inputs[i].ndim(); ++d) {
        const std::string& dim = spec.shape[d];
        bool fixed = !dim.empty() && dim.find_first_not_of("0123456789") == std::string::npos;
        int64_t size = inputs[i].size(d);
        int64_t wanted = fixed ? std::stoll(dim) : symbols.emplace(dim, size).first->second;
        if (wanted != size)
          throw Error(given + " has size " + std::to_string(size) + " in dimension " + std::to_string(d) + ", " +
                      std::to_string(wanted) + " is expected (" + dim + ")");
      }
    }
  }

  // In this order, so that the machine goes first and the weights, to which partitions point, last.
  std::vector<EntryFunction> entries_;
  std::vector<ffi::Tensor> weights_, states_;
  ffi::Optional<ffi::Module> library_, machine_;
};

}  // namespace byoc
#endif  // BYOC_LOAD_H_
