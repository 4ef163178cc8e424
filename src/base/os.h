/* SPDX-License-Identifier: MIT */
/* The seam to the file system, where tests make the nth call fail, fall short or crash.
 *
 * Code that must survive a failing disk calls `os->write(...)`. The calls are those of POSIX,
 * but return a negative errno value instead of -1, and are restarted after EINTR. Any thread. */
#ifndef TARE_BASE_OS_H
#define TARE_BASE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

struct os_ops {
    int (*open)(const char *path, int flags, mode_t mode); /* fd (close-on-exec is added) */
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *to, size_t n);
    ssize_t (*pread)(int fd, void *to, size_t n, off_t at);
    ssize_t (*write)(int fd, const void *p, size_t n); /* may be short */
    ssize_t (*pwrite)(int fd, const void *p, size_t n, off_t at);
    ssize_t (*writev)(int fd, const struct iovec *v, int n);
    int (*fsync)(int fd);
    int (*ftruncate)(int fd, off_t size);
    int (*fstat)(int fd, struct stat *to);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*symlink)(const char *target, const char *path);
};

extern const struct os_ops *os; /* the real calls unless a test has put its own here */
extern const struct os_ops os_real;

/* Write all `n` bytes, going on after short writes. 0 or a negative errno value; *written, if
 * not NULL, says how many bytes went out even on failure. */
int os_write_all(int fd, const void *p, size_t n, size_t *written);
/* The same at offset `at` of a file. */
int os_pwrite_all(int fd, const void *p, size_t n, uint64_t at, size_t *written);

/* Large copies that go past the page cache, where whoever else works on this machine has better use for the memory (Linux;
 * not on every file system). Offsets, lengths and the memory must then be multiples of OS_DIRECT_ALIGN, or it is EINVAL. */
#define OS_DIRECT_ALIGN ((size_t)4096)
#define OS_DIRECT_MIN_BYTES (16 << 20) /* of a file: less is not worth it */

/* From now on, or no longer. What holds then. */
bool os_set_direct(int fd, bool is_direct);
/* The aligned address in a piece of memory that is OS_DIRECT_ALIGN longer than what is needed; NULL of NULL. */
char *os_align(char *memory);

/* mkdir -p. 0 or a negative errno value; an existing directory is no error. */
int os_mkdirs(const char *path, mode_t mode);

/* Write a whole file so that a reader sees all of it or none: temporary file and rename. */
int os_write_file(const char *path, const void *p, size_t n, mode_t mode);

struct buf;
/* Read a whole file of at most `limit_bytes` into `to` (appended). 0, TARE_ELIMIT, TARE_ENOMEM or
 * a negative errno value. */
int os_read_file(const char *path, size_t limit_bytes, struct buf *to);

#endif
