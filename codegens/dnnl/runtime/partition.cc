#include "partition.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>

#include "builder.h"
#include "tvm/ffi/function.h"

extern "C" void omp_set_num_threads(int threads);

namespace byoc_dnnl {
namespace {

constexpr size_t kSchedulesKept = 16;
constexpr size_t kPage = 1 << 21;

/* Threads that the caller's session gives to a run. */
int ThreadsOfCaller() {
  static const tvm::ffi::Function threads = tvm::ffi::Function::GetGlobalRequired("runtime.NumThreads");
  return threads().cast<int>();
}

/* OpenMP's threads outlive the last artifact, asleep in its library: what wakes them, such as SIGCONT, must find it. */
void KeepOpenMP() {
  static const void* const kept = [] {
    Dl_info info;
    bool found = ::dladdr(reinterpret_cast<void*>(&omp_set_num_threads), &info) != 0;
    return found ? ::dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE) : nullptr;
  }();
  (void)kept;
}

/* Memory for one run of a schedule at a time: an arena, and each step's arguments pointing into it. */
class Context {
 public:
  Context(const Schedule& schedule, const dnnl::engine& engine, const PackedConstants& packed) : stream_(engine) {
    size_t bytes = (schedule.arena_bytes + kPage - 1) / kPage * kPage;
    if (bytes > 0) {
      arena_.reset(static_cast<char*>(std::aligned_alloc(kPage, bytes)));
      if (!arena_) throw std::bad_alloc();
      ::madvise(arena_.get(), bytes, MADV_HUGEPAGE);
      std::memset(arena_.get(), 0, bytes);
    }
    for (const Step& step : schedule.steps) {
      Call call{step.primitive ? step.primitive.get() : nullptr, step.kernel.get(), {}, nullptr, 0, step.filler};
      for (const auto& [argument, value] : step.arguments) {
        const Buffer& buffer = schedule.buffers[value.buffer];
        char* data = DataOf(buffer, packed);
        if (data != nullptr) data += value.offset;
        memories_.push_back(memory(value.desc, engine, data));
        call.arguments.push_back({argument, memories_.back().get()});
        if (data == nullptr) edges_.push_back({memories_.back().get(), buffer.home, buffer.index, value.offset});
        call.fill = data;
        call.fill_bytes = value.desc.get_size();
      }
      calls_.push_back(std::move(call));
    }
  }

  /* With `seconds`, each step's time is put there. */
  void Run(void* const* inputs, void* const* outputs, std::vector<double>* seconds = nullptr) {
    for (const Edge& edge : edges_) {
      void* const* tensors = edge.home == Home::kInput ? inputs : outputs;
      dnnl_memory_set_data_handle(edge.memory, static_cast<char*>(tensors[edge.index]) + edge.offset);
    }
    for (const Call& call : calls_) {
      auto start = seconds ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
      Execute(call);
      if (seconds) seconds->push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
  }

  /* Seconds that each op's primitives take, reorders left out: the best of `repeats` passes over all of them. */
  std::map<int, double> OpTimes(const Schedule& schedule, int64_t repeats) {
    std::vector<std::vector<char>> edges;
    for (const Edge& edge : edges_) {
      edges.emplace_back(memory(edge.memory, true).get_desc().get_size() + edge.offset + 64);
      dnnl_memory_set_data_handle(edge.memory, edges.back().data() + edge.offset);
    }
    std::vector<double> best(calls_.size(), 1e9);
    for (int64_t n = 0; n < repeats; ++n) {
      for (size_t i = 0; i < calls_.size(); ++i) {
        auto start = std::chrono::steady_clock::now();
        Execute(calls_[i]);
        best[i] = std::min(best[i], std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      }
    }
    std::map<int, double> by_op;
    for (size_t i = 0; i < calls_.size(); ++i)
      if (schedule.steps[i].op >= 0) by_op[schedule.steps[i].op] += best[i];
    return by_op;
  }

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
  };
  struct Free {
    void operator()(char* data) const { std::free(data); }
  };

  char* DataOf(const Buffer& buffer, const PackedConstants& packed) const {
    switch (buffer.home) {
      case Home::kArena: return arena_.get() + buffer.offset;
      case Home::kPacked: return static_cast<char*>(packed.Data(buffer.index));
      case Home::kConstant: return static_cast<char*>(const_cast<void*>(packed.Constant(buffer.index)));
      default: return nullptr;
    }
  }

  void Execute(const Call& call) {
    if (call.kernel != nullptr) {
      void* data[Kernel::kMostArguments];
      for (size_t i = 0; i < call.arguments.size(); ++i)
        dnnl_memory_get_data_handle(call.arguments[i].memory, &data[i]);
      call.kernel->Run(reinterpret_cast<char* const*>(data));
      return;
    }
    if (call.primitive == nullptr) {
      void* data = call.fill;
      if (data == nullptr) dnnl_memory_get_data_handle(call.arguments[0].memory, &data);
      std::memset(data, call.filler, call.fill_bytes);
      return;
    }
    dnnl::error::wrap_c_api(dnnl_primitive_execute(call.primitive, stream_.get(),
                                                   static_cast<int>(call.arguments.size()), call.arguments.data()),
                            "a primitive failed");
  }

  std::unique_ptr<char, Free> arena_;
  dnnl::stream stream_;
  std::vector<memory> memories_;
  std::vector<Call> calls_;
  std::vector<Edge> edges_;
};

/* A schedule for one set of extents and one number of threads, with as many contexts as runs ever overlapped. */
struct Compiled {
  Numbers extents;
  int threads;
  Schedule schedule;
  std::vector<std::unique_ptr<Context>> idle;
};

}  // namespace
}  // namespace byoc_dnnl

