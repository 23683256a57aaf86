/* Between a process and the C library: counts every change to files below a folder, and at one of them dies,
 * refuses, refuses all from there on (so that the disk is as a crash leaves it), or writes all of them down. Loaded by LD_PRELOAD; told what to do by `faults_arm`. What a change is:
 * making, writing, truncating, renaming, linking, removing or syncing a file or folder. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, DIE_BEFORE, DIE_AFTER, REFUSE, DEAD };
static char below[4096];
static size_t below_length;
static long counted, chosen;
static int mode, answer, armed, trace = -1;
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

/* mode: COUNT, ...; at: which change, from 1; error: errno of a refusal; log: file for all changes, or "" */
void faults_arm(const char *folder, int how, long at, int error, const char *log) {
    strncpy(below, folder, sizeof below - 1);
    below_length = strlen(below);
    counted = 0, mode = how, chosen = at, answer = error;
    trace = *log ? (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    armed = 1;
}

long faults_count(void) { return counted; }
void faults_disarm(void) { armed = 0; }

static int path_of(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, 4095);
    if (n < 0) return 0;
    out[n] = 0;
    return 1;
}

static int path_at(int fd, const char *name, char *out) {
    if (!name) return 0;
    if (name[0] == '/') { strncpy(out, name, 4095); out[4095] = 0; return 1; }
    if (fd == AT_FDCWD) { if (!getcwd(out, 4000)) return 0; }
    else if (!path_of(fd, out)) return 0;
    size_t n = strlen(out);
    snprintf(out + n, 4096 - n, "/%s", name);
    return 1;
}

static int ours(const char *path) { return armed && !strncmp(path, below, below_length); }

static void put(const void *data, size_t length) {
    const char *at = data;
    while (length) {
        ssize_t n = syscall(SYS_write, trace, at, length);
        if (n <= 0) break;
        at += n, length -= (size_t)n;
    }
}

static void write_down(char what, const char *one, const char *other, long offset, const void *data, long length) {
    if (trace < 0) return;
    int sizes[2] = {(int)strlen(one), (int)strlen(other)};
    long numbers[2] = {offset, length};
    pthread_mutex_lock(&counting);
    put(&what, 1), put(sizes, sizeof sizes), put(numbers, sizeof numbers);
    put(one, (size_t)sizes[0]), put(other, (size_t)sizes[1]);
    if (data) put(data, (size_t)length);
    pthread_mutex_unlock(&counting);
}

/* 1 where the change must be refused; `last` is kept until it is done. */
static int before(long *number) {
    pthread_mutex_lock(&counting);
    *number = ++counted;
    pthread_mutex_unlock(&counting);
    if (mode == DEAD && *number >= chosen) { errno = EIO; return 1; }
    if (*number != chosen) return 0;
    if (mode == DIE_BEFORE) syscall(SYS_exit_group, 137);
    if (mode == REFUSE) { errno = answer; return 1; }
    return 0;
}

static void after(long number) {
    if (number == chosen && mode == DIE_AFTER) syscall(SYS_exit_group, 137);
}

static int opened(int fd, const char *name, int flags, mode_t bits) {
    char path[4096];
    int touches = (flags & (O_CREAT | O_TRUNC)) && (flags & O_TMPFILE) != O_TMPFILE;
    if (!touches || !path_at(fd, name, path) || !ours(path))
        return (int)syscall(SYS_openat, fd, name, flags, bits);
    struct stat seen;
    int was = !stat(path, &seen);
    if (was && !(flags & O_TRUNC)) return (int)syscall(SYS_openat, fd, name, flags, bits);
    long number;
    if (before(&number)) return -1;
    int made = (int)syscall(SYS_openat, fd, name, flags, bits);
    if (made >= 0) write_down(was ? 'T' : 'C', path, "", 0, NULL, 0);
    after(number);
    return made;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list list; va_start(list, flags); mode_t bits = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(list, mode_t) : 0; \
        va_end(list); return opened(AT_FDCWD, path, flags, bits); }
#define OPENAT(name) \
    int name(int fd, const char *path, int flags, ...) { \
        va_list list; va_start(list, flags); mode_t bits = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(list, mode_t) : 0; \
        va_end(list); return opened(fd, path, flags, bits); }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
