/* Counts calls of the C allocator, and on demand notes who called it; loaded with LD_PRELOAD. The allocator itself stays
 * glibc's. */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

enum { MOST_CALLERS = 1 << 16 };

static atomic_ullong calls, bytes, noted = MOST_CALLERS;
static void *callers[MOST_CALLERS];

static void count_for(size_t size, void *caller) {
  atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&bytes, size, memory_order_relaxed);
  if (atomic_load_explicit(&noted, memory_order_relaxed) >= MOST_CALLERS) return;
  unsigned long long place = atomic_fetch_add_explicit(&noted, 1, memory_order_relaxed);
  if (place < MOST_CALLERS) callers[place] = caller;
}

#define count(size) count_for(size, __builtin_return_address(0))

unsigned long long benchmark_allocations(void) { return calls; }
unsigned long long benchmark_allocated_bytes(void) { return bytes; }

/* From now on, note where each call comes from, the first MOST_CALLERS of them. */
void benchmark_note_callers(void) { noted = 0; }

/* Ends that; the addresses that calls would have returned to. */
size_t benchmark_callers(void ***addresses) {
  size_t number = atomic_exchange(&noted, MOST_CALLERS);
  *addresses = callers;
  return number < MOST_CALLERS ? number : MOST_CALLERS;
}

/* C++'s operator new, in its four forms, whose caller is wanted, not the C++ library. */
static void *made(void *block) {
  if (block == NULL) abort();
  return block;
}

void *_Znwm(size_t size) {
  count(size);
  return made(__libc_malloc(size ? size : 1));
}

void *_Znam(size_t size) {
  count(size);
  return made(__libc_malloc(size ? size : 1));
}

void *_ZnwmSt11align_val_t(size_t size, size_t alignment) {
  count(size);
  return made(__libc_memalign(alignment, size ? size : 1));
}

void *_ZnamSt11align_val_t(size_t size, size_t alignment) {
  count(size);
  return made(__libc_memalign(alignment, size ? size : 1));
}

void *malloc(size_t size) {
  count(size);
  return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
  count(number * size);
  return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
  count(size);
  return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
  count(size);
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  count(size);
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
  count(size);
  *result = __libc_memalign(alignment, size);
  return *result ? 0 : ENOMEM;
}
