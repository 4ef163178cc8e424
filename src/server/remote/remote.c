/* SPDX-License-Identifier: MIT */
#include "server/remote/remote.h"

#include "base/os.h"

#define CURL_DISABLE_TYPECHECK /* its macros know only functions that are linked */
#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { MAX_TEXT = 64 * 1024, MAX_IDLE = 8, CONNECT_MS = 5000, STALL_S = 60 };

#define CURL_FUNCTIONS(X)                                                                     \
    X(curl_global_init) X(curl_easy_init) X(curl_easy_setopt) X(curl_easy_perform)            \
    X(curl_easy_getinfo) X(curl_easy_reset) X(curl_easy_cleanup) X(curl_easy_strerror)        \
    X(curl_slist_append) X(curl_slist_free_all)

static struct {
#define X(name) __typeof__(&name) name;
    CURL_FUNCTIONS(X)
#undef X
    bool loaded;
} curl;

/* Handles that no request uses, with their open connections. */
static struct {
    pthread_mutex_t lock;
    CURL *handles[MAX_IDLE];
    int n;
} idle = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* One request on the way. */
struct call {
    const struct remote_request *r;
    struct remote_answer *answer;
    CURL *h;
    int64_t sent; /* bytes of the body */
    int rc;       /* of on_body, or of reading the file */
};

/* ---- the library ---- */

static void load_library(void)
{
    void *lib = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return;
    bool all = true;
#define X(name) all = (*(void **)&curl.name = dlsym(lib, #name)) != NULL && all;
    CURL_FUNCTIONS(X)
#undef X
    curl.loaded = all && curl.curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

static int need_library(struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_library);
    if (curl.loaded)
        return 0;
    return err_set(e, TARE_EUNSUPPORTED, "the HTTP client library (libcurl.so.4) is not installed");
}

static CURL *take_handle(void)
{
    pthread_mutex_lock(&idle.lock);
    CURL *h = idle.n ? idle.handles[--idle.n] : NULL;
    pthread_mutex_unlock(&idle.lock);
    return h ? h : curl.curl_easy_init();
}

static void give_handle(CURL *h)
{
    curl.curl_easy_reset(h); /* the connections stay */
    pthread_mutex_lock(&idle.lock);
    if (idle.n < MAX_IDLE) {
        idle.handles[idle.n++] = h;
        h = NULL;
    }
    pthread_mutex_unlock(&idle.lock);
    if (h)
        curl.curl_easy_cleanup(h);
}

void remote_close(void)
{
    pthread_mutex_lock(&idle.lock);
    while (idle.n)
        curl.curl_easy_cleanup(idle.handles[--idle.n]);
    pthread_mutex_unlock(&idle.lock);
}

/* ---- what libcurl calls ---- */

static size_t on_read(char *to, size_t size, size_t n, void *arg)
{
    struct call *k = arg;
    int64_t left = k->r->body_bytes - k->sent;
    size_t want = (int64_t)(size * n) < left ? size * n : (size_t)left;
    ssize_t got = want ? os->pread(k->r->body_fd, to, want, k->r->body_at + k->sent) : 0;
    if (got < 0 || (want && !got)) {
        k->rc = got < 0 ? (int)got : TARE_EIO;
        return CURL_READFUNC_ABORT;
    }
    k->sent += got;
    return (size_t)got;
}

/* libcurl sends again on a connection that turned out to be closed. */
static int on_seek(void *arg, curl_off_t at, int from)
{
    struct call *k = arg;
    if (from != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    k->sent = at;
    return CURL_SEEKFUNC_OK;
}

static size_t on_write(char *p, size_t size, size_t n, void *arg)
{
    struct call *k = arg;
    struct buf *text = &k->answer->text;
    long status = 0;
    curl.curl_easy_getinfo(k->h, CURLINFO_RESPONSE_CODE, &status);
    if (k->r->on_body && status / 100 == 2) {
        k->rc = k->r->on_body(k->r->arg, p, size * n);
        return k->rc < 0 ? 0 : size * n;
    }
    size_t room = MAX_TEXT - text->len;
    buf_append(text, p, size * n < room ? size * n : room);
    if (k->r->on_body || text->len < MAX_TEXT)
        return size * n;
    return 0; /* enough: the rest is not worth the waiting */
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct call *k = arg;
    size_t len = size * n;
    if (len > 5 && strncasecmp(p, "etag:", 5) == 0) {
        struct str v = str_make(p + 5, len - 5);
        while (v.n && (*v.p == ' ' || *v.p == '\t'))
            v = str_make(v.p + 1, v.n - 1);
        while (v.n && strchr("\r\n \t", v.p[v.n - 1]))
            v.n--;
        snprintf(k->answer->etag, sizeof k->answer->etag, "%.*s", STR_ARG(v));
    }
    return len;
}

static atomic_bool cancelled;

static int on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow)
{
    const struct call *k = arg;
    return atomic_load(&cancelled) || (k->r->stop && atomic_load(k->r->stop));
}

