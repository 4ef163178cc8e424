/* SPDX-License-Identifier: MIT */
#include "server/resolve/run_rows.h"

#include <assert.h>
#include <stdio.h>

void run_rows_sql(char to[RUN_ROWS_SQL], unsigned columns, const char *where)
{
    int n = snprintf(to, RUN_ROWS_SQL,
                     "SELECT r.id, r.project_id, r.user_id, r.sweep_id, r.name, r.display_name, r.state, r.group_name,"
                     " r.job_type, s.name, r.description, r.notes, r.tags, r.git_commit, r.host, r.program, r.repo,"
                     " u.username, u.name, r.exitcode, r.stop_requested, r.created_at, r.updated_at, r.heartbeat_at,"
                     " r.history_lines, r.events_lines, r.log_lines, r.last_step, %s, %s"
                     " FROM runs r LEFT JOIN users u ON u.id = r.user_id LEFT JOIN sweeps s ON s.id = r.sweep_id"
                     " WHERE %s",
                     columns & RUN_CONFIG ? "r.config" : "NULL", columns & RUN_SUMMARY ? "r.summary" : "NULL", where);
    assert(n > 0 && n < RUN_ROWS_SQL);
}

void run_rows_take(struct db_rows *rows, unsigned columns, struct run_row *out)
{
    struct str *const texts[] = {&out->name, &out->display_name, &out->state, &out->group, &out->job_type,
                                 &out->sweep_name, &out->description, &out->notes, &out->tags, &out->commit,
                                 &out->host, &out->program, &out->repo, &out->username, &out->user_name};
    int64_t *const numbers[] = {&out->exitcode, NULL, &out->created_us, &out->updated_us, &out->heartbeat_us,
                                &out->history_lines, &out->events_lines, &out->log_lines, &out->last_step};
    int col = 0;
    out->id = db_int(rows, col++);
    out->project_id = db_int(rows, col++);
    out->user_id = db_int(rows, col++);
    out->sweep_id = db_int(rows, col++);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = db_str(rows, col++);
    out->has_exitcode = !db_is_null(rows, col);
    out->stop_requested = db_int(rows, col + 1) != 0;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++, col++)
        if (numbers[i])
            *numbers[i] = db_int(rows, col);
    out->config = columns & RUN_CONFIG ? db_str(rows, col) : (struct str){0};
    out->summary = columns & RUN_SUMMARY ? db_str(rows, col + 1) : (struct str){0};
}

unsigned run_columns_wanted(struct gql_call *c, const char *prefix)
{
    static const struct {
        const char *field;
        unsigned columns;
    } table[] = {{"config", RUN_CONFIG}, {"wandbConfig", RUN_CONFIG}, {"summaryMetrics", RUN_SUMMARY}};
    unsigned columns = 0;
    char path[160];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        snprintf(path, sizeof path, "%s%s", prefix, table[i].field);
        if (gql_wants(c, path))
            columns |= table[i].columns;
    }
    return columns;
}
