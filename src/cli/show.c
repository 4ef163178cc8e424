/* SPDX-License-Identifier: MIT */
/* `tare show`: one run at a glance. */
#include "base/alloc.h"
#include "cli/cli.h"
#include "cli/look.h"
#include "cli/where.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEIGHT_DEFAULT = 8, HEIGHT_MIN = 3, HEIGHT_MAX = 60, CHARTS_DEFAULT = 24 };

/* ENTITY/PROJECT/RUN, or the address of a run's page. Cuts up `name`. */
struct remote_name {
    char *url, *entity, *project, *run;
};

static bool parse_remote(char *name, struct remote_name *to)
{
    *to = (struct remote_name){0};
    char *path = name;
    if (strncmp(name, "http://", 7) == 0 || strncmp(name, "https://", 8) == 0) {
        path = strchr(strstr(name, "://") + 3, '/');
        if (!path)
            return false;
        *path++ = 0;
        to->url = name;
        char *runs = strstr(path, "/runs/");
        if (runs)
            memmove(runs + 1, runs + 6, strlen(runs + 6) + 1);
    } else if (access(name, F_OK) == 0 || strstr(name, ".wandb") || name[0] == '.') {
        return false;
    }
    to->entity = strtok_r(path, "/", &path);
    to->project = strtok_r(NULL, "/", &path);
    to->run = strtok_r(NULL, "/?", &path);
    return to->run && !strtok_r(NULL, "/", &path);
}

static int read_remote(struct look *l, const struct remote_name *name, struct err *e)
{
    struct where where;
    int rc = where_backend(&where, name->url, e);
    return rc ? rc : look_read_remote(l, &where, name->entity, name->project, name->run, e);
}

static int read_any(struct look *l, const char *name, const char *dir, struct err *e)
{
    struct remote_name remote;
    struct run_place place;
    AUTO_FREE char *copy = xmem_strdup(name);
    if (parse_remote(copy, &remote))
        return read_remote(l, &remote, e);
    int rc = run_find(&place, name, dir, e);
    return rc ? rc : look_read(l, &place, e);
}

static int show(struct look *l, const char *name, const char *dir, bool json, int height)
{
    struct err e = {0};
    int rc = read_any(l, name, dir, &e);
    if (rc < 0) {
        rc = cli_fail("show", "%s", e.text);
    } else if (json) {
        look_print_json(l);
    } else {
        struct term t;
        term_init(&t);
        look_print_text(l, &t, height);
    }
    if (l->lines.ctx) /* it was begun */
        look_fini(l);
    return rc;
}

static int verb_show(int argc, char **argv)
{
    struct look l = {0};
    bool json = false, all = false;
    const char *dir = NULL, *height_text = NULL;
    const struct cli_option options[] = {
        {"json", 0, &json, NULL},
        {"all", 'a', &all, NULL},
        {"system", 's', &l.want_system, NULL},
        {"no-charts", 0, &l.no_charts, NULL},
        {"keys", 'k', NULL, &l.keys},
        {"height", 0, NULL, &height_text},
        {"dir", 'd', NULL, &dir},
    };
    int exit_code;
    int n = cli_options(argc, argv, options, 7, false, &exit_code);
    if (n < 0)
        return exit_code;
    if (n > 1)
        return cli_misuse("show", "name one run");
    int height = height_text ? atoi(height_text) : HEIGHT_DEFAULT;
    if (height < HEIGHT_MIN || height > HEIGHT_MAX)
        return cli_misuse("show", "--height is %d to %d", HEIGHT_MIN, HEIGHT_MAX);
    l.no_charts |= json;
    l.max_charts = all || l.keys ? 0 : CHARTS_DEFAULT;
    int rc = show(&l, n ? argv[1] : "latest", dir, json, height);
    return cli_flush("show", rc);
}

const struct cli_verb cli_show = {
    "show",
    "a run: config, summary, charts, files, output",
    verb_show,
    "usage: tare show [OPTION...] [RUN]\n"
    "\n"
    "Show one run. RUN is an id (or the start of one), the path of a .wandb file or of a run's "
    "folder,\n"
    "or `latest`, which is also what is shown when none is named. ENTITY/PROJECT/ID, or the address "
    "of a\n"
    "run's page, is a run of a backend (which one: see --to in `tare help sync`).\n"
    "\n"
    "  -k, --keys A,B*,...  charts of these metrics only (patterns)\n"
    "  -a, --all            charts of all metrics, not only the first 24\n"
    "  -s, --system         charts of the system monitor, too\n"
    "      --no-charts      none\n"
    "      --height N       lines of a chart, 8 if not given\n"
    "      --json           everything as one JSON object (NaN and infinities as Python's json has "
    "them)\n"
    "  -d, --dir DIR        where ids are looked for; $WANDB_DIR or the current folder if not "
    "given\n"
    "\n"
    "As wide as the terminal, or as COLUMNS says; without a UTF-8 locale in ASCII; colours only "
    "on\n"
    "a terminal and without NO_COLOR.\n"
    "\n"
    "States: running (a service has the journal open), finished, failed (exit code not 0), "
    "unfinished\n"
    "(no end, but written to in the last two minutes), crashed (no end).\n"
    "\n"
    "Exit code: 0 shown, 1 there is no such run or it cannot be read, 2 wrong use.\n",
};
