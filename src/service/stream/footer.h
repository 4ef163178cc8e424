/* SPDX-License-Identifier: MIT */
/* What is printed for the user when the service, not the program, ends a run.
 * Peer: core/internal/stream/stream.go, printFooter. */
#ifndef TARE_SERVICE_STREAM_FOOTER_H
#define TARE_SERVICE_STREAM_FOOTER_H

struct stream_settings;

/* To standard output, which is the program's; coloured if that is a terminal. */
void footer_print(const struct stream_settings *s);

#endif
