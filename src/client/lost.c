/* SPDX-License-Identifier: MIT */
/* The service is gone, or was never there.
 *
 * When the connection ends, or the service owes an answer for hang_ms and neither takes nor sends
 * a byte, it is given up for good: each run gets a file of its own (local.h), what its outbox
 * holds is replayed into it, and from then on messages go there instead. History records that the
 * service did write are recognised by their timestamps, which the courier makes unique, so
 * history is neither lost nor doubled; other records may come twice, which changes nothing
 * (updates of config, summary, metrics) or little (a line of output). */
#include "client/lost.h"

#include "base/alloc.h"
#include "base/path.h"
#include "client/local.h"
#include "client/run.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { DEATH_MS = 1000 /* how long a service whose connection ended may take to end itself */ };

/* The file that `run` is written to: its own, or if it is attached that of the run it is attached
 * to, if this process has it. */
static struct local *file_of(const struct manager *m, const struct tare_run *run)
{
    for (const struct tare_run *r = m->runs; r && run->attached; r = r->next)
        if (r->local && strcmp(r->id, run->id) == 0)
            return r->local;
    return run->local;
}

int lost_emit(struct manager *m, struct tare_run *run, struct str message)
{
    AUTO_BUF answer = {0};
    struct local *file = file_of(m, run);
    if (!file) {
        router_abandon(&m->router, run);
        return TARE_ESERVICE;
    }
    int rc = local_take(file, message, &answer);
    if (answer.len)
        router_deliver(&m->router, buf_str(&answer), NULL, NULL);
    if (rc && !run->write_failed)
        manager_say(m, TARE_ERROR, "writing the file of run %s: %s", run->id, err_text(rc));
    run->write_failed = rc != 0;
    return rc;
}

struct replay {
    struct manager *m;
    struct tare_run *run;
};

static int replay_one(void *arg, struct str message)
{
    struct replay *r = arg;
    lost_emit(r->m, r->run, message);
    return 0;
}

static void replay(struct manager *m, struct tare_run *run)
{
    struct local *file = file_of(m, run);
    local_set_replay(file, true);
    outbox_take_all(&run->out, replay_one, &(struct replay){m, run});
    local_set_replay(file, false);
}

static void go_local(struct manager *m, struct tare_run *run, bool dead)
{
    struct err e;
    run->n_barriers = 0;
    run->unasked_since_ns = 0;
    if (run->attached) {
        if (file_of(m, run)) {
            replay(m, run);
            return;
        }
        manager_say(m, TARE_WARNING, "run %s is attached: what is logged from now on is lost",
                    run->id);
        outbox_fini(&run->out);
        return;
    }
    if (local_open(run, dead, &e) != 0) {
        manager_say(m, TARE_ERROR, "run %s is lost: %s", run->id, e.text);
        outbox_fini(&run->out);
        return;
    }
    atomic_store(&run->in_file, true);
    manager_say(m, TARE_WARNING, "run %s goes on in %s", run->id, local_path(run->local));
    replay(m, run);
}

static bool wait_for_death(const struct manager *m)
{
    pid_t pid = m->service.pid ? m->service.pid : m->sock.peer;
    for (int i = 0; pid && i < DEATH_MS; i++) {
        if (service_is_dead(pid))
            return true;
        poll(NULL, 0, 1);
    }
    return false;
}

/* What a service of ours that was killed could not remove: its socket and the folder around it,
 * if nothing else is in there. */
static void remove_socket(const struct manager *m)
{
    const char *path = strstr(m->service.token, "-unix-");
    if (!m->owns_service || !path)
        return;
    path += strlen("-unix-");
    struct str folder = path_dir(str_of(path));
    AUTO_FREE char *dir = mem_strndup(folder.p, folder.n);
    unlink(path);
    if (dir)
        rmdir(dir);
}

void lost_service(struct manager *m, const char *why)
{
    sock_client_close(&m->sock);
    bool dead = wait_for_death(m);
    if (dead)
        remove_socket(m);
    if (m->runs)
        manager_say(m, TARE_WARNING, "the service is lost (%s)", why);
    atomic_store(&m->local, true);
    m->sending = NULL;
    outbox_fini(&m->control);
    for (int attached = 0; attached < 2; attached++) /* those with a file first */
        for (struct tare_run *r = m->runs; r; r = r->next)
            if (r->attached == attached)
                go_local(m, r, dead);
    router_abandon(&m->router, NULL);
}
