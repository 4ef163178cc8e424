/* SPDX-License-Identifier: MIT */
/* The small text files of /proc and /sys, below a root that tests may move. Any thread. */
#ifndef TARE_SERVICE_WATCH_SYSMON_FILE_H
#define TARE_SERVICE_WATCH_SYSMON_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* A directory that holds "proc" and "sys"; "" is the machine's own. Before any sample. */
void sysmon_set_root(const char *path);
const char *sysmon_root(void);

/* The first `size` - 1 bytes of a file, NUL-terminated; false if there are none. The format gives
 * the path on a real machine: "/proc/%d/stat". */
__attribute__((format(printf, 3, 4))) bool sysmon_read_text(char *to, size_t size,
                                                            const char *format, ...);

/* Whether descriptors may be kept open from sample to sample: where there are many (else the runs need them), and
 * only for the machine's own files. */
bool sysmon_may_keep(void);

/* Cut the next line off *rest; NULL at the end. */
char *sysmon_next_line(char **rest);

#endif
