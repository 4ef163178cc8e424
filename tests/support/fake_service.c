/* SPDX-License-Identifier: MIT */
#include "tests/support/fake_service.h"

#include "client/message.h"
#include "record/frame.h"
#include "record/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const struct {
    uint32_t field;
    const char *name;
} requests[] = {{REQUEST_GET_SUMMARY, "get_summary"},
                {REQUEST_POLL_EXIT, "poll_exit"},
                {REQUEST_PARTIAL_HISTORY, "partial_history"},
                {REQUEST_RUN_START, "run_start"},
                {REQUEST_CHECK_VERSION, "check_version"},
                {REQUEST_INTERNAL_MESSAGES, "internal_messages"},
                {REQUEST_SHUTDOWN, "shutdown"},
                {REQUEST_ATTACH, "attach"},
                {REQUEST_STATUS, "status"},
                {REQUEST_PROBE_SYSTEM_INFO, "probe_system_info"}},
  records[] = {{RECORD_SUMMARY, "summary"}, {RECORD_CONFIG, "config"},
               {RECORD_FILES, "files"},     {RECORD_ARTIFACT, "artifact"},
               {RECORD_ALERT, "alert"},     {RECORD_TELEMETRY, "telemetry"},
               {RECORD_METRIC, "metric"},   {RECORD_OUTPUT_RAW, "output_raw"},
               {RECORD_RUN, "run"},         {RECORD_EXIT, "exit"},
               {RECORD_HEADER, "header"}},
  whole[] = {{REQ_INIT, "inform_init"}, {REQ_FINISH, "inform_finish"},
             {REQ_ATTACH, "inform_attach"}, {REQ_TEARDOWN, "inform_teardown"}};

static const char *name_of(struct str message)
{
    struct str record = message_get(message, REQ_RECORD);
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (message_has(message, whole[i].field))
            return whole[i].name;
    for (size_t i = 0; i < sizeof records / sizeof *records; i++)
        if (message_has(record, records[i].field))
            return records[i].name;
    struct str request = message_get(record, RECORD_REQUEST);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        if (message_has(request, requests[i].field))
            return requests[i].name;
    return "other";
}

static void put_result(struct buf *b, struct str record)
{
    size_t result = wire_buf_begin(b, RESP_RESULT);
    if (message_has(record, RECORD_RUN)) {
        size_t run = wire_buf_begin(b, RESULT_RUN);
        wire_buf_bytes(b, 1, message_get(record, RECORD_RUN));
        wire_buf_end(b, run);
    } else if (message_has(record, RECORD_EXIT)) {
        message_put_empty(b, RESULT_EXIT);
    } else {
        size_t response = wire_buf_begin(b, RESULT_RESPONSE);
        bool summary = message_has(message_get(record, RECORD_REQUEST), REQUEST_GET_SUMMARY);
        size_t kind = wire_buf_begin(b, summary ? RESPONSE_GET_SUMMARY : RESPONSE_STATUS);
        size_t item = summary ? wire_buf_begin(b, 1) : 0;
        if (summary) {
            message_put_z(b, ITEM_KEY, "loss");
            message_put_z(b, ITEM_JSON, "0.5");
            wire_buf_end(b, item);
        }
        wire_buf_end(b, kind);
        wire_buf_end(b, response);
    }
    wire_buf_end(b, result);
}

static void answer(int fd, struct str message)
{
    AUTO_BUF b = {0};
    char header[FRAME_HEADER];
    struct str id = message_get(message, REQ_ID), record = message_get(message, REQ_RECORD);
    struct str request = message_get(record, RECORD_REQUEST);
    if (!id.n || message_has(request, REQUEST_CHECK_VERSION) ||
        message_has(request, REQUEST_INTERNAL_MESSAGES))
        return;
    wire_buf_bytes(&b, RESP_ID, id);
    if (record.p)
        put_result(&b, record);
    else
        message_put_empty(&b, message_has(message, REQ_ATTACH) ? RESP_ATTACH : RESP_INIT);
    frame_put_header(header, (uint32_t)b.len);
    (void)!send(fd, header, sizeof header, MSG_NOSIGNAL);
    (void)!send(fd, b.data, b.len, MSG_NOSIGNAL);
}

