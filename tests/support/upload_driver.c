/* SPDX-License-Identifier: MIT */
/* Brings made-up data and files to a backend, for tests/e2e/test_upload_faults.py:
 *
 *   upload_driver URL DIR LINES     DIR: its files "now-*" go at once, "end-*" at the end
 *
 * History line i is {"_step":i,"text":"..."}; so are the events; console line i reads "line i", and
 * every tenth is written again later as "LINE i". Prints what the person would be told, then
 *   stream ERROR files ERROR reached MARK stopped 0|1 */
#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "record/wire.h"
#include "service/upload/file.h"
#include "service/upload/filestream.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct driver {
    struct filestream *stream;
    struct files *files;
    struct backend *backend;
    struct http *http;
    uint64_t n_lines, next, reached;
    int stream_error, files_error, n_finished;
    bool is_finishing, stopped;
    uv_timer_t timer;
};

static void set_double(struct buf *to, uint32_t number, double v)
{
    size_t mark = wire_buf_begin(to, number);
    wire_buf_double(to, 1, v);
    wire_buf_end(to, mark);
}

static void set_text(struct buf *to, uint32_t number, const char *v)
{
    size_t mark = wire_buf_begin(to, number);
    wire_buf_bytes(to, 1, str_of(v));
    wire_buf_end(to, mark);
}

static void fill(struct driver *d)
{
    char text[256];
    for (int burst = 0; burst < 40 && d->next < d->n_lines && !filestream_is_full(d->stream); burst++) {
        uint64_t i = d->next++;
        int n = snprintf(text, sizeof text, "{\"_step\":%llu,\"text\":\"\\u00e9 \\\"%llu\\\"\",\"nan\":NaN}",
                         (unsigned long long)i, (unsigned long long)(i * 7));
        AUTO_BUF quoted = {0};
        json_put_string(&quoted, str_make(text, (size_t)n));
        filestream_history(d->stream, buf_str(&quoted), (size_t)n);
        if (i % 5 == 0)
            filestream_event(d->stream, str_make(text, (size_t)n));
        n = snprintf(text, sizeof text, "line %llu", (unsigned long long)i);
        filestream_console(d->stream, i, str_make(text, (size_t)n));
        if (i % 10 == 0 && i >= 100) {
            n = snprintf(text, sizeof text, "LINE %llu", (unsigned long long)(i - 100));
            filestream_console(d->stream, i - 100, str_make(text, (size_t)n));
        }
        filestream_summary(d->stream);
        filestream_mark(d->stream, i + 1);
    }
    if (d->next == d->n_lines && !d->is_finishing) {
        d->is_finishing = true;
        files_finish(d->files);
    }
}

static void on_summary(void *ctx, struct buf *to)
{
    struct driver *d = ctx;
    buf_printf(to, "{\"_step\":%llu}", (unsigned long long)d->next);
}

static void on_drained(void *ctx)
{
    fill(ctx);
}

static void on_reached(void *ctx, uint64_t mark)
{
    struct driver *d = ctx;
    d->reached = mark;
}

static void on_tell(void *ctx, bool error, const char *text)
{
    (void)ctx;
    printf("told %s: %s\n", error ? "error" : "warning", text);
}

static void finish_all(struct driver *d)
{
    if (++d->n_finished < 2)
        return;
    d->stopped = filestream_is_stopped(d->stream);
    filestream_free(d->stream);
    files_free(d->files);
    backend_close(d->backend);
    uv_close((uv_handle_t *)&d->timer, NULL);
    http_close(d->http, NULL, NULL);
}

static void on_stream_finished(void *ctx, int error)
{
    struct driver *d = ctx;
    d->stream_error = error;
    finish_all(d);
}

static void on_files_finished(void *ctx, int error)
{
    struct driver *d = ctx;
    d->files_error = error;
    filestream_finish(d->stream, true, 3);
    finish_all(d);
}

static void on_uploaded(void *ctx, const char *path)
{
    struct driver *d = ctx;
    filestream_uploaded(d->stream, path);
}

static void on_timer(uv_timer_t *t)
{
    fill(t->data);
}

static void add_files(struct driver *d, const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *e;
    while (dir && (e = readdir(dir))) {
        if (strncmp(e->d_name, "now-", 4) == 0)
            files_add(d->files, str_of(e->d_name), FILE_NOW, FILE_OTHER);
        if (strncmp(e->d_name, "end-", 4) == 0)
            files_add(d->files, str_of(e->d_name), FILE_END, FILE_OTHER);
    }
    if (dir)
        closedir(dir);
}

static void put_settings(struct buf *to, const char *url)
{
    static const uint32_t quick[] = {148, 151, 155}, slow[] = {149, 152, 156}, bound[] = {15, 153, 157};
    set_text(to, 57, url);
    set_text(to, 55, "key-key-key-key-key-key-key-key-key-key-");
    set_double(to, 175, 0.02);
    for (int i = 0; i < 3; i++) {
        set_double(to, quick[i], 0.01);
        set_double(to, slow[i], 0.1);
        set_double(to, bound[i], 0.5);
    }
}

int main(int argc, char **argv)
{
    struct driver d = {0};
    struct err e = {0};
    AUTO_BUF settings = {0};
    uv_loop_t loop;
    if (argc != 4)
        return 2;
    d.n_lines = strtoull(argv[3], NULL, 10);
    put_settings(&settings, argv[1]);
    uv_loop_init(&loop);
    d.http = http_new(&loop);
    d.backend = backend_new(d.http, &loop, buf_str(&settings), NULL, NULL, &e);
    if (!d.backend) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    struct filestream_owner so = {&d, on_summary, on_drained, on_reached, on_tell, on_stream_finished};
    struct files_owner fo = {&d, on_uploaded, on_tell, on_files_finished};
    struct filestream_offsets from = {0};
    d.stream = filestream_new(d.backend, buf_str(&settings), &loop, &so);
    d.files = files_new(d.backend, buf_str(&settings), &loop, argv[2], &fo);
    filestream_start(d.stream, "us", "project", "run1", &from);
    files_start(d.files, "us", "project", "run1");
    add_files(&d, argv[2]);
    uv_timer_init(&loop, &d.timer);
    d.timer.data = &d;
    uv_timer_start(&d.timer, on_timer, 0, 5);
    uv_run(&loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&loop);
    printf("stream %d files %d reached %llu stopped %d\n", d.stream_error, d.files_error,
           (unsigned long long)d.reached, d.stopped);
    return rc ? 3 : 0;
}
