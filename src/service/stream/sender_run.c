/* SPDX-License-Identifier: MIT */
#include "service/stream/sender_run.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/number.h"
#include "record/setting_wire.h"
#include "record/wire.h"
#include "service/upload/json_path.h"

#include <stdio.h>

enum { SET_PROGRAM = 95, SET_DISABLE_MACHINE_INFO = 158 };

/* Of RunRecord. */
enum {
    RUN_CONFIG = 4,
    RUN_SUMMARY = 5,
    RUN_TAGS = 10,
    RUN_STARTING_STEP = 14,
    RUN_START_TIME = 17,
    RUN_RESUMED = 18,
    RUN_RUNTIME = 20,
    RUN_GIT = 21,
    RUN_FORKED = 22,
    RUN_BRANCH_POINT = 23,
    RUN_RESUME = 24,
};

/* Where a text stands in RunRecord (0: elsewhere) and among the variables of UpsertBucket. */
static const struct {
    uint32_t field;
    const char *variable;
    bool always; /* it goes with every upsert */
} texts[N_RUN_TEXTS] = {
    [RUN_TEXT_STORAGE_ID] = {16, "id", false},
    [RUN_TEXT_ENTITY] = {2, "entity", true},
    [RUN_TEXT_PROJECT] = {3, "project", true},
    [RUN_TEXT_ID] = {1, "name", true},
    [RUN_TEXT_GROUP] = {6, "groupName", false},
    [RUN_TEXT_DISPLAY_NAME] = {8, "displayName", false},
    [RUN_TEXT_NOTES] = {9, "notes", false},
    [RUN_TEXT_COMMIT] = {0, "commit", false},
    [RUN_TEXT_REMOTE] = {0, "repo", false},
    [RUN_TEXT_HOST] = {13, "host", false},
    [RUN_TEXT_PROGRAM] = {0, "program", false},
    [RUN_TEXT_JOB_TYPE] = {7, "jobType", false},
    [RUN_TEXT_SWEEP] = {12, "sweep", false},
};

static void drop_tags(struct run_params *p)
{
    for (uint32_t i = 0; i < p->n_tags; i++)
        mem_free(p->tags[i]);
    mem_free(p->tags);
    p->tags = NULL;
    p->n_tags = 0;
}

void run_add_tag(struct run_params *p, struct str tag)
{
    p->tags = xmem_realloc(p->tags, (p->n_tags + 1) * sizeof *p->tags);
    p->tags[p->n_tags++] = xmem_strndup(tag.p ? tag.p : "", tag.n);
}

void run_params_fini(struct run_params *p)
{
    for (int i = 0; i < N_RUN_TEXTS; i++)
        mem_free(p->text[i]);
    drop_tags(p);
    buf_fini(&p->summary);
    *p = (struct run_params){0};
}

const char *run_text(const struct run_params *p, enum run_text which)
{
    return p->text[which] ? p->text[which] : "";
}

void run_set_text(struct run_params *p, enum run_text which, struct str value)
{
    mem_free(p->text[which]);
    p->text[which] = value.n ? xmem_strndup(value.p, value.n) : NULL;
}

/* -- what the client says ------------------------------------------------------------------------ */

static void take_text(struct run_params *p, enum run_text which, struct str value)
{
    if (value.n)
        run_set_text(p, which, value);
}

static void take_bytes(struct run_params *p, const struct wire_field *f)
{
    for (int i = 0; i < N_RUN_TEXTS; i++)
        if (texts[i].field == f->number && i != RUN_TEXT_HOST)
            take_text(p, (enum run_text)i, f->bytes);
    if (f->number == RUN_GIT) {
        take_text(p, RUN_TEXT_REMOTE, wire_find_bytes(f->bytes, 1));
        take_text(p, RUN_TEXT_COMMIT, wire_find_bytes(f->bytes, 2));
    } else if (f->number == RUN_START_TIME) {
        p->start_s = (int64_t)wire_find_varint(f->bytes, 1);
        p->start_ns = (int32_t)wire_find_varint(f->bytes, 2);
    }
}

static void take_number(struct run_params *p, const struct wire_field *f)
{
    switch (f->number) {
    case RUN_STARTING_STEP: p->starting_step = (int64_t)f->value; break;
    case RUN_RUNTIME: p->runtime_ms = (int64_t)(int32_t)f->value * 1000; break;
    case RUN_RESUME: p->resume |= f->value != 0; break;
    case RUN_RESUMED: p->resumed |= f->value != 0; break;
    case RUN_FORKED: p->forked |= f->value != 0; break;
    }
}

