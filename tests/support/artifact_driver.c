/* SPDX-License-Identifier: MIT */
/* Brings artifacts to a backend, for tests/e2e/test_upload_artifacts.py and bench/:
 *
 *   artifact_driver URL KEY ENTITY PROJECT RUN KIND:FILE...
 *
 * KIND: log, link, download (FILE holds the request) or record (an ArtifactRecord). All are asked at
 * once; prints "KIND:FILE HEX-OF-THE-RESPONSE" as answers come, what the person would be told, and
 * in the end "finished ERROR files N uploaded BYTES of BYTES deduped BYTES". */
#include "base/alloc.h"
#include "base/err.h"
#include "base/os.h"
#include "record/wire.h"
#include "service/upload/artifact.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct driver {
    struct artifacts *artifacts;
    struct backend *backend;
    struct http *http;
};

struct question {
    struct artifact_ask ask;
    const char *name;
    struct buf bytes;
};

static void on_answer(struct artifact_ask *ask, struct str response)
{
    struct question *q = (struct question *)ask;
    printf("%s ", q->name);
    for (size_t i = 0; i < response.n; i++)
        printf("%02x", (unsigned char)response.p[i]);
    printf("\n");
    fflush(stdout);
}

static void on_tell(void *ctx, bool error, const char *text)
{
    (void)ctx;
    printf("told %s: %s\n", error ? "error" : "warning", text);
}

static void on_logged(void *ctx, struct str type, const char *name, const char *id)
{
}

static void on_finished(void *ctx, int error)
{
    struct driver *d = ctx;
    struct files_progress p = {0};
    artifacts_progress(d->artifacts, &p);
    printf("finished %d files %u uploaded %llu of %llu deduped %llu\n", error, p.n_artifact,
           (unsigned long long)p.uploaded_bytes, (unsigned long long)p.total_bytes,
           (unsigned long long)p.deduped_bytes);
    artifacts_free(d->artifacts);
    backend_close(d->backend);
    http_close(d->http, NULL, NULL);
}

static void set_text(struct buf *to, uint32_t number, const char *v)
{
    size_t mark = wire_buf_begin(to, number);
    wire_buf_bytes(to, 1, str_of(v));
    wire_buf_end(to, mark);
}

/* Short waits: a test has no patience. */
static void set_waits(struct buf *to)
{
    static const uint32_t quick[] = {151, 155}, slow[] = {152, 156};
    for (int i = 0; i < 2; i++) {
        size_t mark = wire_buf_begin(to, quick[i]);
        wire_buf_double(to, 1, 0.01);
        wire_buf_end(to, mark);
        mark = wire_buf_begin(to, slow[i]);
        wire_buf_double(to, 1, 0.1);
        wire_buf_end(to, mark);
    }
}

static void ask(struct driver *d, struct question *q)
{
    struct str bytes = buf_str(&q->bytes);
    if (strncmp(q->name, "log:", 4) == 0)
        artifacts_log(d->artifacts, bytes, &q->ask);
    else if (strncmp(q->name, "link:", 5) == 0)
        artifacts_link(d->artifacts, bytes, &q->ask);
    else if (strncmp(q->name, "download:", 9) == 0)
        artifacts_download(d->artifacts, bytes, &q->ask);
    else
        artifacts_save(d->artifacts, bytes);
}

int main(int argc, char **argv)
{
    struct driver d = {0};
    struct err e = {0};
    struct question questions[64] = {0};
    AUTO_BUF settings = {0};
    uv_loop_t loop;
    if (argc < 7 || argc > 6 + 64)
        return 2;
    set_text(&settings, 57, argv[1]);
    set_text(&settings, 55, argv[2]);
    set_waits(&settings);
    uv_loop_init(&loop);
    d.http = http_new(&loop);
    d.backend = backend_new(d.http, &loop, buf_str(&settings), NULL, NULL, &e);
    if (!d.backend) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    struct artifacts_owner owner = {&d, on_tell, on_logged, on_finished};
    d.artifacts = artifacts_new(d.backend, buf_str(&settings), &loop, &owner);
    for (int i = 6; i < argc; i++) {
        struct question *q = &questions[i - 6];
        q->ask.done = on_answer;
        q->name = argv[i];
        if (os_read_file(strchr(argv[i], ':') + 1, 1 << 30, &q->bytes))
            return 2;
        ask(&d, q);
        buf_fini(&q->bytes);
    }
    artifacts_start(d.artifacts, argv[3], argv[4], argv[5]);
    artifacts_finish(d.artifacts);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) ? 3 : 0;
}
