/* SPDX-License-Identifier: MIT */
#include "server/admin.h"
#include "base/alloc.h"
#include "base/path.h"
#include "server/auth.h"
#include "server/groups.h"
#include "server/lifecycle.h"
#include "server/store/db.h"
#include "server/store/retention.h"
#include "server/webhook/webhook.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { DONE = 0, FAILED = 1, USAGE = 2, MAX_WORDS = 4 };

/* The words of the call that are no options, and the options of these commands. */
struct call {
    const char *words[MAX_WORDS];
    int n_words;
    const char *key, *organization, *entity, *project, *secret, *email;
    bool admin;
    struct server_options options;
};

const char admin_help[] =
    "       tare server user add NAME [--key KEY] [--email ADDRESS] [--admin] [--dir DIR]\n"
    "       tare server user list [--dir DIR]\n"
    "       tare server user revoke NAME [--dir DIR]\n"
    "       tare server team add NAME USER [--org ORG] [--dir DIR]\n"
    "       tare server team member NAME USER admin|member|viewer|none [--dir DIR]\n"
    "       tare server org add NAME USER [--dir DIR]\n"
    "       tare server org member NAME USER admin|member|viewer [--dir DIR]\n"
    "       tare server org remove NAME [--dir DIR]\n"
    "       tare server retention set ENTITY/PROJECT DAYS [--dir DIR]   0: keep ended runs for ever\n"
    "       tare server retention list [--dir DIR]\n"
    "       tare server webhook add URL [--entity E | --project E/P] [--secret S] [--dir DIR]   where alerts go\n"
    "       tare server webhook list [--dir DIR]\n"
    "       tare server webhook remove ID [--dir DIR]\n";

static int usage(void)
{
    fprintf(stderr, "usage:\n%s", admin_help);
    return USAGE;
}

/* The value of "--name VALUE" or "--name=VALUE" at argv[*i]; NULL: another word. */
static const char *value_of(char **argv, int argc, int *i, const char *name)
{
    size_t n = strlen(name);
    if (strncmp(argv[*i], name, n) != 0)
        return NULL;
    if (argv[*i][n] == '=')
        return argv[*i] + n + 1;
    return !argv[*i][n] && *i + 1 < argc ? argv[++*i] : NULL;
}

static int parse(int argc, char **argv, struct call *call, struct err *e)
{
    char *left[16] = {argv[0]};
    int n_left = 1, rest;
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (strcmp(argv[i], "--admin") == 0) {
            call->admin = true;
        } else if ((value = value_of(argv, argc, &i, "--key"))) {
            call->key = value;
        } else if ((value = value_of(argv, argc, &i, "--org"))) {
            call->organization = value;
        } else if ((value = value_of(argv, argc, &i, "--entity"))) {
            call->entity = value;
        } else if ((value = value_of(argv, argc, &i, "--project"))) {
            call->project = value;
        } else if ((value = value_of(argv, argc, &i, "--email"))) {
            call->email = value;
        } else if ((value = value_of(argv, argc, &i, "--secret"))) {
            call->secret = value;
        } else if (argv[i][0] == '-' && n_left < 14) {
            left[n_left++] = argv[i];
            if (!strchr(argv[i], '=') && i + 1 < argc)
                left[n_left++] = argv[++i];
        } else if (call->n_words < MAX_WORDS) {
            call->words[call->n_words++] = argv[i];
        } else {
            return err_set(e, TARE_EINVAL, "too many arguments");
        }
    }
    return options_parse(n_left, left, &call->options, &rest, e);
}

static int add(struct db *db, struct call *call, struct err *e)
{
    char made[AUTH_KEY];
    struct auth_user_add u = {.name = call->words[1], .key = call->key, .email = call->email,
                              .admin = call->admin};
    if (call->key && !*call->key)
        return err_set(e, TARE_EINVAL, "the key is empty");
    if (!call->key) {
        auth_new_key(made);
        u.key = made;
    } else if (strlen(call->key) < 40) {
        fputs("warning: a key of less than 40 characters can be guessed\n", stderr);
    }
    int rc = db_write(db, auth_user_add_job, &u, e);
    if (rc >= 0)
        puts(u.key);
    return rc;
}

