/* SPDX-License-Identifier: MIT */
/* Runs whose program has ended without finishing them.
 *
 * A service with a parent ends with it, and its runs with the service. A detached one goes on: there
 * a stream remembers the processes that used it, and is finished, without an exit record, when all
 * of them have ended. The peer leaves such a run open until its service ends. Loop thread only. */
#ifndef TARE_SERVICE_ORPHANS_H
#define TARE_SERVICE_ORPHANS_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

struct service;
struct stream;

enum { STREAM_USERS = 8 }; /* a stream that more processes use is left alone */

struct stream_users {
    pid_t pid[STREAM_USERS];
    int n;
    bool unknown; /* some of them: too many, or the socket does not tell */
    bool suspect; /* one of them has closed a connection */
};

/* Process `pid` (0 if the socket does not tell) has made, attached to or written to `s`. */
void orphans_note_user(struct stream *s, pid_t pid);

/* A connection of `pid` has been closed: its streams are looked at within ORPHAN_LOOK_MS, and again
 * as long as a process of theirs lives. */
void orphans_client_gone(struct service *service, pid_t pid);

#endif
