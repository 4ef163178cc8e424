/* SPDX-License-Identifier: MIT */
#include "service/api/api_impl.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/json.h"
#include "service/api/api_scan.h"
#include "service/intake/connection.h"
#include "service/limits.h"
#include "service/service.h"
#include "service/upload/gql_words.h"
#include "service/upload/json_path.h"

#include <stdarg.h>
#include <stdio.h>
#include <utlist.h>

/* Fields. */
enum {
    INIT_SETTINGS = 1,
    INIT_RESPONSE_API_ID = 2,
    CLEANUP_API_ID = 1,
    REQUEST_API_ID = 1,
    ERROR_MESSAGE = 1,
    ERROR_HTTP_STATUS = 3,
    RESPONSE_AUTHENTICATE = 9, /* of ServerResponse */
    RESPONSE_API = 16,
};

static const struct api_kind *const kinds[] = {
    &api_history, &api_features, &api_graphql, &api_download, &api_upload, &api_mark_files, &api_stop_run,
    &api_auth, &api_chart, &api_queue, &api_telemetry, &api_console,
};

/* ---- sessions ---- */

static void free_if_done(struct api *api)
{
    if (!api->closing || api->tasks)
        return;
    api_scan_drop_all(api);
    mem_free(api);
}

static void cancel(struct api_task *t)
{
    if (t->call.work)
        graphql_cancel(t->api->backend, &t->call);
    else if (t->kind->cancel)
        t->kind->cancel(t);
}

static void close_api(struct apis *a, struct api *api)
{
    struct api_task *t, *next;
    DL_DELETE(a->first, api);
    api->closing = true;
    DL_FOREACH_SAFE (api->tasks, t, next)
        cancel(t);
    backend_close(api->backend);
    free_if_done(api);
}

static struct api *add_api(struct apis *a, struct service *s, struct backend *b)
{
    static uint64_t last_id;
    struct api *api = xmem_calloc(1, sizeof *api);
    api->service = s;
    api->loop = &s->loop;
    api->backend = b;
    snprintf(api->id, sizeof api->id, "api-%llu", (unsigned long long)last_id++);
    backend_files_with_credentials(b);
    DL_APPEND(a->first, api);
    return api;
}

int apis_open(struct apis *a, struct service *s, struct str request, struct buf *response, struct err *e)
{
    struct str settings = wire_find_bytes(request, INIT_SETTINGS);
    struct backend *b = backend_new(service_http(s), &s->loop, settings, NULL, NULL, e);
    if (!b)
        return e->code;
    struct api *api = add_api(a, s, b);
    return wire_buf_bytes(response, INIT_RESPONSE_API_ID, str_of(api->id));
}

static struct api *find(struct apis *a, struct str id)
{
    struct api *api;
    DL_FOREACH (a->first, api)
        if (str_eqz(id, api->id))
            return api;
    return NULL;
}

void apis_close(struct apis *a, struct str request)
{
    struct api *api = find(a, wire_find_bytes(request, CLEANUP_API_ID));
    if (api)
        close_api(a, api);
}

void apis_fini(struct apis *a)
{
    while (a->first)
        close_api(a, a->first);
}

/* ---- requests ---- */

static void respond(struct service *s, uint64_t serial, uint32_t number, struct str body)
{
    struct asked asked;
    if (serial && mailbox_take(&s->mailbox, serial, &asked))
        connection_respond(asked.connection, asked.request_id, number, body);
}

static void task_free(struct api_task *t)
{
    struct api *api = t->api;
    DL_DELETE(api->tasks, t);
    if (t->kind->fini)
        t->kind->fini(t);
    buf_fini(&t->request);
    buf_fini(&t->variables);
    graphql_call_fini(&t->call);
    mem_free(t);
    free_if_done(api);
}

void api_reply(struct api_task *t, struct str response)
{
    uint32_t number = t->kind == &api_login ? RESPONSE_AUTHENTICATE : RESPONSE_API;
    respond(t->api->service, t->serial, number, response);
    task_free(t);
}

void api_reply_with(struct api_task *t, uint32_t number, struct str body)
{
    AUTO_BUF response = {0};
    wire_buf_bytes(&response, number, body);
    api_reply(t, buf_str(&response));
}

void api_reply_nothing(struct api_task *t)
{
    task_free(t);
}

static void put_error(struct buf *to, struct str message, int status)
{
    size_t mark = wire_buf_begin(to, API_ERROR);
    wire_buf_bytes(to, ERROR_MESSAGE, message);
    if (status)
        wire_buf_varint(to, ERROR_HTTP_STATUS, (uint64_t)status);
    wire_buf_end(to, mark);
}

void api_fail(struct api_task *t, int status, const char *fmt, ...)
{
    AUTO_BUF message = {0}, response = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&message, fmt, ap);
    va_end(ap);
    put_error(&response, buf_str(&message), status);
    api_reply(t, buf_str(&response));
}

void api_fail_call(struct api_task *t)
{
    AUTO_BUF words = {0};
    int status = gql_put_failure(&words, &t->call);
    api_fail(t, status, "%.*s", STR_ARG(buf_str(&words)));
}

