/* SPDX-License-Identifier: MIT */
/* Configurations keep their values as they were written: the peer reads every number anew and may
 * give 1.0 as 1. Names are sorted, as Go's json writes maps. */
#include "service/sweep/sweep_query.h"

#include "base/alloc.h"
#include "base/json.h"
#include "service/upload/json_path.h"

#include <stdlib.h>

enum { HISTORY_SAMPLES = 20 }; /* rows of a run that the optimizer sees, as the peer */

#define POLL_RUNS                                                                                  \
    "fragment SweepPollRuns on RunConnection {\n\tpageInfo {\n\t\thasNextPage\n\t\tendCursor\n\t}\n" \
    "\tedges {\n\t\tnode {\n\t\t\tid\n\t\t\tname\n\t\t\tstate\n\t\t\tconfig\n\t\t\tsummaryMetrics\n"  \
    "\t\t\tsampledHistory(specs: $historySpecs)\n\t\t}\n\t}\n}\n"

const struct sweep_query sweep_query_config = {
    "SweepConfig",
    "\nquery SweepConfig ($entity: String!, $project: String!, $sweep: String!) {\n"
    "\tproject(name: $project, entityName: $entity) {\n\t\tsweep(sweepName: $sweep) {\n\t\t\tid\n"
    "\t\t\tstate\n\t\t\tconfig\n\t\t\tdisplayName\n\t\t\tcontrollerRunName\n\t\t}\n\t}\n}\n"};

const struct sweep_query sweep_query_prior_runs = {
    "SweepRunsWithHistory",
    "\nquery SweepRunsWithHistory ($entity: String!, $project: String!, $sweep: String!, $first: Int!, "
    "$cursor: String, $historySpecs: [JSONString!]!) {\n"
    "\tproject(name: $project, entityName: $entity) {\n\t\tsweep(sweepName: $sweep) {\n\t\t\tstate\n"
    "\t\t\truns(first: $first, after: $cursor) {\n\t\t\t\t... SweepPollRuns\n\t\t\t}\n\t\t}\n\t}\n}\n" POLL_RUNS};

const struct sweep_query sweep_query_watched_runs = {
    "SweepWatchedRuns",
    "\nquery SweepWatchedRuns ($entity: String!, $project: String!, $sweep: String!, "
    "$filters: JSONString!, $first: Int!, $cursor: String, $historySpecs: [JSONString!]!) {\n"
    "\tproject(name: $project, entityName: $entity) {\n\t\tsweep(sweepName: $sweep) {\n\t\t\tstate\n"
    "\t\t}\n\t\truns(filters: $filters, first: $first, after: $cursor) {\n\t\t\t... SweepPollRuns\n"
    "\t\t}\n\t}\n}\n" POLL_RUNS};

const struct sweep_query sweep_query_run_state = {
    "RunState",
    "\nquery RunState ($entity: String!, $project: String!, $run: String!) {\n"
    "\tproject(name: $project, entityName: $entity) {\n\t\trun(name: $run) {\n\t\t\tid\n\t\t\tstate\n"
    "\t\t}\n\t}\n}\n"};

const struct sweep_query sweep_query_enqueue = {
    "EnqueueSweepRun",
    "\nmutation EnqueueSweepRun ($id: ID!, $config: JSONString!, $displayName: String) {\n"
    "\tenqueueSweepRun(input: {id:$id,config:$config,displayName:$displayName}) {\n\t\tid\n"
    "\t\trunQueueItemId\n\t}\n}\n"};

const struct sweep_query sweep_query_stop_run = {
    "StopRun",
    "\nmutation StopRun ($id: ID!) {\n\tstopRun(input: {id:$id}) {\n\t\tsuccess\n\t}\n}\n"};

const struct sweep_query sweep_query_set_state = {
    "UpsertSweepState",
    "\nmutation UpsertSweepState ($id: ID!, $state: String!) {\n"
    "\tupsertSweep(input: {id:$id,state:$state}) {\n\t\tsweep {\n\t\t\tstate\n\t\t}\n\t}\n}\n"};

/* ---- variables ---- */

static void put_name(struct buf *to, const char *name)
{
    buf_putc(to, to->len ? ',' : '{');
    json_put_string(to, str_of(name));
    buf_putc(to, ':');
}

