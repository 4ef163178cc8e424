/* SPDX-License-Identifier: MIT */
#include "server/resolve/run_filter.h"
#include "base/clock.h"
#include "base/err.h"
#include "server/resolve/run_rows.h"

#include <stdio.h>

/* Plain members of the row; both spellings of a name. */
static const struct {
    const char *names[3];
    enum { TEXT, TIME } kind;
    size_t at;
} members[] = {
#define AT(m) offsetof(struct run_row, m)
    {{"name", "id"}, TEXT, AT(name)},
    {{"display_name", "displayName"}, TEXT, AT(display_name)},
    {{"state"}, TEXT, AT(state)},
    {{"group", "group_name", "groupName"}, TEXT, AT(group)},
    {{"job_type", "jobType"}, TEXT, AT(job_type)},
    {{"username", "user", "user.username"}, TEXT, AT(username)},
    {{"sweep", "sweep_name", "sweepName"}, TEXT, AT(sweep_name)},
    {{"host"}, TEXT, AT(host)},
    {{"notes"}, TEXT, AT(notes)},
    {{"description"}, TEXT, AT(description)},
    {{"commit"}, TEXT, AT(commit)},
    {{"program"}, TEXT, AT(program)},
    {{"created_at", "createdAt"}, TIME, AT(created_us)},
    {{"updated_at", "updatedAt"}, TIME, AT(updated_us)},
    {{"heartbeat_at", "heartbeatAt"}, TIME, AT(heartbeat_us)},
#undef AT
};

/* What a run was never given is missing, so that {"sweep": {"$exists": false}} finds it. */
static void take_text(struct str s, struct filter_value *out)
{
    *out = s.p ? (struct filter_value){.kind = FILTER_STRING, .s = s} : (struct filter_value){.kind = FILTER_MISSING};
}

static bool take_member(const struct run_row *r, struct str key, struct filter_value *out)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        for (int n = 0; n < 3 && members[i].names[n]; n++) {
            const char *at = (const char *)r + members[i].at;
            if (!str_eqz(key, members[i].names[n]))
                continue;
            if (members[i].kind == TEXT)
                take_text(*(const struct str *)(const void *)at, out);
            else
                *out = (struct filter_value){.kind = FILTER_TIME, .time_us = *(const int64_t *)(const void *)at};
            return true;
        }
    }
    return false;
}

/* What follows "config." or "config/"; {NULL, 0} if the key is another. */
static struct str below(struct str key, const char *root)
{
    size_t n = strlen(root);
    if (key.n > n + 1 && memcmp(key.p, root, n) == 0 && (key.p[n] == '.' || key.p[n] == '/'))
        return str_make(key.p + n + 1, key.n - n - 1);
    return (struct str){0};
}

/* config.<name> means its value; config.<name>.value and config.<name>.value.<more> too. */
static int take_config(const struct run_filter_row *row, struct str name, struct filter_value *out)
{
    char path[512];
    int rc = filter_value_at(row->run->config, name, row->arena, out);
    bool is_entry = !rc && out->kind == FILTER_JSON && out->s.n && out->s.p[0] == '{';
    struct str value;
    if (is_entry && json_find(out->s, "value", &value))
        return filter_value_of(value, row->arena, out);
    if (rc || out->kind != FILTER_MISSING || str_ends(name, STR(".value")))
        return rc;
    /* a.b: b inside the value of a, a.b.c also c inside that of "a.b" */
    for (size_t n = 1; n < name.n && !rc && out->kind == FILTER_MISSING; n++) {
        if (name.p[n] != '.')
            continue;
        int len = snprintf(path, sizeof path, "%.*s.value%.*s", (int)n, name.p, (int)(name.n - n), name.p + n);
        if (len < 0 || (size_t)len >= sizeof path)
            return 0;
        rc = filter_value_at(row->run->config, str_make(path, (size_t)len), row->arena, out);
    }
    return rc;
}

static void take_duration(const struct run_row *r, struct filter_value *out)
{
    bool running = str_eqz(r->state, "running");
    int64_t end_us = running ? clock_wall_ns() / 1000 : r->heartbeat_us;
    *out = (struct filter_value){.kind = FILTER_NUMBER, .number = (double)(end_us - r->created_us) / 1e6};
}

int run_filter_get(void *ctx, struct str key, struct filter_value *out)
{
    static const char *const summaries[] = {"summary_metrics", "summaryMetrics", "summary"};
    const struct run_filter_row *row = ctx;
    struct str name;
    if (take_member(row->run, key, out))
        return 0;
    if ((name = below(key, "config")).n)
        return take_config(row, name, out);
    for (int i = 0; i < 3; i++)
        if ((name = below(key, summaries[i])).n)
            return filter_value_at(row->run->summary, name, row->arena, out);
    if (str_eqz(key, "tags")) {
        *out = (struct filter_value){.kind = FILTER_JSON, .s = row->run->tags.n ? row->run->tags : STR("[]")};
        return 0;
    }
    if (str_eqz(key, "duration")) {
        take_duration(row->run, out);
        return 0;
    }
    return TARE_EINVAL;
}

unsigned run_filter_columns(struct str text)
{
    unsigned columns = 0;
    if (text.n && memmem(text.p, text.n, "config", 6))
        columns |= RUN_CONFIG;
    if (text.n && memmem(text.p, text.n, "summary", 7))
        columns |= RUN_SUMMARY;
    return columns;
}
