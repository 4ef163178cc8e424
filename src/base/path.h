/* SPDX-License-Identifier: MIT */
/* Paths as strings; nothing here touches the file system. */
#ifndef TARE_BASE_PATH_H
#define TARE_BASE_PATH_H

#include "base/str.h"

#include <stdbool.h>

/* "a" + "b" = "a/b"; an absolute `b`, or an empty `a`, gives `b`. Heap; NULL when out of memory. */
char *path_join(const char *a, const char *b);

/* What follows the last slash; the whole of it where there is none. */
struct str path_base(struct str path);
/* What precedes the last slash: "." where there is none, "/" for the root. */
struct str path_dir(struct str path);

/* Where `tare server` keeps its things unless it is told: $TARE_SERVER_DIR, else tare/server in
 * $XDG_DATA_HOME or ~/.local/share. Heap; NULL when out of memory. */
char *path_server_dir(void);

/* True for a relative path that stays below where it starts: not empty, not absolute, no ".."
 * part, no NUL byte. For names that come from outside. */
bool path_is_safe(struct str path);

#endif
