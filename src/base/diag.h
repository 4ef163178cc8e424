/* SPDX-License-Identifier: MIT */
/* Our own logging (what a user logs is history, never this).
 *
 * One line each: time, level, text. Lines go to standard error (at first those at DIAG_WARN and
 * above) or to a file, which never makes anyone wait: a thread of its own writes it, and what is
 * too much for a disk that is slow or hangs is counted and left out. The client library does not
 * link this file: it never prints. Any thread. */
#ifndef TARE_BASE_DIAG_H
#define TARE_BASE_DIAG_H

enum diag_level { DIAG_DEBUG = -4, DIAG_INFO = 0, DIAG_WARN = 4, DIAG_ERROR = 8 };

/* Write lines of `level` and above to the descriptor `fd` (borrowed), at once. The level numbers
 * are those of the peer's --log-level. */
void diag_open(int fd, int level);
/* Append them to the file `path` (copied) instead, made with its folders when the first line
 * comes. If it cannot be made, there are no lines. */
void diag_open_file(const char *path, int level);
void diag_line(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Wait until all lines are in the file, at most `ms`; before the process ends. */
void diag_flush(int ms);

extern int diag_min_level;

#define DIAG(level, ...)                       \
    do {                                       \
        if ((level) >= diag_min_level)         \
            diag_line((level), __VA_ARGS__);   \
    } while (0)
#define diag_debug(...) DIAG(DIAG_DEBUG, __VA_ARGS__)
#define diag_info(...) DIAG(DIAG_INFO, __VA_ARGS__)
#define diag_warn(...) DIAG(DIAG_WARN, __VA_ARGS__)
#define diag_error(...) DIAG(DIAG_ERROR, __VA_ARGS__)

#endif
