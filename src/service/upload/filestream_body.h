/* SPDX-License-Identifier: MIT */
/* What waits to go out on a file stream, and the request bodies made of it:
 *
 *   {"files":{"wandb-history.jsonl":{"offset":17,"content":["{\"loss\":0.5}","{...}"]},
 *             "wandb-events.jsonl":{...}, "wandb-summary.json":{"offset":0,"content":["{...}"]},
 *             "output.log":{...}},
 *    "uploaded":["config.yaml"],"preempting":true,"complete":true,"exitcode":0}
 *
 * Lines are kept as they go on the wire, quoted and escaped, one behind the other, so that a body
 * is what waits plus a few bytes on both sides. Of each file a request has one run of consecutive
 * lines; history and events only grow, console lines may change at any place, so that several runs
 * may wait: they go one a request, in turns. `{}` is a heartbeat. (Source: the peer's
 * core/internal/filestream/filestreamstate.go, filestreamrequest.go)
 *
 * No loop, no clock, no sockets. One thread. */
#ifndef TARE_SERVICE_UPLOAD_FILESTREAM_BODY_H
#define TARE_SERVICE_UPLOAD_FILESTREAM_BODY_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct fs_segment;

struct fs_lines { /* of a file that grows */
    struct fs_segment *first, *last; /* each fits in a request */
    uint64_t at;                     /* number of the first line that waits */
};

struct fs_console_line {
    uint64_t number;
    char *text; /* quoted and escaped */
    uint32_t n;
    uint32_t born;
};

struct fs_waiting {
    struct fs_lines history, events;
    struct fs_console_line *console; /* by number */
    size_t n_console, cap_console;
    uint64_t console_offset; /* added to every number: lines of the run's former life */
    uint64_t console_next;   /* where the next request looks first */
    struct buf summary;      /* quoted and escaped, if it has been asked for and not sent */
    struct buf uploaded;     /* "a","b" */
    bool summary_changed;    /* and is to be asked for */
    bool preempting;
    bool failed;             /* out of memory: what waits has a hole, nothing may be sent */

    size_t bytes;            /* of all that waits */
    size_t max_request_bytes;
    size_t max_line_bytes;   /* of the summary; the others are looked at by the caller */

    /* How old what waits is: things are born in the epoch in which they were added, and every
     * request begins a new one. */
    uint32_t epoch;
    uint32_t summary_born, uploaded_born, preempting_born;
};

/* One body, and what is in it. */
struct fs_request {
    struct buf text;
    size_t at; /* the body begins here in `text` */
    uint64_t history_at, n_history, events_at, n_events, console_at, n_console;
    bool has_summary, has_complete, is_heartbeat;
    bool more; /* something had to wait for the next request */
};

void fs_waiting_init(struct fs_waiting *w, size_t max_request_bytes, size_t max_line_bytes);
void fs_waiting_fini(struct fs_waiting *w);

/* Lines of text without newline; UTF-8 is mended. One of history comes as it goes on the wire.
 * Running out of memory sets `failed`. */
void fs_add_history(struct fs_waiting *w, struct str quoted);
void fs_add_event(struct fs_waiting *w, struct str line);
void fs_add_console(struct fs_waiting *w, uint64_t number, struct str line);
void fs_add_uploaded(struct fs_waiting *w, struct str path);
void fs_add_preempting(struct fs_waiting *w);
void fs_change_summary(struct fs_waiting *w);
/* Put the summary's text in the place of what waits of it; false if it is longer than
 * max_line_bytes: then it is left out. Clears summary_changed. */
bool fs_set_summary(struct fs_waiting *w, struct str json);

bool fs_is_empty(const struct fs_waiting *w);
/* The epoch of the oldest thing that waits; UINT32_MAX if nothing does. */
uint32_t fs_oldest(const struct fs_waiting *w);

/* Move what fits in one request into `to` (zeroed by the caller, freed with buf_fini of `text`).
 * With `exit_code` and nothing left behind, the run is said to be complete. 0 or TARE_ENOMEM. */
int fs_take(struct fs_waiting *w, const int32_t *exit_code, struct fs_request *to);

static inline struct str fs_body(const struct fs_request *r)
{
    return str_make(r->text.data + r->at, r->text.len - r->at);
}

#endif