static void note(struct fake_service *s, struct str message)
{
    struct str record = message_get(message, REQ_RECORD);
    uint32_t n = (uint32_t)record.n;
    pthread_mutex_lock(&s->lock);
    buf_puts(&s->names, name_of(message));
    buf_putc(&s->names, '\n');
    if (record.p) {
        buf_append(&s->records, &n, sizeof n);
        buf_put_str(&s->records, record);
    }
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_add(&s->n_messages, 1);
}

/* Take the whole frames at the front of `in`. False: hang up. */
static bool take(struct fake_service *s, int fd, struct buf *in)
{
    uint32_t len;
    size_t at = 0;
    while (frame_peek(in->data + at, in->len - at, UINT32_MAX, &len) > 0 &&
           in->len - at >= FRAME_HEADER + (size_t)len) {
        struct str message = str_make(in->data + at + FRAME_HEADER, len);
        note(s, message);
        if (atomic_load(&s->mood) == FAKE_ANSWERS)
            answer(fd, message);
        at += FRAME_HEADER + len;
        int limit = atomic_load(&s->hang_up_after);
        if (limit && atomic_load(&s->n_messages) >= limit)
            return false;
    }
    buf_consume(in, at);
    return true;
}

static bool serve(struct fake_service *s, int fd, struct buf *in)
{
    char *to = buf_reserve(in, 65536);
    ssize_t n = recv(fd, to, 65536, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        return false;
    in->len += n > 0 ? (size_t)n : 0;
    return take(s, fd, in);
}

static void *fake_main(void *arg)
{
    struct fake_service *s = arg;
    struct pollfd fds[FAKE_CONNECTIONS + 1] = {{.fd = s->listener, .events = POLLIN}};
    struct buf *in = s->in;
    int n = 1;
    while (!atomic_load(&s->stop)) {
        bool deaf = atomic_load(&s->mood) == FAKE_DEAF;
        poll(fds, (nfds_t)(deaf ? 1 : n), 5);
        for (int i = n - 1; i > 0 && !deaf; i--) {
            if (!fds[i].revents || serve(s, fds[i].fd, &in[i]))
                continue;
            close(fds[i].fd);
            buf_fini(&in[i]);
            fds[i] = fds[--n];
            in[i] = in[n];
            in[n] = (struct buf){0};
        }
        if (fds[0].revents && n <= FAKE_CONNECTIONS) {
            fds[n++] = (struct pollfd){.fd = accept(s->listener, NULL, NULL), .events = POLLIN};
            atomic_fetch_add(&s->n_connections, 1);
        }
    }
    for (int i = 1; i < n; i++) {
        close(fds[i].fd);
        buf_fini(&in[i]);
    }
    return NULL;
}

void fake_service_start(struct fake_service *s)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memset(s, 0, sizeof *s);
    strcpy(s->folder, "/tmp/fake-service-XXXXXX");
    if (!mkdtemp(s->folder))
        abort();
    snprintf(s->path, sizeof s->path, "%s/socket", s->folder);
    snprintf(s->token, sizeof s->token, "3-%d-unix-%s", (int)getpid(), s->path);
    strcpy(a.sun_path, s->path);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(s->listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(s->listener, 16) != 0)
        abort();
    pthread_mutex_init(&s->lock, NULL);
    setenv("WANDB_SERVICE", s->token, 1);
    pthread_create(&s->thread, NULL, fake_main, s);
}

void fake_service_stop(struct fake_service *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    close(s->listener);
    unlink(s->path);
    rmdir(s->folder);
    unsetenv("WANDB_SERVICE");
    buf_fini(&s->names);
    buf_fini(&s->records);
    pthread_mutex_destroy(&s->lock);
}

int fake_service_count(struct fake_service *s, const char *name)
{
    int count = 0;
    pthread_mutex_lock(&s->lock);
    const char *at = s->names.len ? buf_z(&s->names) : "";
    for (size_t n; *at; at += n + (at[n] == '\n')) {
        n = strcspn(at, "\n");
        count += str_eqz(str_make(at, n), name);
    }
    pthread_mutex_unlock(&s->lock);
    return count;
}

bool fake_service_wait(struct fake_service *s, int n_messages)
{
    for (int i = 0; i < 5000 && atomic_load(&s->n_messages) < n_messages; i++)
        poll(NULL, 0, 1);
    return atomic_load(&s->n_messages) >= n_messages;
}
