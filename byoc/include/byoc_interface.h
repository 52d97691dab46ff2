/* What a library's code relies on of the manifest, as byoc/artifact/interface.py describes it. */
#ifndef BYOC_INTERFACE_H_
#define BYOC_INTERFACE_H_

#include <tvm/ffi/extra/json.h>

#include <array>
#include <cstdint>
#include <string>

#include "byoc_sha256.h"

namespace byoc {
namespace detail {

inline std::string Listed(const tvm::ffi::Any& value) {
  std::string result;
  for (const auto& item : value.cast<tvm::ffi::json::Array>()) {
    auto text = item.as<tvm::ffi::String>();
    result += (result.empty() ? "" : ",") + (text ? std::string(*text) : std::to_string(item.cast<int64_t>()));
  }
  return result;
}

inline std::string Text(const tvm::ffi::Any& value) {
  auto text = value.as<tvm::ffi::String>();
  return text ? std::string(*text) : std::string();
}

inline std::string TensorLines(const std::string& kind, const tvm::ffi::Any& specs) {
  std::string result;
  for (const auto& item : specs.cast<tvm::ffi::json::Array>()) {
    auto spec = item.cast<tvm::ffi::json::Object>();
    result += kind + " " + Text(spec["name"]) + " " + Text(spec["dtype"]) + " " + Listed(spec["shape"]) + "\n";
  }
  return result;
}

inline std::string InterfaceText(const tvm::ffi::json::Object& manifest) {
  std::string result;
  for (const auto& item : manifest["entry_functions"].cast<tvm::ffi::json::Array>()) {
    auto entry = item.cast<tvm::ffi::json::Object>();
    result += "entry " + Text(entry["name"]) + "\n" + TensorLines("input", entry["inputs"]) +
              TensorLines("output", entry["outputs"]) + "takes " + Listed(entry["weights"]) + "; " +
              Listed(entry["states"]) + "\n";
  }
  for (const auto& item : manifest["partitions"].cast<tvm::ffi::json::Array>()) {
    auto partition = item.cast<tvm::ffi::json::Object>();
    result += "partition " + Text(partition["symbol"]) + " " + Text(partition["bind"]) + "; " +
              Listed(partition["constants"]) + "\n";
  }
  result += TensorLines("state", manifest["states"]);
  for (const auto& item : manifest["weights"].cast<tvm::ffi::json::Array>()) {
    auto weight = item.cast<tvm::ffi::json::Object>();
    result += "weight " + Text(weight["dtype"]) + " " + Listed(weight["shape"]) + "\n";
  }
  return result;
}

/* The digest as the arguments of the library's function byoc_interface. */
inline std::array<int64_t, 4> InterfaceWords(const tvm::ffi::json::Object& manifest) {
  std::string text = InterfaceText(manifest);
  std::string digest = Sha256(text.data(), text.size());
  std::array<int64_t, 4> words;
  for (size_t i = 0; i < 4; ++i)
    words[i] = static_cast<int64_t>(std::stoull(digest.substr(16 * i, 16), nullptr, 16));
  return words;
}

}  // namespace detail
}  // namespace byoc
#endif  // BYOC_INTERFACE_H_
