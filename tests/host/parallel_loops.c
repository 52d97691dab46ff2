/* Drives byoc_threads.h: parallel_loops CASE.  Prints "done". */
#include "byoc_threads.h"

#include <stdio.h>
#include <sys/wait.h>

static int raised, reported;
void TVMFFIErrorMoveFromRaised(TVMFFIObjectHandle *error) { *error = &raised; }
void TVMFFIErrorSetRaised(TVMFFIObjectHandle error) { reported = error == &raised; }
int TVMFFIObjectDecRef(TVMFFIObjectHandle error) { return error != &raised; }

static void fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(2);
}

typedef struct {
  int64_t n, grain;
  int *count; /* how often each element was worked on */
} Counted;

static void count_range(int64_t begin, int64_t end, void *ctx) {
  const Counted *c = (const Counted *)ctx;
  if (begin >= end || end > c->n || begin % c->grain || (end % c->grain && end != c->n)) fail("a range that is none");
  for (int64_t i = begin; i < end; ++i) ++c->count[i];
}

/* Every element of loops of many sizes is worked on once. */
static void count_once(void) {
  enum { MOST = 300 };
  int count[MOST];
  for (int64_t n = 0; n < MOST; n += 1 + n / 7)
    for (int64_t grain = 1; grain < MOST; grain += 1 + grain / 3) {
      memset(count, 0, sizeof count);
      Counted c = {n, grain, count};
      byoc_parallel_for(n, grain, count_range, &c);
      for (int64_t i = 0; i < MOST; ++i)
        if (count[i] != (i < n)) fail("an element was left out or done twice");
    }
}

static void *count_often(void *rounds) {
  for (int i = 0; i < (int)(intptr_t)rounds; ++i) count_once();
  return NULL;
}

static void from_many_threads(void) {
  pthread_t callers[8];
  for (int i = 0; i < 8; ++i) pthread_create(&callers[i], NULL, count_often, (void *)(intptr_t)3);
  for (int i = 0; i < 8; ++i) pthread_join(callers[i], NULL);
}

static void nested_range(int64_t begin, int64_t end, void *ctx) {
  (void)ctx;
  for (int64_t i = begin; i < end; ++i) count_once();
}

/* A part of the work waits long enough for all others to fall asleep. */
static void slow_range(int64_t begin, int64_t end, void *ctx) {
  struct timespec long_enough = {0, 2000000};
  if (begin == 0) nanosleep(&long_enough, NULL);
  *(_Atomic int64_t *)ctx += end - begin;
}
static void with_pauses(void) {
  for (int i = 0; i < 20; ++i) {
    _Atomic int64_t sum = 0;
    byoc_parallel_for(64, 1, slow_range, (void *)&sum);
    if (sum != 64) fail("a loop ended before its work");
    struct timespec pause = {0, 1000000};
    nanosleep(&pause, NULL);
  }
}

static int failing_task(int i, void *group, void *data) {
  (void)data;
  return i == ((struct { void *barriers; int32_t tasks; } *)group)->tasks - 1 ? -7 : 0;
}
static int sound_task(int i, void *group, void *data) {
  (void)group;
  *(_Atomic int *)data += 1 << i;
  return 0;
}
static void of_the_host(void) {
  if (__TVMBackendParallelLaunch(failing_task, NULL, 0) != -7 || !reported) fail("a failure was lost");
  _Atomic int tasks = 0;
  if (__TVMBackendParallelLaunch(sound_task, (void *)&tasks, 5) != 0 || tasks != 31) fail("a task was left out");
}

static void after_a_fork(void) {
  count_once();
  pid_t child = fork();
  if (child == 0) {
    count_once();
    exit(0); /* dismisses the child's threads */
  }
  int status = 1;
  if (waitpid(child, &status, 0) != child || status != 0) fail("the child of a fork failed");
  count_once();
}

int main(int argc, char **argv) {
  const char *which = argc == 2 ? argv[1] : "";
  if (!strcmp(which, "once")) count_once();
  else if (!strcmp(which, "callers")) from_many_threads();
  else if (!strcmp(which, "nested")) byoc_parallel_for(8, 1, nested_range, NULL);
  else if (!strcmp(which, "pauses")) with_pauses();
  else if (!strcmp(which, "host")) of_the_host();
  else if (!strcmp(which, "fork")) after_a_fork();
  else fail("no such case");
  puts("done");
  return 0;
}
