/* SPDX-License-Identifier: MIT */
/* Headers are put together anew for each request: an access token may have changed, and credentials
 * go only where they belong. The peer's clients each have a chain of layers for that (httplayers);
 * what comes of it is in the table `uses`. */
#include "service/upload/backend_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "loop/proxy.h"
#include "record/setting_wire.h"
#include "service/limits.h"
#include "service/upload/credentials.h"
#include "service/upload/graphql.h"
#include "service/upload/json_path.h"
#include "service/upload/retry.h"
#include "service/watch/machine.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>
#include <utlist.h>

/* Numbers of proto/settings.proto. */
enum {
    X_EXTRA_HTTP_HEADERS = 14,
    X_API_KEY = 55,
    X_BASE_URL = 57,
    X_EMAIL = 68,
    X_USERNAME = 141,
    X_SHARED = 162,
    X_HTTP_PROXY = 168,
    X_HTTPS_PROXY = 169,
    X_IDENTITY_TOKEN_FILE = 170,
    X_CREDENTIALS_FILE = 171,
    X_INSECURE_DISABLE_SSL = 185,
    X_SERVER_SIDE_DERIVED_SUMMARY = 189,
    X_APP_URL = 202,
};

/* What a request carries besides the extra headers and "User-Agent: wandb-core". */
static const struct {
    bool user;           /* name and address, for service accounts */
    bool run;            /* how the run is written; the writer's id under this name: */
    const char *writer_header;
    bool credentials;
} uses[BACKEND_N_USES] = {
    [BACKEND_GRAPHQL] = {true, true, "X-Wandb-Client-Id", true},
    [BACKEND_FILESTREAM] = {false, true, "X-Wandb-Async-Client-Id", true},
    [BACKEND_FILE] = {false, false, NULL, false},
};

struct feature_wait {
    struct feature_wait *next;
    void (*ready)(void *ctx, bool has);
    void *ctx;
    char name[];
};

struct noted_answer {
    int status;
    char *text;
    size_t n;
};

struct backend {
    struct http *http;
    uv_loop_t *loop;
    char *url, *app_url;
    struct http_route route;
    char *proxy_http, *proxy_https, *proxy_headers;
    struct retry_policy policies[BACKEND_N_USES];
    struct buf extra; /* headers of the settings, "Name: value\n" */
    char *username, *email;
    bool is_shared, is_derived_by_server, file_credentials;
    char writer[WRITER_ID_LEN + 1];
    struct credentials credentials;
    struct backend_headers *waiting; /* for the credentials */
    struct graphql_work *calls;
    enum { FEATURES_UNKNOWN, FEATURES_ASKING, FEATURES_KNOWN } features_state;
    struct graphql_call features_call;
    struct buf features; /* JSON array of serverInfo.features */
    struct feature_wait *feature_waits;
    struct noted_answer noted[NOTED_ANSWERS];
    int n_noted;
    bool closing, credentials_closed;
    uv_timer_t look; /* while closing */
};

/* ---- settings ---- */

static char *text_setting(struct str settings, uint32_t number)
{
    struct str s = setting_wire_text(settings, number);
    return xmem_strndup(s.n ? s.p : "", s.n);
}

/* As Go writes header names: "X-Wandb-Username". */
static void put_canonical(struct buf *to, struct str name)
{
    bool start = true;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        buf_putc(to, (char)(start ? toupper(c) : tolower(c)));
        start = c == '-';
    }
}

static bool is_header(struct str name, struct str value)
{
    for (size_t i = 0; i < name.n; i++)
        if (!isalnum((unsigned char)name.p[i]) && !strchr("!#$%&'*+-.^_`|~", name.p[i]))
            return false;
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < ' ' && value.p[i] != '\t')
            return false;
    return name.n > 0;
}

/* A header for proxies is for them alone. */
static void read_headers(struct backend *b, struct str settings)
{
    AUTO_BUF proxy = {0};
    struct str entry;
    for (size_t at = 0; setting_wire_list(settings, X_EXTRA_HTTP_HEADERS, &at, &entry);) {
        struct str name = wire_find_bytes(entry, 1), value = wire_find_bytes(entry, 2);
        if (!is_header(name, value))
            continue;
        bool is_proxy = name.n == 19 && strncasecmp(name.p, "Proxy-Authorization", 19) == 0;
        struct buf *to = is_proxy ? &proxy : &b->extra;
        put_canonical(to, name);
        buf_printf(to, ": %.*s\n", STR_ARG(value));
    }
    b->proxy_headers = proxy.len ? xmem_strndup(proxy.data, proxy.len) : NULL;
}

