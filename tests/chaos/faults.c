/* Makes calls of the system fail below a folder, and the clock jump; see faults.py.

   Loaded before other libraries (LD_PRELOAD), it stands between a program and libc. It
   reads its settings when a process starts, and again in each process that is forked. */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static char under[PATH_MAX], calls[512];
static int number;             /* the error */
static long first, last;       /* which of the calls fail */
static atomic_long seen;       /* calls so far */
static atomic_long *counted;   /* the same, for the test to read */
static double *offset;         /* of the clock, for the test to set */

#define REAL(name)                                            \
  ({                                                          \
    static typeof(&name) real;                                \
    real ? real : (real = (typeof(&name))dlsym(RTLD_NEXT, #name)); \
  })

static void *shared(const char *path) {
  int file = REAL(open)(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return NULL;
  void *at = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  REAL(close)(file);
  return at == MAP_FAILED ? NULL : at;
}

static void configure(void) {
  under[0] = calls[0] = 0;
  seen = 0;
  counted = NULL;
  offset = NULL;
  const char *path = getenv("FAULTS");
  FILE *file = path ? REAL(fopen)(path, "re") : NULL;
  char line[PATH_MAX + 64];
  if (!file) return;
  char wanted[PATH_MAX] = "";
  while (fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    char *value = strchr(line, '=');
    if (!value) continue;
    *value++ = 0;
    if (!strcmp(line, "under")) strcpy(wanted, value);
    if (!strcmp(line, "calls")) snprintf(calls, sizeof calls, ",%s,", value);
    if (!strcmp(line, "errno")) number = atoi(value);
    if (!strcmp(line, "first")) first = atol(value);
    if (!strcmp(line, "last")) last = atol(value);
    if (!strcmp(line, "counted")) counted = shared(value);
    if (!strcmp(line, "clock")) offset = shared(value);
  }
  fclose(file);
  strcpy(under, wanted);
}

__attribute__((constructor)) static void start(void) {
  configure();
  pthread_atfork(NULL, NULL, configure);
}

/* Whether this call is to fail; then errno is set. */
static int fails(const char *call, const char *path) {
  if (!under[0] || !path || !strstr(path, under)) return 0;
  char word[32];
  snprintf(word, sizeof word, ",%s,", call);
  if (!strstr(calls, word)) return 0;
  long place = atomic_fetch_add(&seen, 1);
  if (counted) atomic_fetch_add(counted, 1);
  if (place < first || place > last) return 0;
  errno = number;
  return 1;
}

static int fails_at(const char *call, int folder, const char *path) {
  if (!under[0] || !path) return 0;
  if (path[0] == '/') return fails(call, path);
  char link[64], whole[2 * PATH_MAX] = "";
  if (folder == AT_FDCWD) {
    if (!getcwd(whole, PATH_MAX)) return 0;
  } else {
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t size = readlink(link, whole, PATH_MAX - 1);
    if (size < 0) return 0;
    whole[size] = 0;
  }
  strcat(whole, "/");
  strncat(whole, path, PATH_MAX - 1);
  return fails(call, whole);
}

static int fails_in(const char *call, int file) {
  if (!under[0]) return 0;
  int before = errno;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t size = readlink(link, path, sizeof path - 1);
  errno = before;
  if (size < 0) return 0;
  path[size] = 0;
  return fails(call, path);
}

/* 'create' is an open that may make a file. */
#define OPEN(name, folder, ...)                                               \
  mode_t mode = 0;                                                            \
  if (flags & (O_CREAT | O_TMPFILE)) {                                        \
    va_list more;                                                             \
    va_start(more, flags);                                                    \
    mode = va_arg(more, mode_t);                                              \
    va_end(more);                                                             \
  }                                                                           \
  if (fails_at(flags & O_CREAT ? "create" : "open", folder, path)) return -1; \
  return REAL(name)(__VA_ARGS__, mode);

int open(const char *path, int flags, ...) { OPEN(open, AT_FDCWD, path, flags) }
int open64(const char *path, int flags, ...) { OPEN(open64, AT_FDCWD, path, flags) }
int openat(int at, const char *path, int flags, ...) { OPEN(openat, at, at, path, flags) }
int openat64(int at, const char *path, int flags, ...) {
  OPEN(openat64, at, at, path, flags)
}

#define PATHWISE(type, bad, name, call, at, path, given, passed) \
  type name given {                                              \
    if (fails_at(call, at, path)) return bad;                    \
    return REAL(name) passed;                                    \
  }
PATHWISE(int, -1, mkdir, "mkdir", AT_FDCWD, p, (const char *p, mode_t m), (p, m))
PATHWISE(int, -1, mkdirat, "mkdir", d, p, (int d, const char *p, mode_t m), (d, p, m))
PATHWISE(int, -1, rename, "rename", AT_FDCWD, b, (const char *a, const char *b), (a, b))
PATHWISE(int, -1, renameat, "rename", e, b, (int d, const char *a, int e, const char *b),
         (d, a, e, b))
PATHWISE(int, -1, renameat2, "rename", e, b,
         (int d, const char *a, int e, const char *b, unsigned f), (d, a, e, b, f))
PATHWISE(DIR *, NULL, opendir, "opendir", AT_FDCWD, p, (const char *p), (p))
PATHWISE(FILE *, NULL, fopen, "open", AT_FDCWD, p, (const char *p, const char *m), (p, m))
PATHWISE(FILE *, NULL, fopen64, "open", AT_FDCWD, p, (const char *p, const char *m), (p, m))

#define FILEWISE(type, name, call, given, passed) \
  type name given {                               \
    if (fails_in(call, f)) return -1;             \
    return REAL(name) passed;                     \
  }
FILEWISE(ssize_t, write, "write", (int f, const void *b, size_t n), (f, b, n))
FILEWISE(ssize_t, pwrite, "write", (int f, const void *b, size_t n, off_t o), (f, b, n, o))
FILEWISE(ssize_t, pwrite64, "write", (int f, const void *b, size_t n, off64_t o),
         (f, b, n, o))
FILEWISE(ssize_t, writev, "write", (int f, const struct iovec *v, int n), (f, v, n))
FILEWISE(ssize_t, pwritev, "write", (int f, const struct iovec *v, int n, off_t o),
         (f, v, n, o))
FILEWISE(ssize_t, read, "read", (int f, void *b, size_t n), (f, b, n))
FILEWISE(ssize_t, pread, "read", (int f, void *b, size_t n, off_t o), (f, b, n, o))
FILEWISE(ssize_t, pread64, "read", (int f, void *b, size_t n, off64_t o), (f, b, n, o))
FILEWISE(ssize_t, readv, "read", (int f, const struct iovec *v, int n), (f, v, n))
FILEWISE(ssize_t, preadv, "read", (int f, const struct iovec *v, int n, off_t o),
         (f, v, n, o))
FILEWISE(int, fsync, "sync", (int f), (f))
FILEWISE(int, fdatasync, "sync", (int f), (f))

/* Only Python sees another time. The kernel does not: threads of C++ that compute with
   it until when they wait would wait for days, or not at all. */
static int is_python(void *caller) {
  Dl_info found;
  if (!dladdr(caller, &found) || !found.dli_fname) return 0;
  const char *name = strrchr(found.dli_fname, '/');
  name = name ? name + 1 : found.dli_fname;
  return !strncmp(name, "python", 6) || !strncmp(name, "libpython", 9);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = REAL(clock_gettime)(clock, now);
  if (!result && offset && clock == CLOCK_REALTIME &&
      is_python(__builtin_return_address(0)))
    now->tv_sec += (time_t)*offset;
  return result;
}
