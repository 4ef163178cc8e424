/* SPDX-License-Identifier: MIT */
/* Archives in the POSIX tar form: as much of it as backups need (regular files with names below 100 bytes).
 * Any tar program reads what is written here. */
#ifndef TARE_SERVER_TAR_H
#define TARE_SERVER_TAR_H

#include "base/err.h"

#include <stdint.h>

enum { TAR_NAME = 100 };

/* Append the header of a file of `size_bytes`, then its bytes from `from_fd` (0 to the end). Expected:
 * TARE_EFORMAT the file is shorter, TARE_ENOSPACE and errno values. */
int tar_put_file(int fd, const char *name, int from_fd, int64_t size_bytes, struct err *e);
int tar_put_bytes(int fd, const char *name, const void *p, size_t n, struct err *e);

/* Append the end mark. */
int tar_put_end(int fd, struct err *e);

/* Read the next header: 1 and *name, *size_bytes; 0 at the end mark. The caller reads exactly size_bytes
 * with tar_get_bytes or skips them with tar_skip. Expected: TARE_EFORMAT. */
int tar_next(int fd, char name[TAR_NAME + 1], int64_t *size_bytes, struct err *e);

/* Hand the next file's bytes to `take` piece by piece; its negative answer ends it. The padding behind
 * them is read too. */
int tar_get_bytes(int fd, int64_t size_bytes, int (*take)(void *arg, const void *p, size_t n, struct err *e),
                  void *arg, struct err *e);

#endif