void sweep_var_text(struct buf *to, const char *name, struct str text)
{
    put_name(to, name);
    json_put_string(to, text);
}

void sweep_var_raw(struct buf *to, const char *name, struct str json)
{
    put_name(to, name);
    buf_put_str(to, json);
}

void sweep_vars_end(struct buf *to)
{
    buf_putc(to, '}');
}

void sweep_put_history_specs(struct buf *to, struct str metrics)
{
    AUTO_BUF spec = {0};
    buf_printf(&spec, "{\"keys\":[%.*s%s\"_step\"],\"samples\":%d}", STR_ARG(metrics), metrics.n ? "," : "",
               HISTORY_SAMPLES);
    buf_putc(to, '[');
    json_put_string(to, buf_str(&spec));
    buf_putc(to, ']');
}

/* ---- answers ---- */

static char *text_at(struct str json, const char *path)
{
    char *text = json_string_at(json, path);
    return text ? text : xmem_strdup("");
}

bool sweep_read_facts(struct str data, struct sweep_facts *to)
{
    struct str sweep = json_at(data, "project.sweep");
    if (sweep.n == 0)
        return false;
    *to = (struct sweep_facts){
        .node_id = text_at(sweep, "id"),
        .state = text_at(sweep, "state"),
        .config = text_at(sweep, "config"),
        .display_name = text_at(sweep, "displayName"),
        .controller_run = text_at(sweep, "controllerRunName"),
    };
    return true;
}

void sweep_facts_fini(struct sweep_facts *f)
{
    mem_free(f->node_id);
    mem_free(f->state);
    mem_free(f->config);
    mem_free(f->display_name);
    mem_free(f->controller_run);
    *f = (struct sweep_facts){0};
}

/* A decoded string of the answer in the arena; "" if it is none, NULL without room. */
static struct str keep_text(struct arena *a, struct str json, const char *path)
{
    AUTO_FREE char *text = json_string_at(json, path);
    size_t n = text ? strlen(text) : 0;
    return str_make(arena_strndup(a, text ? text : "", n), n);
}

static bool read_row(struct str node, struct arena *a, struct sweep_row *to)
{
    struct str history = json_at(node, "sampledHistory.0");
    to->id = keep_text(a, node, "id").p;
    to->name = keep_text(a, node, "name").p;
    to->state = keep_text(a, node, "state").p;
    to->config = keep_text(a, node, "config");
    to->summary = keep_text(a, node, "summaryMetrics");
    to->history = str_make(arena_strndup(a, history.n ? history.p : "", history.n), history.n);
    return to->id && to->name && to->state && to->config.p && to->summary.p && to->history.p;
}

/* Behind the bracket of a list, or NULL. */
static const char *list_begin(struct str list)
{
    const char *at = list.n ? json_skip_space(list.p, list.p + list.n) : NULL;
    return at && at < list.p + list.n && *at == '[' ? at + 1 : NULL;
}

static size_t count(struct str list)
{
    struct json_item item;
    size_t n = 0;
    for (const char *at = list_begin(list); at && json_next_element(&at, list.p + list.n, &item) == 1;)
        n++;
    return n;
}

int sweep_read_page(struct str data, const char *runs_path, struct arena *a, struct sweep_page *to)
{
    struct str sweep = json_at(data, "project.sweep"), runs = json_at(data, runs_path);
    struct str edges = json_at(runs, "edges");
    struct json_item item;
    *to = (struct sweep_page){0};
    if (sweep.n == 0)
        return TARE_ENOTFOUND;
    to->state = keep_text(a, sweep, "state").p;
    size_t n = count(edges);
    to->rows = arena_calloc(a, (n + 1) * sizeof *to->rows);
    if (!to->state || !to->rows)
        return TARE_ELIMIT;
    const char *at = list_begin(edges);
    while (to->n < n && json_next_element(&at, edges.p + edges.n, &item) == 1)
        if (!read_row(json_at(item.value, "node"), a, &to->rows[to->n++]))
            return TARE_ELIMIT;
    AUTO_FREE char *cursor = json_string_at(runs, "pageInfo.endCursor");
    if (!cursor || !str_eqz(json_at(runs, "pageInfo.hasNextPage"), "true"))
        return 0;
    to->cursor = arena_strdup(a, cursor);
    return to->cursor ? 0 : TARE_ELIMIT;
}

