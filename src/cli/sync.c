/* SPDX-License-Identifier: MIT */
/* `tare sync`: journals to a backend, with the service's own sender, on a loop of our own. */
#include "base/alloc.h"
#include "cli/cli.h"
#include "cli/runs.h"
#include "cli/sync_view.h"
#include "cli/unsynced.h"
#include "cli/where.h"
#include "cli/writers.h"
#include "loop/http.h"
#include "loop/proxy.h"
#include "record/wire.h"
#include "service/sync.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum {
    PARALLEL_DEFAULT = 5, /* as the peer */
    PARALLEL_MAX = 64,
    DRAW_MS = 100,
    LIST_MOST = 20, /* paths named before the rest is counted */
    SETTING_API_KEY = 55,
    SETTING_BASE_URL = 57,
    SETTING_PRIMARY = 182,
    SETTING_NO_GZIP = 208,
};

struct job {
    struct sync_view view;
    uv_loop_t loop;
    struct http *http;
    struct sync *sync;
    uv_timer_t draw;
    uv_signal_t interrupt, terminate;
    bool interrupted, failed;
};

struct wanted {
    const char *to, *parallel, *replace_tags;
    struct sender_changes changes;
    bool live, dry_run, json, verbose;
    struct unsynced runs;
};

/* -- tags -------------------------------------------------------------------------------------- */

/* "old1=new1,old2=": into renames; -1 if a part has no "=". The strings are parts of `text`, which
 * is cut up. */
static int split_tags(char *text, struct sender_changes *to)
{
    struct tag_rename *tags = NULL;
    size_t n = 0;
    for (char *rest = NULL, *part = strtok_r(text, ",", &rest); part;
         part = strtok_r(NULL, ",", &rest)) {
        char *equals = strchr(part, '=');
        if (!equals)
            return -1;
        *equals = 0;
        tags = xmem_realloc(tags, (n + 1) * sizeof *tags);
        tags[n++] = (struct tag_rename){part, equals + 1};
    }
    to->tags = tags;
    to->n_tags = n;
    return 0;
}

/* -- running ----------------------------------------------------------------------------------- */

static void on_tell(void *ctx, enum sync_severity severity, const char *run, const char *text)
{
    struct job *j = ctx;
    sync_view_say(&j->view, severity, run, text);
}

static void on_http_closed(void *ctx)
{
    (void)ctx;
}

static void on_finished(void *ctx)
{
    struct job *j = ctx;
    for (size_t i = 0; i < sync_n_files(j->sync); i++)
        j->failed |= sync_file(j->sync, i).state != SYNC_DONE;
    sync_view_clear(&j->view);
    uv_stop(&j->loop);
}

static void on_draw(uv_timer_t *t)
{
    struct job *j = t->data;
    sync_view_draw(&j->view, j->sync);
}

/* The first one ends it in order, the second at once. */
static void on_interrupt(uv_signal_t *h, int number)
{
    struct job *j = h->data;
    if (j->interrupted)
        _exit(128 + number);
    j->interrupted = true;
    sync_view_say(&j->view, SYNC_INFO, "", "Ending; again to end at once.");
    sync_abort(j->sync);
}

static void catch_signal(struct job *j, uv_signal_t *h, int number)
{
    uv_signal_init(&j->loop, h);
    h->data = j;
    uv_signal_start(h, on_interrupt, number);
    uv_unref((uv_handle_t *)h);
}

static void put_setting(struct buf *b, uint32_t number, const char *value)
{
    size_t mark = wire_buf_begin(b, number);
    wire_buf_bytes(b, 1, str_of(value));
    wire_buf_end(b, mark);
}

static bool is_this_machine(const char *url)
{
    struct url_parts parts;
    return url_split(url, &parts) && proxy_is_skipped(&parts, "");
}

static void close_job(struct job *j)
{
    sync_free(j->sync);
    uv_close((uv_handle_t *)&j->draw, NULL);
    uv_close((uv_handle_t *)&j->interrupt, NULL);
    uv_close((uv_handle_t *)&j->terminate, NULL);
    http_close(j->http, on_http_closed, NULL);
    uv_run(&j->loop, UV_RUN_DEFAULT);
    uv_loop_close(&j->loop);
}

