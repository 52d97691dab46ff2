/* Memory for one run of a schedule at a time. */
#ifndef BYOC_DNNL_CONTEXT_H_
#define BYOC_DNNL_CONTEXT_H_

#include <cstdlib>
#include <memory>
#include <vector>

#include "crowding.h"
#include "schedule.h"

namespace byoc_dnnl {

/* An arena, and each step's arguments pointing into it. */
class Context {
 public:
  Context(const Schedule& schedule, const dnnl::engine& engine, const PackedConstants& packed);

  /* Every slice of the batch, one after the other.  With `seconds`, each step's time is added there. */
  void Run(void* const* inputs, void* const* outputs, std::vector<double>* seconds = nullptr);

  /* Seconds that each op's primitives take, reorders left out: the best of `repeats` passes over all of them. */
  std::map<int, double> OpTimes(const Schedule& schedule, int64_t repeats);

  Watch watch;

 private:
  struct Call {
    dnnl_primitive_t primitive;
    const Kernel* kernel;
    std::vector<dnnl_exec_arg_t> arguments;
    char* fill;
    size_t fill_bytes;
    int filler;
  };
  struct Edge {
    dnnl_memory_t memory;
    Home home;
    int index;
    size_t offset;
    size_t step;  // bytes from one slice to the next
  };
  struct Free {
    void operator()(char* data) const { std::free(data); }
  };

  void Execute(const Call& call);

  std::unique_ptr<char, Free> arena_;
  dnnl::stream stream_;
  std::vector<memory> memories_;
  std::vector<Call> calls_;
  std::vector<Edge> edges_;
  int64_t slices_;
};

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_CONTEXT_H_
