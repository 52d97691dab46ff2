/* Layouts of tensors: how oneDNN's descriptors are made, and how they change when a tensor is reshaped. */
#ifndef BYOC_DNNL_LAYOUT_H_
#define BYOC_DNNL_LAYOUT_H_

#include <utility>

#include "oneapi/dnnl/dnnl.hpp"

namespace byoc_dnnl {

using dnnl::memory;

/* oneDNN has no type for int64: tensors of them are only moved, and have the type of the same size. */
constexpr memory::data_type kLongIntegers = memory::data_type::f64;

/* The same memory in a type that oneDNN's reorders know: long integers, which must be strided, are pairs of int32. */
memory::desc Movable(const memory::desc& desc);

/* Row-major. */
memory::desc PlainDesc(const memory::dims& shape, memory::data_type type);

/* The second dimension innermost, the others row-major. */
memory::desc ChannelsLastDesc(const memory::dims& shape, memory::data_type type);

/* The same layout for elements of another type of the same or another size; the layout must be strided. */
memory::desc Retyped(const memory::desc& desc, memory::data_type type);

/* Whether elements stand alone, at a stride for each dimension. */
bool IsStrided(const memory::desc& desc);

/* Reshape a strided tensor.  The first layout is one that the tensor must be copied to (empty where it need not), dense
 * and as near to its own as can be; the second is the same memory seen with the new shape. */
std::pair<memory::desc, memory::desc> ReshapedLayouts(const memory::desc& desc, const memory::dims& shape);

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_LAYOUT_H_
