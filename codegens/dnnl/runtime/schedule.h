/* A program with its sizes known, as a list of primitives that run one after the other. */
#ifndef BYOC_DNNL_SCHEDULE_H_
#define BYOC_DNNL_SCHEDULE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "oneapi/dnnl/dnnl.hpp"
#include "program.h"

namespace byoc_dnnl {

using dnnl::memory;
using Arguments = std::vector<std::pair<int, struct Value>>;

enum class Home { kInput, kOutput, kConstant, kPacked, kArena };

/* Memory of one tensor, or of several that are views of each other. */
struct Buffer {
  Home home;
  int index = 0;      // of the input, output, constant or packed constant
  size_t bytes = 0;   // the rest is for the arena only
  size_t offset = 0;
  int first = -1, last = -1;  // steps that use it
};

/* A tensor's elements in a buffer. */
struct Value {
  memory::desc desc;
  int buffer = -1;
  size_t offset = 0;  // bytes
};

/* What computes a step where it is no primitive of oneDNN. */
struct Kernel {
  static constexpr size_t kMostArguments = 8;
  virtual ~Kernel() = default;
  /* `data`: the memory of each argument. */
  virtual void Run(char* const* data) const = 0;
};

/* A primitive or a kernel with its arguments; without either, the first argument's buffer is filled with a byte. */
struct Step {
  dnnl::primitive primitive;
  Arguments arguments;
  std::string label;
  int op = -1;  // of the program; -1 where it moves elements between two ops
  std::shared_ptr<const Kernel> kernel = nullptr;
  int filler = 0;
};

struct Schedule {
  std::vector<Buffer> buffers;
  std::vector<Step> steps;
  size_t arena_bytes = 0;
  int64_t slices = 1;                             // of the batch, which run one after the other
  std::vector<size_t> input_steps, output_steps;  // bytes from one slice to the next
};

/* Constants in the layouts that primitives and kernels want, made once and shared by all schedules of a partition. */
class PackedConstants {
 public:
  PackedConstants(dnnl::engine engine, std::vector<const void*> constants);
  int Pack(int constant, size_t offset, const memory::desc& from, const memory::desc& to);
  /* By a function of our own, whose result `kind` identifies. */
  using Fill = std::function<void(const float* from, float* to)>;
  int Pack(int constant, size_t offset, const std::string& kind, size_t floats, const Fill& fill);
  void* Data(int packed) const { return packed_[packed].target.get_data_handle(); }
  const void* Constant(int index) const { return constants_[index]; }

 private:
  struct Packed {
    int constant;
    size_t offset;
    memory::desc from;
    std::string kind;  // of our own function
    memory target;
  };
  dnnl::engine engine_;
  std::vector<const void*> constants_;
  std::vector<Packed> packed_;
};

/* Give every arena buffer its offset: largest first, to the lowest place free during its steps. */
void PlanArena(Schedule* schedule);

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_SCHEDULE_H_
