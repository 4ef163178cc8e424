/* SPDX-License-Identifier: MIT */
/* Runs that go on from another place: resumed, rewound, forked. Rules and texts are the peer's
 * (core/internal/runbranch: resume.go, rewind.go, fork.go, processresponse.go). */
#include "service/stream/sender_run.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/number.h"
#include "record/wire.h"
#include "service/upload/json_path.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum { COMMUNICATION = 1, USAGE = 3, UNSUPPORTED = 4 };

__attribute__((format(printf, 3, 4))) static int fail(struct run_error *e, int code,
                                                      const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->message, sizeof e->message, fmt, ap);
    va_end(ap);
    e->code = code;
    return -1;
}

/* An error that has no text for people: the peer puts this before it. */
static int fail_within(struct run_error *e, const char *what)
{
    return fail(e, 0, "Error initializing run: %s", what);
}

struct run_branch run_branch_of(struct str record)
{
    enum { RUN_BRANCH_POINT = 23, RUN = 1, VALUE = 2, METRIC = 3 };
    struct str point = wire_find_bytes(record, RUN_BRANCH_POINT);
    struct run_branch b = {.run = wire_find_bytes(point, RUN), .metric = wire_find_bytes(point, METRIC)};
    struct wire_reader r = wire_open(point);
    for (struct wire_field f; wire_next(&r, &f) == 1;)
        if (f.number == VALUE && f.type == WIRE_FIXED64)
            memcpy(&b.value, &f.value, sizeof b.value);
    return b;
}

static int64_t step_behind(double value)
{
    return value > -1 && value < 9e18 ? (int64_t)value + 1 : 0;
}

/* -- fork and rewind --------------------------------------------------------------------------- */

int run_fork(struct run_params *p, const struct run_branch *b, struct run_error *e)
{
    if (!str_eq(b->metric, STR("_step")))
        return fail(e, UNSUPPORTED, "fork_from only supports `_step` metric name currently");
    p->forked = true;
    p->starting_step = step_behind(b->value);
    return 0;
}

int run_rewind(struct run_params *p, const struct run_branch *b, struct run_error *e)
{
    if (!str_eq(b->metric, STR("_step")))
        return fail(e, UNSUPPORTED, "rewind only supports `_step` metric name currently");
    p->forked = true;
    p->starting_step = step_behind(b->value);
    return 0;
}

static void put_text(struct buf *to, const char *lead, struct str value, bool or_null)
{
    buf_puts(to, lead);
    if (value.n || !or_null)
        json_put_string(to, value);
    else
        buf_puts(to, "null");
}

void run_put_rewind_variables(const struct run_params *p, const struct run_branch *b,
                              struct buf *to)
{
    put_text(to, "{\"runName\":", str_of(run_text(p, RUN_TEXT_ID)), false);
    put_text(to, ",\"entity\":", str_of(run_text(p, RUN_TEXT_ENTITY)), true);
    put_text(to, ",\"project\":", str_of(run_text(p, RUN_TEXT_PROJECT)), true);
    put_text(to, ",\"metricName\":", b->metric, false);
    buf_puts(to, ",\"metricValue\":");
    if (b->value == trunc(b->value) && fabs(b->value) < 9e15)
        json_put_i64(to, (int64_t)b->value);
    else
        json_put_double(to, b->value);
    buf_putc(to, '}');
}

static void take_text(struct run_params *p, enum run_text which, struct str object, const char *path)
{
    char *value = json_string_at(object, path);
    if (value && *value)
        run_set_text(p, which, str_of(value));
    mem_free(value);
}

static int take_config(struct config *c, struct str object, struct run_error *e)
{
    char *old = json_string_at(object, "config");
    int rc = old ? config_merge_resumed(c, str_of(old)) : 0;
    mem_free(old);
    return rc ? fail_within(e, "failed to unmarshal config") : 0;
}

