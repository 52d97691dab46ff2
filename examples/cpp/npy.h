// NumPy's .npy files, as TVM tensors: C order, little-endian, versions 1 to 3 of the format.
#ifndef NPY_H_
#define NPY_H_

#include <byoc_load.h>

#include <cstdio>
#include <string>
#include <vector>

namespace npy {

inline byoc::Error Fault(const std::string& path, const std::string& why) { return byoc::Error(path + ": " + why); }

// "float32" and "<f4"; what numpy itself does not know (bfloat16) is stored as raw bytes, "|V2".
inline std::string Code(const std::string& dtype) {
  if (dtype == "bool") return "|b1";
  size_t digits = dtype.find_first_of("0123456789");
  std::string kind = dtype.substr(0, digits);
  DLDataType type = tvm::ffi::StringToDLDataType(dtype);
  int bytes = (type.bits * type.lanes + 7) / 8;
  char letter = kind == "int" ? 'i' : kind == "uint" ? 'u' : type.code == kDLFloat ? 'f' : 'V';
  return std::string(bytes == 1 || letter == 'V' ? "|" : "<") + letter + std::to_string(bytes);
}

inline std::string Between(const std::string& text, const std::string& before, const std::string& after) {
  size_t start = text.find(before);
  if (start == std::string::npos) return "";
  start += before.size();
  size_t end = text.find(after, start);
  return end == std::string::npos ? "" : text.substr(start, end - start);
}

// The array in a file, which must be of that dtype.
inline tvm::ffi::Tensor Read(const std::string& path, const std::string& dtype) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Fault(path, "cannot be opened");
  char magic[8];
  if (!file.read(magic, 8) || std::memcmp(magic, "\x93NUMPY", 6) != 0) throw Fault(path, "is not a .npy file");
  char length[4] = {0, 0, 0, 0};
  file.read(length, magic[6] == 1 ? 2 : 4);
  uint64_t size = byoc::detail::LittleEndian(length, 4);
  if (!file || size > (1u << 20)) throw Fault(path, "is truncated or damaged");
  std::string header(size, ' ');
  if (!file.read(&header[0], static_cast<std::streamsize>(size))) throw Fault(path, "is truncated");
  if (header.find("'fortran_order': False") == std::string::npos) throw Fault(path, "is not in C order");
  std::string code = Between(header, "'descr': '", "'");
  std::string wanted = Code(dtype);
  if (code.empty() || code.substr(1) != wanted.substr(1) || code[0] == '>')
    throw Fault(path, "holds \"" + code + "\", " + dtype + " (\"" + wanted + "\") is expected");
  std::vector<int64_t> shape;
  std::istringstream dims(Between(header, "'shape': (", ")"));
  for (std::string dim; std::getline(dims, dim, ',');)
    if (dim.find_first_of("0123456789") != std::string::npos) shape.push_back(std::stoll(dim));
  tvm::ffi::Tensor tensor = byoc::AlignedTensor(shape, dtype);
  auto bytes = static_cast<std::streamsize>(tvm::ffi::GetDataSize(tensor));
  if (bytes > 0 && !file.read(static_cast<char*>(tensor.data_ptr()), bytes)) throw Fault(path, "is truncated");
  return tensor;
}

// Whole or not at all: the file gets its name when it is complete.
inline void Write(const std::string& path, const tvm::ffi::Tensor& tensor) {
  std::string shape;
  for (int d = 0; d < tensor.ndim(); ++d) shape += std::to_string(tensor.size(d)) + ", ";
  if (tensor.ndim() > 1) shape.erase(shape.size() - 2);
  std::string code = Code(tvm::ffi::DLDataTypeToString(tensor.dtype()));
  std::string header = "{'descr': '" + code + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.append(64 - (10 + header.size() + 1) % 64, ' ');
  header += '\n';
  std::string part = path + ".part";
  std::ofstream file(part, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8);
  file.put(static_cast<char>(header.size() & 255)).put(static_cast<char>(header.size() >> 8));
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  file.write(static_cast<const char*>(tensor.data_ptr()),
             static_cast<std::streamsize>(tvm::ffi::GetDataSize(tensor)));
  file.close();
  if (!file || std::rename(part.c_str(), path.c_str()) != 0) {
    std::remove(part.c_str());
    throw Fault(path, "cannot be written");
  }
}

}  // namespace npy
#endif  // NPY_H_
