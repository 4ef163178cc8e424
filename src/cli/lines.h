/* SPDX-License-Identifier: MIT */
/* Console output of a run as lines, without what only a terminal understands: escape sequences
 * are dropped, and after a carriage return the line begins anew. One thread. */
#ifndef TARE_CLI_LINES_H
#define TARE_CLI_LINES_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>

struct lines {
    struct buf part[2]; /* the line that is not finished: of standard output and standard error */
    int escape[2];      /* inside an escape sequence: 0 no, 1 after ESC, 2 in CSI, 3 in OSC */
    bool cr[2];         /* a carriage return came, and nothing since */
    void (*on_line)(void *ctx, struct str line, bool is_stderr); /* without its end */
    void *ctx;
};

void lines_fini(struct lines *l);
/* Bytes as the program wrote them. */
void lines_put(struct lines *l, struct str bytes, bool is_stderr);
/* Give out what has no line end. */
void lines_end(struct lines *l);

#endif
