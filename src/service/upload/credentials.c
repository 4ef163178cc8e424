/* SPDX-License-Identifier: MIT */
/* The credentials file, shared with the SDK:
 *
 *   {"credentials": {"https://api.forge.coreweave.com": {"expires_at": "2026-11-23 18:30:00", "access_token": "..."}}}
 *
 * Times are UTC. What it says of other backends is kept. */
#include "service/upload/credentials.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/json.h"
#include "base/number.h"
#include "base/os.h"
#include "base/random.h"
#include "service/limits.h"
#include "service/upload/json_path.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

#define BEARER "Authorization: Bearer "

#define TO(state) (1u << (state))
#define OF(w, member) ((struct credentials *)((char *)(w) - offsetof(struct credentials, member)))

static const struct {
    const char *name;
    unsigned to;
} states[] = {
    [CREDENTIALS_READY] = {"ready", TO(CREDENTIALS_LOADING)},
    [CREDENTIALS_LOADING] = {"loading", TO(CREDENTIALS_EXCHANGING) | TO(CREDENTIALS_READY)},
    [CREDENTIALS_EXCHANGING] = {"exchanging", TO(CREDENTIALS_RESTING) | TO(CREDENTIALS_SAVING) |
                                                  TO(CREDENTIALS_READY)},
    [CREDENTIALS_RESTING] = {"resting", TO(CREDENTIALS_EXCHANGING) | TO(CREDENTIALS_READY)},
    [CREDENTIALS_SAVING] = {"saving", TO(CREDENTIALS_READY)},
};

static void move(struct credentials *c, enum credentials_state to)
{
    assert(states[c->state].to & TO(to));
    c->state = to;
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *h)
{
    struct credentials *c = h->data;
    http_request_fini(&c->request);
    buf_fini(&c->assertion);
    buf_fini(&c->file);
    buf_fini(&c->body);
    buf_fini(&c->all_headers);
    mem_free(c->url);
    mem_free(c->token);
    mem_free(c->refused);
    mem_free(c->api_key);
    mem_free(c->identity_file);
    mem_free(c->credentials_file);
    c->closed(c);
}

static void end(struct credentials *c, int error)
{
    move(c, CREDENTIALS_READY);
    if (error && !c->closing)
        diag_warn("credentials: %s", c->why);
    if (c->closing)
        uv_close((uv_handle_t *)&c->timer, on_closed);
    else
        c->done(c, error, c->why);
}

/* ---- the file ---- */

static bool is_expiring(const struct credentials *c)
{
    return c->expires_ns - clock_steady_ns() <= TOKEN_EXPIRES_EARLY_NS;
}

static int64_t parse_time(const char *text)
{
    struct tm tm = {0};
    const char *end = text ? strptime(text, "%Y-%m-%d %H:%M:%S", &tm) : NULL;
    return end && !*end ? (int64_t)timegm(&tm) * 1000000000 : 0;
}

/* The entry of our backend in the file: a whole member name, dots and all. */
static struct str own_entry(const struct credentials *c)
{
    struct str all = json_at(buf_str(&c->file), "credentials");
    const char *at = all.n ? json_skip_space(all.p, all.p + all.n) : NULL, *end = all.p + all.n;
    struct json_item item;
    if (!at || at == end || *at++ != '{')
        return (struct str){0};
    while (json_next_member(&at, end, &item) == 1)
        if (str_eqz(item.key, c->base_url))
            return item.value;
    return (struct str){0};
}

static void take_token(struct credentials *c, char *token, int64_t left_ns)
{
    mem_free(c->token);
    c->token = token;
    c->expires_ns = clock_steady_ns() + left_ns;
}

/* A valid token of the file, if it has one that was not refused. */
static bool use_file(struct credentials *c)
{
    struct str entry = own_entry(c);
    AUTO_FREE char *expires = json_string_at(entry, "expires_at");
    char *token = json_string_at(entry, "access_token");
    int64_t left_ns = parse_time(expires) - clock_wall_ns();
    if (!token || !*token || left_ns <= TOKEN_EXPIRES_EARLY_NS ||
        (c->refused && strcmp(token, c->refused) == 0)) {
        mem_free(token);
        return false;
    }
    take_token(c, token, left_ns);
    return true;
}

static void put_entry(struct buf *to, const struct credentials *c)
{
    char text[32];
    time_t s = (time_t)((clock_wall_ns() + c->expires_ns - clock_steady_ns()) / 1000000000);
    struct tm tm;
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", gmtime_r(&s, &tm));
    json_put_string(to, str_of(c->base_url));
    buf_puts(to, ": {\n      \"expires_at\": ");
    json_put_string(to, str_of(text));
    buf_puts(to, ",\n      \"access_token\": ");
    json_put_string(to, str_of(c->token));
    buf_puts(to, "\n    }");
}

