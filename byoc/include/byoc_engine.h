/* Engines that a codegen builds at first inference, kept in the compile cache: the same folder that Python's
 * Cache().engine_dir(codegen, key) gives.  Any number of processes may build the same engine at once: a file appears
 * whole.  C99 and C++11, POSIX. */
#ifndef BYOC_ENGINE_H_
#define BYOC_ENGINE_H_

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes to `path` the folder for engines of `codegen` under `key` (of Cache.key, 64 hexadecimal digits), and makes it:
 * below $BYOC_CACHE_DIR, else ~/.cache/byoc.  Returns 0, or -1 where there can be none; engines are then built anew in
 * every process. */
static inline __attribute__((unused)) int byoc_engine_dir(const char *codegen, const char *key, char *path,
                                                          size_t size) {
  const char *root = getenv("BYOC_CACHE_DIR"), *home = getenv("HOME");
  int named = root != NULL && root[0] != '\0', n;
  char *slash;
  if (strlen(key) != 64 || strspn(key, "0123456789abcdef") != 64) return -1;
  if (codegen[0] == '\0' || codegen[0] == '.' || strchr(codegen, '/') != NULL) return -1;
  if (!named && (home == NULL || home[0] == '\0')) return -1;
  n = named ? snprintf(path, size, "%s/engines/%s/%s", root, codegen, key)
            : snprintf(path, size, "%s/.cache/byoc/engines/%s/%s", home, codegen, key);
  if (n < 0 || (size_t)n >= size) return -1;
  for (slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    (void)mkdir(path, 0777); /* what is amiss shows at the last one */
    *slash = '/';
  }
  (void)mkdir(path, 0777);
  return access(path, W_OK | X_OK);
}

/* Keeps `nbytes` bytes as the file `name` of an engine's folder, whole or not at all.  Returns 0, or -1. */
static inline __attribute__((unused)) int byoc_engine_keep(const char *folder, const char *name, const void *data,
                                                           size_t nbytes) {
  char part[4096], final[4096];
  int fd, n = snprintf(part, sizeof part, "%s/part-XXXXXX", folder);
  int m = snprintf(final, sizeof final, "%s/%s", folder, name);
  const char *rest = (const char *)data;
  if (n < 0 || m < 0 || (size_t)n >= sizeof part || (size_t)m >= sizeof final) return -1;
  fd = mkstemp(part);
  if (fd < 0) return -1;
  while (nbytes > 0) {
    ssize_t written = write(fd, rest, nbytes);
    if (written <= 0) break;
    rest += written;
    nbytes -= (size_t)written;
  }
  if (close(fd) == 0 && nbytes == 0 && rename(part, final) == 0) return 0;
  (void)unlink(part);
  return -1;
}

#ifdef __cplusplus
}
#endif

#endif /* BYOC_ENGINE_H_ */