int creat(const char *path, mode_t bits) { return opened(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, bits); }

static ssize_t written(int fd, const void *data, size_t length, off_t offset) {
    char path[4096];
    int placed = offset >= 0;
    if (!armed || !path_of(fd, path) || !ours(path))
        return placed ? syscall(SYS_pwrite64, fd, data, length, offset) : syscall(SYS_write, fd, data, length);
    long number;
    if (before(&number)) return -1;
    off_t at = offset;
    if (!placed) {
        struct stat seen;
        at = (fcntl(fd, F_GETFL) & O_APPEND) && !fstat(fd, &seen) ? seen.st_size : lseek(fd, 0, SEEK_CUR);
    }
    ssize_t n = placed ? syscall(SYS_pwrite64, fd, data, length, offset) : syscall(SYS_write, fd, data, length);
    if (n > 0) write_down('W', path, "", at, data, n);
    after(number);
    return n;
}

ssize_t write(int fd, const void *data, size_t length) { return written(fd, data, length, -1); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return written(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return written(fd, data, length, offset); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        if (!parts[i].iov_len) continue;
        ssize_t n = written(fd, parts[i].iov_base, parts[i].iov_len, -1);
        if (n < 0) return total ? total : n;
        total += n;
        if ((size_t)n < parts[i].iov_len) break;
    }
    return total;
}

#define CHANGE(what, one, other, offset, call) \
    long number; \
    if (before(&number)) return -1; \
    int done = (int)(call); \
    if (!done) write_down(what, one, other, offset, NULL, 0); \
    after(number); \
    return done

static int renamed(int a, const char *from, int b, const char *to, unsigned flags) {
    char one[4096], other[4096];
    if (!armed || !path_at(a, from, one) || !path_at(b, to, other) || !(ours(one) || ours(other)))
        return (int)syscall(SYS_renameat2, a, from, b, to, flags);
    CHANGE('R', one, other, 0, syscall(SYS_renameat2, a, from, b, to, flags));
}
int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return renamed(a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return renamed(a, from, b, to, flags); }

int mkdirat(int fd, const char *name, mode_t bits) {
    char path[4096];
    struct stat seen;
    if (!armed || !path_at(fd, name, path) || !ours(path) || !stat(path, &seen)) return (int)syscall(SYS_mkdirat, fd, name, bits);
    CHANGE('M', path, "", 0, syscall(SYS_mkdirat, fd, name, bits));
}
int mkdir(const char *name, mode_t bits) { return mkdirat(AT_FDCWD, name, bits); }

int unlinkat(int fd, const char *name, int flags) {
    char path[4096];
    struct stat seen;
    if (!armed || !path_at(fd, name, path) || !ours(path) || lstat(path, &seen)) return (int)syscall(SYS_unlinkat, fd, name, flags);
    CHANGE((flags & AT_REMOVEDIR) ? 'D' : 'U', path, "", 0, syscall(SYS_unlinkat, fd, name, flags));
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int remove(const char *name) {
    struct stat seen;
    return unlinkat(AT_FDCWD, name, !lstat(name, &seen) && S_ISDIR(seen.st_mode) ? AT_REMOVEDIR : 0);
}

int ftruncate(int fd, off_t length) {
    char path[4096];
    if (!armed || !path_of(fd, path) || !ours(path)) return (int)syscall(SYS_ftruncate, fd, length);
    CHANGE('t', path, "", length, syscall(SYS_ftruncate, fd, length));
}
int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

static int synced(int fd, long call) {
    char path[4096];
    if (!armed || !path_of(fd, path) || !ours(path)) return (int)syscall(call, fd);
    CHANGE('S', path, "", 0, 0 * call); /* syncing itself is left out: no test outlives the power */
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

int symlinkat(const char *to, int fd, const char *name) {
    char path[4096];
    if (!armed || !path_at(fd, name, path) || !ours(path)) return (int)syscall(SYS_symlinkat, to, fd, name);
    CHANGE('L', path, "", 0, syscall(SYS_symlinkat, to, fd, name));
}
int symlink(const char *to, const char *name) { return symlinkat(to, AT_FDCWD, name); }
