/* What the C of a partition calls: a program (JSON) with its constants becomes a partition that runs.
 *
 * Every function that can fail returns NULL, or a message that stays valid until the calling thread's next call. */
#ifndef BYOC_DNNL_PARTITION_H_
#define BYOC_DNNL_PARTITION_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ByocDnnlPartition ByocDnnlPartition;

/* The partition of a program.  The constants' memory must outlive it. */
const char *byoc_dnnl_create(const char *program, const void *const *constants, ByocDnnlPartition **partition);

/* Run it.  `extents` are the values of the program's symbolic dimensions. */
const char *byoc_dnnl_run(ByocDnnlPartition *partition, const int64_t *extents, void *const *inputs,
                          void *const *outputs);

/* Seconds under which no order of primitives brings the schedule used last: for each op the quickest primitive, oneDNN's or
 * our own, at its best in `repeats` passes over all of them, without the reorders between them; weights are as cold as a run
 * finds them.  0 before there is a schedule. */
const char *byoc_dnnl_floor(ByocDnnlPartition *partition, int64_t repeats, double *seconds);

void byoc_dnnl_destroy(ByocDnnlPartition *partition);

#ifdef __cplusplus
}
#endif
#endif /* BYOC_DNNL_PARTITION_H_ */
