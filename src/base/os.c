/* SPDX-License-Identifier: MIT */
#include "base/os.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Evaluate a call that returns -1 on failure, again after EINTR, and turn -1 into -errno. */
#define RETRY(call)                             \
    ({                                          \
        __typeof__(call) rc_;                   \
        do                                      \
            rc_ = (call);                       \
        while (rc_ < 0 && errno == EINTR);      \
        rc_ < 0 ? (__typeof__(rc_))-errno : rc_; \
    })

static int real_open(const char *path, int flags, mode_t mode)
{
    return RETRY(open(path, flags | O_CLOEXEC, mode));
}

static int real_close(int fd)
{
    /* Linux closes the descriptor even when interrupted: never try again. */
    return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static ssize_t real_read(int fd, void *to, size_t n)
{
    return RETRY(read(fd, to, n));
}

static ssize_t real_pread(int fd, void *to, size_t n, off_t at)
{
    return RETRY(pread(fd, to, n, at));
}

static ssize_t real_write(int fd, const void *p, size_t n)
{
    return RETRY(write(fd, p, n));
}

static ssize_t real_pwrite(int fd, const void *p, size_t n, off_t at)
{
    return RETRY(pwrite(fd, p, n, at));
}

static ssize_t real_writev(int fd, const struct iovec *v, int n)
{
    return RETRY(writev(fd, v, n));
}

static int real_fsync(int fd)
{
    return RETRY(fsync(fd));
}

static int real_ftruncate(int fd, off_t size)
{
    return RETRY(ftruncate(fd, size));
}

static int real_fstat(int fd, struct stat *to)
{
    return RETRY(fstat(fd, to));
}

static int real_rename(const char *from, const char *to)
{
    return RETRY(rename(from, to));
}

static int real_unlink(const char *path)
{
    return RETRY(unlink(path));
}

static int real_mkdir(const char *path, mode_t mode)
{
    return RETRY(mkdir(path, mode));
}

static int real_symlink(const char *target, const char *path)
{
    return RETRY(symlink(target, path));
}

const struct os_ops os_real = {
    .open = real_open,
    .close = real_close,
    .read = real_read,
    .pread = real_pread,
    .write = real_write,
    .pwrite = real_pwrite,
    .writev = real_writev,
    .fsync = real_fsync,
    .ftruncate = real_ftruncate,
    .fstat = real_fstat,
    .rename = real_rename,
    .unlink = real_unlink,
    .mkdir = real_mkdir,
    .symlink = real_symlink,
};

const struct os_ops *os = &os_real;

enum { WHERE_IT_STANDS = -1 };

static int write_all(int fd, const char *p, size_t n, off_t from, size_t *written)
{
    size_t at = 0;
    int rc = 0;
    while (at < n) {
        ssize_t w = from == WHERE_IT_STANDS ? os->write(fd, p + at, n - at) : os->pwrite(fd, p + at, n - at, from + (off_t)at);
        if (w <= 0) {
            rc = w < 0 ? (int)w : -EIO;
            break;
        }
        at += (size_t)w;
    }
    if (written)
        *written = at;
    return rc;
}

int os_write_all(int fd, const void *p, size_t n, size_t *written)
{
    return write_all(fd, p, n, WHERE_IT_STANDS, written);
}

int os_pwrite_all(int fd, const void *p, size_t n, uint64_t at, size_t *written)
{
    return write_all(fd, p, n, (off_t)at, written);
}

bool os_set_direct(int fd, bool is_direct)
{
#ifdef O_DIRECT
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || !!(flags & O_DIRECT) == is_direct)
        return flags >= 0 && is_direct;
    bool is_set = fcntl(fd, F_SETFL, is_direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
    return is_set == is_direct;
#else
    (void)fd, (void)is_direct;
    return false;
#endif
}

char *os_align(char *memory)
{
    return memory ? memory + OS_DIRECT_ALIGN - (uintptr_t)memory % OS_DIRECT_ALIGN : NULL;
}

int os_mkdirs(const char *path, mode_t mode)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return n ? -ENAMETOOLONG : -ENOENT;
    int rc = os->mkdir(path, mode); /* nearly always the parent is there */
    if (rc != -ENOENT)
        goto done;
    memcpy(part, path, n + 1);
    for (char *slash = part + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        rc = os->mkdir(part, mode);
        *slash = '/';
        if (rc < 0 && rc != -EEXIST)
            return rc;
    }
    rc = os->mkdir(path, mode);
done:
    if (rc == -EEXIST) {
        struct stat st;
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
            return 0;
        return -ENOTDIR;
    }
    return rc;
}

int os_write_file(const char *path, const void *p, size_t n, mode_t mode)
{
    char tmp[PATH_MAX];
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.%08x.tmp", path, random_u32()) >= sizeof tmp)
        return -ENAMETOOLONG;
    int fd = os->open(tmp, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (fd < 0)
        return fd;
    int rc = os_write_all(fd, p, n, NULL);
    int closed = os->close(fd);
    if (rc == 0)
        rc = closed;
    if (rc == 0)
        rc = os->rename(tmp, path);
    if (rc < 0)
        os->unlink(tmp);
    return rc;
}

int os_read_file(const char *path, size_t limit_bytes, struct buf *to)
{
    int fd = os->open(path, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    int rc = 0;
    size_t have = 0;
    for (;;) {
        char *at = buf_reserve(to, 16384);
        if (!at) {
            rc = TARE_ENOMEM;
            break;
        }
        ssize_t n = os->read(fd, at, 16384);
        if (n <= 0) {
            rc = (int)n;
            break;
        }
        have += (size_t)n;
        if (have > limit_bytes) {
            rc = TARE_ELIMIT;
            break;
        }
        to->len += (size_t)n;
    }
    os->close(fd);
    return rc;
}