static char *cut_slashes(struct str url)
{
    while (url.n && url.p[url.n - 1] == '/')
        url.n--;
    return xmem_strndup(url.n ? url.p : "", url.n);
}

static void read_route(struct backend *b, struct str settings)
{
    b->proxy_http = text_setting(settings, X_HTTP_PROXY);
    b->proxy_https = text_setting(settings, X_HTTPS_PROXY);
    b->route = (struct http_route){
        .proxy_http = b->proxy_http,
        .proxy_https = b->proxy_https,
        .proxy_headers = b->proxy_headers,
        .insecure = setting_wire_bool(settings, X_INSECURE_DISABLE_SSL),
    };
}

/* ---- headers ---- */

static bool has_header(const struct buf *headers, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = headers->data, *end = p + headers->len; p && p < end;) {
        if ((size_t)(end - p) > n && strncasecmp(p, name, n) == 0 && p[n] == ':')
            return true;
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        p = nl ? nl + 1 : end;
    }
    return false;
}

/* A header that those of the settings do not have already. */
static void put_default(struct backend *b, struct buf *to, const char *name, const char *value)
{
    if (!has_header(&b->extra, name) && is_header(str_of(name), str_of(value)))
        buf_printf(to, "%s: %s\n", name, value);
}

static void put_extra(struct backend *b, struct buf *to, bool without_authorization)
{
    for (const char *p = b->extra.data, *end = p + b->extra.len; p && p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        if (!without_authorization || strncasecmp(p, "Authorization:", 14) != 0)
            buf_append(to, p, (size_t)(nl + 1 - p));
        p = nl + 1;
    }
}

static void put_headers(struct backend *b, enum backend_use use, bool with_credentials, struct buf *to)
{
    AUTO_BUF who = {0};
    if (with_credentials)
        credentials_put(&b->credentials, &who);
    put_extra(b, to, who.len > 0);
    put_default(b, to, "User-Agent", "wandb-core");
    if (uses[use].user) {
        put_default(b, to, "X-Wandb-Username", b->username);
        put_default(b, to, "X-Wandb-User-Email", b->email);
    }
    if (uses[use].run && b->is_shared && *b->writer) {
        put_default(b, to, "X-Wandb-Use-Async-Filestream", "true");
        put_default(b, to, uses[use].writer_header, b->writer);
    }
    if (uses[use].run && b->is_derived_by_server)
        put_default(b, to, "X-Wandb-Server-Side-Derived-Summary", "true");
    buf_put_str(to, buf_str(&who));
}

/* Same scheme, host and port, and a path below ours. */
static bool is_own(const struct backend *b, const char *url)
{
    size_t n = strlen(b->url);
    struct url_parts own, other;
    if (!url_split(b->url, &own) || !url_split(url, &other) || own.https != other.https ||
        own.port != other.port || own.host.n != other.host.n ||
        strncasecmp(own.host.p, other.host.p, own.host.n) != 0)
        return false;
    const char *own_path = own.authority.p + own.authority.n, *path = other.authority.p + other.authority.n;
    n = strlen(own_path);
    return strncmp(path, own_path, n) == 0 && (path[n] == '\0' || strchr("/?#", path[n]));
}

static void answer_headers(struct backend *b, struct backend_headers *h, int error, const char *why)
{
    if (!error)
        put_headers(b, h->use, h->has_credentials, &h->text);
    h->ready(h, error, why);
}

/* backend_token asks with this in place of a use. */
static const enum backend_use TOKEN_ALONE = BACKEND_N_USES;

static void answer_token(struct backend *b, struct backend_headers *h, int error, const char *why)
{
    if (!error && b->credentials.identity_file && b->credentials.token)
        buf_puts(&h->text, b->credentials.token);
    h->ready(h, error, why);
}

static void on_credentials(struct credentials *c, int error, const char *why)
{
    struct backend *b = (struct backend *)((char *)c - offsetof(struct backend, credentials));
    struct backend_headers *h, *list = b->waiting;
    b->waiting = NULL;
    while ((h = list)) {
        LL_DELETE(list, h);
        if (h->use == TOKEN_ALONE)
            answer_token(b, h, error, why);
        else
            answer_headers(b, h, error, why);
    }
}

static void wait_for_credentials(struct backend *b, struct backend_headers *h)
{
    h->next = NULL;
    LL_APPEND(b->waiting, h);
    credentials_ask(&b->credentials);
}