/* ---- configurations of runs ---- */

/* Of one valid value: are there no NaN and Infinity in it? Go's json takes none. */
static bool is_strict(struct str json)
{
    bool in_string = false;
    for (size_t i = 0; i < json.n; i++) {
        char c = json.p[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == 'N' || c == 'I'))
            return false;
    }
    return true;
}

/* The value of the member whose name reads as `name`, however either is escaped. */
static struct str member(struct str object, struct str name)
{
    struct json_item item;
    struct str found = {0};
    if (object.n == 0)
        return found;
    const char *end = object.p + object.n, *at = json_skip_space(object.p, end);
    if (at == end || *at++ != '{')
        return found;
    while (json_next_member(&at, end, &item) == 1) {
        AUTO_BUF key = {0};
        if (json_unescape(&key, item.key) == 0 && str_eq(buf_str(&key), name))
            found = item.value;
    }
    return found;
}

struct members {
    struct json_item *items;
    size_t n;
};

/* Of the same name the later one stands later. */
static int by_name(const void *a, const void *b)
{
    const struct json_item *x = a, *y = b;
    int c = str_cmp(x->key, y->key);
    return c ? c : (x->value.p > y->value.p) - (x->value.p < y->value.p);
}

/* The members of an object sorted by name. False if it is none, or out of memory. */
static bool read_members(struct str json, struct members *to)
{
    AUTO_BUF items = {0};
    struct json_item item;
    *to = (struct members){0};
    if (json.n == 0 || !json_valid(json) || !is_strict(json))
        return false;
    const char *end = json.p + json.n, *at = json_skip_space(json.p, end);
    if (*at++ != '{')
        return false;
    while (json_next_member(&at, end, &item) == 1)
        buf_append(&items, &item, sizeof item);
    if (items.failed)
        return false;
    to->items = (struct json_item *)(void *)items.data;
    to->n = items.len / sizeof item;
    items = (struct buf){0};
    if (to->n)
        qsort(to->items, to->n, sizeof item, by_name);
    return true;
}

/* Of a name that is there twice both are given: who reads it takes the last, as Go would. */
static void put_members(struct buf *to, const struct members *m, bool wrap)
{
    buf_putc(to, '{');
    for (size_t i = 0; i < m->n; i++) {
        struct str value = m->items[i].value, inner = wrap ? (struct str){0} : member(value, STR("value"));
        if (i)
            buf_putc(to, ',');
        buf_printf(to, "\"%.*s\":", STR_ARG(m->items[i].key));
        if (wrap)
            buf_puts(to, "{\"value\":");
        buf_put_str(to, inner.n ? inner : value);
        if (wrap)
            buf_putc(to, '}');
    }
    buf_putc(to, '}');
}

void sweep_put_flat(struct buf *to, struct str wire)
{
    struct members m;
    if (read_members(wire, &m))
        put_members(to, &m, false);
    else
        buf_puts(to, "{}");
    mem_free(m.items);
}

int sweep_put_wire(struct buf *to, struct str flat, struct err *e)
{
    struct members m = {0};
    if (!str_eqz(json_trim(flat), "null") && !read_members(flat, &m))
        return err_set(e, TARE_EFORMAT, "a suggested configuration is no JSON object");
    put_members(to, &m, true);
    mem_free(m.items);
    return to->failed ? TARE_ENOMEM : 0;
}

bool sweep_has_metrics(struct str summary, struct str metrics)
{
    AUTO_BUF list = {0};
    struct json_item item;
    if (!json_valid(summary) || !is_strict(summary))
        return false;
    buf_printf(&list, "%.*s]", STR_ARG(metrics));
    const char *at = list.data;
    while (at && json_next_element(&at, list.data + list.len, &item) == 1) {
        AUTO_BUF name = {0};
        json_unescape(&name, str_make(item.value.p + 1, item.value.n - 2));
        struct str value = member(summary, buf_str(&name));
        if (value.n == 0 || str_eqz(value, "null"))
            return false;
    }
    return true;
}
