#include "schedule.h"

#include <algorithm>

#include "layout.h"
#include "pages.h"

namespace byoc_dnnl {
namespace {

constexpr size_t kAlignment = 64;

memory Allocate(const memory::desc& desc, const dnnl::engine& engine) {
  memory made(desc, engine);
  AskForHugePages(made.get_data_handle(), desc.get_size());
  return made;
}

void FindLifetimes(Schedule* schedule) {
  for (int i = 0; i < static_cast<int>(schedule->steps.size()); ++i) {
    for (const auto& [argument, value] : schedule->steps[i].arguments) {
      Buffer& buffer = schedule->buffers[value.buffer];
      if (buffer.first < 0) buffer.first = i;
      buffer.last = i;
    }
  }
}

}  // namespace

PackedConstants::PackedConstants(dnnl::engine engine, std::vector<const void*> constants)
    : engine_(engine), constants_(std::move(constants)) {}

int PackedConstants::Pack(int constant, size_t offset, const memory::desc& from, const memory::desc& to) {
  for (size_t i = 0; i < packed_.size(); ++i) {
    const Packed& p = packed_[i];
    if (p.constant == constant && p.offset == offset && p.from == from && p.kind.empty() && p.target.get_desc() == to)
      return static_cast<int>(i);
  }
  char* data = static_cast<char*>(const_cast<void*>(constants_[constant])) + offset;
  memory target = Allocate(to, engine_), source(Movable(from), engine_, data);
  memory moved(Movable(to), engine_, target.get_data_handle());
  dnnl::stream stream(engine_);
  dnnl::reorder(source, moved).execute(stream, source, moved);
  stream.wait();
  JoinPages(target.get_data_handle(), to.get_size());
  packed_.push_back({constant, offset, from, "", target});
  return static_cast<int>(packed_.size()) - 1;
}

int PackedConstants::Pack(int constant, size_t offset, const std::string& kind, size_t floats, const Fill& fill) {
  for (size_t i = 0; i < packed_.size(); ++i)
    if (packed_[i].constant == constant && packed_[i].offset == offset && packed_[i].kind == kind)
      return static_cast<int>(i);
  memory target = Allocate(PlainDesc({static_cast<int64_t>(floats)}, memory::data_type::f32), engine_);
  const char* data = static_cast<const char*>(constants_[constant]) + offset;
  fill(reinterpret_cast<const float*>(data), static_cast<float*>(target.get_data_handle()));
  JoinPages(target.get_data_handle(), target.get_desc().get_size());
  packed_.push_back({constant, offset, {}, kind, target});
  return static_cast<int>(packed_.size()) - 1;
}

void PlanArena(Schedule* schedule) {
  FindLifetimes(schedule);
  std::vector<Buffer*> order;
  for (Buffer& buffer : schedule->buffers)
    if (buffer.home == Home::kArena && buffer.first >= 0) order.push_back(&buffer);
  std::stable_sort(order.begin(), order.end(), [](const Buffer* a, const Buffer* b) { return a->bytes > b->bytes; });
  std::vector<Buffer*> placed;  // by offset
  for (Buffer* buffer : order) {
    size_t size = (std::max<size_t>(buffer->bytes, 1) + kAlignment - 1) / kAlignment * kAlignment, offset = 0;
    for (const Buffer* other : placed) {
      if (other->first > buffer->last || other->last < buffer->first) continue;
      if (other->offset >= offset + size) break;
      offset = std::max(offset, other->offset + other->bytes);
    }
    buffer->offset = offset;
    buffer->bytes = size;
    schedule->arena_bytes = std::max(schedule->arena_bytes, offset + size);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), buffer,
                                   [](const Buffer* a, const Buffer* b) { return a->offset < b->offset; }),
                  buffer);
  }
}

}  // namespace byoc_dnnl
