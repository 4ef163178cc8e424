/* SPDX-License-Identifier: MIT */
#include "server/access_log.h"
#include "base/alloc.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_BYTES = 64 << 20, MAX_PATH_TEXT = 300, MAX_METHOD_TEXT = 16 };

struct access_log {
    pthread_mutex_t lock;
    char *path;
    int fd;
    int64_t bytes;
};

static int open_file(struct access_log *l)
{
    struct stat st;
    l->fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    l->bytes = l->fd >= 0 && fstat(l->fd, &st) == 0 ? st.st_size : 0;
    return l->fd < 0 ? -errno : 0;
}

struct access_log *access_log_open(const char *path, struct err *e)
{
    struct access_log *l = xmem_calloc(1, sizeof *l);
    l->path = xmem_strdup(path);
    pthread_mutex_init(&l->lock, NULL);
    int rc = open_file(l);
    if (!rc)
        return l;
    err_set(e, rc, "opening %s: %s", path, err_text(rc));
    access_log_close(l);
    return NULL;
}

void access_log_close(struct access_log *l)
{
    if (!l)
        return;
    if (l->fd >= 0)
        close(l->fd);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->path);
    mem_free(l);
}

/* Under the lock. */
static void turn(struct access_log *l)
{
    char old[4096];
    snprintf(old, sizeof old, "%s.1", l->path);
    close(l->fd);
    rename(l->path, old);
    open_file(l);
}

/* The first `most` bytes of `s`; what a terminal could take for a command, or a reader for a line's end, in hex. */
static void put_plain(char *to, struct str s, size_t most)
{
    for (size_t i = 0; i < s.n && i < most; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c > ' ' && c < 0x7f && c != '\\')
            *to++ = (char)c;
        else
            to += sprintf(to, "\\x%02x", c);
    }
    *to = 0;
}

void access_log_put(struct access_log *l, const struct http_request *r, int status, int64_t bytes)
{
    char line[2000];
    struct tm tm;
    time_t now = time(NULL);
    if (!l)
        return;
    gmtime_r(&now, &tm);
    struct str path = r->route && r->route->secret_path ? str_of(r->route->pattern) : r->path;
    char path_text[4 * MAX_PATH_TEXT + 1], method[4 * MAX_METHOD_TEXT + 1];
    put_plain(path_text, path, MAX_PATH_TEXT);
    put_plain(method, r->method, MAX_METHOD_TEXT);
    int n = snprintf(line, sizeof line, "%04d-%02d-%02dT%02d:%02d:%02dZ %s %s %s %s %d %lld %.3f\n",
                     tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                     http_peer(r), r->user.id ? r->user.name : "-", method, path_text, status,
                     (long long)bytes, (double)(clock_mono_ns() - r->began_ns) / 1e6);
    if (n <= 0 || (size_t)n >= sizeof line)
        return;
    pthread_mutex_lock(&l->lock);
    if (l->bytes > MAX_BYTES)
        turn(l);
    if (l->fd >= 0 && write(l->fd, line, (size_t)n) == n)
        l->bytes += n;
    pthread_mutex_unlock(&l->lock);
}