static int list(struct db *db, struct call *call, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct db_conn *c;
    int rc = db_read_begin(db, &c, e);
    if (rc)
        return rc;
    rc = db_query(c, e, &rows,
                  "SELECT u.username, u.admin, u.created_at, (SELECT count(*) FROM api_keys k WHERE k.user_id = u.id"
                  " AND k.revoked_at IS NULL) FROM users u WHERE u.deleted_at IS NULL ORDER BY u.id",
                  DB_NONE);
    while (rc >= 0 && (rc = db_next(rows, e)) == 1) {
        char day[32];
        struct tm tm;
        time_t at = (time_t)(db_int(rows, 2) / 1000000);
        gmtime_r(&at, &tm);
        strftime(day, sizeof day, "%Y-%m-%d", &tm);
        printf("%-32s %-6s %s  %lld key%s\n", db_text(rows, 0), db_int(rows, 1) ? "admin" : "user", day,
               (long long)db_int(rows, 3), db_int(rows, 3) == 1 ? "" : "s");
    }
    db_rows_end(rows);
    rows = NULL;
    db_read_end(c);
    return rc;
}

/* A server elsewhere may use the same PostgreSQL; one on this directory holds its lock. */
static bool server_may_run(const struct server_options *o)
{
    AUTO_FREE char *path = path_join(o->dir, "lock");
    int fd = o->db_url ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    bool free = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) == 0;
    bool none = fd < 0 && !o->db_url && errno == ENOENT;
    if (fd >= 0)
        close(fd);
    return !free && !none;
}

/* When it is done, no server takes the keys any more. */
static int revoke_keys(struct db *db, struct call *call, struct err *e)
{
    int rc = db_write(db, auth_user_revoke_job, (void *)(uintptr_t)call->words[1], e);
    if (rc >= 0 && server_may_run(&call->options))
        nanosleep(&(struct timespec){AUTH_FRESH_MS / 1000 + 1, 0}, NULL);
    return rc;
}

static int team_add(struct db *db, struct call *call, struct err *e)
{
    struct group_change g = {.team = call->words[1], .user = call->words[2], .organization = call->organization};
    return db_write(db, group_team_add_job, &g, e);
}

static int team_member(struct db *db, struct call *call, struct err *e)
{
    struct group_change g = {.team = call->words[1], .user = call->words[2], .role = call->words[3]};
    if (strcmp(g.role, "none") == 0)
        g.role = NULL;
    return db_write(db, group_team_member_job, &g, e);
}

static int organization(struct db *db, struct call *call, struct err *e)
{
    struct group_change g = {.organization = call->words[1], .user = call->words[2], .role = call->words[3]};
    bool is_add = strcmp(call->words[0], "add") == 0, is_member = strcmp(call->words[0], "member") == 0;
    return db_write(db,
                    is_add      ? group_organization_add_job
                    : is_member ? group_organization_member_job
                                : group_organization_remove_job,
                    &g, e);
}

struct rule {
    char entity[256];
    const char *project;
    long days;
};

static int rule_job(struct db_conn *c, void *arg, struct err *e)
{
    struct rule *r = arg;
    return retention_set(c, r->entity, r->project, r->days, e);
}

static int set_retention(struct db *db, struct call *call, struct err *e)
{
    struct rule r;
    char *end;
    const char *slash = strchr(call->words[1], '/');
    r.days = strtol(call->words[2], &end, 10);
    if (!slash || (size_t)(slash - call->words[1]) >= sizeof r.entity || *end || r.days < 0 || r.days > 1000000)
        return err_set(e, TARE_EINVAL, "ENTITY/PROJECT and a number of days are wanted");
    snprintf(r.entity, sizeof r.entity, "%.*s", (int)(slash - call->words[1]), call->words[1]);
    r.project = slash + 1;
    return db_write(db, rule_job, &r, e);
}

static void print_rule(void *arg, const char *entity, const char *project, int64_t days)
{
    (void)arg;
    printf("%s/%s  %lld days\n", entity, project, (long long)days);
}

static int list_retention(struct db *db, struct call *call, struct err *e)
{
    struct db_conn *c;
    (void)call;
    int rc = db_read_begin(db, &c, e);
    if (rc)
        return rc;
    rc = retention_list(c, print_rule, NULL, e);
    db_read_end(c);
    return rc;
}

