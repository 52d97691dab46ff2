#include "partition.h"

#include <dlfcn.h>
#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <memory>
#include <mutex>

#include "builder.h"
#include "context.h"
#include "crowding.h"
#include "slices.h"
#include "tvm/ffi/function.h"

extern "C" void omp_set_num_threads(int threads);
extern "C" int omp_pause_resource_all(int kind);
extern "C" __attribute__((visibility("hidden"))) int byoc_threads(void);  // byoc.h

namespace byoc_dnnl {
namespace {

constexpr size_t kSchedulesKept = 16;
constexpr int kPauseSoft = 1;  // omp_pause_soft

/* OpenMP's threads outlive the last artifact, asleep in its library: what wakes them, such as SIGCONT, must find it. */
void KeepOpenMP() {
  static const void* const kept = [] {
    Dl_info info;
    bool found = ::dladdr(reinterpret_cast<void*>(&omp_set_num_threads), &info) != 0;
    return found ? ::dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE) : nullptr;
  }();
  (void)kept;
}

/* The child of a fork has the thread that forked and no other, but OpenMP would wait there for those that it had.  It ends
 * them before, and starts others where it needs them. */
void EndOpenMPThreadsBeforeForks() {
  static const int registered = ::pthread_atfork([] { omp_pause_resource_all(kPauseSoft); }, nullptr, nullptr);
  (void)registered;
}

/* A schedule for one set of extents and one number of threads, with as many contexts as runs ever overlapped. */
struct Compiled {
  Numbers extents;
  int threads;
  Schedule schedule;
  std::vector<std::unique_ptr<Context>> idle;
  Crowding crowding;
};

/* The schedule that a run uses, and memory for it. */
struct Lease {
  std::shared_ptr<Compiled> compiled;
  std::unique_ptr<Context> context;
  std::shared_ptr<Compiled> all;  // with all threads; the same unless some are left out
};

}  // namespace
}  // namespace byoc_dnnl

using namespace byoc_dnnl;

struct ByocDnnlPartition {
  ByocDnnlPartition(const char* text, const void* const* constants)
      : program(Program::Parse(text)), engine(dnnl::engine::kind::cpu, 0),
        packed(engine, std::vector<const void*>(constants, constants + program.constants.size())) {
    KeepOpenMP();
    EndOpenMPThreadsBeforeForks();
    if (program.extents == 0) Find({}, byoc_threads());
  }

  Schedule Build(const Slices& slices, const Numbers& extents) {
    Schedule schedule = Builder(slices.program, extents, engine, &packed).Build();
    schedule.slices = slices.count;
    schedule.input_steps = slices.input_steps;
    schedule.output_steps = slices.output_steps;
    return schedule;
  }

  /* The caller holds the lock, or is the constructor. */
  std::shared_ptr<Compiled> Find(const Numbers& extents, int threads) {
    for (auto item = compiled.begin(); item != compiled.end(); ++item) {
      if ((*item)->threads != threads || (*item)->extents != extents) continue;
      if (item != compiled.begin()) compiled.splice(compiled.begin(), compiled, item);
      return compiled.front();
    }
    omp_set_num_threads(threads);
    Schedule schedule = Build(SlicesOf(program, extents), extents);
    compiled.push_front(
        std::make_shared<Compiled>(Compiled{extents, threads, std::move(schedule), {}, Crowding(threads)}));
    compiled.front()->idle.push_back(std::make_unique<Context>(compiled.front()->schedule, engine, packed));
    if (compiled.size() > kSchedulesKept) compiled.pop_back();
    return compiled.front();
  }

  Lease Take(const Numbers& extents) {
    std::lock_guard<std::mutex> guard(lock);
    Lease lease;
    lease.compiled = lease.all = Find(extents, byoc_threads());
    static const bool keeps_all = std::getenv("BYOC_DNNL_KEEP_THREADS") != nullptr;
    const int threads = keeps_all ? lease.all->threads : lease.all->crowding.Threads(Clock::now());
    if (threads < lease.all->threads) lease.compiled = Find(extents, threads);
    std::vector<std::unique_ptr<Context>>& idle = lease.compiled->idle;
    if (idle.empty()) idle.push_back(std::make_unique<Context>(lease.compiled->schedule, engine, packed));
    lease.context = std::move(idle.back());
    idle.pop_back();
    return lease;
  }

  void Run(const int64_t* values, void* const* inputs, void* const* outputs) {
    Lease lease = Take(Numbers(values, values + program.extents));
    const int threads = lease.compiled->threads;
    omp_set_num_threads(threads);
    const bool watches = threads > 1 && lease.compiled == lease.all;
    if (watches) lease.context->watch.RunBegins(threads, Clock::now());
    static const char* profile = std::getenv("BYOC_DNNL_PROFILE");
    if (profile == nullptr) {
      lease.context->Run(inputs, outputs);
    } else {
      Profile(*lease.compiled, *lease.context, inputs, outputs);
    }
    const Clock::time_point now = Clock::now();
    const Watch::Seen seen = watches ? lease.context->watch.RunEnds(threads, now) : Watch::Seen{};
    std::lock_guard<std::mutex> guard(lock);
    if (seen.running > Seconds(0)) lease.all->crowding.Add(seen, now);
    lease.compiled->idle.push_back(std::move(lease.context));
  }

  double Floor(int64_t repeats) {
    std::lock_guard<std::mutex> guard(lock);
    if (compiled.empty()) return 0;
    const std::shared_ptr<Compiled> found = Find(Numbers(compiled.front()->extents), byoc_threads());
    omp_set_num_threads(found->threads);
    auto times = [&](const Schedule& schedule) { return Context(schedule, engine, packed).OpTimes(schedule, repeats); };
    std::map<int, double> chosen = times(found->schedule);
    Slices vendor = SlicesOf(program, found->extents);
    vendor.program.vendor_only = true;
    std::map<int, double> vendors = times(Build(vendor, found->extents));
    double total = 0;
    for (const auto& [op, seconds] : chosen) total += vendors.count(op) ? std::min(seconds, vendors[op]) : seconds;
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
