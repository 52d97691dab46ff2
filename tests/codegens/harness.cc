// Calls generated partitions with recorded arguments, without Python and TVM, so that every instruction is a
// sanitizer's: harness CALLS-FILE.  The file is what tests/codegens/sanitized.py writes.
#include <dlfcn.h>
#include <dlpack/dlpack.h>
#include <tvm/ffi/c_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kThreads = 4;
constexpr size_t kAlignment = 64;

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(2);
}

struct Reader {
  std::ifstream file;
  int64_t Number() {
    int64_t value;
    Take(&value, sizeof value);
    return value;
  }
  void Take(void* place, size_t size) {
    if (!file.read(static_cast<char*>(place), static_cast<std::streamsize>(size))) Fail("the file of calls is cut off");
  }
  std::string Text() {
    std::string text(static_cast<size_t>(Number()), '\0');
    Take(text.data(), text.size());
    return text;
  }
};

// Memory of exactly the size of the tensor, so that one byte beyond it is found.
struct Argument {
  TVMFFIAny any{};
  DLTensor tensor{};
  std::vector<int64_t> dims;
  std::unique_ptr<void, decltype(&std::free)> memory{nullptr, std::free};
};

void* Exactly(size_t size) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kAlignment, size ? size : 1) != 0) Fail("no memory");
  return memory;
}

std::unique_ptr<Argument> ReadArgument(Reader& in) {
  auto argument = std::make_unique<Argument>();
  bool is_shape = in.Number() != 0;
  argument->dims.resize(static_cast<size_t>(in.Number()));
  for (int64_t& dim : argument->dims) dim = in.Number();
  if (is_shape) {
    argument->memory.reset(Exactly(sizeof(TVMFFIObject) + sizeof(TVMFFIShapeCell)));
    char* object = static_cast<char*>(argument->memory.get());
    std::memset(object, 0, sizeof(TVMFFIObject));
    *reinterpret_cast<TVMFFIShapeCell*>(object + sizeof(TVMFFIObject)) = {argument->dims.data(), argument->dims.size()};
    argument->any.type_index = kTVMFFIShape;
    argument->any.v_obj = reinterpret_cast<TVMFFIObject*>(object);
    return argument;
  }
  DLTensor& tensor = argument->tensor;
  tensor.dtype = {static_cast<uint8_t>(in.Number()), static_cast<uint8_t>(in.Number()), 1};
  size_t size = static_cast<size_t>(in.Number());
  argument->memory.reset(Exactly(size));
  tensor.data = argument->memory.get();
  in.Take(tensor.data, size);
  tensor.device = {kDLCPU, 0};
  tensor.ndim = static_cast<int>(argument->dims.size());
  tensor.shape = argument->dims.data();
  argument->any.type_index = kTVMFFIDLTensorPtr;
  argument->any.v_ptr = &tensor;
  return argument;
}

}  // namespace

extern "C" {

int byoc_threads(void) { return kThreads; }

// A thread for each share of the loop: those of byoc_threads.h might leave all of it to one.
void byoc_parallel_for(int64_t n, int64_t grain, void (*body)(int64_t, int64_t, void*), void* ctx) {
  grain = std::max<int64_t>(grain, 1);
  int64_t chunks = (n + grain - 1) / grain;
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < kThreads; ++i) {
    int64_t begin = chunks * i / kThreads * grain, end = std::min(n, chunks * (i + 1) / kThreads * grain);
    if (begin < end) threads.emplace_back([=] { body(begin, end, ctx); });
  }
  for (std::thread& thread : threads) thread.join();
}

__attribute__((visibility("default"))) void TVMFFIErrorSetRaisedFromCStr(const char* kind, const char* message) {
  std::fprintf(stderr, "%s: %s\n", kind, message);
}

}  // extern "C"

int main(int count, char** words) {
  if (count != 2) Fail("usage: harness CALLS-FILE");
  Reader in{std::ifstream(words[1], std::ios::binary)};
  std::vector<std::unique_ptr<Argument>> kept;  // constants stay where they are
  for (int64_t calls = in.Number(); calls > 0; --calls) {
    std::string symbol = "__tvm_ffi_" + in.Text();
    auto function = reinterpret_cast<TVMFFISafeCallType>(dlsym(RTLD_DEFAULT, symbol.c_str()));
    if (function == nullptr) Fail("no function " + symbol);
    std::vector<TVMFFIAny> arguments;
    for (int64_t left = in.Number(); left > 0; --left) {
      kept.push_back(ReadArgument(in));
      arguments.push_back(kept.back()->any);
    }
    TVMFFIAny result{};
    if (function(nullptr, arguments.data(), static_cast<int32_t>(arguments.size()), &result) != 0) Fail(symbol + " failed");
  }
  std::puts("done");
  return 0;
}
