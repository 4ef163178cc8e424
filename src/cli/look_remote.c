/* SPDX-License-Identifier: MIT */
/* A run of a backend, told to replay as its journal would tell it: then everything else of `tare show`
 * is as for a run on disk. Only fields are asked for that W&B's own backend has, too. */
#include "cli/look.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/number.h"
#include "cli/remote.h"
#include "record/wire.h"
#include "service/upload/json_path.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Rows of history: as many as a chart shows, evenly. */
static const char document[] =
    "query TareShow($entity: String!, $project: String!, $run: String!) {"
    " project(name: $project, entityName: $entity) { run(name: $run) {"
    " name displayName state group jobType notes tags createdAt heartbeatAt config summaryMetrics"
    " historyLineCount history(samples: 5000) files(first: 200) { edges { node { name } } }"
    " logLines(last: 12) { edges { node { line level } } } } } }";

/* Field numbers of Record and what is in it. */
enum {
    RECORD_HISTORY = 2,
    RECORD_SUMMARY = 3,
    RECORD_OUTPUT = 4,
    RECORD_FILES = 6,
    RECORD_RUN = 17,
    RECORD_EXIT = 18,
    ITEM_KEY = 1,
    ITEM_VALUE_JSON = 16,
    ITEMS = 1, /* of ConfigRecord, SummaryRecord (`update`), HistoryRecord (`item`) */
    HISTORY_STEP = 2,
    FILES_ITEM = 1,
    RUN_CONFIG = 4,
    RUN_TAGS = 10,
    RUN_START = 17,
    OUTPUT_LINE = 3,
};

static void put_item(struct buf *b, struct str key, struct str value_json)
{
    size_t mark = wire_buf_begin(b, ITEMS);
    AUTO_BUF name = {0};
    json_unescape(&name, key);
    wire_buf_bytes(b, ITEM_KEY, buf_str(&name));
    wire_buf_bytes(b, ITEM_VALUE_JSON, value_json);
    wire_buf_end(b, mark);
}

/* The members of a JSON object as items; those of config without their {"value": ...}. */
static void put_items(struct buf *b, struct str object, bool is_config)
{
    struct json_item m;
    const char *at = object.n ? memchr(object.p, '{', object.n) : NULL, *end = object.p + object.n;
    if (!at)
        return;
    for (at++; json_next_member(&at, end, &m) > 0;) {
        struct str value = is_config ? json_at(m.value, "value") : m.value;
        put_item(b, m.key, value.n ? value : m.value);
    }
}

static void give(struct look *l, uint32_t kind, struct buf *body)
{
    AUTO_BUF record = {0};
    wire_buf_bytes(&record, kind, buf_str(body));
    replay_record(&l->r, buf_str(&record));
    buf_clear(body);
}

/* "2026-11-23T10:59:22" (UTC) in seconds; 0 if it is none. */
static int64_t seconds_of(const char *text)
{
    struct tm tm = {0};
    return text && strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? timegm(&tm) : 0;
}

static void put_text(struct buf *b, uint32_t number, struct str run, const char *name)
{
    AUTO_FREE char *text = json_string_at(run, name);
    if (text && *text)
        wire_buf_bytes(b, number, str_of(text));
}

static void give_run(struct look *l, struct str run, const char *entity, const char *project)
{
    static const struct {
        uint32_t number;
        const char *name;
    } texts[] = {{1, "name"}, {6, "group"}, {7, "jobType"}, {8, "displayName"}, {9, "notes"}};
    AUTO_BUF b = {0};
    AUTO_FREE char *config = json_string_at(run, "config"), *made = json_string_at(run, "createdAt");
    wire_buf_bytes(&b, 2, str_of(entity));
    wire_buf_bytes(&b, 3, str_of(project));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        put_text(&b, texts[i].number, run, texts[i].name);
    size_t mark = wire_buf_begin(&b, RUN_CONFIG);
    put_items(&b, str_of(config), true);
    wire_buf_end(&b, mark);
    struct str tags = json_at(run, "tags"), tag;
    for (size_t i = 0; tags.n; i++) {
        char path[16];
        snprintf(path, sizeof path, "%zu", i);
        if (!(tag = json_at(tags, path)).n)
            break;
        put_text(&b, RUN_TAGS, tags, path);
    }
    mark = wire_buf_begin(&b, RUN_START);
    wire_buf_varint(&b, 1, (uint64_t)seconds_of(made));
    wire_buf_end(&b, mark);
    give(l, RECORD_RUN, &b);
}

