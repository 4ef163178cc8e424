/* SPDX-License-Identifier: MIT */
#include "service/syncs.h"

#include "base/alloc.h"
#include "base/err.h"
#include "record/wire.h"
#include "service/intake/connection.h"
#include "service/limits.h"
#include "service/service.h"
#include "service/sync.h"

#include <stdio.h>
#include <utlist.h>

/* Field numbers. */
enum {
    INIT_PATH = 1,
    INIT_SETTINGS = 2,
    INIT_ENTITY = 3,
    INIT_PROJECT = 4,
    INIT_RUN_ID = 5,
    INIT_LIVE = 6,
    INIT_CWD = 7,
    INIT_JOB_TYPE = 8,
    INIT_TAGS = 9,
    MAP_KEY = 1,
    MAP_VALUE = 2,
    INIT_RESPONSE_ID = 1,
    SYNC_ID = 1,
    SYNC_PARALLELISM = 2,
    SYNC_RESPONSE_MESSAGES = 1,
    STATUS_RESPONSE_STATS = 1,
    STATUS_RESPONSE_MESSAGES = 2,
    MESSAGE_SEVERITY = 1,
    MESSAGE_CONTENT = 2,
    RESPONSE_SYNC = 12, /* of ServerResponse */
};

struct said {
    enum sync_severity severity;
    char *text;
    struct said *next;
};

struct sync_op {
    struct service *service;
    char id[32];
    struct sync *sync;
    bool running;
    uint64_t serial;   /* of the request that waits for the end */
    struct said *said; /* list: not yet told to the client */
    size_t n_said;
    struct sync_op *prev, *next;
};

/* -- what is said ------------------------------------------------------------------------------ */

static void on_tell(void *ctx, enum sync_severity severity, const char *run, const char *text)
{
    struct sync_op *op = ctx;
    if (op->n_said >= SYNC_MESSAGES)
        return; /* nobody asks for them */
    struct said *m = xmem_calloc(1, sizeof *m);
    size_t n = strlen(run) + strlen(text) + 4;
    m->severity = severity;
    m->text = xmem_alloc(n);
    snprintf(m->text, n, *run ? "[%s] %s" : "%s%s", run, text);
    LL_APPEND(op->said, m);
    op->n_said++;
}

static void put_messages(struct sync_op *op, struct buf *to, uint32_t number)
{
    while (op->said) {
        struct said *m = op->said;
        size_t mark = wire_buf_begin(to, number);
        wire_buf_varint(to, MESSAGE_SEVERITY, m->severity);
        wire_buf_bytes(to, MESSAGE_CONTENT, str_of(m->text));
        wire_buf_end(to, mark);
        LL_DELETE(op->said, m);
        mem_free(m->text);
        mem_free(m);
    }
    op->n_said = 0;
}

static void put_error(struct buf *to, uint32_t number, const char *text)
{
    size_t mark = wire_buf_begin(to, number);
    wire_buf_varint(to, MESSAGE_SEVERITY, SYNC_ERROR);
    wire_buf_bytes(to, MESSAGE_CONTENT, str_of(text));
    wire_buf_end(to, mark);
}

/* -- one operation ----------------------------------------------------------------------------- */

static void free_op(struct sync_op *op)
{
    AUTO_BUF unread = {0};
    put_messages(op, &unread, 1);
    DL_DELETE(op->service->syncs.ops, op);
    sync_free(op->sync);
    mem_free(op);
}

static void answer(struct service *s, uint64_t serial, struct buf *body)
{
    struct asked a;
    if (serial && mailbox_take(&s->mailbox, serial, &a))
        connection_respond(a.connection, a.request_id, RESPONSE_SYNC, buf_str(body));
}

static void on_finished(void *ctx)
{
    struct sync_op *op = ctx;
    struct service *s = op->service;
    AUTO_BUF body = {0};
    put_messages(op, &body, SYNC_RESPONSE_MESSAGES);
    answer(s, op->serial, &body);
    free_op(op);
    s->syncs.n_running--;
    service_syncs_changed(s);
}

static struct sync_op *find_op(struct service *s, struct str id, bool running)
{
    struct sync_op *op;
    DL_FOREACH (s->syncs.ops, op)
        if (op->running == running && str_eqz(id, op->id))
            return op;
    return NULL;
}

/* -- init_sync --------------------------------------------------------------------------------- */

/* The strings of a request, NUL-terminated in one block. */
struct words {
    struct buf block;
    size_t at[16]; /* by field number; 0: not there */
    struct buf paths; /* one after the other, with their NULs */
    struct buf tags;  /* from, to, from, to, ... */
    size_t n_tags;
    struct str settings;
    bool live;
};

static void put_word(struct buf *to, struct str s)
{
    size_t n = s.n ? strnlen(s.p, s.n) : 0; /* up to a NUL in it */
    buf_append(to, s.p, n);
    buf_putc(to, '\0');
}

