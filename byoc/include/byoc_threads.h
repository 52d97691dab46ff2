/* The threads of one library, which its host code and its partitions share.  One unit of each library includes this.
 *
 * The chunks of a loop are dealt out beforehand, neighbours to one thread, so that a thread finds in its caches what it
 * wrote in the loop before.  It takes half of what is left of its share at a time; once nothing is, half of what is left
 * of another's.  The thread that called works as well, and in the end waits only for those that are inside a chunk: one
 * that gets no processor beside other processes holds up no more than it has taken.  Who waits spins for some
 * microseconds and then sleeps, so that the processor is free for whom it waits for. */
#ifndef BYOC_THREADS_H_
#define BYOC_THREADS_H_

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "byoc.h"

enum { BYOC_LOOPS = 64 }; /* at a time; further ones run in the thread that calls */
enum { BYOC_MOST_THREADS = 256 };
enum { BYOC_HOST_TASKS = 4 }; /* for each thread */

/* Nanoseconds.  A spin outlasts the gaps between the loops of a run.  After a stall (a thread was waited for that long,
 * and longer than the waiting one had worked) the processors are taken to be crowded for a while: a thread that sleeps
 * then gets a processor sooner than one that has spun its time slice away. */
enum { BYOC_SPIN = 50000, BYOC_CROWDED_SPIN = 2000, BYOC_STALL = 500000, BYOC_CROWDED_FOR = 100000000 };

/* A number that some threads change and others wait for. */
typedef struct {
  _Atomic uint32_t value, sleepers;
} ByocSignal;

/* Chunks that nobody has taken: the first in the upper half, the end in the lower one. */
typedef struct {
  _Alignas(64) _Atomic uint64_t left;
} ByocShare;

typedef struct {
  _Alignas(64) ByocSignal helpers; /* how many are inside, and whether more may enter */
  byoc_range_fn fn;
  void *ctx;
  int64_t n, grain;
  int count;
  ByocShare *shares;
} ByocLoop;

static const uint32_t byoc_open = 1u << 31;

static struct {
  ByocLoop loops[BYOC_LOOPS];
  _Alignas(64) _Atomic uint64_t claimed; /* a bit for each of the loops */
  _Alignas(64) ByocSignal news;          /* counts loops */
  _Alignas(64) _Atomic int threads;      /* of each loop; 0: not told yet */
  _Atomic int most;                      /* workers for all loops */
  _Atomic int hired, stopped;
  _Atomic int64_t crowded; /* until this time */
  pthread_mutex_t hiring;
  pthread_t workers[BYOC_MOST_THREADS];
} byoc_pool = {.hiring = PTHREAD_MUTEX_INITIALIZER};

static int64_t byoc_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static inline void byoc_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

