/* SPDX-License-Identifier: MIT */
/* One file, or part of one, on its way to a URL, until the server has taken it: opened when its turn
 * comes (pool.h), sent with PUT, sent again after growing waits. Small files are read at once, others
 * while they are sent; whether one has changed meanwhile is looked at afterwards. Files are touched
 * on the worker threads only. Loop thread.
 *
 *                                 ┌─► PLACING ─► NAMING ──────────┐
 *   WAITING ─► OPENING ─► ASKING ─┼────────────────────► SENDING ─┴► CLOSING ─► DONE
 *      ▲                          └─► LOOKING ─► HASHING ──▲            │
 *      └──────────────────────── RESTING ◄──────────────────────────────┘  tried again
 *
 * Where the server knows how (its headers say X-Tare-Resumable; the requests are in server/storage_put.c), a
 * try goes on where the one before broke off, also one of another process: LOOKING asks how much of this state
 * of the file is there, and what is sent after that comes with the digest of the whole. A file that has changed
 * since begins from its start. A server on this machine may let the file be linked or copied into its folder (transfer_place.c);
 * if it then does not take it (NAMING), it is sent as ever.
 *
 * (peer: core/internal/filetransfer) */
#ifndef TARE_SERVICE_UPLOAD_TRANSFER_H
#define TARE_SERVICE_UPLOAD_TRANSFER_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/str.h"
#include "loop/http.h"
#include "loop/worker.h"
#include "service/upload/backend.h"
#include "service/upload/pool.h"
#include "service/upload/retry.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* The header with which a server says that uploads may go on where they broke off. */
#define TRANSFER_RESUMABLE "X-Tare-Resumable"

/* What tells one state of a file from another. */
struct file_stamp {
    uint64_t size, inode;
    int64_t mtime_ns, ctime_ns;
};

struct file_stamp file_stamp_of(const struct stat *st);
static inline bool file_stamp_eq(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->size == b->size && a->inode == b->inode && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

enum transfer_state { TRANSFER_DONE, TRANSFER_WAITING, TRANSFER_OPENING, TRANSFER_ASKING, TRANSFER_PLACING, TRANSFER_NAMING,
                      TRANSFER_LOOKING, TRANSFER_HASHING, TRANSFER_SENDING, TRANSFER_CLOSING, TRANSFER_RESTING };

struct transfer {
    /* -- to fill; borrowed until `done` -- */
    struct backend *backend;
    uv_loop_t *loop;
    const struct retry_policy *policy;
    const char *path;          /* of the file; or NULL and: */
    struct str body;
    const char *url;
    const char *headers;       /* "Name: value\n...", as http_request; NULL for none */
    uint64_t part_at;          /* which part of the file; */
    uint64_t part_bytes;       /* 0: the rest of it */
    void (*moved)(struct transfer *t); /* `sent` or `total` has changed; may be NULL */
    void (*done)(struct transfer *t);  /* exactly once, never inside transfer_start or _cancel */

    /* -- the answer -- */
    int error;                 /* 0: taken. TARE_EPROTO: refused, see `status`; a libuv code of the file */
    int status;                /* of HTTP; 0 if none came */
    char why[256];             /* of the last try that failed, for a person */
    uint64_t sent, total;      /* bytes; `sent` falls back when a try begins from the start */
    struct file_stamp stamp;   /* of the file when it was opened */
    bool has_changed;          /* the file is not what it was when it was opened */
    int64_t began_ns;

    /* -- its own -- */
    enum transfer_state state;
    bool cancelled, closing, was_closed;
    int fd;
    int work_error;
    uint32_t n_failed;         /* since it last came forward */
    bool has_sent;             /* a try before has sent something of this */
    bool from_start;           /* going on was refused */
    uint64_t come;             /* bytes that were there before this try */
    uint64_t best;             /* the most of them */
    bool has_md5;              /* of the whole, in the state `md5_stamp` */
    struct file_stamp md5_stamp;
    uint8_t md5[MD5_BYTES];
    bool no_place, is_placing; /* not again; one of PLACES */
    const char *backend_url;   /* for the worker */
    char *placed;              /* the copy, or the link, while it is ours */
    int place_fd;
    uint64_t n_placed;
    bool by_hand;              /* the kernel does not copy between these two */
    struct buf small;          /* a small file */
    struct backend_headers ask;
    struct buf all_headers;
    size_t headers_len;        /* of them, without that of the copy */
    struct http_request http;  /* its answer's headers may be read in `done` */
    struct work work;
    struct pool_slot slot;
    uv_timer_t timer;
    void (*closed)(struct transfer *t);
};

/* First part filled, the rest zero. */
void transfer_start(struct transfer *t);
void transfer_cancel(struct transfer *t); /* `done` follows with TARE_ECANCELLED, unless it was on its way */
/* After `done`, or before it: then it is cancelled and `done` is not called. `closed` frees. */
void transfer_close(struct transfer *t, void (*closed)(struct transfer *t));

/* -- transfer_place.c -- */

bool place_is_wanted(const struct transfer *t);
/* Link it, or copy the next bytes: 1 if there are more, 0 if that was all: `placed`. A negative code: there is none. On a
 * worker. */
int place_step(struct transfer *t);
/* Away with the copy, if there is one. On a worker. */
void place_drop(struct transfer *t);

/* -- transfer_headers.c -- */

/* Append the server's list of "Name:Value" (a JSON array of strings, or empty) as "Name: value\n";
 * what is no header, or would be two, is left out. */
void transfer_put_headers(struct buf *to, struct str json);

/* Append "name: value\n", unless it is no header, would be two, or is one that goes by the request's own body and
 * address (as in Go, which the peer leaves it to). */
void transfer_put_header(struct buf *to, struct str name, struct str value);

/* Is there such a header among "Name: value\n..."? `headers` NULL: none. */
bool transfer_has_header(const char *headers, const char *name);
/* Append the X-Tare-Upload that names these bytes of this state of a file: a later process that finds it the
 * same goes on with them. */
void transfer_put_key(struct buf *to, const struct file_stamp *s, uint64_t at, uint64_t bytes);
/* What an answer's "bytes=0-41" says: 42 bytes are there. 0 for anything else. */
uint64_t transfer_range_bytes(struct str range);

#endif
