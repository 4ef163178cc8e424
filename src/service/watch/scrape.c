/* SPDX-License-Identifier: MIT */
/* The life of an endpoint:
 *
 *   RESTING ─► ASKING (a request is under way) ─► READING (a worker reads its answer) ─► RESTING
 *                 ▲────────── next query of an exporter ──────────┘
 *
 * A failure leads back to RESTING from anywhere. What was read is given to each run once, by its
 * number. */
#include "service/watch/scrape.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "loop/http.h"
#include "loop/worker.h"
#include "record/setting_wire.h"
#include "service/watch/dcgm.h"
#include "service/watch/openmetrics.h"

#include <stdio.h>
#include <utlist.h>

enum { SET_ENDPOINTS = 47, SET_FILTERS = 48, SET_HEADERS = 184, SET_EXPORTER = 187 };

enum state { RESTING, ASKING, READING };

struct endpoint {
    struct endpoint *prev, *next;
    struct scraper *scraper;
    int n_users;
    struct buf identity; /* what makes two endpoints the same */
    char *url, *headers;
    struct openmetrics *metrics; /* NULL: a DCGM exporter */
    enum state state;
    struct http_request request;
    struct work work;
    int query; /* of an exporter: which one is asked */
    struct buf query_url;
    int64_t asked_ns;  /* monotonic; 0 for never */
    struct buf reading, reading_gpus; /* what this round has brought so far */
    int rc;            /* of the worker */
    char why[256];
    struct buf items, gpus; /* the last whole round */
    uint64_t round;    /* how many there were */
    bool is_failing;   /* it was said already */
};

struct scraper {
    struct http *http;
    uv_loop_t *loop;
    struct endpoint *endpoints; /* list */
    struct scrape *scrapes;     /* list */
    bool closing;
};

struct scrape {
    struct scrape *prev, *next;
    struct scraper *scraper;
    struct endpoint *endpoint[SCRAPE_MAX_ENDPOINTS];
    uint64_t taken[SCRAPE_MAX_ENDPOINTS]; /* the round of each that the run has had */
    int n;
    struct endpoint *exporter; /* one of them, or NULL */
    void (*facts_done)(void *ctx, struct str fields);
    void *facts_ctx;
};

/* ---- settings ---- */

static struct str setting(struct str settings, uint32_t number)
{
    return wire_find_bytes(settings, number);
}

bool scrape_has_exporter(struct str settings)
{
    return setting_wire_text(settings, SET_EXPORTER).n > 0;
}

bool scrape_is_wanted(struct str settings)
{
    return scrape_has_exporter(settings) || setting(settings, SET_ENDPOINTS).n > 0;
}

/* A MapStringKeyStringValue as "Name: value\n...", without what could smuggle in other headers. */
static void put_headers(struct buf *to, struct str map)
{
    struct wire_reader r = wire_open(map);
    struct wire_field f = {0};
    while (wire_next(&r, &f) > 0) {
        struct str name = wire_find_bytes(f.bytes, 1), value = wire_find_bytes(f.bytes, 2);
        bool is_plain = name.n > 0 && !memchr(name.p, '\n', name.n) && !memchr(name.p, ':', name.n) &&
                        !memchr(name.p, 0, name.n) && (value.n == 0 || (!memchr(value.p, '\n', value.n) &&
                        !memchr(value.p, '\r', value.n) && !memchr(value.p, 0, value.n)));
        if (f.number != 1 || !is_plain)
            continue;
        buf_put_str(to, name);
        buf_puts(to, ": ");
        buf_put_str(to, value);
        buf_putc(to, '\n');
    }
}

/* ---- endpoints ---- */

static void free_endpoint(struct endpoint *e)
{
    DL_DELETE(e->scraper->endpoints, e);
    openmetrics_free(e->metrics);
    http_request_fini(&e->request);
    buf_fini(&e->identity);
    buf_fini(&e->query_url);
    buf_fini(&e->reading);
    buf_fini(&e->reading_gpus);
    buf_fini(&e->items);
    buf_fini(&e->gpus);
    mem_free(e->url);
    mem_free(e->headers);
    mem_free(e);
}

