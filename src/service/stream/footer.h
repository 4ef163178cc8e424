/* SPDX-License-Identifier: MIT */
/* What is printed for the user when the service, not the program, ends a run.
 * Peer: core/internal/stream/stream.go, printFooter. */
#ifndef TARE_SERVICE_STREAM_FOOTER_H
#define TARE_SERVICE_STREAM_FOOTER_H

struct stream_settings;

/* To standard output, which is the program's; coloured if that is a terminal. `url` is where the run
 * is seen, NULL if it is not, or not all of it: then how to upload it is said. */
void footer_print(const struct stream_settings *s, const char *url, const char *name);

#endif