void run_update(struct run_params *p, struct str record, struct str settings)
{
    struct wire_reader r = wire_open(record);
    bool tags_begun = false;
    for (struct wire_field f; wire_next(&r, &f) == 1;) {
        if (f.type == WIRE_VARINT)
            take_number(p, &f);
        if (f.type != WIRE_BYTES)
            continue;
        if (f.number == RUN_TAGS && !tags_begun)
            drop_tags(p);
        tags_begun |= f.number == RUN_TAGS;
        if (f.number == RUN_TAGS)
            run_add_tag(p, f.bytes);
        take_bytes(p, &f);
    }
    if (!setting_wire_bool(settings, SET_DISABLE_MACHINE_INFO))
        take_text(p, RUN_TEXT_HOST, wire_find_bytes(record, texts[RUN_TEXT_HOST].field));
    take_text(p, RUN_TEXT_PROGRAM, setting_wire_text(settings, SET_PROGRAM));
}

/* NULL where it is taken away. */
static void rename_tag(struct run_params *p, uint32_t at, const struct sender_changes *c)
{
    for (size_t i = 0; i < c->n_tags; i++) {
        const struct tag_rename *r = &c->tags[i];
        if (strcmp(p->tags[at], r->from) != 0)
            continue;
        mem_free(p->tags[at]);
        p->tags[at] = *r->to ? xmem_strdup(r->to) : NULL;
        return;
    }
}

void run_change(struct run_params *p, const struct sender_changes *c)
{
    take_text(p, RUN_TEXT_ENTITY, str_of(c->entity));
    take_text(p, RUN_TEXT_PROJECT, str_of(c->project));
    take_text(p, RUN_TEXT_ID, str_of(c->run_id));
    take_text(p, RUN_TEXT_JOB_TYPE, str_of(c->job_type));
    for (uint32_t i = 0; i < p->n_tags; i++)
        rename_tag(p, i, c);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->n_tags; i++)
        if (p->tags[i])
            p->tags[kept++] = p->tags[i];
    p->n_tags = kept;
}

/* -- UpsertBucket ---------------------------------------------------------------------------------- */

static void put_name(struct buf *to, const char *name)
{
    buf_printf(to, "%s\"%s\":", to->len && to->data[to->len - 1] == '{' ? "" : ",", name);
}

static void put_variable(struct buf *to, const char *name, const char *value)
{
    put_name(to, name);
    if (value && *value)
        json_put_string(to, str_of(value));
    else
        buf_puts(to, "null");
}

static void put_tags(const struct run_params *p, bool with_params, struct buf *to)
{
    put_name(to, "tags");
    if (!with_params || !(p->n_tags || p->tags_known)) {
        buf_puts(to, "null");
        return;
    }
    buf_putc(to, '[');
    for (uint32_t i = 0; i < p->n_tags; i++) {
        buf_puts(to, i ? "," : "");
        json_put_string(to, str_of(p->tags[i]));
    }
    buf_putc(to, ']');
}

void run_put_upsert(const struct run_params *p, bool with_params, const struct config *c,
                    struct buf *to)
{
    static const char *const unused[] = {"description", "debug", "state", "summaryMetrics"};
    buf_putc(to, '{');
    for (int i = 0; i < N_RUN_TEXTS; i++)
        put_variable(to, texts[i].variable, with_params || texts[i].always ? p->text[i] : NULL);
    put_tags(p, with_params, to);
    put_name(to, "config");
    if (c) {
        AUTO_BUF json = {0};
        config_put_wrapped(c, &json);
        json_put_string(to, buf_str(&json));
    } else {
        buf_puts(to, "null");
    }
    for (size_t i = 0; i < sizeof unused / sizeof unused[0]; i++)
        put_variable(to, unused[i], NULL);
    buf_putc(to, '}');
}

/* Set a text to what the backend says, "" where it says nothing. */
static void take_answer(struct run_params *p, enum run_text which, struct str bucket,
                        const char *path, bool only_if_any)
{
    char *value = json_string_at(bucket, path);
    if (!only_if_any || (value && *value))
        run_set_text(p, which, str_of(value));
    mem_free(value);
}

bool run_count_at(struct str object, const char *path, uint64_t *to)
{
    struct str text = json_at(object, path);
    int64_t n;
    if (!text.n || number_parse_i64(text.p, text.n, &n) != text.n || n < 0)
        return false;
    *to = (uint64_t)n;
    return true;
}

