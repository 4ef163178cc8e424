/* SPDX-License-Identifier: MIT */
/* Preloaded into a service under test: to open, to write and to look at files with "stall" in their path hangs
 * while the file named by TARE_STALL exists, as on a network file system whose server is gone. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <unistd.h>

static void hang_at(const char *path)
{
    const char *flag = getenv("TARE_STALL");
    while (flag && strstr(path, "stall") && access(flag, F_OK) == 0)
        usleep(10000);
}

static void hang(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    hang_at(path);
}

int open64(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, mode_t);
    va_list ap;
    va_start(ap, flags);
    mode_t mode = va_arg(ap, mode_t);
    va_end(ap);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "open64");
    hang_at(path);
    return real(path, flags, mode);
}

ssize_t write(int fd, const void *p, size_t n)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "write");
    hang(fd);
    return real(fd, p, n);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    hang(fd);
    return real(fd, p, n, at);
}

int statvfs64(const char *path, struct statvfs64 *to)
{
    static int (*real)(const char *, struct statvfs64 *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "statvfs64");
    hang_at(path);
    return real(path, to);
}

int statfs64(const char *path, struct statfs64 *to)
{
    static int (*real)(const char *, struct statfs64 *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "statfs64");
    hang_at(path);
    return real(path, to);
}

int stat64(const char *path, struct stat64 *to)
{
    static int (*real)(const char *, struct stat64 *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "stat64");
    hang_at(path);
    return real(path, to);
}

char *realpath(const char *path, char *to)
{
    static char *(*real)(const char *, char *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "realpath");
    hang_at(path);
    return real(path, to);
}
