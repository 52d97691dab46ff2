/* Channels of groups dealt out in turns, where oneDNN's reorders take several times as long. */
#ifndef BYOC_DNNL_SHUFFLE_H_
#define BYOC_DNNL_SHUFFLE_H_

#include <stdint.h>

namespace byoc_dnnl {

/* How one vector of a pixel's result is put together: lane by lane from the same channels of all groups. */
struct ShuffledVector {
  uint8_t lanes[64];  // which lane of a group's vector each lane takes, as integers of an element's size
  int64_t first;      // channel of each group that its vector begins with
  uint64_t inside;    // lanes that a group has
  uint64_t stored;    // lanes that the result has
};

/* Pixels of `groups` times `depth` channels of `size` bytes: channel k * groups + g is channel g * depth + k of what
 * is read. */
struct ChannelShuffle {
  int64_t pixels, groups, depth, size;
  int64_t vectors;                 // of a pixel's result
  const ShuffledVector* how;       // each of them
  const uint64_t* taken;           // [vectors, groups]: lanes that come from a group
};

/* Whether this processor has the instructions for elements of this size (AVX-512, with VBMI for less than four bytes). */
bool HasShuffle(int64_t size);

void ShuffleWords(const ChannelShuffle& shuffle, const char* in, char* out);

/* Elements of one or two bytes. */
void ShuffleBytes(const ChannelShuffle& shuffle, const char* in, char* out);
bool HasByteShuffle();

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_SHUFFLE_H_