/* Returns when the value is no longer the one that was seen, or earlier. */
static void byoc_await(ByocSignal *s, uint32_t seen) {
  const int64_t now = byoc_now(), crowded = atomic_load_explicit(&byoc_pool.crowded, memory_order_relaxed);
  const int64_t end = now + (now < crowded ? BYOC_CROWDED_SPIN : BYOC_SPIN);
  do
    for (int i = 0; i < 16; ++i) {
      if (atomic_load_explicit(&s->value, memory_order_acquire) != seen) return;
      byoc_pause();
    }
  while (byoc_now() < end);
  atomic_fetch_add(&s->sleepers, 1);
  syscall(SYS_futex, &s->value, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
  atomic_fetch_sub(&s->sleepers, 1);
}

static void byoc_wake(ByocSignal *s, int count) {
  if (atomic_load(&s->sleepers)) syscall(SYS_futex, &s->value, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Half of a share's chunks: its first ones for whom it was dealt to, its last ones for others. */
static int byoc_take(ByocShare *share, int own, int64_t *begin, int64_t *end) {
  uint64_t left = atomic_load_explicit(&share->left, memory_order_relaxed), rest;
  do {
    const uint64_t first = left >> 32, last = (uint32_t)left, half = (last - first + 1) / 2;
    if (first >= last) return 0;
    *begin = (int64_t)(own ? first : last - half);
    *end = (int64_t)(own ? first + half : last);
    rest = own ? (first + half) << 32 | last : first << 32 | (last - half);
  } while (!atomic_compare_exchange_weak_explicit(&share->left, &left, rest, memory_order_relaxed, memory_order_relaxed));
  return 1;
}

/* Chunks of the loop, those of share `home` first, until nothing is left. */
static void byoc_work(const ByocLoop *loop, int home) {
  for (int i = 0; i < loop->count; ++i)
    for (int64_t begin, end; byoc_take(&loop->shares[(home + i) % loop->count], i == 0, &begin, &end);)
      loop->fn(begin * loop->grain, byoc_min(end * loop->grain, loop->n), loop->ctx);
}

/* Whether worker number `home` was of use to the loop.  The loop's place may be another loop's by then, or nobody's. */
static int byoc_help(ByocLoop *loop, int home) {
  uint32_t helpers = atomic_load(&loop->helpers.value);
  do
    if (!(helpers & byoc_open)) return 0;
  while (!atomic_compare_exchange_weak(&loop->helpers.value, &helpers, helpers + 1));
  const int needed = (helpers & ~byoc_open) + 1 < (uint32_t)loop->count;
  if (needed) {
    byoc_work(loop, home);
    atomic_fetch_and(&loop->helpers.value, ~byoc_open);
  }
  atomic_fetch_sub(&loop->helpers.value, 1);
  byoc_wake(&loop->helpers, 1);
  return needed;
}

static void *byoc_worker(void *number) {
  for (;;) {
    const uint32_t seen = atomic_load(&byoc_pool.news.value);
    if (atomic_load(&byoc_pool.stopped)) return NULL;
    int helped = 0;
    for (uint64_t loops = atomic_load(&byoc_pool.claimed); loops; loops &= loops - 1)
      helped |= byoc_help(&byoc_pool.loops[__builtin_ctzll(loops)], (int)(intptr_t)number);
    if (!helped) byoc_await(&byoc_pool.news, seen);
  }
}

/* The child has the thread that forked and no other. */
static void byoc_after_fork(void) {
  for (int i = 0; i < BYOC_LOOPS; ++i) {
    atomic_store(&byoc_pool.loops[i].helpers.value, 0);
    atomic_store(&byoc_pool.loops[i].helpers.sleepers, 0);
  }
  atomic_store(&byoc_pool.claimed, 0);
  atomic_store(&byoc_pool.news.sleepers, 0);
  atomic_store(&byoc_pool.hired, 0);
  pthread_mutex_init(&byoc_pool.hiring, NULL);
}

/* Let there be so many workers, or as many as the system gives. */
static void byoc_hire(int wanted) {
  static int watching_forks;
  if (atomic_load_explicit(&byoc_pool.hired, memory_order_acquire) >= wanted) return;
  sigset_t all, before;
  sigfillset(&all);
  pthread_mutex_lock(&byoc_pool.hiring);
  if (!watching_forks) watching_forks = pthread_atfork(NULL, NULL, byoc_after_fork) == 0;
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the program's own threads */
  int hired = atomic_load(&byoc_pool.hired);
  while (hired < wanted && !atomic_load(&byoc_pool.stopped) &&
         pthread_create(&byoc_pool.workers[hired], NULL, byoc_worker, (void *)(intptr_t)(hired + 1)) == 0)
    ++hired;
  atomic_store(&byoc_pool.hired, hired);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_mutex_unlock(&byoc_pool.hiring);
}

/* When the library is unloaded: its code must not vanish under a thread. */
__attribute__((destructor)) static void byoc_dismiss(void) {
  pthread_mutex_lock(&byoc_pool.hiring);
  atomic_store(&byoc_pool.stopped, 1);
  pthread_mutex_unlock(&byoc_pool.hiring);
  atomic_fetch_add(&byoc_pool.news.value, 1);
  byoc_wake(&byoc_pool.news, BYOC_MOST_THREADS);
  for (int i = 0; i < atomic_load(&byoc_pool.hired); ++i) pthread_join(byoc_pool.workers[i], NULL);
}

static int byoc_processors(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static void byoc_use_threads(int threads) {
  atomic_store(&byoc_pool.most, (int)byoc_min(byoc_max(threads, byoc_processors()), BYOC_MOST_THREADS) - 1);
  atomic_store(&byoc_pool.threads, threads);
}

int byoc_threads(void) {
  int threads = atomic_load_explicit(&byoc_pool.threads, memory_order_relaxed);
  if (threads == 0) {
    const char *told = getenv("BYOC_NUM_THREADS");
    if (told == NULL || atoi(told) < 1) told = getenv("TVM_NUM_THREADS");
    threads = told != NULL && atoi(told) > 0 ? atoi(told) : byoc_processors();
    byoc_use_threads(threads);
  }
  return threads;
}

/* Works on an open loop until all of it is done. */
static void byoc_run(ByocLoop *loop) {
  const int64_t began = byoc_now();
  byoc_work(loop, 0);
  uint32_t inside = atomic_fetch_and(&loop->helpers.value, ~byoc_open) & ~byoc_open;
  if (inside == 0) return;
  const int64_t closed = byoc_now();
  do {
    byoc_await(&loop->helpers, inside);
    inside = atomic_load(&loop->helpers.value);
  } while (inside);
  const int64_t ended = byoc_now();
  if (ended - closed > byoc_max(BYOC_STALL, closed - began))
    atomic_store_explicit(&byoc_pool.crowded, ended + BYOC_CROWDED_FOR, memory_order_relaxed);
}

void byoc_parallel_for(int64_t n, int64_t grain, byoc_range_fn fn, void *ctx) {
  if (grain < 1) grain = 1;
  const int64_t chunks = n / grain + (n % grain > 0);
  const int threads = (int)byoc_min(byoc_min(byoc_threads(), BYOC_MOST_THREADS), chunks);
  uint64_t claimed = atomic_load(&byoc_pool.claimed);
  do
    if (threads < 2 || chunks > INT32_MAX || ~claimed == 0) {
      if (n > 0) fn(0, n, ctx);
      return;
    }
  while (!atomic_compare_exchange_weak(&byoc_pool.claimed, &claimed, claimed | (claimed + 1)));
  const int place = __builtin_ctzll(~claimed), loops = __builtin_popcountll(claimed) + 1;
  ByocLoop *loop = &byoc_pool.loops[place];
  ByocShare shares[threads];
  for (int64_t i = 0; i < threads; ++i)
    atomic_init(&shares[i].left, (uint64_t)(chunks * i / threads) << 32 | (uint64_t)(chunks * (i + 1) / threads));
  loop->fn = fn, loop->ctx = ctx, loop->n = n, loop->grain = grain, loop->count = threads, loop->shares = shares;
  atomic_store(&loop->helpers.value, byoc_open);
  byoc_hire((int)byoc_min((int64_t)loops * (threads - 1), atomic_load_explicit(&byoc_pool.most, memory_order_relaxed)));
  atomic_fetch_add(&byoc_pool.news.value, 1);
  byoc_wake(&byoc_pool.news, threads - 1);
  byoc_run(loop);
  atomic_fetch_and(&byoc_pool.claimed, ~(UINT64_C(1) << place));
}

/* A loop of host code, as TVM's compiler writes it: task(i, group, data) for each of the group's tasks. */
typedef int (*ByocTask)(int i, void *group, void *data);
typedef struct {
  struct {
    void *barriers;
    int32_t tasks;
  } group;
  ByocTask task;
  void *data;
  _Atomic int code; /* of the first task that failed, and what it raised */
  TVMFFIObjectHandle raised;
} ByocHostLoop;

static void byoc_host_range(int64_t begin, int64_t end, void *ctx) {
  ByocHostLoop *loop = (ByocHostLoop *)ctx;
  for (int64_t i = begin; i < end; ++i) {
    int code = loop->task((int)i, &loop->group, loop->data), none = 0;
    if (code && atomic_compare_exchange_strong(&loop->code, &none, code)) TVMFFIErrorMoveFromRaised(&loop->raised);
  }
}

static int byoc_host_launch(ByocTask task, void *data, int tasks) {
  if (tasks < 1) tasks = byoc_threads() > 1 ? byoc_threads() * BYOC_HOST_TASKS : 1;
  ByocHostLoop loop = {{NULL, tasks}, task, data, 0, NULL};
  byoc_parallel_for(tasks, 1, byoc_host_range, &loop);
  if (loop.raised != NULL) {
    TVMFFIErrorSetRaised(loop.raised);
    TVMFFIObjectDecRef(loop.raised);
  }
  return loop.code;
}

/* Host code launches its loops through this.  TVM gives libraries that show the name a launch of its own. */
__attribute__((visibility("hidden"))) int (*__TVMBackendParallelLaunch)(ByocTask, void *, int) = byoc_host_launch;

#endif /* BYOC_THREADS_H_ */