static int read_words(struct words *w, struct str request)
{
    struct wire_field f;
    int rc;
    buf_putc(&w->block, '\0');
    for (struct wire_reader r = wire_open(request); (rc = wire_next(&r, &f)) > 0;) {
        if (f.number == INIT_LIVE && f.type == WIRE_VARINT) {
            w->live = f.value != 0;
        } else if (f.type != WIRE_BYTES || f.number > INIT_TAGS) {
            continue;
        } else if (f.number == INIT_SETTINGS) {
            w->settings = f.bytes;
        } else if (f.number == INIT_PATH) {
            put_word(&w->paths, f.bytes);
        } else if (f.number == INIT_TAGS) {
            put_word(&w->tags, wire_find_bytes(f.bytes, MAP_KEY));
            put_word(&w->tags, wire_find_bytes(f.bytes, MAP_VALUE));
            w->n_tags++;
        } else {
            w->at[f.number] = w->block.len;
            put_word(&w->block, f.bytes);
        }
    }
    return rc < 0 ? TARE_EFORMAT : w->block.failed || w->paths.failed || w->tags.failed ? TARE_ENOMEM : 0;
}

static const char *word(const struct words *w, uint32_t number)
{
    return w->block.data + w->at[number];
}

static struct tag_rename *list_tags(const struct words *w)
{
    struct tag_rename *tags = xmem_calloc(w->n_tags + 1, sizeof *tags);
    const char *at = w->tags.data;
    for (size_t i = 0; i < w->n_tags; i++) {
        tags[i].from = at;
        tags[i].to = at += strlen(at) + 1;
        at += strlen(at) + 1;
    }
    return tags;
}

static struct sync_op *make_op(struct service *s, const struct words *w)
{
    struct sync_op *op = xmem_calloc(1, sizeof *op);
    AUTO_FREE struct tag_rename *tags = list_tags(w);
    op->service = s;
    const struct sync_options o = {
        .loop = &s->loop,
        .http = service_http(s),
        .settings = w->settings,
        .cwd = word(w, INIT_CWD),
        .changes = {
            .entity = word(w, INIT_ENTITY),
            .project = word(w, INIT_PROJECT),
            .run_id = word(w, INIT_RUN_ID),
            .job_type = word(w, INIT_JOB_TYPE),
            .tags = tags,
            .n_tags = w->n_tags,
        },
        .live = w->live,
    };
    op->sync = sync_new(&o, &(struct sync_owner){op, on_tell, on_finished});
    for (size_t at = 0; at < w->paths.len; at += strlen(w->paths.data + at) + 1)
        sync_add(op->sync, w->paths.data + at);
    snprintf(op->id, sizeof op->id, "sync-%llu", (unsigned long long)s->syncs.last_id++);
    DL_APPEND(s->syncs.ops, op);
    return op;
}

int syncs_init_op(struct service *s, struct str request, struct buf *to)
{
    struct words w = {0};
    int rc = read_words(&w, request);
    if (rc == 0)
        rc = wire_buf_bytes(to, INIT_RESPONSE_ID, str_of(make_op(s, &w)->id));
    buf_fini(&w.block);
    buf_fini(&w.paths);
    buf_fini(&w.tags);
    return rc;
}

/* -- sync, sync_status ------------------------------------------------------------------------- */

int syncs_do(struct service *s, struct str request, uint64_t serial)
{
    struct str id = wire_find_bytes(request, SYNC_ID);
    struct sync_op *op = find_op(s, id, false);
    if (!op) {
        AUTO_BUF body = {0};
        char text[128];
        snprintf(text, sizeof text, "Internal error: operation unknown or already started: %.*s",
                 id.n > 60 ? 60 : (int)id.n, id.n ? id.p : "");
        put_error(&body, SYNC_RESPONSE_MESSAGES, text);
        answer(s, serial, &body);
        return 0;
    }
    op->running = true;
    op->serial = serial;
    s->syncs.n_running++;
    uint64_t n = wire_find_varint(request, SYNC_PARALLELISM);
    sync_start(op->sync, n > SYNC_PARALLEL_MAX ? SYNC_PARALLEL_MAX : (unsigned)n);
    return 0;
}

int syncs_status(struct service *s, struct str request, struct buf *to)
{
    struct sync_op *op = find_op(s, wire_find_bytes(request, SYNC_ID), true);
    if (!op)
        return 0;
    sync_operations(op->sync, to, STATUS_RESPONSE_STATS);
    put_messages(op, to, STATUS_RESPONSE_MESSAGES);
    return to->failed ? TARE_ENOMEM : 0;
}

/* -- ends -------------------------------------------------------------------------------------- */

void syncs_cancelled(struct service *s, uint64_t serial)
{
    struct sync_op *op;
    DL_FOREACH (s->syncs.ops, op)
        if (op->running && op->serial == serial)
            sync_abort(op->sync);
}

void syncs_abort_all(struct service *s)
{
    struct sync_op *op;
    DL_FOREACH (s->syncs.ops, op)
        if (op->running)
            sync_abort(op->sync);
}

void syncs_fini(struct service *s)
{
    struct sync_op *op, *next;
    DL_FOREACH_SAFE (s->syncs.ops, op, next)
        free_op(op);
}