void backend_headers(struct backend *b, enum backend_use use, const char *url, struct backend_headers *h)
{
    h->use = use;
    h->has_credentials = (uses[use].credentials || b->file_credentials) && is_own(b, url);
    if (b->closing)
        answer_headers(b, h, TARE_ECANCELLED, err_text(TARE_ECANCELLED));
    else if (!h->has_credentials || credentials_are_ready(&b->credentials))
        answer_headers(b, h, 0, NULL);
    else
        wait_for_credentials(b, h);
}

bool backend_renews(struct backend *b, const struct http_request *r)
{
    return !r->error && r->status == 401 && !b->closing && credentials_refused(&b->credentials, r->headers);
}

void backend_token(struct backend *b, struct backend_headers *h)
{
    h->use = TOKEN_ALONE;
    if (b->closing)
        answer_token(b, h, TARE_ECANCELLED, err_text(TARE_ECANCELLED));
    else if (credentials_are_ready(&b->credentials))
        answer_token(b, h, 0, NULL);
    else
        wait_for_credentials(b, h);
}

void backend_files_with_credentials(struct backend *b)
{
    b->file_credentials = true;
}

/* ---- what it can do ---- */

#define FEATURES_QUERY                                                                                  \
    "\nquery ServerFeaturesQuery {\n\tserverInfo {\n\t\tfeatures {\n\t\t\tname\n\t\t\tisEnabled\n\t\t}\n" \
    "\t}\n}\n"

static bool has_feature(const struct backend *b, const char *name)
{
    struct str list = buf_str(&b->features);
    const char *at = list.n ? json_skip_space(list.p, list.p + list.n) : NULL, *end = list.p + list.n;
    struct json_item item;
    if (!at || at == end || *at++ != '[')
        return false;
    while (json_next_element(&at, end, &item) == 1) {
        AUTO_FREE char *found = json_string_at(item.value, "name");
        if (found && strcmp(found, name) == 0)
            return str_eqz(json_at(item.value, "isEnabled"), "true");
    }
    return false;
}

static void on_features(struct graphql_call *call)
{
    struct backend *b = (struct backend *)((char *)call - offsetof(struct backend, features_call));
    struct feature_wait *w, *list = b->feature_waits;
    struct str found = call->error ? (struct str){0} : json_at(call->data, "serverInfo.features");
    /* not asked again in vain by every part of a run, but by the next who wants to know later */
    b->features_state = call->error ? FEATURES_UNKNOWN : FEATURES_KNOWN;
    buf_clear(&b->features);
    buf_put_str(&b->features, found);
    graphql_call_fini(call);
    b->feature_waits = NULL;
    while ((w = list)) {
        LL_DELETE(list, w);
        w->ready(w->ctx, has_feature(b, w->name));
        mem_free(w);
    }
}

void backend_feature(struct backend *b, const char *feature_name, void (*ready)(void *ctx, bool has),
                     void *ctx)
{
    if (b->features_state == FEATURES_KNOWN || b->closing) {
        ready(ctx, has_feature(b, feature_name));
        return;
    }
    struct feature_wait *w = xmem_calloc(1, sizeof *w + strlen(feature_name) + 1);
    strcpy(w->name, feature_name);
    w->ready = ready;
    w->ctx = ctx;
    LL_APPEND(b->feature_waits, w);
    if (b->features_state == FEATURES_ASKING)
        return;
    b->features_state = FEATURES_ASKING;
    b->features_call = (struct graphql_call){
        .operation = "ServerFeaturesQuery", .document = FEATURES_QUERY, .done = on_features};
    graphql_send(b, &b->features_call);
}

/* ---- answers that a person may want to know of ---- */

void backend_note_answer(struct backend *b, int status, struct str body)
{
    if (status == 0 || (status >= 200 && status < 300))
        return;
    if (b->n_noted == NOTED_ANSWERS) {
        mem_free(b->noted[0].text);
        memmove(b->noted, b->noted + 1, sizeof b->noted[0] * (NOTED_ANSWERS - 1));
        b->n_noted--;
    }
    size_t n = body.n < NOTED_ANSWER_BYTES ? body.n : NOTED_ANSWER_BYTES;
    b->noted[b->n_noted++] = (struct noted_answer){status, xmem_strndup(n ? body.p : "", n), n};
}

void backend_take_answers(struct backend *b, struct buf *to)
{
    for (int i = 0; i < b->n_noted; i++) {
        size_t mark = wire_buf_begin(to, 1);
        wire_buf_varint(to, 1, (uint64_t)b->noted[i].status);
        wire_buf_bytes(to, 2, str_make(b->noted[i].text, b->noted[i].n));
        wire_buf_end(to, mark);
        mem_free(b->noted[i].text);
    }
    b->n_noted = 0;
}