/* The secret is printed if it is new; nothing shows it again. */
static int add_webhook(struct db *db, struct call *call, struct err *e)
{
    char made[WEBHOOK_SECRET], entity[256];
    struct webhook_add w = {.url = call->words[1], .entity = call->entity, .secret = call->secret};
    const char *slash = call->project ? strchr(call->project, '/') : NULL;
    if (call->project && (call->entity || !slash || (size_t)(slash - call->project) >= sizeof entity))
        return err_set(e, TARE_EINVAL, "--project wants ENTITY/PROJECT, and no --entity beside it");
    if (slash) {
        snprintf(entity, sizeof entity, "%.*s", (int)(slash - call->project), call->project);
        w.entity = entity;
        w.project = slash + 1;
    }
    if (!w.secret) {
        webhook_new_secret(made);
        w.secret = made;
    }
    int rc = db_write(db, webhook_add_job, &w, e);
    if (rc < 0)
        return rc;
    fprintf(stderr, "tare server: made webhook %lld%s\n", (long long)w.id,
            call->secret ? "" : "; its secret, which is not shown again:");
    if (!call->secret)
        puts(made);
    return 0;
}

static int list_webhooks(struct db *db, struct call *call, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct db_conn *c;
    (void)call;
    int rc = db_read_begin(db, &c, e);
    if (rc)
        return rc;
    rc = db_query(c, e, &rows,
                  "SELECT w.id, COALESCE(en.name, '*'), COALESCE(p.name, '*'), w.url,"
                  " (SELECT count(*) FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.done_at IS NULL),"
                  " (SELECT d.error FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.tries > 0"
                  "  ORDER BY d.id DESC LIMIT 1)"
                  " FROM webhooks w LEFT JOIN entities en ON en.id = w.entity_id"
                  " LEFT JOIN projects p ON p.id = w.project_id ORDER BY w.id",
                  DB_NONE);
    while (rc >= 0 && (rc = db_next(rows, e)) == 1) {
        const char *error = db_text(rows, 5);
        printf("%lld  %s/%s  %s  %lld waiting%s%s\n", (long long)db_int(rows, 0), db_text(rows, 1), db_text(rows, 2),
               db_text(rows, 3), (long long)db_int(rows, 4), error ? "  last error: " : "", error ? error : "");
    }
    db_rows_end(rows);
    rows = NULL;
    db_read_end(c);
    return rc;
}

static int remove_webhook(struct db *db, struct call *call, struct err *e)
{
    char *end;
    int64_t id = strtoll(call->words[1], &end, 10);
    if (*end || end == call->words[1])
        return err_set(e, TARE_EINVAL, "a webhook's number is wanted: see tare server webhook list");
    return db_write(db, webhook_remove_job, &id, e);
}

static const struct command {
    const char *noun, *verb;
    int n_words;
    int (*run)(struct db *db, struct call *call, struct err *e);
} commands[] = {
    {"user", "add", 2, add},          {"user", "list", 1, list},         {"user", "revoke", 2, revoke_keys},
    {"team", "add", 3, team_add},     {"team", "member", 4, team_member}, {"org", "add", 3, organization},
    {"org", "member", 4, organization}, {"org", "remove", 2, organization},
    {"retention", "set", 3, set_retention}, {"retention", "list", 1, list_retention},
    {"webhook", "add", 2, add_webhook}, {"webhook", "list", 1, list_webhooks}, {"webhook", "remove", 2, remove_webhook},
};

bool admin_knows(const char *noun)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(noun, commands[i].noun) == 0)
            return true;
    return false;
}

static int run(const struct command *cmd, struct call *call)
{
    struct db *db = NULL;
    struct err e = {0};
    int rc = server_open_db(&call->options, &db, &e);
    if (!rc)
        rc = cmd->run(db, call, &e);
    db_close(db);
    if (rc < 0)
        fprintf(stderr, "tare server: %s\n", e.text);
    return rc < 0 ? FAILED : DONE;
}

int admin_main(int argc, char **argv)
{
    struct call call = {0};
    struct err e = {0};
    int code = -1;
    if (parse(argc, argv, &call, &e)) {
        fprintf(stderr, "tare server: %s\n", e.text);
        return USAGE;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[0], commands[i].noun) == 0 && call.n_words == commands[i].n_words &&
            strcmp(call.words[0], commands[i].verb) == 0)
            code = run(&commands[i], &call);
    options_fini(&call.options);
    return code < 0 ? usage() : code;
}
