/* SPDX-License-Identifier: MIT */
/* What is printed for the user when the service, not the program, ends a run.
 * Peer: core/internal/stream/stream.go, printFooter (it says nothing while it waits). */
#ifndef TARE_SERVICE_STREAM_FOOTER_H
#define TARE_SERVICE_STREAM_FOOTER_H

#include <stdbool.h>
#include <uv.h>

struct stream_settings;

/* Where the run can be found; a NULL `url` means that it cannot. */
struct footer {
    const char *url, *name; /* its page at the backend */
    bool sync;              /* say how to upload it */
};

/* To standard output, which is the program's; coloured if that is a terminal. Printed by a worker,
 * which gives up after FOOTER_MS. */
void footer_print(uv_loop_t *loop, const struct stream_settings *s, const struct footer *f);
/* A line of text, in the same way. */
void footer_say(uv_loop_t *loop, const char *text);

/* Standard output is someone's, not /dev/null: who started us would be kept by it. */
bool footer_is_seen(void);

#endif