/* ---- begin and end ---- */

static void init_credentials(struct backend *b, struct str settings, const char *key)
{
    struct str token_file = setting_wire_text(settings, X_IDENTITY_TOKEN_FILE);
    b->credentials = (struct credentials){
        .http = b->http,
        .loop = b->loop,
        .route = &b->route,
        .base_url = b->url,
        .headers = buf_z(&b->extra),
        .api_key = key ? xmem_strdup(key) : text_setting(settings, X_API_KEY),
        .identity_file = !key && token_file.n ? xmem_strndup(token_file.p, token_file.n) : NULL,
        .credentials_file = text_setting(settings, X_CREDENTIALS_FILE),
        .done = on_credentials,
    };
    credentials_init(&b->credentials);
}

struct backend *backend_new(struct http *http, uv_loop_t *loop, struct str settings, const char *url,
                            const char *key, struct err *e)
{
    AUTO_FREE char *address = cut_slashes(url ? str_of(url) : setting_wire_text(settings, X_BASE_URL));
    struct url_parts parts;
    if (!url_split(address, &parts)) {
        err_set(e, TARE_EINVAL,
                "\"%.200s\" is no http:// or https:// address of a W&B server: set WANDB_BASE_URL",
                address);
        return NULL;
    }
    struct backend *b = xmem_calloc(1, sizeof *b);
    struct str app_url = setting_wire_text(settings, X_APP_URL);
    b->http = http;
    b->loop = loop;
    b->url = xmem_strdup(address);
    b->app_url = url || app_url.n == 0 ? xmem_strdup(address) : cut_slashes(app_url);
    b->username = text_setting(settings, X_USERNAME);
    b->email = text_setting(settings, X_EMAIL);
    b->is_shared = setting_wire_bool(settings, X_SHARED);
    b->is_derived_by_server = setting_wire_bool(settings, X_SERVER_SIDE_DERIVED_SUMMARY);
    read_headers(b, settings);
    read_route(b, settings);
    for (int use = 0; use < BACKEND_N_USES; use++)
        retry_policy_of(&b->policies[use], settings, (enum backend_use)use);
    init_credentials(b, settings, key);
    uv_timer_init(loop, &b->look);
    b->look.data = b;
    http_hold(http);
    return b;
}

static void on_look_closed(uv_handle_t *t)
{
    struct backend *b = t->data;
    for (int i = 0; i < b->n_noted; i++)
        mem_free(b->noted[i].text);
    buf_fini(&b->extra);
    buf_fini(&b->features);
    mem_free(b->url);
    mem_free(b->app_url);
    mem_free(b->proxy_http);
    mem_free(b->proxy_https);
    mem_free(b->proxy_headers);
    mem_free(b->username);
    mem_free(b->email);
    http_release(b->http);
    mem_free(b);
}

static void on_credentials_closed(struct credentials *c)
{
    struct backend *b = (struct backend *)((char *)c - offsetof(struct backend, credentials));
    b->credentials_closed = true;
}

static void on_look(uv_timer_t *t)
{
    struct backend *b = t->data;
    if (b->calls || !b->credentials_closed || http_uses(b->http, &b->route))
        return;
    uv_close((uv_handle_t *)&b->look, on_look_closed);
}

void backend_close(struct backend *b)
{
    if (!b || b->closing)
        return;
    b->closing = true;
    on_credentials(&b->credentials, TARE_ECANCELLED, err_text(TARE_ECANCELLED));
    graphql_cancel_all(b);
    credentials_close(&b->credentials, on_credentials_closed);
    uv_timer_start(&b->look, on_look, 0, BACKEND_CLOSE_LOOK_MS);
}

/* ---- facts ---- */

const char *backend_url(const struct backend *b)
{
    return b->url;
}

const char *backend_app_url(const struct backend *b)
{
    return b->app_url;
}

void backend_set_writer(struct backend *b, const char *writer_id)
{
    snprintf(b->writer, sizeof b->writer, "%s", writer_id);
}

struct http *backend_http(struct backend *b)
{
    return b->http;
}

uv_loop_t *backend_loop(struct backend *b)
{
    return b->loop;
}

struct http_route *backend_route(struct backend *b)
{
    return &b->route;
}

const struct retry_policy *backend_policy(const struct backend *b, enum backend_use use)
{
    return &b->policies[use];
}

struct graphql_work **backend_calls(struct backend *b)
{
    return &b->calls;
}

bool backend_is_closing(const struct backend *b)
{
    return b->closing;
}
