/* The artifact's file, mapped and verified: a zip of stored members in one exact form (see byoc/artifact/archive.py).
 * C++17, POSIX; JSON through tvm_ffi. */
#ifndef BYOC_ARCHIVE_H_
#define BYOC_ARCHIVE_H_

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tvm/ffi/extra/json.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "byoc_sha256.h"

namespace byoc {

/* What can go wrong with an artifact or a run, as one sentence for a person. */
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {
constexpr int64_t kFormatVersion = 3;
constexpr uint64_t kPage = 4096;
constexpr size_t kLocalSize = 30, kCentralSize = 46, kZip64Local = 20, kZip64Central = 28, kPaddingTag = 4;
constexpr size_t kEndRecords = 56 + 20 + 22;
constexpr char kManifest[] = "manifest.json";
constexpr char kComment[] = "byoc artifact; sha256 of manifest.json: ";
constexpr char kSignature[] = "; ed25519 signature: ";
constexpr size_t kUnsigned = sizeof(kComment) - 1 + 64, kSigned = kUnsigned + sizeof(kSignature) - 1 + 128;

inline uint64_t LittleEndian(const char* bytes, int count) {
  uint64_t value = 0;
  for (int i = count - 1; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}
}  // namespace detail

/* A part of a mapped file. */
struct Bytes {
  char* data = nullptr;
  size_t size = 0;
};

/* A file mapped privately: writing to its memory never reaches the file. */
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
    int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) throw Error("the artifact \"" + path + "\" cannot be opened: " + std::strerror(errno));
    struct stat status;
    bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0;
    void* memory = MAP_FAILED;
    if (regular) memory = ::mmap(nullptr, status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    ::close(file);
    if (memory == MAP_FAILED) throw Error("\"" + path + "\" is not a byoc artifact: it is empty or no plain file");
    bytes_ = {static_cast<char*>(memory), static_cast<size_t>(status.st_size)};
  }
  ~MappedFile() { ::munmap(bytes_.data, bytes_.size); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

/* An opened artifact; the constructor verifies the SHA-256 of every member and throws byoc::Error.
 * A signature is passed over: verify it before (byoc inspect --verify-key). */
class Archive {
 public:
  explicit Archive(const std::string& path) : path_(path), file_(std::make_shared<MappedFile>(path)) {
    const Bytes& all = file_->bytes();
    size_t end = detail::kEndRecords + detail::kUnsigned;
    size_t name_end = detail::kLocalSize + sizeof(detail::kManifest) - 1;
    if (all.size < detail::kPage + end || std::memcmp(all.data, "PK\3\4", 4) != 0 ||
        std::memcmp(all.data + detail::kLocalSize, detail::kManifest, sizeof(detail::kManifest) - 1) != 0)
      throw Error("\"" + path + "\" is not a byoc artifact, or has bytes before it");
    for (size_t size : {detail::kSigned, detail::kUnsigned})
      if (all.size > size && std::memcmp(all.data + all.size - size, detail::kComment, sizeof(detail::kComment) - 1) == 0)
        comment_size_ = size;
    const char* comment = all.data + all.size - comment_size_;
    if (comment_size_ == 0)
      throw Error("\"" + path + "\" does not end as an artifact does: it is truncated, or has bytes after it");
    uint64_t size = detail::LittleEndian(all.data + name_end + 4, 8);
    if (size > all.size - detail::kPage) throw Error("the manifest in \"" + path + "\" claims too many bytes");
    std::string digest(comment + sizeof(detail::kComment) - 1, 64);
    Verify(detail::kManifest, {all.data + detail::kPage, size}, digest);
    Parse({all.data + detail::kPage, size});
    Locate(size);
  }

  const tvm::ffi::json::Object& manifest() const { return manifest_; }
  const Bytes& library() const { return library_; }
  const Bytes& weights() const { return weights_; }
  const std::shared_ptr<MappedFile>& file() const { return file_; }

 private:
  void Parse(const Bytes& text) {
    tvm::ffi::String fault;
    tvm::ffi::json::Value value = tvm::ffi::json::Parse(tvm::ffi::String(text.data, text.size), &fault);
    auto object = value.as<tvm::ffi::json::Object>();
    if (!object) throw Error("the manifest of \"" + path_ + "\" is malformed: " + std::string(fault));
    manifest_ = *object;
    int64_t version = manifest_["format_version"].cast<int64_t>();
    if (version != detail::kFormatVersion)
      throw Error("the artifact has format version " + std::to_string(version) + "; this loader reads version " +
                  std::to_string(detail::kFormatVersion));
  }

  /* Members follow each other, each from the next page; what the file holds besides is never looked at. */
  void Locate(uint64_t manifest_size) {
    const Bytes& all = file_->bytes();
    auto records = manifest_["members"].cast<tvm::ffi::json::Array>();
    const char* expected[] = {"plan.json", "library.so", "weights.bin", "tokenizer.json"};
    size_t count = records.size();
    bool language_model = manifest_["language_model"].as<tvm::ffi::json::Object>().has_value();
    if (count != 3 && !(count == 4 && language_model)) throw Error("the manifest of \"" + path_ + "\" lists other members than it must");
    uint64_t position = detail::kPage + manifest_size;
    uint64_t directory = DirectoryEntry(detail::kManifest);
    for (size_t i = 0; i < count; ++i) {
      auto record = records[i].cast<tvm::ffi::json::Object>();
      std::string name = record["path"].cast<tvm::ffi::String>();
      uint64_t size = record["size"].cast<int64_t>();
      if (name != expected[i]) throw Error("the manifest of \"" + path_ + "\" lists other members than it must");
      uint64_t start = position + detail::kLocalSize + name.size() + detail::kZip64Local + detail::kPaddingTag;
      start = (start + detail::kPage - 1) / detail::kPage * detail::kPage;
      if (start > all.size || size > all.size - start)
        throw Error("member \"" + name + "\" reaches beyond the end of \"" + path_ + "\": it is truncated");
      if (std::memcmp(all.data + position, "PK\3\4", 4) != 0 ||
          std::memcmp(all.data + position + detail::kLocalSize, name.data(), name.size()) != 0)
        throw Error("member \"" + name + "\" is not where it must be in \"" + path_ + "\"");
      Bytes content{all.data + start, static_cast<size_t>(size)};
      Verify(name, content, record["sha256"].cast<tvm::ffi::String>());
      if (i == 1) library_ = content;
      if (i == 2) weights_ = content;
      position = start + size;
      directory += DirectoryEntry(name);
    }
    if (position + directory + detail::kEndRecords + comment_size_ != all.size)
      throw Error("\"" + path_ + "\" holds bytes that its manifest does not account for");
  }

  static uint64_t DirectoryEntry(const std::string& name) {
    return detail::kCentralSize + name.size() + detail::kZip64Central;
  }

  void Verify(const std::string& name, const Bytes& content, const std::string& digest) const {
    if (Sha256(content.data, content.size) != digest)
      throw Error("\"" + name + "\" in \"" + path_ + "\" is damaged: its SHA-256 is not the one recorded");
  }

  std::string path_;
  std::shared_ptr<MappedFile> file_;
  tvm::ffi::json::Object manifest_;
  Bytes library_, weights_;
  size_t comment_size_ = 0;
};

}  // namespace byoc
#endif  // BYOC_ARCHIVE_H_
