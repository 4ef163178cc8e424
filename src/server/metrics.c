/* SPDX-License-Identifier: MIT */
#include "server/metrics.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "server/server.h"
#include "server/store/db.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* Upper bounds of the latency histogram, milliseconds. */
static const int bounds_ms[] = {1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000};
enum { N_BOUNDS = sizeof bounds_ms / sizeof *bounds_ms };

struct metrics {
    atomic_uint_fast64_t by_status[6]; /* hundreds; 0: the client was gone */
    atomic_uint_fast64_t by_bound[N_BOUNDS + 1];
    atomic_uint_fast64_t total_us, bytes_out, bytes_in;
};

struct metrics *metrics_new(void)
{
    return xmem_calloc(1, sizeof(struct metrics));
}

void metrics_free(struct metrics *m)
{
    mem_free(m);
}

void metrics_request(struct metrics *m, const struct http_request *r, int status, int64_t bytes)
{
    int64_t us = (clock_mono_ns() - r->began_ns) / 1000;
    int i = 0;
    while (i < N_BOUNDS && us > (int64_t)bounds_ms[i] * 1000)
        i++;
    m->by_bound[i]++;
    m->by_status[status / 100 % 6]++;
    m->total_us += (uint64_t)us;
    m->bytes_out += (uint64_t)bytes;
    if (r->content_length > 0)
        m->bytes_in += (uint64_t)r->content_length;
}

uint64_t metrics_requests(const struct metrics *m)
{
    uint64_t n = 0;
    for (int i = 0; i < 6; i++)
        n += m->by_status[i];
    return n;
}

static int64_t resident_bytes(void)
{
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

static void gauge(struct buf *to, const char *name, const char *help, double v)
{
    buf_printf(to, "# HELP %s %s\n# TYPE %s gauge\n%s %.17g\n", name, help, name, name, v);
}

static void write_requests(struct metrics *m, struct buf *to)
{
    static const char *const classes[] = {"gone", "1xx", "2xx", "3xx", "4xx", "5xx"};
    uint64_t n = 0;
    buf_puts(to, "# HELP tare_http_requests_total Requests by status.\n"
                 "# TYPE tare_http_requests_total counter\n");
    for (int i = 0; i < 6; i++)
        buf_printf(to, "tare_http_requests_total{status=\"%s\"} %" PRIuFAST64 "\n", classes[i], m->by_status[i]);
    buf_puts(to, "# HELP tare_http_request_seconds Time from headers to the end of the reply.\n"
                 "# TYPE tare_http_request_seconds histogram\n");
    for (int i = 0; i < N_BOUNDS; i++) {
        n += m->by_bound[i];
        buf_printf(to, "tare_http_request_seconds_bucket{le=\"%g\"} %" PRIu64 "\n", bounds_ms[i] / 1000.0, n);
    }
    n += m->by_bound[N_BOUNDS];
    buf_printf(to,
               "tare_http_request_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\ntare_http_request_seconds_sum %.6f\n"
               "tare_http_request_seconds_count %" PRIu64 "\n",
               n, (double)m->total_us / 1e6, n);
    buf_printf(to, "# TYPE tare_http_received_bytes_total counter\ntare_http_received_bytes_total %" PRIuFAST64 "\n"
                   "# TYPE tare_http_sent_bytes_total counter\ntare_http_sent_bytes_total %" PRIuFAST64 "\n",
               m->bytes_in, m->bytes_out);
}

void metrics_write(struct server *s, struct buf *to)
{
    struct http_stats h;
    size_t jobs = 0, bytes = 0;
    http_get_stats(s->http, &h);
    db_queue_depth(s->db, &jobs, &bytes);
    write_requests(s->metrics, to);
    gauge(to, "tare_http_connections", "Open connections.", h.connections);
    gauge(to, "tare_http_memory_bytes", "Bodies, what is made of them, and answers held in memory.", (double)h.memory_bytes);
    gauge(to, "tare_workers", "Worker threads.", h.workers);
    gauge(to, "tare_workers_busy", "Worker threads at work.", h.busy_workers);
    gauge(to, "tare_workers_queue", "Requests that wait for a worker.", h.queued);
    gauge(to, "tare_db_queue_jobs", "Writes that wait for the next commit.", (double)jobs);
    gauge(to, "tare_db_queue_bytes", "Weight of the writes that wait.", (double)bytes);
    gauge(to, "tare_db_size_bytes", "The database on disk.", (double)db_size_bytes(s->db));
    gauge(to, "tare_uptime_seconds", "Since the server started.",
          (double)(clock_mono_ns() - s->started_ns) / 1e9);
    gauge(to, "process_resident_memory_bytes", "Resident memory.", (double)resident_bytes());
}
