/* SPDX-License-Identifier: MIT */
/* What is printed for the user when the service, not the program, ends a run.
 * Peer: core/internal/stream/stream.go, printFooter. */
#ifndef TARE_SERVICE_STREAM_FOOTER_H
#define TARE_SERVICE_STREAM_FOOTER_H

#include <uv.h>

struct stream_settings;

/* To standard output, which is the program's; coloured if that is a terminal. `url` is where the run
 * is seen, NULL if it is not, or not all of it: then how to upload it is said. Printed
 * by a worker, which gives up after FOOTER_MS. */
void footer_print(uv_loop_t *loop, const struct stream_settings *s, const char *url,
                  const char *name);

#endif
