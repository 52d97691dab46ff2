/* One function for each kind of op: adds what computes it to the schedule. */
#ifndef BYOC_DNNL_OPS_H_
#define BYOC_DNNL_OPS_H_

#include "builder.h"

namespace byoc_dnnl {

void BuildConvolution(Builder& builder, const Op& op);
/* False where it does not pay. */
bool BuildWinograd(Builder& builder, const Op& op);
void BuildDeconvolution(Builder& builder, const Op& op);
void BuildMatmul(Builder& builder, const Op& op);
void BuildEltwise(Builder& builder, const Op& op);
void BuildBinary(Builder& builder, const Op& op);
void BuildPool(Builder& builder, const Op& op);
void BuildReduction(Builder& builder, const Op& op);
void BuildResampling(Builder& builder, const Op& op);
void BuildSoftmax(Builder& builder, const Op& op);
void BuildLayerNorm(Builder& builder, const Op& op);
void BuildLrn(Builder& builder, const Op& op);
void BuildConcat(Builder& builder, const Op& op);
void BuildPad(Builder& builder, const Op& op);
void BuildReshape(Builder& builder, const Op& op);
void BuildTranspose(Builder& builder, const Op& op);
void BuildSlice(Builder& builder, const Op& op);
void BuildShuffle(Builder& builder, const Op& op);
void BuildCopy(Builder& builder, const Op& op);
void BuildConvert(Builder& builder, const Op& op);
void BuildRange(Builder& builder, const Op& op);
void BuildRangeScale(Builder& builder, const Op& op);
void BuildRangeZero(Builder& builder, const Op& op);
void BuildQuantize(Builder& builder, const Op& op);
void BuildGather(Builder& builder, const Op& op);
void BuildToFloats(Builder& builder, const Op& op);

/* Where a kernel of our own computes attention, by the last product. */
std::map<const Op*, AttentionChain> FindAttention(const Builder& builder, const Program& program);
void BuildAttention(Builder& builder, const Op& product, const AttentionChain& chain);

/* Emit with the operands as they are; with plain ones if oneDNN has no such primitive, or none but a loop over elements
 * for the first operand, a view with gaps. */
using MakeFor = std::function<Descriptor(const Arguments& operands, const memory::desc& result,
                                         const primitive_attr& attributes)>;
void EmitAsTheyAre(Builder& builder, const Op& op, Arguments operands, const MakeFor& make,
                   const memory::dims& rows = {});

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_OPS_H_