int run_take_rewind(struct run_params *p, struct config *c, struct str data, struct run_error *e)
{
    struct str run = json_at(data, "rewindRun.rewoundRun");
    if (!run.n)
        return fail(e, COMMUNICATION, "failed to rewind run: run not found");
    run_count_at(run, "historyLineCount", &p->offsets.history);
    take_text(p, RUN_TEXT_PROJECT, run, "project.name");
    take_text(p, RUN_TEXT_ENTITY, run, "project.entity.name");
    take_text(p, RUN_TEXT_STORAGE_ID, run, "id");
    take_text(p, RUN_TEXT_ID, run, "name");
    take_text(p, RUN_TEXT_DISPLAY_NAME, run, "displayName");
    take_text(p, RUN_TEXT_SWEEP, run, "sweepName");
    return take_config(c, run, e);
}

/* -- resume ------------------------------------------------------------------------------------- */

void run_put_resume_variables(const struct run_params *p, struct buf *to)
{
    put_text(to, "{\"project\":", str_of(run_text(p, RUN_TEXT_PROJECT)), false);
    put_text(to, ",\"entity\":", str_of(run_text(p, RUN_TEXT_ENTITY)), true);
    put_text(to, ",\"name\":", str_of(run_text(p, RUN_TEXT_ID)), false);
    buf_putc(to, '}');
}

/* A run that a sweep made ahead of time has no telemetry: it never ran. */
static bool has_run(struct str bucket)
{
    char *config = json_string_at(bucket, "wandbConfig");
    bool ran = config && json_valid(str_of(config)) && memchr(config, '{', strlen(config)) &&
               json_at(str_of(config), "t").n;
    mem_free(config);
    return ran;
}

static void more_runtime(struct run_params *p, struct str value)
{
    double v;
    int64_t ms = 0;
    if (value.n && number_parse_double(value.p, value.n, &v) == value.n && v > 0 && v < 9e12)
        ms = (int64_t)(v * 1000);
    if (ms > p->runtime_ms)
        p->runtime_ms = ms;
}

static void later_step(int64_t *last, struct str value)
{
    int64_t step;
    if (value.n && number_parse_i64(value.p, value.n, &step) == value.n && step > *last)
        *last = step;
}

/* The last line of a "tail": a JSON list of lines, each a JSON object as a string. To be freed;
 * NULL if the list is empty. */
static int last_line(struct str bucket, const char *path, char **line)
{
    char *tail = json_string_at(bucket, path);
    struct str text = str_of(tail);
    *line = NULL;
    int rc = tail && json_valid(text) && *json_skip_space(text.p, text.p + text.n) == '[' ? 0 : -1;
    struct json_item item, last = {0};
    const char *at = rc ? NULL : json_skip_space(text.p, text.p + text.n) + 1;
    while (at && json_next_element(&at, text.p + text.n, &item) == 1)
        last = item;
    if (last.value.n)
        *line = json_string_at(last.value, "");
    if (last.value.n && (!*line || !json_valid(str_of(*line))))
        rc = -1;
    mem_free(tail);
    return rc;
}

static int take_events(struct run_params *p, struct str bucket, struct run_error *e)
{
    char *line;
    int rc = last_line(bucket, "eventsTail", &line);
    if (!rc)
        more_runtime(p, json_at(str_of(line), "_runtime"));
    mem_free(line);
    return rc ? fail_within(e, "no events tail found") : 0;
}

static int take_history(struct run_params *p, struct str bucket, int64_t *last, struct run_error *e)
{
    char *line;
    int rc = last_line(bucket, "historyTail", &line);
    if (!rc) {
        later_step(last, json_at(str_of(line), "_step"));
        more_runtime(p, json_at(str_of(line), "_runtime"));
    }
    mem_free(line);
    return rc ? fail_within(e, "no history tail found") : 0;
}

