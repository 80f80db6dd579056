/* One chosen system call of the process fails, happens and fails, is the last one, or waits.
 *
 * LD_PRELOAD; the orders come through a file mapped by both sides ($COUNTERSIGN_SHIM), so that a test can give them
 * while the server runs. Only calls through libc are seen: that is all of RocksDB and of Rust's standard library.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum call { WRITE = 1, PWRITE, FDATASYNC, FSYNC, SEND };
enum mode { FAIL = 1, HAPPEN_AND_FAIL, DIE_BEFORE, DIE_AFTER, TEAR_AND_DIE, TEAR_AND_FAIL, SHORT, STALL };

struct orders {
    _Atomic int armed;   /* 1: look at calls */
    int call;            /* which call */
    int nth;             /* the nth that fits, from 1 */
    int sticky;          /* and every one after it */
    int mode;
    int error;           /* errno */
    _Atomic int seen;    /* calls that fitted */
    _Atomic int struck;  /* calls that were changed */
    _Atomic int release; /* 1: stalled calls go on */
    char path[110];      /* fits if the file's path contains this */
    char suffix[110];    /* and ends with this */
    char bytes[220];     /* and if the data contain this; empty: any */
};

static struct orders *orders;

__attribute__((constructor)) static void map_orders(void) {
    const char *path = getenv("COUNTERSIGN_SHIM");
    if (path == NULL) return;
    int fd = open(path, O_RDWR);
    if (fd < 0) abort();
    orders = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (orders == MAP_FAILED) abort();
    close(fd);
}

static int fits(int fd, const char *data, size_t length) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    size_t tail = strlen(orders->suffix);
    if (strstr(path, orders->path) == NULL || (size_t)n < tail || strcmp(path + n - tail, orders->suffix) != 0) return 0;
    return orders->bytes[0] == 0 || (data != NULL && memmem(data, length, orders->bytes, strlen(orders->bytes)) != NULL);
}

/* What to do with this call; 0: nothing special. */
static int verdict(enum call call, int fd, const char *data, size_t length) {
    if (orders == NULL || !atomic_load(&orders->armed) || (enum call)orders->call != call) return 0;
    int saved = errno, mode = 0;
    if (fits(fd, data, length)) {
        int nth = atomic_fetch_add(&orders->seen, 1) + 1;
        if (nth == orders->nth || (orders->sticky && nth > orders->nth)) {
            atomic_fetch_add(&orders->struck, 1);
            mode = orders->mode;
        }
    }
    errno = saved;
    return mode;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void stall(void) {
    while (!atomic_load(&orders->release)) usleep(1000);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* `whole` does the call, `half` does half of it. */
#define STRIKE(mode, whole, half)                                                              \
    switch (mode) {                                                                            \
    case FAIL: errno = orders->error; return -1;                                               \
    case HAPPEN_AND_FAIL: (void)!(whole); errno = orders->error; return -1;                    \
    case DIE_BEFORE: die(); break;                                                             \
    case DIE_AFTER: (void)!(whole); die(); break;                                              \
    case TEAR_AND_DIE: (void)!(half); die(); break;                                            \
    case TEAR_AND_FAIL: (void)!(half); errno = orders->error; return -1;                       \
    case SHORT: return (half);                                                                 \
    case STALL: stall(); break;                                                                \
    default: break;                                                                            \
    }

ssize_t write(int fd, const void *data, size_t length) {
    __typeof__(&write) real = REAL(write);
    STRIKE(verdict(WRITE, fd, data, length), real(fd, data, length), real(fd, data, length / 2));
    STRIKE(verdict(SEND, fd, data, length), real(fd, data, length), real(fd, data, length / 2));
    return real(fd, data, length);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) {
    __typeof__(&pwrite64) real = REAL(pwrite64);
    STRIKE(verdict(PWRITE, fd, data, length), real(fd, data, length, at), real(fd, data, length / 2, at));
    return real(fd, data, length, at);
}

int fdatasync(int fd) {
    __typeof__(&fdatasync) real = REAL(fdatasync);
    STRIKE(verdict(FDATASYNC, fd, NULL, 0), real(fd), 0);
    return real(fd);
}

int fsync(int fd) {
    __typeof__(&fsync) real = REAL(fsync);
    STRIKE(verdict(FSYNC, fd, NULL, 0), real(fd), 0);
    return real(fd);
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
    __typeof__(&send) real = REAL(send);
    STRIKE(verdict(SEND, fd, data, length), real(fd, data, length, flags), real(fd, data, length / 2, flags));
    return real(fd, data, length, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    __typeof__(&writev) real = REAL(writev);
    struct iovec first = count > 0 ? parts[0] : (struct iovec){0};
    struct iovec part = {first.iov_base, first.iov_len / 2};
    STRIKE(verdict(SEND, fd, first.iov_base, first.iov_len), real(fd, parts, count), real(fd, &part, 1));
    return real(fd, parts, count);
}
