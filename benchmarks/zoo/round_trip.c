/* Prints how many nanoseconds a cache line takes from one processor to another and back: the median of some rows of round
 * trips.  Arguments: the two processors. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROWS = 21, TRIPS = 5000 };

static _Alignas(64) atomic_int line;

static void stay_on(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  sched_setaffinity(0, sizeof set, &set);
}

static void await(int value) {
  while (atomic_load_explicit(&line, memory_order_acquire) != value) {
  }
}

static void *answer(void *processor) {
  stay_on(*(int *)processor);
  for (int i = 0; i < ROWS * TRIPS; ++i) {
    await(2 * i + 1);
    atomic_store_explicit(&line, 2 * i + 2, memory_order_release);
  }
  return NULL;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  int other = atoi(arguments[2]);
  double rows[ROWS];
  pthread_t thread;
  stay_on(atoi(arguments[1]));
  if (pthread_create(&thread, NULL, answer, &other) != 0) return 1;
  for (int row = 0; row < ROWS; ++row) {
    const double begin = now();
    for (int i = row * TRIPS; i < (row + 1) * TRIPS; ++i) {
      atomic_store_explicit(&line, 2 * i + 1, memory_order_release);
      await(2 * i + 2);
    }
    rows[row] = (now() - begin) / TRIPS;
  }
  pthread_join(thread, NULL);
  qsort(rows, ROWS, sizeof *rows, compare);
  printf("%.0f\n", rows[ROWS / 2]);
  return 0;
}
