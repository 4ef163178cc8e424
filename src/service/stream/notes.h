/* SPDX-License-Identifier: MIT */
/* What is left for people who look into a run's logs folder: its debug-internal.log, one JSON
 * object a line as the peer's and shared by the runs of one service, and with --log-level -4 a link
 * to the service's own log. */
#ifndef TARE_SERVICE_STREAM_NOTES_H
#define TARE_SERVICE_STREAM_NOTES_H

struct stream_settings;

/* `diag_path` is the service's log, "" for none. Worker thread; failures are of no consequence. */
void notes_leave(const struct stream_settings *s, const char *diag_path);

#endif