static void give_row(struct look *l, struct str row)
{
    AUTO_BUF b = {0};
    struct str step = json_at(row, "_step");
    int64_t v;
    put_items(&b, row, false);
    if (step.n && number_parse_i64(step.p, step.n, &v) == step.n) {
        size_t mark = wire_buf_begin(&b, HISTORY_STEP);
        wire_buf_varint(&b, 1, (uint64_t)v);
        wire_buf_end(&b, mark);
    }
    give(l, RECORD_HISTORY, &b);
}

static void give_rows(struct look *l, struct str rows)
{
    struct json_item m;
    const char *at = rows.n ? rows.p + 1 : NULL, *end = rows.p + rows.n;
    while (at && json_next_element(&at, end, &m) > 0) {
        AUTO_BUF row = {0};
        if (m.value.n >= 2 && m.value.p[0] == '"' &&
            json_unescape(&row, str_make(m.value.p + 1, m.value.n - 2)) == 0)
            give_row(l, buf_str(&row));
    }
}

static void give_nodes(struct look *l, struct str edges, uint32_t kind)
{
    struct json_item m;
    const char *at = edges.n ? edges.p + 1 : NULL, *end = edges.p + edges.n;
    while (at && json_next_element(&at, end, &m) > 0) {
        AUTO_BUF b = {0};
        if (kind == RECORD_OUTPUT) {
            AUTO_FREE char *line = json_string_at(m.value, "node.line");
            AUTO_BUF whole = {0};
            buf_printf(&whole, "%s\n", line ? line : "");
            lines_put(&l->lines, buf_str(&whole), false);
            continue;
        }
        size_t mark = wire_buf_begin(&b, FILES_ITEM);
        put_text(&b, 1, m.value, "node.name");
        wire_buf_end(&b, mark);
        give(l, kind, &b);
    }
}

static void give_end(struct look *l, struct str run)
{
    AUTO_BUF b = {0};
    AUTO_FREE char *state = json_string_at(run, "state"), *summary = json_string_at(run, "summaryMetrics");
    AUTO_FREE char *seen = json_string_at(run, "heartbeatAt");
    put_items(&b, str_of(summary), false);
    give(l, RECORD_SUMMARY, &b);
    bool finished = state && strcmp(state, "finished") == 0;
    bool failed = state && (strcmp(state, "failed") == 0 || strcmp(state, "killed") == 0);
    if (failed)
        wire_buf_varint(&b, 1, 1);
    if (finished || failed)
        give(l, RECORD_EXIT, &b);
    l->state = finished ? RUN_FINISHED
               : failed ? RUN_FAILED
               : state && strcmp(state, "running") == 0 ? RUN_RUNNING : RUN_CRASHED;
    int64_t start_s = l->r.start_ns / 1000000000, seen_s = seconds_of(seen);
    if (l->state == RUN_RUNNING)
        seen_s = clock_wall_ns() / 1000000000;
    l->seconds = start_s && seen_s > start_s ? (double)(seen_s - start_s) : 0;
}

static int ask(const struct where *w, const char *entity, const char *project, const char *id,
               struct buf *data, struct err *e)
{
    AUTO_BUF v = {0};
    buf_puts(&v, "{\"entity\":");
    json_put_string(&v, str_of(entity));
    buf_puts(&v, ",\"project\":");
    json_put_string(&v, str_of(project));
    buf_puts(&v, ",\"run\":");
    json_put_string(&v, str_of(id));
    buf_putc(&v, '}');
    return remote_query(w, "TareShow", document, buf_str(&v), REMOTE_WAIT_S, data, e);
}

int look_read_remote(struct look *l, const struct where *w, const char *entity, const char *project,
                     const char *id, struct err *e)
{
    AUTO_BUF data = {0}, url = {0};
    look_begin(l);
    int rc = ask(w, entity, project, id, &data, e);
    if (rc)
        return rc;
    struct str run = json_at(buf_str(&data), "project.run");
    if (!run.n)
        return err_set(e, TARE_ENOTFOUND, "%s has no run %s/%s/%s", w->url, entity, project, id);
    buf_printf(&url, "%s/%s/%s/runs/%s", w->url, entity, project, id);
    l->place.folder = xmem_strdup(buf_z(&url));
    l->place.journal = xmem_strdup("");
    l->place.id = xmem_strdup(id);
    give_run(l, run, entity, project);
    give_rows(l, json_at(run, "history"));
    give_nodes(l, json_at(run, "files.edges"), RECORD_FILES);
    give_nodes(l, json_at(run, "logLines.edges"), RECORD_OUTPUT);
    give_end(l, run);
    double n_rows;
    struct str lines = json_at(run, "historyLineCount");
    if (lines.n && number_parse_double(lines.p, lines.n, &n_rows) == lines.n)
        l->r.n_rows = (uint64_t)n_rows; /* all of them, not those that were shown */
    replay_settle(&l->r);
    lines_end(&l->lines);
    return 0;
}
