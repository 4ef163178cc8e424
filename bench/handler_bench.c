/* SPDX-License-Identifier: MIT */
/* What the handler costs for each record of history, without sockets and files:
 *
 *   handler_bench [RECORDS]    nanoseconds a record, bytes in and out
 *
 * The records are those of run.log({10 floats}): 10 metrics of 16 or 17 digits and _timestamp.
 * `scattered` has other keys every time, so that no guess of the hot path is right; `open` gives
 * steps, so that each row waits for the next. CPU time of this thread, best of 5. */
#include "base/buf.h"
#include "base/random.h"
#include "record/wire.h"
#include "service/stream/handler.h"
#include "service/stream/stream_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { METRICS = 10, DISTINCT = 512, ROUNDS = 5 };

static uint64_t n_bytes_out;

static void on_append(void *ctx, struct str record)
{
    (void)ctx;
    n_bytes_out += record.n;
}

static void on_reply(void *ctx, const struct reply_to *to, struct str result, enum reply_when when)
{
    (void)ctx, (void)to, (void)result, (void)when;
}

static void on_fail(void *ctx, const struct reply_to *to, const char *message)
{
    (void)ctx, (void)to, (void)message;
}

static void on_work(void *ctx, struct handler_job *job)
{
    (void)ctx, (void)job;
}

static void put_item(struct buf *to, const char *key, const char *value)
{
    AUTO_BUF item = {0};
    wire_buf_bytes(&item, 1, str_of(key));
    wire_buf_bytes(&item, 16, str_of(value));
    wire_buf_bytes(to, 1, buf_str(&item));
}

/* What the SDK sends: Record { request { partial_history }, control, _info }. */
static struct buf make_record(unsigned n, bool scattered, bool with_step)
{
    AUTO_BUF rows = {0};
    char key[32], value[40];
    for (unsigned i = 0; i < METRICS; i++) {
        snprintf(key, sizeof key, "metric_%u", scattered ? (n * 7 + i * 31) % 97 : i);
        snprintf(value, sizeof value, "%.17g", (double)random_u32() / 4294967296.0 + 1e-12);
        put_item(&rows, key, value);
    }
    snprintf(value, sizeof value, "%.3f", 1795429669.25 + n * 0.001);
    put_item(&rows, "_timestamp", value);
    if (with_step) {
        AUTO_BUF step = {0};
        wire_buf_varint(&step, 1, n);
        wire_buf_bytes(&rows, 2, buf_str(&step));
    }
    AUTO_BUF request = {0};
    wire_buf_bytes(&request, 10, buf_str(&rows));
    struct buf record = {0};
    wire_buf_bytes(&record, 16, STR("\x10\x01"));
    wire_buf_bytes(&record, 100, buf_str(&request));
    wire_buf_bytes(&record, 200, STR("\x0a\x08streamid"));
    return record;
}

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void send_all(struct handler *h, const struct buf *records, long n)
{
    struct reply_to nobody = {0};
    int64_t now_ns = 1795000000000000000;
    for (long i = 0; i < n; i++) {
        now_ns += 1000;
        handler_record(h, buf_str(&records[i % DISTINCT]), &nobody, now_ns);
        if (now_ns >= handler_deadline(h))
            handler_tick(h, now_ns);
    }
}

static void measure(const char *name, long n, bool scattered, bool with_step)
{
    static struct buf records[DISTINCT];
    size_t in = 0;
    for (unsigned i = 0; i < DISTINCT; i++) {
        records[i] = make_record(i, scattered, with_step);
        in += records[i].len;
    }
    struct stream_settings settings = {
        .run_id = "r", .sync_dir = "", .sync_file = "", .files_dir = "", .offline = true};
    struct handler_out out = {NULL, on_append, on_reply, on_fail, on_work};
    int64_t best = INT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        struct handler *h = handler_new(&settings, &out, 1);
        n_bytes_out = 0;
        int64_t from = cpu_ns();
        send_all(h, records, with_step ? DISTINCT : n);
        int64_t took = cpu_ns() - from;
        best = took < best ? took : best;
        handler_free(h);
    }
    long sent = with_step ? DISTINCT : n;
    printf("%-10s %7.1f ns/record  %5.1f bytes in  %5.1f bytes out\n", name,
           (double)best / (double)sent, (double)in / DISTINCT, (double)n_bytes_out / (double)sent);
    for (unsigned i = 0; i < DISTINCT; i++)
        buf_fini(&records[i]);
}

int main(int argc, char **argv)
{
    long n = argc > 1 ? atol(argv[1]) : 300000;
    if (n < 1)
        return 2;
    measure("guessed", n, false, false);
    measure("scattered", n, true, false);
    measure("open", n, false, true);
    return 0;
}
