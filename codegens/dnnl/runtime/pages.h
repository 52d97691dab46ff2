/* Pages of 2 MiB for memory that a run reads or writes as a whole: it looks up each page. */
#ifndef BYOC_DNNL_PAGES_H_
#define BYOC_DNNL_PAGES_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // since Linux 6.1
#endif

namespace byoc_dnnl {

constexpr size_t kHugePage = 1 << 21;

/* What lies in whole pages of that size, advised; where the system declines, small pages do. */
inline void AdvisePages(void* data, size_t bytes, int advice) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data), end = begin + bytes;
  const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage, last = end / kHugePage * kHugePage;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, advice);
}

/* Before anything is written. */
inline void AskForHugePages(void* data, size_t bytes) { AdvisePages(data, bytes, MADV_HUGEPAGE); }

/* After it was written: a page that was not to be had at once, since files were cached in pieces of it, is put together. */
inline void JoinPages(void* data, size_t bytes) { AdvisePages(data, bytes, MADV_COLLAPSE); }

}  // namespace byoc_dnnl
#endif  // BYOC_DNNL_PAGES_H_