static void on_answer(struct graphql_call *c)
{
    struct api_task *t = (struct api_task *)((char *)c - offsetof(struct api_task, call));
    if (c->error && (!t->takes_partial || c->error == TARE_ECANCELLED))
        api_fail_call(t);
    else
        t->answered(t);
}

void api_ask(struct api_task *t, const char *operation, const char *document,
             void (*answered)(struct api_task *t))
{
    if (t->variables.len)
        buf_putc(&t->variables, '}');
    api_ask_raw(t, operation, document, answered);
}

void api_ask_raw(struct api_task *t, const char *operation, const char *document,
                 void (*answered)(struct api_task *t))
{
    graphql_call_fini(&t->call);
    if (t->api->closing) { /* the backend too */
        api_fail(t, 0, "cancelled");
        return;
    }
    t->answered = answered;
    t->call = (struct graphql_call){
        .operation = operation,
        .document = document,
        .variables = buf_str(&t->variables),
        .done = on_answer,
    };
    graphql_send(t->api->backend, &t->call);
}

static struct api_task *add_task(struct api *api, const struct api_kind *kind, struct str body,
                                 uint64_t serial)
{
    struct api_task *t = xmem_calloc(1, kind->size);
    t->api = api;
    t->kind = kind;
    t->serial = serial;
    buf_put_str(&t->request, body);
    DL_APPEND(api->tasks, t);
    return t;
}

static const struct api_kind *find_kind(struct str request, struct str *body)
{
    const struct api_kind *found = NULL;
    struct wire_field f;
    for (struct wire_reader r = wire_open(request); wire_next(&r, &f) > 0;)
        for (size_t i = 0; f.type == WIRE_BYTES && i < sizeof kinds / sizeof kinds[0]; i++)
            if (kinds[i]->number == f.number) {
                found = kinds[i];
                *body = f.bytes;
            }
    return found;
}

static void refuse(struct service *s, uint64_t serial, const char *message)
{
    AUTO_BUF response = {0};
    put_error(&response, str_of(message), 0);
    respond(s, serial, RESPONSE_API, buf_str(&response));
}

void apis_request(struct apis *a, struct service *s, struct str request, uint64_t serial)
{
    struct api *api = find(a, wire_find_bytes(request, REQUEST_API_ID));
    struct str body = {0};
    const struct api_kind *kind = find_kind(request, &body);
    if (!api)
        refuse(s, serial, "WandbAPI is not initialized");
    else if (!kind)
        refuse(s, serial, "unsupported API request type");
    else
        kind->start(add_task(api, kind, body, serial));
}

void apis_cancelled(struct apis *a, uint64_t serial)
{
    struct api *api;
    struct api_task *t;
    DL_FOREACH (a->first, api)
        DL_FOREACH (api->tasks, t)
            if (t->serial == serial) {
                cancel(t);
                return;
            }
}

/* ---- login by a key alone ---- */

enum { LOGIN_KEY = 1, LOGIN_URL = 2, LOGIN_ERROR_STATUS = 2 };

static char *text_of(struct str request, uint32_t number)
{
    struct str s = wire_find_bytes(request, number);
    return xmem_strndup(s.n ? s.p : "", s.n);
}

void apis_authenticate(struct apis *a, struct service *s, struct str request, struct str info,
                       uint64_t serial)
{
    AUTO_BUF response = {0}, why = {0};
    struct err e = {0};
    AUTO_FREE char *key = text_of(request, LOGIN_KEY), *url = text_of(request, LOGIN_URL);
    struct backend *b = backend_new(service_http(s), &s->loop, (struct str){0}, url, key, &e);
    if (b) {
        struct api_task *t = add_task(add_api(a, s, b), &api_login, info, serial);
        t->kind->start(t);
        return;
    }
    buf_printf(&why, "Invalid URL: %s", e.text);
    wire_buf_bytes(&response, LOGIN_ERROR_STATUS, buf_str(&why));
    buf_put_str(&response, info);
    respond(s, serial, RESPONSE_AUTHENTICATE, buf_str(&response));
}

/* ---- parts ---- */

static void var_name(struct api_task *t, const char *name)
{
    buf_putc(&t->variables, t->variables.len ? ',' : '{');
    json_put_string(&t->variables, str_of(name));
    buf_putc(&t->variables, ':');
}

void api_var_text(struct api_task *t, const char *name, struct str text)
{
    var_name(t, name);
    json_put_string(&t->variables, text);
}

void api_var_raw(struct api_task *t, const char *name, struct str json)
{
    var_name(t, name);
    buf_put_str(&t->variables, json);
}

void api_var_int(struct api_task *t, const char *name, int64_t v)
{
    var_name(t, name);
    json_put_i64(&t->variables, v);
}

bool api_find(struct str message, uint32_t number, struct wire_field *f)
{
    struct wire_field next;
    bool found = false;
    for (struct wire_reader r = wire_open(message); wire_next(&r, &next) > 0;)
        if (next.number == number) {
            *f = next;
            found = true;
        }
    return found;
}

void api_put_text_at(struct buf *to, uint32_t number, struct str json, const char *path)
{
    AUTO_FREE char *text = json_string_at(json, path);
    if (text && *text)
        wire_buf_bytes(to, number, str_of(text));
}
