#include "layout.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace byoc_dnnl {
namespace {

/* Strides of a dense tensor whose dimensions follow each other in this order, outermost first. */
memory::dims DenseStrides(const memory::dims& shape, const std::vector<int>& order) {
  memory::dims strides(shape.size());
  int64_t stride = 1;
  for (auto axis = order.rbegin(); axis != order.rend(); ++axis) {
    strides[*axis] = stride;
    stride *= std::max<int64_t>(shape[*axis], 1);
  }
  return strides;
}

int64_t Elements(const memory::dims& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
}

/* Neighbouring dimensions of the old shape that hold the same elements as neighbouring ones of the new shape. */
struct Group {
  std::vector<int> from, to;
};

std::vector<Group> GroupsOf(const memory::dims& from, const memory::dims& to) {
  std::vector<Group> groups;
  size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    Group group;
    int64_t old_size = 1, new_size = 1;
    if (i < from.size()) {
      old_size = from[i];
      group.from.push_back(static_cast<int>(i++));
    }
    if (j < to.size()) {
      new_size = to[j];
      group.to.push_back(static_cast<int>(j++));
    }
    while (old_size != new_size) {
      if (old_size < new_size && i < from.size()) {
        old_size *= from[i];
        group.from.push_back(static_cast<int>(i++));
      } else if (j < to.size()) {
        new_size *= to[j];
        group.to.push_back(static_cast<int>(j++));
      } else {
        throw std::invalid_argument("a reshape changes the number of elements");
      }
    }
    groups.push_back(group);
  }
  return groups;
}

bool IsMergeable(const Group& group, const memory::dims& shape, const memory::dims& strides) {
  int inner = -1;
  for (auto axis = group.from.rbegin(); axis != group.from.rend(); ++axis) {
    if (shape[*axis] == 1) continue;
    if (inner >= 0 && strides[*axis] != strides[inner] * shape[inner]) return false;
    inner = *axis;
  }
  return true;
}

int64_t InnermostStride(const Group& group, const memory::dims& shape, const memory::dims& strides) {
  for (auto axis = group.from.rbegin(); axis != group.from.rend(); ++axis)
    if (shape[*axis] != 1) return strides[*axis];
  return 1;
}

int64_t OutermostStride(const Group& group, const memory::dims& shape, const memory::dims& strides) {
  int64_t result = 0;
  for (int axis : group.from)
    if (shape[axis] != 1) result = std::max(result, strides[axis]);
  return result;
}

memory::dims SpreadStrides(const Group& group, const memory::dims& shape, int64_t stride, memory::dims strides) {
  for (auto axis = group.to.rbegin(); axis != group.to.rend(); ++axis) {
    strides[*axis] = stride;
    stride *= std::max<int64_t>(shape[*axis], 1);
  }
  return strides;
}

}  // namespace

memory::desc PlainDesc(const memory::dims& shape, memory::data_type type) {
  std::vector<int> order(shape.size());
  std::iota(order.begin(), order.end(), 0);
  return memory::desc(shape, type, DenseStrides(shape, order));
}

memory::desc ChannelsLastDesc(const memory::dims& shape, memory::data_type type) {
  std::vector<int> order = {0};
  for (size_t axis = 2; axis < shape.size(); ++axis) order.push_back(static_cast<int>(axis));
  order.push_back(1);
  return memory::desc(shape, type, DenseStrides(shape, order));
}

memory::desc Retyped(const memory::desc& desc, memory::data_type type) {
  if (desc.get_data_type() == type) return desc;
  if (!IsStrided(desc)) throw std::invalid_argument("a blocked layout is wanted for another type");
  return memory::desc(desc.get_dims(), type, desc.get_strides());
}

memory::desc Movable(const memory::desc& desc) {
  if (desc.get_data_type() != kLongIntegers) return desc;
  memory::dims dims = desc.get_dims(), strides = desc.get_strides();
  for (auto& stride : strides) stride *= 2;
  dims.push_back(2);
  strides.push_back(1);
  return {dims, memory::data_type::s32, strides};
}

bool IsStrided(const memory::desc& desc) {
  return desc.get_format_kind() == memory::format_kind::blocked && desc.get_inner_nblks() == 0;
}

std::pair<memory::desc, memory::desc> ReshapedLayouts(const memory::desc& desc, const memory::dims& shape) {
  memory::dims old_shape = desc.get_dims(), strides = desc.get_strides(), new_strides(shape.size(), 1);
  if (Elements(old_shape) == 0 && Elements(shape) == 0) return {memory::desc(), PlainDesc(shape, desc.get_data_type())};
  std::vector<Group> groups = GroupsOf(old_shape, shape);
  bool is_view = true;
  for (const Group& group : groups) is_view = is_view && IsMergeable(group, old_shape, strides);
  memory::desc copy;
  if (!is_view) {
    std::stable_sort(groups.begin(), groups.end(), [&](const Group& a, const Group& b) {
      return OutermostStride(a, old_shape, strides) > OutermostStride(b, old_shape, strides);
    });
    std::vector<int> order;
    for (const Group& group : groups) order.insert(order.end(), group.from.begin(), group.from.end());
    strides = DenseStrides(old_shape, order);
    copy = memory::desc(old_shape, desc.get_data_type(), strides);
  }
  for (const Group& group : groups)
    new_strides = SpreadStrides(group, shape, InnermostStride(group, old_shape, strides), new_strides);
  return {copy, memory::desc(shape, desc.get_data_type(), new_strides)};
}

}  // namespace byoc_dnnl
