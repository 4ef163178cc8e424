/* SPDX-License-Identifier: MIT */
#include "service/orphans.h"

#include "base/diag.h"
#include "service/intake/connection.h"
#include "service/limits.h"
#include "service/platform.h"
#include "service/service.h"
#include "service/stream/stream.h"
#include "service/stream/stream_private.h"
#include "service/streams.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

static bool has_user(const struct stream_users *u, pid_t pid)
{
    for (int i = 0; i < u->n; i++)
        if (u->pid[i] == pid)
            return true;
    return false;
}

void orphans_note_user(struct stream *s, pid_t pid)
{
    struct stream_users *u = &s->users;
    if (has_user(u, pid))
        return;
    if (pid == 0 || u->n == STREAM_USERS)
        u->unknown = true;
    else
        u->pid[u->n++] = pid;
}

/* Also true of one that nobody has waited for yet. */
static bool process_ended(pid_t pid)
{
    int fd = platform_process_fd(pid);
    if (fd < 0)
        return fd == -ESRCH || (fd == -ENOSYS && kill(pid, 0) < 0 && errno == ESRCH);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool ended = poll(&p, 1, 0) > 0;
    close(fd);
    return ended;
}

/* A child may hold what its parent has connected. */
static bool has_connection(const struct service *service, pid_t pid)
{
    const struct connection *c = service->connections;
    while (c && c->pid != pid)
        c = c->next;
    return c != NULL;
}

static bool is_orphan(const struct service *service, const struct stream_users *u)
{
    if (u->unknown)
        return false;
    for (int i = 0; i < u->n; i++)
        if (has_connection(service, u->pid[i]) || !process_ended(u->pid[i]))
            return false;
    return true;
}

static void on_look(uv_timer_t *t)
{
    struct service *service = t->data;
    struct stream *s, *next;
    bool look_again = false;
    HASH_ITER(hh, service->streams.by_id, s, next)
    {
        if (!s->users.suspect)
            continue;
        if (!is_orphan(service, &s->users)) {
            look_again = true;
            continue;
        }
        diag_warn("run %s: its program has ended without finishing it", s->settings.run_id);
        streams_remove(&service->streams, stream_id(s));
        stream_end(s, false, 0);
    }
    if (!look_again)
        uv_timer_stop(t);
}

void orphans_client_gone(struct service *service, pid_t pid)
{
    struct stream *s, *next;
    bool any = false;
    if (!service->options.detached || service->stage != SERVING)
        return;
    HASH_ITER(hh, service->streams.by_id, s, next)
    {
        s->users.suspect |= !s->users.unknown && has_user(&s->users, pid);
        any |= s->users.suspect;
    }
    if (any && !uv_is_active((uv_handle_t *)&service->orphan_timer))
        uv_timer_start(&service->orphan_timer, on_look, ORPHAN_LOOK_MS, ORPHAN_LOOK_MS);
}