static int take_summary(struct run_params *p, struct str bucket, int64_t *last, struct run_error *e)
{
    char *json = json_string_at(bucket, "summaryMetrics");
    struct str summary = str_of(json);
    if (!json || !json_valid(summary)) {
        mem_free(json);
        return fail_within(e, "no summary metrics found in resume response");
    }
    if (*json_skip_space(summary.p, summary.p + summary.n) == '{') {
        buf_clear(&p->summary);
        buf_put_str(&p->summary, summary);
        later_step(last, json_at(summary, "_step"));
        struct str inside = json_at(summary, "_wandb");
        bool is_object = inside.n && *inside.p == '{';
        more_runtime(p, is_object ? json_at(inside, "runtime") : json_at(summary, "_runtime"));
    }
    mem_free(json);
    return 0;
}

static void take_tags(struct run_params *p, struct str bucket)
{
    struct str tags = json_at(bucket, "tags");
    if (p->n_tags || !tags.n || *tags.p != '[')
        return;
    p->tags_known = true;
    const char *at = tags.p + 1;
    struct json_item item;
    while (json_next_element(&at, tags.p + tags.n, &item) == 1) {
        char *tag = json_string_at(item.value, "");
        if (tag)
            run_add_tag(p, str_of(tag));
        mem_free(tag);
    }
}

static int take_offsets(struct run_params *p, struct str bucket, struct run_error *e)
{
    if (!run_count_at(bucket, "historyLineCount", &p->offsets.history))
        return fail_within(e, "no history line count found");
    if (!run_count_at(bucket, "eventsLineCount", &p->offsets.events))
        return fail_within(e, "no events line count found");
    if (!run_count_at(bucket, "logLineCount", &p->offsets.console))
        return fail_within(e, "no log line count found");
    return 0;
}

static int resume(struct run_params *p, struct config *c, struct str bucket, struct run_error *e)
{
    int64_t last = -1;
    if (!json_at(bucket, "config").n)
        return fail_within(e, "no config found");
    int rc = take_config(c, bucket, e);
    rc = rc ? rc : take_offsets(p, bucket, e);
    rc = rc ? rc : take_events(p, bucket, e);
    rc = rc ? rc : take_summary(p, bucket, &last, e);
    rc = rc ? rc : take_history(p, bucket, &last, e);
    if (rc)
        return rc;
    int64_t rows = (int64_t)p->offsets.history; /* what they say of steps may be stale */
    last = last > rows - 1 ? last : rows - 1;
    p->starting_step = last < INT64_MAX ? last + 1 : last;
    take_tags(p, bucket);
    if (!*run_text(p, RUN_TEXT_NOTES))
        take_text(p, RUN_TEXT_NOTES, bucket, "notes");
    take_text(p, RUN_TEXT_STORAGE_ID, bucket, "id");
    p->resumed = true;
    return 0;
}

int run_take_resume(struct run_params *p, struct config *c, struct str data, struct str mode,
                    struct run_error *e)
{
    struct str bucket = json_at(data, "model.bucket");
    bool exists = bucket.n && has_run(bucket);
    const char *id = run_text(p, RUN_TEXT_ID);
    if (!exists && str_eq(mode, STR("must")))
        return fail(e, USAGE,
                    "Run (%s) does not exist or has not been initialized, but your `resume` setting"
                    " requires an existing run to resume. Verify the run ID is correct. If you are"
                    " starting a new run, omit `resume` in wandb.init() or set `resume` or"
                    " `WANDB_RESUME` to `allow` or `never`.",
                    id);
    if (exists && str_eq(mode, STR("never")))
        return fail(e, USAGE,
                    "Run (%s) already exists, but your `resume` setting does not allow resuming an"
                    " existing run. Verify the run ID is correct. To resume this run, set `resume`"
                    " in wandb.init() or `WANDB_RESUME` to `allow` or `must`. To start a new run,"
                    " use a different run ID.",
                    id);
    return exists ? resume(p, c, bucket, e) : 0;
}