/* The file with our entry added or replaced. */
static void put_file(struct buf *to, const struct credentials *c)
{
    struct str all = json_at(buf_str(&c->file), "credentials");
    const char *at = all.n ? json_skip_space(all.p, all.p + all.n) : NULL, *end = all.p + all.n;
    struct json_item item;
    buf_puts(to, "{\n  \"credentials\": {\n    ");
    if (at && at < end && *at++ == '{')
        while (json_next_member(&at, end, &item) == 1)
            if (!str_eqz(item.key, c->base_url))
                buf_printf(to, "\"%.*s\": %.*s,\n    ", STR_ARG(item.key), STR_ARG(item.value));
    put_entry(to, c);
    buf_puts(to, "\n  }\n}");
}

/* ---- exchanging ---- */

static void exchange(struct credentials *c);

static void on_timer(uv_timer_t *t)
{
    struct credentials *c = t->data;
    if (c->closing)
        end(c, TARE_ECANCELLED);
    else
        exchange(c);
}

static void save_run(struct work *w)
{
    struct credentials *c = OF(w, work);
    c->rc = os_write_file(c->credentials_file, c->body.data, c->body.len, 0600);
}

static void save_done(struct work *w)
{
    struct credentials *c = OF(w, work);
    if (c->rc)
        diag_warn("credentials: cannot write %s: %s", c->credentials_file, err_text(c->rc));
    end(c, 0);
}

static void save(struct credentials *c)
{
    buf_clear(&c->body);
    put_file(&c->body, c);
    move(c, CREDENTIALS_SAVING);
    c->work.run = save_run;
    c->work.done = save_done;
    work_start(c->loop, &c->work);
}

/* True if the answer holds a token. */
static bool take_answer(struct credentials *c)
{
    struct str body = buf_str(&c->request.answer), expires = json_at(body, "expires_in");
    char *token = json_string_at(body, "access_token");
    double s = 0;
    if (!token)
        return false;
    if (expires.n)
        number_parse_double(expires.p, expires.n, &s);
    take_token(c, token, (int64_t)(s > 0 && s < 1e9 ? s * 1e9 : 0));
    return true;
}

/* Refused for good, or tried again. */
static void on_refused(struct credentials *c)
{
    struct http_request *r = &c->request;
    bool final = !r->error && r->status >= 400 && r->status < 500 && r->status != 429;
    if (r->error)
        snprintf(c->why, sizeof c->why, "api: couldn't fetch access token: %.200s", r->why);
    else
        snprintf(c->why, sizeof c->why,
                 "api: couldn't fetch access token: failed to retrieve access token: HTTP %d: %.*s",
                 r->status, (int)(r->answer.len < 300 ? r->answer.len : 300),
                 r->answer.data ? r->answer.data : "");
    if (final) {
        end(c, TARE_EPERM);
    } else if (c->n_tries > c->policy.max || !retry_again(&c->policy, r)) {
        end(c, r->error ? r->error : TARE_EPROTO);
    } else {
        move(c, CREDENTIALS_RESTING);
        uv_timer_start(&c->timer, on_timer, retry_wait_ms(&c->policy, r, c->n_tries, random_u32()), 0);
    }
}

static void on_answer(struct http_request *r)
{
    struct credentials *c = OF(r, request);
    if (c->closing)
        end(c, TARE_ECANCELLED);
    else if (r->error || r->status != 200)
        on_refused(c);
    else if (take_answer(c))
        save(c);
    else {
        snprintf(c->why, sizeof c->why, "api: couldn't fetch access token: the answer has no access_token");
        end(c, TARE_EPROTO);
    }
}

static void exchange(struct credentials *c)
{
    struct http_request *r = &c->request;
    move(c, CREDENTIALS_EXCHANGING);
    c->n_tries++;
    http_request_fini(r);
    http_request_init(r);
    buf_clear(&c->body);
    buf_puts(&c->body, "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=");
    buf_put_percent(&c->body, buf_str(&c->assertion), "");
    buf_clear(&c->all_headers);
    buf_printf(&c->all_headers, "Content-Type: application/x-www-form-urlencoded\nUser-Agent: wandb-core\n%s",
               c->headers);
    r->method = "POST";
    r->url = c->url;
    r->url = c->request.url;
    r->route = c->route;
    r->headers = buf_z(&c->all_headers);
    r->body = buf_str(&c->body);
    r->keep_bytes = TOKEN_ANSWER_BYTES;
    r->timeout_ms = c->policy.timeout_ms;
    r->done = on_answer;
    http_send(c->http, r);
}