static int bring(const struct wanted *w, const struct where *where, unsigned parallel)
{
    struct job j = {0};
    char cwd[PATH_MAX];
    AUTO_BUF settings = {0};
    sync_view_init(&j.view, w->json);
    mem_tune(1, 8 << 20, 4 << 20); /* what a request took serves the next */
    put_setting(&settings, SETTING_BASE_URL, where->url);
    put_setting(&settings, SETTING_API_KEY, where->key);
    wire_buf_bytes(&settings, SETTING_PRIMARY, STR("\x08\x01")); /* true: also files and end */
    if (is_this_machine(where->url)) /* as the SDK has it everywhere: packing costs more than it saves */
        wire_buf_bytes(&settings, SETTING_NO_GZIP, STR("\x08\x01"));
    uv_loop_init(&j.loop);
    j.http = http_new(&j.loop);
    const struct sync_options o = {
        .loop = &j.loop,
        .http = j.http,
        .settings = buf_str(&settings),
        .cwd = getcwd(cwd, sizeof cwd),
        .changes = w->changes,
        .live = w->live,
        .is_written = writers_hold,
    };
    j.sync = sync_new(&o, &(struct sync_owner){&j, on_tell, on_finished});
    for (size_t i = 0; i < w->runs.n; i++)
        sync_add(j.sync, w->runs.paths[i]);
    uv_timer_init(&j.loop, &j.draw);
    j.draw.data = &j;
    uv_timer_start(&j.draw, on_draw, DRAW_MS, DRAW_MS);
    catch_signal(&j, &j.interrupt, SIGINT);
    catch_signal(&j, &j.terminate, SIGTERM);
    sync_start(j.sync, parallel);
    uv_run(&j.loop, UV_RUN_DEFAULT);
    if (w->json)
        sync_view_json(j.sync);
    else
        sync_view_total(&j.view, j.sync);
    close_job(&j);
    return j.failed ? CLI_FAILED : CLI_OK;
}

/* -- what is to be done ------------------------------------------------------------------------ */

static void list(const struct wanted *w)
{
    char cwd[PATH_MAX] = "";
    size_t n = getcwd(cwd, sizeof cwd) ? strlen(cwd) : 0;
    for (size_t i = 0; i < w->runs.n && (w->verbose || i < LIST_MOST); i++) {
        const char *path = w->runs.paths[i];
        bool below = n > 1 && strncmp(path, cwd, n) == 0 && path[n] == '/';
        printf("  %s\n", below ? path + n + 1 : path);
    }
    if (w->runs.n > LIST_MOST && !w->verbose)
        printf("  and %zu more (--verbose lists them)\n", w->runs.n - LIST_MOST);
}

static void say_left_out(const struct unsynced *u)
{
    if (u->n_synced)
        printf("Left out: %zu synced already (--include-synced).\n", u->n_synced);
    if (u->n_online)
        printf("Left out: %zu logged online (--include-online).\n", u->n_online);
    if (u->n_running)
        printf("Left out: %zu still being written (--live follows them).\n", u->n_running);
}

static int sync_all(struct wanted *w, int n, char **paths, unsigned parallel)
{
    struct err e = {0};
    struct where where;
    const char *dir = runs_default_dir();
    if (n == 0) {
        if (unsynced_add(&w->runs, dir, &e))
            return cli_fail("sync", "%s", e.text);
    }
    for (int i = 0; i < n; i++)
        if (unsynced_add(&w->runs, paths[i], &e))
            return cli_fail("sync", "%s", e.text);
    unsynced_sort(&w->runs);
    if (!w->json)
        say_left_out(&w->runs);
    if (w->runs.n == 0) {
        if (!w->json)
            puts("No runs to sync.");
        return w->runs.n_unreadable ? CLI_FAILED : CLI_OK;
    }
    if (w->dry_run) {
        printf("Would sync %zu run%s:\n", w->runs.n, w->runs.n == 1 ? "" : "s");
        list(w);
        return CLI_OK;
    }
    if (where_backend(&where, w->to, &e))
        return cli_fail("sync", "%s", e.text);
    if (!*where.key)
        return cli_fail("sync", "no key for %s is known: set WANDB_API_KEY, or `wandb login --host %s`",
                        where.url, where.url);
    if (where.started)
        fprintf(stderr, "tare sync: started a server on %s (its files are in %s)\n", where.url,
                where.dir);
    if (!w->json) {
        printf("Syncing %zu run%s to %s:\n", w->runs.n, w->runs.n == 1 ? "" : "s", where.url);
        list(w);
        fflush(stdout);
    }
    int rc = bring(w, &where, parallel);
    return w->runs.n_unreadable ? CLI_FAILED : rc;
}