/* Without users it stays for a while, so that a run that comes again finds its numbers. */
static void forget_some(struct scraper *s)
{
    struct endpoint *e, *next;
    int n_unused = 0;
    DL_FOREACH (s->endpoints, e)
        n_unused += e->n_users == 0;
    DL_FOREACH_SAFE (s->endpoints, e, next) {
        bool goes = s->closing || n_unused > SCRAPE_MAX_ENDPOINTS;
        if (e->n_users > 0 || e->state != RESTING || !goes)
            continue;
        free_endpoint(e);
        n_unused--;
    }
    if (s->closing && !s->endpoints) {
        http_release(s->http);
        mem_free(s);
    }
}

static void put_part(struct buf *to, struct str s)
{
    buf_printf(to, "%zu:", s.n);
    buf_put_str(to, s);
}

static void on_answer(struct http_request *r);
static void on_read(struct work *w);
static void on_read_done(struct work *w);

/* `filters` has no bytes but a pointer where it means a DCGM exporter. */
static struct endpoint *endpoint_of(struct scraper *s, struct str name, struct str url, struct str headers,
                                    const struct str *filters)
{
    AUTO_BUF identity = {0};
    struct endpoint *e;
    buf_puts(&identity, filters ? "openmetrics" : "dcgm");
    put_part(&identity, name);
    put_part(&identity, url);
    put_part(&identity, headers);
    put_part(&identity, filters ? *filters : STR(""));
    DL_FOREACH (s->endpoints, e)
        if (str_eq(buf_str(&e->identity), buf_str(&identity)))
            return e;
    e = xmem_calloc(1, sizeof *e);
    e->scraper = s;
    buf_put_str(&e->identity, buf_str(&identity));
    e->url = xmem_strndup(url.p, url.n);
    e->headers = xmem_strndup(headers.p, headers.n);
    e->metrics = filters ? openmetrics_new(name, *filters) : NULL;
    http_request_init(&e->request);
    e->work = (struct work){.run = on_read, .done = on_read_done};
    DL_APPEND(s->endpoints, e);
    return e;
}

/* ---- a round ---- */

static void give_facts(struct endpoint *e, struct str gpus)
{
    struct scrape *s, *next;
    DL_FOREACH_SAFE (e->scraper->scrapes, s, next) {
        AUTO_BUF fields = {0};
        void (*done)(void *ctx, struct str fields) = s->facts_done;
        if (s->exporter != e || !done)
            continue;
        s->facts_done = NULL;
        dcgm_put_facts(&fields, gpus);
        done(s->facts_ctx, buf_str(&fields));
    }
}

static void end_round(struct endpoint *e, const char *why)
{
    struct scraper *s = e->scraper;
    e->state = RESTING;
    if (why && !e->is_failing && !s->closing)
        diag_warn("scrape: no metrics from %s: %s", e->url, why);
    e->is_failing = why != NULL;
    if (!why) {
        struct buf items = e->items, gpus = e->gpus;
        e->items = e->reading;
        e->gpus = e->reading_gpus;
        e->reading = items; /* keeps its memory */
        e->reading_gpus = gpus;
        e->round++;
    }
    give_facts(e, why ? STR("") : buf_str(&e->gpus));
    if (e->n_users == 0 || s->closing)
        forget_some(s);
}

static void send_request(struct endpoint *e)
{
    const char *url = e->url;
    if (!e->metrics) {
        buf_clear(&e->query_url);
        url = dcgm_url(e->url, e->query, &e->query_url) ? buf_z(&e->query_url) : NULL;
    }
    if (!url) {
        end_round(e, e->query == 0 ? "it is no address with a query" : NULL);
        return;
    }
    http_request_fini(&e->request);
    http_request_init(&e->request);
    e->request.method = "GET";
    e->request.url = url;
    e->request.headers = e->headers;
    e->request.keep_bytes = SCRAPE_MAX_BYTES;
    e->request.timeout_ms = SCRAPE_TIMEOUT_MS;
    e->request.done = on_answer;
    e->state = ASKING;
    http_send(e->scraper->http, &e->request);
}

static void on_answer(struct http_request *r)
{
    struct endpoint *e = (struct endpoint *)((char *)r - offsetof(struct endpoint, request));
    char why[64];
    snprintf(why, sizeof why, "status %d", r->status);
    if (r->error || r->status < 200 || r->status > 299) {
        end_round(e, r->error ? r->why : why);
        return;
    }
    e->state = READING;
    work_start(e->scraper->loop, &e->work);
}