/* ---- loading ---- */

static void load_run(struct work *w)
{
    struct credentials *c = OF(w, work);
    buf_clear(&c->file);
    buf_clear(&c->assertion);
    if (os_read_file(c->credentials_file, TOKEN_FILE_BYTES, &c->file) != 0)
        buf_clear(&c->file); /* there is none yet */
    c->rc = os_read_file(c->identity_file, TOKEN_FILE_BYTES, &c->assertion);
}

static void trim(struct buf *b)
{
    size_t from = 0;
    while (b->len && (unsigned char)b->data[b->len - 1] <= ' ')
        b->len--;
    while (from < b->len && (unsigned char)b->data[from] <= ' ')
        from++;
    buf_consume(b, from);
}

static void load_done(struct work *w)
{
    struct credentials *c = OF(w, work);
    if (c->closing) {
        end(c, TARE_ECANCELLED);
    } else if (use_file(c)) {
        end(c, 0);
    } else if (c->rc) {
        snprintf(c->why, sizeof c->why,
                 "api: couldn't fetch access token: api: failed to read identity token file: open %s: %s",
                 c->identity_file, err_text(c->rc));
        end(c, TARE_EPERM);
    } else {
        trim(&c->assertion);
        c->n_tries = 0;
        exchange(c);
    }
}

/* ---- public ---- */

void credentials_init(struct credentials *c)
{
    c->policy = (struct retry_policy){
        .use = BACKEND_GRAPHQL,
        .max = TOKEN_RETRIES,
        .wait_min_ms = TOKEN_WAIT_MIN_MS,
        .wait_max_ms = TOKEN_WAIT_MAX_MS,
        .timeout_ms = TOKEN_TRY_MS,
    };
    AUTO_BUF url = {0};
    buf_printf(&url, "%s/oidc/token", c->base_url);
    c->url = xmem_strndup(url.data, url.len);
    uv_timer_init(c->loop, &c->timer);
    c->timer.data = c;
    http_request_init(&c->request);
}

bool credentials_are_ready(const struct credentials *c)
{
    return !c->identity_file || (c->state == CREDENTIALS_READY && c->token && !is_expiring(c));
}

void credentials_ask(struct credentials *c)
{
    if (c->state != CREDENTIALS_READY)
        return;
    c->why[0] = '\0';
    move(c, CREDENTIALS_LOADING);
    c->work.run = load_run;
    c->work.done = load_done;
    work_start(c->loop, &c->work);
}

bool credentials_refused(struct credentials *c, const char *headers)
{
    int64_t now_ns = clock_mono_ns();
    const char *sent = c->identity_file ? strstr(headers, BEARER) : NULL;
    if (!sent)
        return false;
    sent += strlen(BEARER);
    size_t n = strcspn(sent, "\n");
    if (c->state != CREDENTIALS_READY || !c->token || strlen(c->token) != n || memcmp(sent, c->token, n) != 0)
        return true; /* another request was refused before: there is a new one, or will be */
    if (c->refused && now_ns - c->refused_ns < TOKEN_REFUSED_NS)
        return false;
    mem_free(c->refused);
    c->refused = c->token;
    c->token = NULL;
    c->refused_ns = now_ns;
    return true;
}

static void put_basic(const char *key, struct buf *to)
{
    AUTO_BUF plain = {0};
    buf_printf(&plain, "api:%s", key);
    AUTO_FREE char *text = xmem_alloc((plain.len + 2) / 3 * 4 + 1);
    base64_text(text, (const uint8_t *)plain.data, plain.len);
    buf_printf(to, "Authorization: Basic %s\n", text);
}

void credentials_put(const struct credentials *c, struct buf *to)
{
    if (c->identity_file)
        buf_printf(to, BEARER "%s\n", c->token ? c->token : "");
    else if (c->api_key && *c->api_key)
        put_basic(c->api_key, to);
}

void credentials_close(struct credentials *c, void (*closed)(struct credentials *c))
{
    c->closing = true;
    c->closed = closed;
    if (c->state == CREDENTIALS_READY)
        uv_close((uv_handle_t *)&c->timer, on_closed);
    else if (c->state == CREDENTIALS_EXCHANGING)
        http_cancel(c->http, &c->request);
    else if (c->state == CREDENTIALS_RESTING)
        uv_timer_start(&c->timer, on_timer, 0, 0);
}