static int verb_sync(int argc, char **argv)
{
    struct wanted w = {0};
    const struct cli_option options[] = {
        {"to", 0, NULL, &w.to},
        {"entity", 'e', NULL, &w.changes.entity},
        {"project", 'p', NULL, &w.changes.project},
        {"id", 0, NULL, &w.changes.run_id},
        {"job-type", 0, NULL, &w.changes.job_type},
        {"replace-tags", 0, NULL, &w.replace_tags},
        {"live", 0, &w.live, NULL},
        {"parallel", 'n', NULL, &w.parallel},
        {"include-synced", 0, &w.runs.with_synced, NULL},
        {"include-online", 0, &w.runs.with_online, NULL},
        {"dry-run", 0, &w.dry_run, NULL},
        {"json", 0, &w.json, NULL},
        {"verbose", 'v', &w.verbose, NULL},
    };
    int exit_code;
    int n = cli_options(argc, argv, options, sizeof options / sizeof *options, false, &exit_code);
    if (n < 0)
        return exit_code;
    long parallel = w.parallel ? strtol(w.parallel, NULL, 10) : w.live ? PARALLEL_MAX : PARALLEL_DEFAULT;
    if (parallel < 1 || parallel > PARALLEL_MAX)
        return cli_misuse("sync", "-n is 1 to %d", PARALLEL_MAX);
    AUTO_FREE char *tags = w.replace_tags ? xmem_strdup(w.replace_tags) : NULL;
    if (tags && split_tags(tags, &w.changes) < 0)
        return cli_misuse("sync", "--replace-tags is a list old=new,old=new");
    w.runs.with_running = w.live;
    int rc = sync_all(&w, n, argv + 1, (unsigned)parallel);
    unsynced_fini(&w.runs);
    mem_free((void *)(uintptr_t)w.changes.tags);
    return cli_flush("sync", rc);
}

const struct cli_verb cli_sync = {
    "sync",
    "bring runs from disk to a backend",
    verb_sync,
    "usage: tare sync [OPTION...] [PATH...]\n"
    "\n"
    "Bring runs to a backend: those of PATH (a .wandb file, a run's folder, a folder of runs), or "
    "of\n"
    "$WANDB_DIR or the current folder. In folders of runs these are left out: runs that were "
    "brought\n"
    "before, runs that were logged online (unless our service was cut off), runs that are still "
    "being\n"
    "written. It may be repeated at any time: every row has its place, and is there once. A run that\n"
    "arrived whole is marked by an empty file beside its journal, as `wandb sync` does.\n"
    "\n"
    "      --to URL             the backend; WANDB_BASE_URL or wandb's settings file if not given, "
    "the\n"
    "                           W&B cloud if you have a key for it, else your own `tare server`\n"
    "  -e, --entity NAME        for all of them, instead of what was logged: entity,\n"
    "  -p, --project NAME       project,\n"
    "      --id ID              run id (of several, the parts follow one another in time),\n"
    "      --job-type TYPE      job type\n"
    "      --replace-tags O=N,...  rename tags; an empty N takes the tag away\n"
    "      --live               follow runs that are still being written, until they end or the\n"
    "                           program is gone\n"
    "  -n, --parallel N         so many runs at once; 5 if not given, with --live 64\n"
    "      --include-synced     also runs that were brought before\n"
    "      --include-online     also runs that were logged online\n"
    "      --dry-run            only list what would be done\n"
    "      --json               one JSON object a run, when all is done\n"
    "  -v, --verbose            list all of the runs, however many\n"
    "\n"
    "The key is WANDB_API_KEY, or the one of `wandb login` for that address.\n"
    "\n"
    "Exit code: 0 everything arrived (or there was nothing to do), 1 something did not, 2 wrong "
    "use.\n",
};