void remote_cancel(void)
{
    atomic_store(&cancelled, true);
}

/* ---- the request ---- */

#define SET(option, value) (ok = curl.curl_easy_setopt(k->h, option, value) == CURLE_OK && ok)

static bool set_body(struct call *k)
{
    const struct remote_request *r = k->r;
    bool ok = true;
    if (strcmp(r->method, "HEAD") == 0)
        return SET(CURLOPT_NOBODY, 1L);
    if (r->body_fd > 0) {
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_READFUNCTION, on_read);
        SET(CURLOPT_READDATA, k);
        SET(CURLOPT_SEEKFUNCTION, on_seek);
        SET(CURLOPT_SEEKDATA, k);
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body_bytes);
    } else if (r->body.p) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
        SET(CURLOPT_POSTFIELDS, r->body.p);
    }
    return SET(CURLOPT_CUSTOMREQUEST, r->method);
}

static bool set_options(struct call *k, struct curl_slist *headers)
{
    bool ok = set_body(k);
    SET(CURLOPT_URL, k->r->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_USERAGENT, "tare/" TARE_VERSION);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    SET(CURLOPT_TIMEOUT_MS, (long)k->r->total_ms);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)(k->r->stall_s ? k->r->stall_s : STALL_S));
    SET(CURLOPT_WRITEFUNCTION, on_write);
    SET(CURLOPT_WRITEDATA, k);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, k);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, k);
    return ok;
}

/* Where it goes, without what may be a secret: no query, no user. */
static struct str shown_url(const char *url)
{
    const char *at = strchr(url, '@');
    const char *start = at && at < url + strcspn(url, "?#") ? at + 1 : url;
    return str_make(start, strcspn(start, "?#"));
}

static int judge(const struct call *k, CURLcode code, struct err *e)
{
    struct str url = shown_url(k->r->url);
    if (k->rc < 0)
        return e && e->code ? e->code : err_set(e, k->rc, "%.*s: %s", STR_ARG(url), err_text(k->rc));
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_WRITE_ERROR: /* on_write had enough */
        return k->answer->text.len >= MAX_TEXT ? 0 : TARE_ENOMEM;
    case CURLE_ABORTED_BY_CALLBACK:
        return err_set(e, TARE_ECANCELLED, "cancelled");
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(e, TARE_ETIMEOUT, "%.*s: no answer in time", STR_ARG(url));
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        return err_set(e, TARE_EINVAL, "%.*s is not a URL for http or https", STR_ARG(url));
    default:
        return err_set(e, TARE_EIO, "%.*s: %s", STR_ARG(url), curl.curl_easy_strerror(code));
    }
}

static struct curl_slist *make_headers(const struct remote_request *r)
{
    struct curl_slist *list = NULL, *longer;
    /* No question before a large body: what refuses it can say so at the end. */
    list = curl.curl_slist_append(NULL, "Expect:");
    for (int i = 0; list && i < REMOTE_MAX_HEADERS && r->headers[i]; i++) {
        if (!(longer = curl.curl_slist_append(list, r->headers[i]))) {
            curl.curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    return list;
}

int remote_send(const struct remote_request *r, struct remote_answer *out, struct err *e)
{
    *out = (struct remote_answer){.content_length = -1};
    int rc = need_library(e);
    if (rc)
        return rc;
    struct call k = {.r = r, .answer = out, .h = take_handle()};
    struct curl_slist *headers = make_headers(r);
    if (!k.h || !headers || !set_options(&k, headers)) {
        rc = err_set(e, TARE_ENOMEM, "the request cannot be set up");
    } else {
        long status = 0;
        curl_off_t length = -1;
        rc = judge(&k, curl.curl_easy_perform(k.h), e);
        curl.curl_easy_getinfo(k.h, CURLINFO_RESPONSE_CODE, &status);
        curl.curl_easy_getinfo(k.h, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        out->status = (int)status;
        out->content_length = length;
    }
    if (headers)
        curl.curl_slist_free_all(headers);
    if (k.h)
        give_handle(k.h);
    return rc;
}

void remote_answer_fini(struct remote_answer *a)
{
    buf_fini(&a->text);
}
