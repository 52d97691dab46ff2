/* Channels of groups dealt out in turns, as between the grouped convolutions of ShuffleNet. */
#include "shuffle.h"

#include <algorithm>
#include <cstring>

#include "ops.h"

namespace byoc_dnnl {
namespace {

constexpr int64_t kVectorBytes = 64;

uint64_t FirstLanes(int64_t count) {
  return count >= kVectorBytes ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

struct Shuffle : Kernel {
  ChannelShuffle shuffle;
  std::vector<ShuffledVector> how;
  std::vector<uint64_t> taken;

  Shuffle(int64_t pixels, int64_t groups, int64_t depth, int64_t size) {
    const int64_t channels = groups * depth, lanes = kVectorBytes / size;
    for (int64_t begin = 0; begin < channels; begin += lanes) how.push_back(VectorFrom(begin, groups, depth, size));
    shuffle = {pixels, groups, depth, size, static_cast<int64_t>(how.size()), how.data(), taken.data()};
  }

  /* The vector that begins with this channel of the result. */
  ShuffledVector VectorFrom(int64_t begin, int64_t groups, int64_t depth, int64_t size) {
    const int64_t lanes = std::min(kVectorBytes / size, groups * depth - begin);
    ShuffledVector vector = {{}, begin / groups, 0, FirstLanes(lanes)};
    vector.inside = FirstLanes((begin + lanes - 1) / groups - vector.first + 1);
    std::vector<uint64_t> from(groups);
    for (int64_t lane = 0; lane < lanes; ++lane) {
      vector.lanes[lane * size] = static_cast<uint8_t>((begin + lane) / groups - vector.first);
      from[(begin + lane) % groups] |= uint64_t{1} << lane;
    }
    taken.insert(taken.end(), from.begin(), from.end());
    return vector;
  }

  void Run(char* const* data) const override {
    (shuffle.size == 4 ? ShuffleWords : ShuffleBytes)(shuffle, data[0], data[1]);
  }
};

/* [images, groups, depth, ...] */
memory::dims InGroups(const memory::dims& shape, int64_t groups) {
  memory::dims grouped = shape;
  grouped[1] /= groups;
  grouped.insert(grouped.begin() + 1, groups);
  return grouped;
}

Value Swapped(const Value& grouped) {
  std::vector<int> order(grouped.desc.get_ndims());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::swap(order[1], order[2]);
  return {grouped.desc.permute_axes(order), grouped.buffer, grouped.offset};
}

}  // namespace

void BuildShuffle(Builder& builder, const Op& op) {
  const Value source = builder.Get(op.inputs[0]);
  const memory::dims shape = source.desc.get_dims();
  const memory::data_type type = source.desc.get_data_type();
  const int64_t groups = op.Number("groups"), size = static_cast<int64_t>(memory::data_type_size(type));
  const memory::desc last = ChannelsLastDesc(shape, type);
  if (source.desc == last && HasShuffle(size) && !builder.PrefersVendor()) {
    int64_t pixels = 1;
    for (int64_t dim : shape) pixels *= dim;
    pixels /= shape[1];
    auto kernel = std::make_shared<Shuffle>(pixels, groups, shape[1] / groups, size);
    return builder.EmitKernel(op, {{DNNL_ARG_SRC, source}}, builder.New(last), kernel, "lanes");
  }
  const Value result = builder.New(source.desc == last ? last : PlainDesc(shape, type));
  const Value grouped = builder.Reshaped(source, InGroups(shape, groups));
  const Value dealt = builder.Reshaped(result, InGroups(shape, shape[1] / groups));
  builder.AddCopy(grouped, Swapped(dealt), &op);
  builder.Set(op.outputs[0], result);
}

}  // namespace byoc_dnnl
