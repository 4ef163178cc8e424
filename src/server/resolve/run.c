/* SPDX-License-Identifier: MIT */
/* One run: finding it, and its plain fields. History, files and artifacts have files of their own. */
#include "base/json.h"
#include "base/number.h"
#include "server/resolve/fields.h"
#include "server/resolve/run_rows.h"

static void answer_run(struct gql_call *c, const struct project_row *p)
{
    struct err e;
    struct accessor a;
    struct run_row r;
    if (!accessor_of(c, &e, &a))
        return;
    int rc = access_run(&a, p, gql_arg_str(c, "name"), run_columns_wanted(c, ""), &r);
    if (rc)
        null_or_fail(c, rc, &e);
    else
        gql_object(c, TYPE_Run, &r);
}

void resolve_Project_run(struct gql_call *c, const void *obj)
{
    answer_run(c, obj);
}

void resolve_Project_bucket(struct gql_call *c, const void *obj)
{
    answer_run(c, obj);
}

FIELD_ID(Run, id, run_row, "Run", id)
FIELD_STR(Run, name, run_row, name)

void resolve_Run_projectId(struct gql_call *c, const void *obj)
{
    char text[NUMBER_MAX];
    size_t n = number_format_i64(text, ((const struct run_row *)obj)->project_id);
    gql_str(c, str_make(text, n));
}

FIELD_(Run, project, gql_object(c, TYPE_Project, ROW_(run_row)->project))
FIELD_STR(Run, displayName, run_row, display_name)
FIELD_STR(Run, state, run_row, state)
FIELD_STR(Run, group, run_row, group)
FIELD_STR(Run, groupName, run_row, group)
FIELD_STR(Run, jobType, run_row, job_type)
FIELD_STR(Run, sweepName, run_row, sweep_name)
FIELD_STR(Run, description, run_row, description)
FIELD_STR(Run, notes, run_row, notes)
FIELD_(Run, tags, gql_json(c, ROW_(run_row)->tags.n ? ROW_(run_row)->tags : STR("[]")))
FIELD_STR(Run, commit, run_row, commit)
FIELD_STR(Run, host, run_row, host)
FIELD_STR(Run, program, run_row, program)
FIELD_STR(Run, repo, run_row, repo)
FIELD_(Run, readOnly, gql_bool(c, !ROW_(run_row)->project->can_write))
FIELD_BOOL(Run, stopped, run_row, stop_requested)
FIELD_BOOL(Run, shouldStop, run_row, stop_requested)
FIELD_(Run, running, gql_bool(c, str_eqz(ROW_(run_row)->state, "running")))
FIELD_(Run, failed, gql_bool(c, str_eqz(ROW_(run_row)->state, "failed")))
FIELD_TIME(Run, createdAt, run_row, created_us)
FIELD_TIME(Run, updatedAt, run_row, updated_us)
FIELD_TIME(Run, heartbeatAt, run_row, heartbeat_us)
FIELD_(Run, config, gql_str(c, ROW_(run_row)->config.n ? ROW_(run_row)->config : STR("{}")))
FIELD_(Run, summaryMetrics, gql_str(c, ROW_(run_row)->summary.n ? ROW_(run_row)->summary : STR("{}")))
FIELD_INT(Run, historyLineCount, run_row, history_lines)
FIELD_INT(Run, eventsLineCount, run_row, events_lines)
FIELD_INT(Run, logLineCount, run_row, log_lines)

void resolve_Run_exitcode(struct gql_call *c, const void *obj)
{
    const struct run_row *r = obj;
    if (r->has_exitcode)
        gql_int(c, r->exitcode);
}

/* In lists the name came with the row. */
void resolve_Run_user(struct gql_call *c, const void *obj)
{
    const struct run_row *r = obj;
    struct user_row u = {.id = r->user_id, .username = r->username, .name = r->user_name};
    if (!r->user_id)
        gql_null(c);
    else if (gql_wants(c, "id") || gql_wants(c, "email") || gql_wants(c, "entity") || gql_wants(c, "teams") ||
             gql_wants(c, "flags") || gql_wants(c, "admin") || gql_wants(c, "apiKeys"))
        answer_user_id(c, r->user_id);
    else
        gql_object(c, TYPE_User, &u);
}

bool json_find(struct str object, const char *key, struct str *value)
{
    if (!object.n)
        return false;
    const char *end = object.p + object.n, *at = json_skip_space(object.p, end);
    struct json_item item;
    if (at >= end || *at++ != '{')
        return false;
    while (json_next_member(&at, end, &item) == 1) {
        if (str_eqz(item.key, key)) {
            *value = item.value;
            return true;
        }
    }
    return false;
}

/* The chosen members of config._wandb.value, as a JSON object in a string. */
void resolve_Run_wandbConfig(struct gql_call *c, const void *obj)
{
    const struct run_row *r = obj;
    const struct gql_value *keys = gql_arg(c, "keys");
    struct str wandb, value, one;
    AUTO_BUF b = {0};
    if (!json_find(r->config, "_wandb", &wandb) || !json_find(wandb, "value", &value))
        return;
    buf_putc(&b, '{');
    for (const struct gql_value *k = keys ? keys->first : NULL; k; k = k->next) {
        const char *name = zstr(c, k->s);
        if (!name || !json_find(value, name, &one))
            continue;
        buf_puts(&b, b.len > 1 ? "," : "");
        json_put_string(&b, k->s);
        buf_putc(&b, ':');
        buf_put_str(&b, one);
    }
    buf_putc(&b, '}');
    gql_str(c, keys ? buf_str(&b) : value);
}
