/* SPDX-License-Identifier: MIT */
/* Sessions and requests under way, for the files of this folder. */
#ifndef TARE_SERVICE_API_API_IMPL_H
#define TARE_SERVICE_API_API_IMPL_H

#include "base/buf.h"
#include "record/wire.h"
#include "service/api/api.h"
#include "service/upload/backend.h"
#include "service/upload/graphql.h"

struct api_task;
struct api_scan;

/* Fields of ApiResponse. */
enum {
    API_HISTORY = 1,
    API_ERROR = 2,
    API_FEATURES = 3,
    API_GRAPHQL = 4,
    API_DOWNLOAD = 5,
    API_UPLOAD = 6,
    API_MARK_FILES = 7,
    API_STOP_RUN = 8,
    API_AUTH = 9,
    API_CHART = 10,
    API_QUEUE = 11,
    API_CONSOLE = 12,
};

/* A session. */
struct api {
    struct api *prev, *next;
    struct service *service;
    uv_loop_t *loop;
    struct backend *backend;
    char id[24];
    struct api_task *tasks; /* list */
    struct api_scan *scans; /* of run histories */
    int32_t last_scan;
    bool closing;
};

/* A kind of request: what to do with it. */
struct api_kind {
    uint32_t number;  /* field of ApiRequest */
    size_t size;      /* of its task, which begins with a struct api_task */
    void (*start)(struct api_task *t);
    void (*cancel)(struct api_task *t); /* its own work, beside `call`; may be NULL */
    void (*fini)(struct api_task *t);   /* what it has beside; may be NULL */
};

/* A request under way. Ends with api_reply or api_fail. */
struct api_task {
    struct api_task *prev, *next;
    struct api *api;
    const struct api_kind *kind;
    uint64_t serial;     /* in the mailbox; 0: nobody waits */
    struct buf request;  /* the message of its kind */
    struct buf variables;
    struct graphql_call call;
    void (*answered)(struct api_task *t);
    bool takes_partial;  /* `answered` is called with data beside errors too */
    const void *table;   /* its kind's own, as the next */
    uint64_t number;
};

extern const struct api_kind api_graphql, api_download, api_upload, api_mark_files, api_stop_run, api_auth,
    api_chart, api_queue, api_telemetry, api_console, api_features, api_history, api_login;

/* Send t->variables with `document`; then `answered`, or the task fails. */
void api_ask(struct api_task *t, const char *operation, const char *document,
             void (*answered)(struct api_task *t));

/* The same with t->variables being whole JSON already. */
void api_ask_raw(struct api_task *t, const char *operation, const char *document,
                 void (*answered)(struct api_task *t));

/* End the task. `response` is an ApiResponse. */
void api_reply(struct api_task *t, struct str response);
/* With the response `number` being `body`. */
void api_reply_with(struct api_task *t, uint32_t number, struct str body);
void api_reply_nothing(struct api_task *t);
void api_fail(struct api_task *t, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As the peer words the failure of its call. */
void api_fail_call(struct api_task *t);

/* Add a variable to t->variables. */
void api_var_text(struct api_task *t, const char *name, struct str text);
void api_var_raw(struct api_task *t, const char *name, struct str json);
void api_var_int(struct api_task *t, const char *name, int64_t v);

/* A field of a message: false if it has none. */
bool api_find(struct str message, uint32_t number, struct wire_field *f);
/* A decoded string of the answer appended as field `number`, if there is one and it is not empty. */
void api_put_text_at(struct buf *to, uint32_t number, struct str json, const char *path);

#endif