void run_take_upsert(struct run_params *p, struct str data)
{
    struct str bucket = json_at(data, "upsertBucket.bucket");
    uint64_t lines;
    if (!bucket.n)
        return;
    take_answer(p, RUN_TEXT_STORAGE_ID, bucket, "id", false);
    take_answer(p, RUN_TEXT_ID, bucket, "name", false);
    take_answer(p, RUN_TEXT_DISPLAY_NAME, bucket, "displayName", false);
    take_answer(p, RUN_TEXT_SWEEP, bucket, "sweepName", false);
    if (run_count_at(bucket, "historyLineCount", &lines) && lines > 0)
        p->offsets.history = lines;
    if (!json_at(bucket, "project").n)
        return;
    take_answer(p, RUN_TEXT_ENTITY, bucket, "project.entity.name", false);
    take_answer(p, RUN_TEXT_PROJECT, bucket, "project.name", false);
}

/* -- the answer to the client ------------------------------------------------------------------------ */

/* Fields of the record that are written anew. */
static bool is_known(uint32_t field)
{
    for (int i = 0; i < N_RUN_TEXTS; i++)
        if (texts[i].field == field)
            return true;
    return field == RUN_CONFIG || field == RUN_SUMMARY || field == RUN_TAGS ||
           field == RUN_STARTING_STEP || field == RUN_START_TIME || field == RUN_RESUMED ||
           field == RUN_RUNTIME || field == RUN_GIT || field == RUN_FORKED || field == RUN_RESUME;
}

static void put_summary(const struct run_params *p, struct buf *to)
{
    size_t mark = wire_buf_begin(to, RUN_SUMMARY);
    struct str json = p->summary.len ? buf_str(&p->summary) : STR("{}");
    const char *end = json.p + json.n, *at = json_skip_space(json.p, end);
    struct json_item item;
    for (at++; json_next_member(&at, end, &item) == 1;) {
        AUTO_BUF key = {0};
        json_unescape(&key, item.key);
        size_t update = wire_buf_begin(to, 1);
        wire_buf_bytes(to, 1, buf_str(&key));
        wire_buf_bytes(to, 16, item.value);
        wire_buf_end(to, update);
    }
    wire_buf_end(to, mark);
}

static void put_flag(struct buf *to, uint32_t field, bool set)
{
    if (set)
        wire_buf_varint(to, field, 1);
}

void run_put_record(const struct run_params *p, const struct config *c, struct str record,
                    struct buf *to)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f;
    for (const char *from = r.p; wire_next(&r, &f) == 1; from = r.p)
        if (!is_known(f.number))
            buf_append(to, from, (size_t)(r.p - from));
    for (int i = 0; i < N_RUN_TEXTS; i++)
        if (texts[i].field && p->text[i])
            wire_buf_bytes(to, texts[i].field, str_of(p->text[i]));
    for (uint32_t i = 0; i < p->n_tags; i++)
        wire_buf_bytes(to, RUN_TAGS, str_of(p->tags[i]));
    size_t mark = wire_buf_begin(to, RUN_CONFIG);
    config_put_items(c, to);
    wire_buf_end(to, mark);
    put_summary(p, to);
    mark = wire_buf_begin(to, RUN_GIT);
    if (p->text[RUN_TEXT_REMOTE])
        wire_buf_bytes(to, 1, str_of(p->text[RUN_TEXT_REMOTE]));
    if (p->text[RUN_TEXT_COMMIT])
        wire_buf_bytes(to, 2, str_of(p->text[RUN_TEXT_COMMIT]));
    wire_buf_end(to, mark);
    mark = wire_buf_begin(to, RUN_START_TIME);
    if (p->start_s)
        wire_buf_varint(to, 1, (uint64_t)p->start_s);
    if (p->start_ns)
        wire_buf_varint(to, 2, (uint64_t)p->start_ns);
    wire_buf_end(to, mark);
    if (p->starting_step)
        wire_buf_varint(to, RUN_STARTING_STEP, (uint64_t)p->starting_step);
    if (p->runtime_ms / 1000)
        wire_buf_varint(to, RUN_RUNTIME, (uint64_t)(p->runtime_ms / 1000));
    put_flag(to, RUN_RESUME, p->resume);
    put_flag(to, RUN_RESUMED, p->resumed);
    put_flag(to, RUN_FORKED, p->forked);
}
