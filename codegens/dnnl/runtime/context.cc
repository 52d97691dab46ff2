#include "context.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "pages.h"

namespace byoc_dnnl {
namespace {

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

char* DataOf(const Buffer& buffer, char* arena, const PackedConstants& packed) {
  switch (buffer.home) {
    case Home::kArena: return arena + buffer.offset;
    case Home::kPacked: return static_cast<char*>(packed.Data(buffer.index));
    case Home::kConstant: return static_cast<char*>(const_cast<void*>(packed.Constant(buffer.index)));
    default: return nullptr;
  }
}

}  // namespace

Context::Context(const Schedule& schedule, const dnnl::engine& engine, const PackedConstants& packed)
    : stream_(engine), slices_(schedule.slices) {
  size_t bytes = (schedule.arena_bytes + kHugePage - 1) / kHugePage * kHugePage;
  if (bytes > 0) {
    arena_.reset(static_cast<char*>(std::aligned_alloc(kHugePage, bytes)));
    if (!arena_) throw std::bad_alloc();
    AskForHugePages(arena_.get(), bytes);
    std::memset(arena_.get(), 0, bytes);
    JoinPages(arena_.get(), bytes);
  }
  for (const Step& step : schedule.steps) {
    Call call{step.primitive ? step.primitive.get() : nullptr, step.kernel.get(), {}, nullptr, 0, step.filler};
    for (const auto& [argument, value] : step.arguments) {
      const Buffer& buffer = schedule.buffers[value.buffer];
      char* data = DataOf(buffer, arena_.get(), packed);
      if (data != nullptr) data += value.offset;
      memories_.push_back(memory(value.desc, engine, data));
      call.arguments.push_back({argument, memories_.back().get()});
      if (data == nullptr) {
        const auto& steps = buffer.home == Home::kInput ? schedule.input_steps : schedule.output_steps;
        edges_.push_back({memories_.back().get(), buffer.home, buffer.index, value.offset, steps.at(buffer.index)});
      }
      call.fill = data;
      call.fill_bytes = value.desc.get_size();
    }
    calls_.push_back(std::move(call));
  }
}

void Context::Run(void* const* inputs, void* const* outputs, std::vector<double>* seconds) {
  if (seconds) seconds->assign(calls_.size(), 0);
  for (int64_t slice = 0; slice < slices_; ++slice) {
    for (const Edge& edge : edges_) {
      void* const* tensors = edge.home == Home::kInput ? inputs : outputs;
      dnnl_memory_set_data_handle(edge.memory,
                                  static_cast<char*>(tensors[edge.index]) + edge.offset + slice * edge.step);
    }
    for (size_t i = 0; i < calls_.size(); ++i) {
      auto start = seconds ? Clock::now() : Clock::time_point();
      Execute(calls_[i]);
      if (seconds) (*seconds)[i] += SecondsSince(start);
    }
  }
}

std::map<int, double> Context::OpTimes(const Schedule& schedule, int64_t repeats) {
  std::vector<std::vector<char>> edges;
  for (const Edge& edge : edges_) {
    edges.emplace_back(memory(edge.memory, true).get_desc().get_size() + edge.offset + 64);
    dnnl_memory_set_data_handle(edge.memory, edges.back().data() + edge.offset);
  }
  std::vector<double> best(calls_.size(), 1e9);
  for (int64_t n = 0; n < repeats; ++n) {
    for (size_t i = 0; i < calls_.size(); ++i) {
      auto start = Clock::now();
      Execute(calls_[i]);
      best[i] = std::min(best[i], SecondsSince(start));
    }
  }
  std::map<int, double> by_op;
  for (size_t i = 0; i < calls_.size(); ++i)
    if (schedule.steps[i].op >= 0) by_op[schedule.steps[i].op] += best[i] * static_cast<double>(slices_);
  return by_op;
}

void Context::Execute(const Call& call) {
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

}  // namespace byoc_dnnl