static void on_read(struct work *w)
{
    struct endpoint *e = (struct endpoint *)((char *)w - offsetof(struct endpoint, work));
    struct str answer = buf_str(&e->request.answer);
    e->rc = 0;
    if (e->metrics)
        openmetrics_read(e->metrics, answer, &e->reading);
    else
        e->rc = dcgm_read(answer, &e->reading, &e->reading_gpus, e->why);
}

static void on_read_done(struct work *w)
{
    struct endpoint *e = (struct endpoint *)((char *)w - offsetof(struct endpoint, work));
    http_request_fini(&e->request);
    http_request_init(&e->request);
    bool more = !e->metrics && e->rc == 0 && !e->scraper->closing;
    e->query += more;
    if (more)
        send_request(e);
    else
        end_round(e, e->rc < 0 ? e->why : NULL);
}

static void start_round(struct endpoint *e)
{
    int64_t now_ns = clock_mono_ns();
    if (e->state != RESTING || (e->asked_ns != 0 && now_ns - e->asked_ns < SCRAPE_FRESH_NS))
        return;
    e->asked_ns = now_ns;
    e->query = 0;
    buf_clear(&e->reading);
    buf_clear(&e->reading_gpus);
    send_request(e);
}

/* ---- the scraper ---- */

struct scraper *scraper_new(struct http *http, uv_loop_t *loop)
{
    struct scraper *s = xmem_calloc(1, sizeof *s);
    s->http = http;
    s->loop = loop;
    http_hold(http);
    return s;
}

void scraper_close(struct scraper *s)
{
    struct endpoint *e;
    if (!s)
        return;
    s->closing = true;
    DL_FOREACH (s->endpoints, e)
        if (e->state == ASKING)
            http_cancel(s->http, &e->request);
    forget_some(s);
}

/* ---- what a run asks for ---- */

static void use_endpoint(struct scrape *s, struct endpoint *e)
{
    if (s->n >= SCRAPE_MAX_ENDPOINTS)
        return;
    s->taken[s->n] = e->round; /* what was read before it began is not its own */
    s->endpoint[s->n++] = e;
    e->n_users++;
}

struct scrape *scrape_new(struct scraper *scraper, struct str settings)
{
    struct scrape *s = xmem_calloc(1, sizeof *s);
    AUTO_BUF headers = {0};
    struct str filters = setting(settings, SET_FILTERS), url = setting_wire_text(settings, SET_EXPORTER);
    struct wire_reader r = wire_open(setting(settings, SET_ENDPOINTS));
    struct wire_field f = {0};
    s->scraper = scraper;
    DL_APPEND(scraper->scrapes, s);
    put_headers(&headers, setting(settings, SET_HEADERS));
    if (url.n > 0)
        use_endpoint(s, s->exporter = endpoint_of(scraper, STR(""), url, buf_str(&headers), NULL));
    while (wire_next(&r, &f) > 0)
        if (f.number == 1)
            use_endpoint(s, endpoint_of(scraper, wire_find_bytes(f.bytes, 1), wire_find_bytes(f.bytes, 2),
                                        buf_str(&headers), &filters));
    return s;
}

void scrape_free(struct scrape *s)
{
    if (!s)
        return;
    DL_DELETE(s->scraper->scrapes, s);
    for (int i = 0; i < s->n; i++)
        s->endpoint[i]->n_users--;
    forget_some(s->scraper);
    mem_free(s);
}

void scrape_ask(struct scrape *s)
{
    for (int i = 0; i < s->n; i++)
        start_round(s->endpoint[i]);
}

void scrape_take(struct scrape *s, struct buf *items)
{
    for (int i = 0; i < s->n; i++) {
        struct endpoint *e = s->endpoint[i];
        if (s->taken[i] != e->round)
            buf_put_str(items, buf_str(&e->items));
        s->taken[i] = e->round;
    }
}

void scrape_facts(struct scrape *s, void (*done)(void *ctx, struct str fields), void *ctx)
{
    s->facts_done = done;
    s->facts_ctx = ctx;
    s->exporter->asked_ns = 0; /* an answer may be on its way already, or comes of this */
    start_round(s->exporter);
}