using namespace byoc_dnnl;

struct ByocDnnlPartition {
  ByocDnnlPartition(const char* text, const void* const* constants)
      : program(Program::Parse(text)), engine(dnnl::engine::kind::cpu, 0),
        packed(engine, std::vector<const void*>(constants, constants + program.constants.size())) {
    KeepOpenMP();
    if (program.extents == 0) Find({}, ThreadsOfCaller());
  }

  /* The caller holds the lock, or is the constructor. */
  std::shared_ptr<Compiled> Find(const Numbers& extents, int threads) {
    for (auto item = compiled.begin(); item != compiled.end(); ++item) {
      if ((*item)->threads != threads || (*item)->extents != extents) continue;
      if (item != compiled.begin()) compiled.splice(compiled.begin(), compiled, item);
      return compiled.front();
    }
    omp_set_num_threads(threads);
    Schedule schedule = Builder(program, extents, engine, &packed).Build();
    compiled.push_front(std::make_shared<Compiled>(Compiled{extents, threads, std::move(schedule), {}}));
    compiled.front()->idle.push_back(std::make_unique<Context>(compiled.front()->schedule, engine, packed));
    if (compiled.size() > kSchedulesKept) compiled.pop_back();
    return compiled.front();
  }

  void Run(const int64_t* values, void* const* inputs, void* const* outputs) {
    int threads = ThreadsOfCaller();
    std::shared_ptr<Compiled> found;
    std::unique_ptr<Context> context;
    {
      std::lock_guard<std::mutex> guard(lock);
      found = Find(Numbers(values, values + program.extents), threads);
      if (found->idle.empty()) {
        context = std::make_unique<Context>(found->schedule, engine, packed);
      } else {
        context = std::move(found->idle.back());
        found->idle.pop_back();
      }
    }
    omp_set_num_threads(threads);
    static const char* profile = std::getenv("BYOC_DNNL_PROFILE");
    if (profile == nullptr) {
      context->Run(inputs, outputs);
    } else {
      Profile(*found, *context, inputs, outputs);
    }
    std::lock_guard<std::mutex> guard(lock);
    found->idle.push_back(std::move(context));
  }

  double Floor(int64_t repeats) {
    std::lock_guard<std::mutex> guard(lock);
    if (compiled.empty()) return 0;
    omp_set_num_threads(compiled.front()->threads);
    auto times = [&](const Schedule& schedule) { return Context(schedule, engine, packed).OpTimes(schedule, repeats); };
    std::map<int, double> chosen = times(compiled.front()->schedule);
    Program all_direct = program;
    all_direct.winograd = false;
    std::map<int, double> direct = times(Builder(all_direct, compiled.front()->extents, engine, &packed).Build());
    double total = 0;
    for (const auto& [op, seconds] : chosen) total += direct.count(op) ? std::min(seconds, direct[op]) : seconds;
    return total;
  }

  void Profile(const Compiled& found, Context& context, void* const* inputs, void* const* outputs) {
    std::vector<double> seconds;
    context.Run(inputs, outputs, &seconds);
    for (size_t i = 0; i < seconds.size(); ++i)
      std::fprintf(stderr, "%9.1f us  %s\n", seconds[i] * 1e6, found.schedule.steps[i].label.c_str());
  }

  Program program;
  dnnl::engine engine;
  PackedConstants packed;
  std::mutex lock;
  std::list<std::shared_ptr<Compiled>> compiled;
};

namespace {

template <typename Body>
const char* Guarded(const Body& body) {
  // No std::string: a thread-local with a destructor would keep the library loaded until its thread ends.
  static thread_local char message[1024];
  try {
    body();
    return nullptr;
  } catch (const dnnl::error& error) {
    std::snprintf(message, sizeof message, "oneDNN: %s", error.message);
  } catch (const std::exception& error) {
    std::snprintf(message, sizeof message, "%s", error.what());
  }
  return message;
}

}  // namespace

const char* byoc_dnnl_create(const char* program, const void* const* constants, ByocDnnlPartition** partition) {
  return Guarded([&] { *partition = new ByocDnnlPartition(program, constants); });
}

const char* byoc_dnnl_run(ByocDnnlPartition* partition, const int64_t* extents, void* const* inputs,
                          void* const* outputs) {
  return Guarded([&] { partition->Run(extents, inputs, outputs); });
}

const char* byoc_dnnl_floor(ByocDnnlPartition* partition, int64_t repeats, double* seconds) {
  return Guarded([&] { *seconds = partition->Floor(repeats); });
}

void byoc_dnnl_destroy(ByocDnnlPartition* partition) { delete partition; }
