/* SPDX-License-Identifier: MIT */
#include "base/diag.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int diag_min_level = DIAG_WARN;
static int diag_fd = 2;

void diag_open(int fd, int level)
{
    diag_fd = fd;
    diag_min_level = level;
}

static const char *level_name(int level)
{
    return level >= DIAG_ERROR ? "ERROR" : level >= DIAG_WARN ? "WARN" : level >= DIAG_INFO ? "INFO" : "DEBUG";
}

void diag_line(int level, const char *fmt, ...)
{
    char line[2048];
    int64_t now = clock_wall_ns();
    time_t s = (time_t)(now / 1000000000);
    struct tm tm;
    gmtime_r(&s, &tm);
    int n = snprintf(line, sizeof line, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ %s ", tm.tm_year + 1900,
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                     (int)(now % 1000000000 / 1000), level_name(level));
    size_t at = n > 0 ? (size_t)n : 0;
    va_list ap;
    va_start(ap, fmt);
    n = vsnprintf(line + at, sizeof line - at - 1, fmt, ap);
    va_end(ap);
    if (n > 0)
        at += (size_t)n < sizeof line - at - 1 ? (size_t)n : sizeof line - at - 2;
    line[at++] = '\n';
    if (write(diag_fd, line, at) < 0)
        return; /* there is nowhere left to say so */
}
