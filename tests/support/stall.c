/* SPDX-License-Identifier: MIT */
/* Preloaded into a service under test: writes to files with "stall" in their path hang while the
 * file named by TARE_STALL exists, as on a network file system whose server is gone. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static void hang(int fd)
{
    char link[64], path[4096];
    const char *flag = getenv("TARE_STALL");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    while (flag && strstr(path, "stall") && access(flag, F_OK) == 0)
        usleep(10000);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    hang(fd);
    return real(fd, p, n, at);
}
