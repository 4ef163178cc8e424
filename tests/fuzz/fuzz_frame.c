/* SPDX-License-Identifier: MIT */
/* The bytes of one connection, as a hostile client could send them, through socket, frames, router,
 * streams and handlers. The file system denies everything, so no input can touch it.
 *
 * What must hold: no crash; what comes back is whole frames of ServerResponse; and when the
 * connection and its streams have ended, nothing of them is left. */
#include "base/alloc.h"
#include "base/arena.h"
#include "base/diag.h"
#include "base/os.h"
#include "loop/out_queue.h"
#include "record/frame.h"
#include "record/record.h"
#include "service/intake/connection.h"
#include "service/service.h"
#include "service/stream/journal_stage.h"
#include "service/stream/stream_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* An attach is answered with the Settings that this very input gave: they need not decode. */
enum { ATTACH_TAG = 5 << 3 | 2 };

static struct service service;

static int deny_open(const char *path, int flags, mode_t mode)
{
    (void)path, (void)flags, (void)mode;
    return -EACCES;
}

static int deny_path(const char *path)
{
    (void)path;
    return -EACCES;
}

static int deny_mode(const char *path, mode_t mode)
{
    (void)path, (void)mode;
    return -EACCES;
}

static int deny_two(const char *a, const char *b)
{
    (void)a, (void)b;
    return -EACCES;
}

static void must_at(bool holds, int line)
{
    if (!holds && fprintf(stderr, "fuzz_frame.c:%d does not hold\n", line))
        abort();
}

#define must(holds) must_at((holds), __LINE__)

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static struct os_ops denied;
    (void)argc, (void)argv;
    denied = os_real;
    denied.open = deny_open;
    denied.unlink = deny_path;
    denied.mkdir = deny_mode;
    denied.rename = deny_two;
    denied.symlink = deny_two;
    os = &denied;
    diag_min_level = 100;
    uv_loop_init(&service.loop);
    turn_init(&service.turn, &service.loop);
    mailbox_init(&service.mailbox);
    streams_init(&service.streams, &service.loop);
    uv_timer_init(&service.loop, &service.idle_timer);
    uv_timer_init(&service.loop, &service.end_timer);
    uv_timer_init(&service.loop, &service.refuse_timer);
    service.options.max_frame_bytes = 1 << 20;
    service.read_buffer = malloc(READ_BUFFER_BYTES);
    service.end_queued = true;         /* a teardown is noted and does not end this process */
    service.sweep.run = (void *)abort; /* looked already: there is nothing to sweep */
    return 0;
}

/* Every answer so far: whole frames that decode. */
static void check_answers(int fd)
{
    static char bytes[1 << 22];
    size_t have = 0;
    ssize_t n;
    while (have < sizeof bytes && (n = recv(fd, bytes + have, sizeof bytes - have, MSG_DONTWAIT)) > 0)
        have += (size_t)n;
    struct arena a;
    arena_init(&a, 1 << 28);
    for (size_t at = 0; at < have && have < sizeof bytes;) {
        uint32_t len = 0;
        must(frame_peek(bytes + at, have - at, 1u << 31, &len) == 1);
        if (have - at - FRAME_HEADER < len)
            break; /* the rest is still in the queue */
        Pb__ServerResponse *r;
        if (bytes[at + FRAME_HEADER] != ATTACH_TAG)
            must(record_decode_response(&a, bytes + at + FRAME_HEADER, len, &r, NULL) == 0);
        arena_reset(&a);
        at += FRAME_HEADER + len;
    }
    arena_fini(&a);
}

/* No file can be made here, and no second is waited before that is tried again. */
static void hurry_journals(void)
{
    struct stream *s, *next;
    HASH_ITER (hh, service.streams.by_id, s, next)
        s->journal.retry_ms = 0;
}

static void run_loop(int turns, uv_run_mode mode)
{
    for (int i = 0; i < turns; i++) {
        hurry_journals();
        uv_run(&service.loop, mode);
    }
}

static void on_too_long(uv_timer_t *t)
{
    must(t != &service.end_timer); /* a stream does not end */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2];
    if (size > 100000 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        return 0;
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    must(write(pair[1], data, size) == (ssize_t)size);
    connection_open(&service, pair[0], false, false);
    connection_drain(service.connections);
    run_loop(3, UV_RUN_NOWAIT);
    check_answers(pair[1]);
    close(pair[1]);
    if (service.connections)
        connection_close(service.connections);
    hurry_journals();
    streams_end_all(&service.streams, false, 0);
    uv_timer_start(&service.end_timer, on_too_long, 15000, 0); /* as in service.c: the loop lives while it ends */
    while (service.n_connections || service.streams.n_open || service.streams.n_closing)
        uv_run(&service.loop, UV_RUN_ONCE);
    uv_timer_stop(&service.end_timer);
    run_loop(3, UV_RUN_NOWAIT);
    must(!service.mailbox.by_serial && !service.streams.dirty && !service.turn.first);
    must(journal_stage_total_bytes == 0 && out_queue_total_bytes == 0);
    return 0;
}
