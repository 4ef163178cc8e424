/* SPDX-License-Identifier: MIT */
#include "base/diag.h"

#include "base/clock.h"
#include "base/os.h"
#include "base/path.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 2048, WAITING_BYTES = 64 * 1024, IDLE_MS = 1000, STACK_BYTES = 128 * 1024 };

int diag_min_level = DIAG_WARN;
static int diag_fd = 2;

/* A file, and the thread that writes it: there while lines come, and a moment longer. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t more, all_written;
    char path[PATH_MAX];          /* "" without one; does not change once lines come */
    char lines[2][WAITING_BYTES]; /* one is filled while the other is written */
    int filling;
    size_t n;     /* bytes in lines[filling] */
    size_t n_dropped;
    bool running; /* the thread */
    bool writing;
} file = {.mutex = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER,
          .all_written = PTHREAD_COND_INITIALIZER};

void diag_open(int fd, int level)
{
    diag_fd = fd;
    diag_min_level = level;
}

void diag_open_file(const char *path, int level)
{
    if (strlen(path) < sizeof file.path)
        strcpy(file.path, path);
    diag_min_level = level;
}

static const char *level_name(int level)
{
    return level >= DIAG_ERROR ? "ERROR" : level >= DIAG_WARN ? "WARN" : level >= DIAG_INFO ? "INFO" : "DEBUG";
}

/* "2026-01-31T12:00:00.000000Z INFO " */
static size_t put_head(char *to, size_t size, int level)
{
    int64_t now = clock_wall_ns();
    time_t s = (time_t)(now / 1000000000);
    struct tm tm;
    gmtime_r(&s, &tm);
    int n = snprintf(to, size, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ %s ", tm.tm_year + 1900,
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                     (int)(now % 1000000000 / 1000), level_name(level));
    return n > 0 ? (size_t)n : 0;
}

/* -- the thread -------------------------------------------------------------------------------- */

static int open_path(void)
{
    char folder[PATH_MAX];
    int flags = O_WRONLY | O_CREAT | O_APPEND;
    int fd = os->open(file.path, flags, 0666);
    if (fd != -ENOENT)
        return fd;
    struct str dir = path_dir(str_of(file.path));
    snprintf(folder, sizeof folder, "%.*s", STR_ARG(dir));
    int rc = os_mkdirs(folder, 0755);
    return rc < 0 ? rc : os->open(file.path, flags, 0666);
}

static void write_dropped(int fd, size_t n)
{
    char line[128];
    size_t at = put_head(line, sizeof line, DIAG_WARN);
    snprintf(line + at, sizeof line - at, "%zu lines were left out: this file could not be written fast enough\n", n);
    os_write_all(fd, line, strlen(line), NULL);
}

/* The mutex is held, but not while the disk is asked. */
static void write_lines(int *fd)
{
    const char *lines = file.lines[file.filling];
    size_t n = file.n, n_dropped = file.n_dropped;
    file.filling = 1 - file.filling;
    file.n = file.n_dropped = 0;
    file.writing = true;
    pthread_mutex_unlock(&file.mutex);
    if (*fd < 0)
        *fd = open_path();
    if (*fd >= 0) {
        os_write_all(*fd, lines, n, NULL); /* there is nowhere left to say that it failed */
        if (n_dropped)
            write_dropped(*fd, n_dropped);
    }
    pthread_mutex_lock(&file.mutex);
    file.writing = false;
}

static struct timespec in_ms(int ms)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000L;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

static void *thread_main(void *unused)
{
    (void)unused;
    int fd = -1;
    bool idle = false;
    pthread_mutex_lock(&file.mutex);
    while (file.n || !idle) {
        if (file.n) {
            write_lines(&fd);
            idle = false;
            continue;
        }
        pthread_cond_broadcast(&file.all_written);
        struct timespec end = in_ms(IDLE_MS);
        idle = pthread_cond_timedwait(&file.more, &file.mutex, &end) != 0;
    }
    file.running = false;
    pthread_mutex_unlock(&file.mutex);
    if (fd >= 0)
        os->close(fd);
    return NULL;
}

/* -- for all ----------------------------------------------------------------------------------- */

static void put_line(const char *line, size_t n)
{
    pthread_mutex_lock(&file.mutex);
    if (file.n + n > WAITING_BYTES) {
        file.n_dropped++;
    } else {
        memcpy(file.lines[file.filling] + file.n, line, n);
        file.n += n;
    }
    if (file.running)
        pthread_cond_signal(&file.more);
    else
        file.running = thread_start(thread_main, NULL, STACK_BYTES) == 0; /* else the next line tries again */
    pthread_mutex_unlock(&file.mutex);
}

void diag_line(int level, const char *fmt, ...)
{
    char line[LINE_BYTES];
    size_t at = put_head(line, sizeof line, level);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line + at, sizeof line - at - 1, fmt, ap);
    va_end(ap);
    if (n > 0)
        at += (size_t)n < sizeof line - at - 1 ? (size_t)n : sizeof line - at - 2;
    line[at++] = '\n';
    if (*file.path)
        put_line(line, at);
    else if (write(diag_fd, line, at) < 0)
        return; /* there is nowhere left to say so */
}

void diag_flush(int ms)
{
    struct timespec end = in_ms(ms);
    pthread_mutex_lock(&file.mutex);
    int rc = 0;
    while (rc == 0 && file.running && (file.n || file.writing))
        rc = pthread_cond_timedwait(&file.all_written, &file.mutex, &end);
    pthread_mutex_unlock(&file.mutex);
}
