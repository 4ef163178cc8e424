/* SPDX-License-Identifier: MIT */
/* Two kinds of journals lead to one summary.
 *
 * Ours holds rows, explicit changes of the summary, and now and then a checkpoint of what the
 * service derived, marked with SUMMARY_DERIVED_UUID. The checkpoints are for readers that derive
 * nothing (the peer's). We derive, and take from them only what differs: the run's length
 * (`_runtime`, `_wandb.runtime`), which is no row's, and values whose rows were lost. What a
 * metric definition makes of many rows (min, mean, ...) is left alone.
 *
 * The peer's holds, before each row, a summary record with all values that the row changes, and
 * that record looks like an explicit change (core/internal/stream/handler.go: updateSummary comes
 * before the row is forwarded). It can be told by its items: they name even a single label by
 * nested_key, which the SDK's own records never do. Taken as explicit it would switch off what
 * define_metric asked for. So it is held back until its row has passed, and then each of its values
 * that is what we have derived is dropped. What differs is believed: a row may be lost, or the
 * rules of the version that wrote it may be others.
 *
 * A row is walked in its wire bytes (record/row.c); all other kinds are decoded. */
#include "journal/replay.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "base/number.h"
#include "base/random.h"
#include "journal/reader.h"
#include "record/record.h"
#include "record/wire.h"

#include <math.h>

enum {
    KIND_HISTORY = PB__RECORD__RECORD_TYPE_HISTORY,
    KIND_SUMMARY = PB__RECORD__RECORD_TYPE_SUMMARY,
    KIND_CONFIG = PB__RECORD__RECORD_TYPE_CONFIG,
    KIND_METRIC = PB__RECORD__RECORD_TYPE_METRIC,
    KIND_STATS = PB__RECORD__RECORD_TYPE_STATS,
    FIELD_NUM = 1,
    FIELD_CONTROL = 16,
    FIELD_UUID = 19,
    FIELD_INFO = 200,
    ARENA_LIMIT = 1 << 30,
};

/* ---- small things ---- */

static void keep(char **to, const char *z)
{
    if (!z || !*z)
        return;
    mem_free(*to);
    *to = xmem_strdup(z);
}

static char *join(char *const *at, size_t n)
{
    AUTO_BUF b = {0};
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", at[i]);
    return xmem_strndup(b.data ? b.data : "", b.len);
}

static int64_t time_ns(const Google__Protobuf__Timestamp *t)
{
    int64_t ns;
    if (!t || __builtin_mul_overflow(t->seconds, INT64_C(1000000000), &ns) ||
        __builtin_add_overflow(ns, (int64_t)t->nanos, &ns))
        return 0; /* none, or one that cannot be */
    return ns;
}

/* One more element, zeroed. */
static void *extend(void *list, size_t *n, size_t size)
{
    char *more = xmem_realloc(*(void **)list, (*n + 1) * size);
    *(void **)list = more;
    memset(more + *n * size, 0, size);
    return more + (*n)++ * size;
}

/* ---- rows ---- */

static int64_t step_of(struct str message)
{
    struct wire_reader r = wire_open(message);
    struct wire_field f;
    int64_t step = 0;
    while (wire_next(&r, &f) == 1)
        if (f.number == 1 && f.type == WIRE_VARINT)
            step = (int64_t)f.value;
    return step;
}

/* Our service adds _runtime, _step and then what definitions asked for: what stands behind them was
 * not logged, so no glob is matched with it. The peer's rows have no order. */
static uint32_t n_logged(struct replay *r)
{
    static const char *const own[] = {"_step", "_runtime"};
    bool ours = r->producer && strstr(r->producer, "+tare-");
    for (size_t i = 0; i < sizeof own / sizeof own[0] && ours; i++) {
        struct row_entry *e = row_find(&r->row, summary_slot_z(&r->summary, own[i]));
        if (e)
            return (uint32_t)(e - r->row.at) + 1;
    }
    return r->row.n;
}

static void take_history(struct replay *r, struct str body)
{
    struct wire_reader reader = wire_open(body);
    struct wire_field f;
    r->n_rows++;
    if (r->skip_rows)
        return;
    row_clear(&r->row);
    r->has_step = false;
    for (const char *at = reader.p; wire_next(&reader, &f) == 1; at = reader.p) {
        if (f.type != WIRE_BYTES)
            continue;
        if (f.number == 1 && row_add(&r->row, str_make(at, (size_t)(reader.p - at)), f.bytes) < 0)
            r->n_bad++;
        if (f.number == 2) {
            r->step = step_of(f.bytes);
            r->has_step = true;
        }
    }
    metrics_row(&r->metrics, &r->row, n_logged(r));
    if (r->on->on_row)
        r->on->on_row(r->ctx, r);
    row_sum(&r->row);
}

/* ---- summary ---- */

static bool json_same(struct str a, struct str b);

/* Every member of `a` is in `b`; objects here are small. */
static bool members_in(struct str a, struct str b, size_t *n)
{
    const char *at = a.p + 1;
    struct json_item x, y;
    *n = 0;
    while (json_next_member(&at, a.p + a.n, &x) == 1) {
        bool found = false;
        const char *other = b.p + 1;
        while (!found && json_next_member(&other, b.p + b.n, &y) == 1)
            found = str_eq(x.key, y.key) && json_same(x.value, y.value);
        if (!found)
            return false;
        ++*n;
    }
    return true;
}

static bool elements_same(struct str a, struct str b)
{
    const char *at = a.p + 1, *other = b.p + 1;
    struct json_item x, y;
    for (;;) {
        int more_a = json_next_element(&at, a.p + a.n, &x);
        int more_b = json_next_element(&other, b.p + b.n, &y);
        if (more_a != more_b || more_a < 0)
            return false;
        if (more_a == 0)
            return true;
        if (!json_same(x.value, y.value))
            return false;
    }
}

/* The same value, whatever the order of members and the form of numbers. */
static bool json_same(struct str a, struct str b)
{
    a = json_trim(a);
    b = json_trim(b);
    if (str_eq(a, b))
        return true;
    double x, y;
    if (a.n && b.n && number_parse_double(a.p, a.n, &x) == a.n &&
        number_parse_double(b.p, b.n, &y) == b.n)
        return x == y || (isnan(x) && isnan(y));
    if (!json_valid(a) || !json_valid(b) || *a.p != *b.p)
        return false;
    size_t n, m;
    if (*a.p == '{')
        return members_in(a, b, &n) && members_in(b, a, &m) && n == m;
    return *a.p == '[' && elements_same(a, b);
}

/* Set what an item says unless it is what the rows gave. With `plain_only`, leave alone what a
 * metric definition makes of several rows. */
static void settle_item(struct replay *r, struct str item, bool plain_only)
{
    AUTO_BUF path = {0};
    AUTO_BUF derived = {0};
    struct str value;
    if (!summary_item_path(item, &path, &value) || !json_valid(value)) {
        r->n_bad++;
        return;
    }
    uint32_t slot = summary_slot(&r->summary, buf_str(&path));
    if (plain_only && r->summary.slots[slot].track)
        return;
    if (summary_put_value(&r->summary, &r->summary.slots[slot], &derived) &&
        json_same(value, buf_str(&derived)))
        return;
    summary_set(&r->summary, slot, value);
}

static void settle_items(struct replay *r, struct str record, bool plain_only)
{
    struct wire_reader reader = wire_open(record);
    struct wire_field f;
    while (wire_next(&reader, &f) == 1)
        if (f.number == 1 && f.type == WIRE_BYTES)
            settle_item(r, f.bytes, plain_only);
}

void replay_settle(struct replay *r)
{
    if (!r->held.len)
        return;
    struct wire_reader reader = wire_open(buf_str(&r->held));
    struct wire_field f;
    while (wire_next(&reader, &f) == 1)
        settle_items(r, f.bytes, false);
    buf_clear(&r->held);
}

/* Does some item name a single label by nested_key? Then the peer's service derived the record. */
static bool peer_derived(struct str record)
{
    struct wire_reader reader = wire_open(record);
    struct wire_field f, g;
    while (wire_next(&reader, &f) == 1) {
        if (f.number != 1 || f.type != WIRE_BYTES)
            continue;
        struct wire_reader item = wire_open(f.bytes);
        int n_nested = 0;
        while (wire_next(&item, &g) == 1)
            n_nested += g.number == 2;
        if (n_nested == 1)
            return true;
    }
    return false;
}

static void take_summary(struct replay *r, struct str body, struct str uuid)
{
    size_t n_bad;
    if (str_eqz(uuid, SUMMARY_DERIVED_UUID) && !r->skip_rows) {
        settle_items(r, body, true);
        return;
    }
    if (peer_derived(body) && !r->skip_rows) {
        replay_settle(r);
        wire_buf_bytes(&r->held, 1, body);
        return;
    }
    if (summary_apply(&r->summary, body, &n_bad) < 0)
        n_bad++;
    r->n_bad += n_bad;
}

/* ---- the other kinds ---- */

static void take_config_items(struct replay *r, const Pb__ConfigRecord *c)
{
    AUTO_BUF b = {0};
    size_t n_bad = 0;
    if (!c || record_encode(&b, &c->base) < 0)
        return;
    if (config_apply(&r->config, buf_str(&b), &n_bad) < 0)
        n_bad++;
    r->n_bad += n_bad;
}

static void take_run(struct replay *r, const Pb__RunRecord *run)
{
    keep(&r->run_id, run->run_id);
    keep(&r->entity, run->entity);
    keep(&r->project, run->project);
    keep(&r->name, run->display_name);
    keep(&r->group, run->run_group);
    keep(&r->job_type, run->job_type);
    keep(&r->notes, run->notes);
    keep(&r->host, run->host);
    keep(&r->sweep_id, run->sweep_id);
    if (run->git) {
        keep(&r->git_remote, run->git->remote_url);
        keep(&r->git_commit, run->git->commit);
    }
    if (run->n_tags) {
        mem_free(r->tags);
        r->tags = join(run->tags, run->n_tags);
    }
    if (run->start_time)
        r->start_ns = time_ns(run->start_time);
    r->resumed |= run->resumed != 0;
    r->has_run = true;
    take_config_items(r, run->config);
    AUTO_BUF b = {0};
    size_t n_bad;
    if (run->summary && record_encode(&b, &run->summary->base) == 0)
        summary_apply(&r->summary, buf_str(&b), &n_bad);
}

static void take_files(struct replay *r, const Pb__FilesRecord *files)
{
    for (size_t i = 0; i < files->n_files; i++) {
        const Pb__FilesItem *item = files->files[i];
        size_t j = 0;
        while (j < r->n_files && strcmp(r->files[j].path, item->path) != 0)
            j++;
        struct replay_file *f =
            j < r->n_files ? &r->files[j] : extend(&r->files, &r->n_files, sizeof *r->files);
        keep(&f->path, item->path);
        if (!f->path)
            f->path = xmem_strdup("");
        f->policy = (uint8_t)item->policy;
        f->type = (uint8_t)item->type;
    }
}

static void take_artifact(struct replay *r, const Pb__ArtifactRecord *a)
{
    struct replay_artifact *to = extend(&r->artifacts, &r->n_artifacts, sizeof *r->artifacts);
    to->name = xmem_strdup(a->name);
    to->type = xmem_strdup(a->type);
    to->aliases = join(a->aliases, a->n_aliases);
}

static void take_used_artifact(struct replay *r, const Pb__UseArtifactRecord *a)
{
    struct replay_artifact *to = extend(&r->artifacts, &r->n_artifacts, sizeof *r->artifacts);
    to->name = xmem_strdup(a->name);
    to->type = xmem_strdup(a->type);
    to->aliases = xmem_strdup("");
    to->used = true;
}

static void take_alert(struct replay *r, const Pb__AlertRecord *a)
{
    struct replay_alert *to = extend(&r->alerts, &r->n_alerts, sizeof *r->alerts);
    to->title = xmem_strdup(a->title);
    to->text = xmem_strdup(a->text);
    to->level = xmem_strdup(a->level);
}

static void take_stats(struct replay *r, const Pb__StatsRecord *s)
{
    r->n_stats++;
    if (!r->on->on_stat)
        return;
    for (size_t i = 0; i < s->n_item; i++)
        r->on->on_stat(r->ctx, str_of(s->item[i]->key), str_of(s->item[i]->value_json),
                       time_ns(s->timestamp));
}

static void take_output(struct replay *r, ProtobufCBinaryData text, bool raw, bool is_stderr,
                        const Google__Protobuf__Timestamp *when)
{
    r->n_outputs++;
    if (r->on->on_output)
        r->on->on_output(r->ctx, str_make(text.data, text.len), raw, is_stderr, time_ns(when));
}

static void keep_count(uint32_t *to, uint32_t n)
{
    *to = n ? n : *to;
}

/* There are several: the program first, what the machine shows later. */
static void take_environment(struct replay *r, const Pb__EnvironmentRecord *e)
{
    keep(&r->os, e->os);
    keep(&r->python, e->python);
    keep(&r->program, e->program);
    keep(&r->gpu, e->gpu_type);
    keep_count(&r->n_cores, e->cpu_count);
    keep_count(&r->n_cpus, e->cpu_count_logical);
    keep_count(&r->n_gpus, e->gpu_count);
    if (e->cpu)
        keep(&r->cpu, e->cpu->model);
    if (e->memory && e->memory->total)
        r->memory_bytes = e->memory->total;
}

static void take_exit(struct replay *r, const Pb__RunExitRecord *x)
{
    r->exited = true;
    r->exit_code = x->exit_code;
    r->runtime_s = x->runtime;
}

static void take_decoded(struct replay *r, const Pb__Record *rec)
{
    switch (rec->record_type_case) {
    case PB__RECORD__RECORD_TYPE_RUN:
        take_run(r, rec->run);
        break;
    case PB__RECORD__RECORD_TYPE_HEADER:
        if (rec->header->version_info)
            keep(&r->producer, rec->header->version_info->producer);
        break;
    case PB__RECORD__RECORD_TYPE_FILES:
        take_files(r, rec->files);
        break;
    case PB__RECORD__RECORD_TYPE_ARTIFACT:
        take_artifact(r, rec->artifact);
        break;
    case PB__RECORD__RECORD_TYPE_USE_ARTIFACT:
        take_used_artifact(r, rec->use_artifact);
        break;
    case PB__RECORD__RECORD_TYPE_ALERT:
        take_alert(r, rec->alert);
        break;
    case PB__RECORD__RECORD_TYPE_OUTPUT:
        take_output(r, rec->output->line, false, rec->output->output_type == 0,
                    rec->output->timestamp);
        break;
    case PB__RECORD__RECORD_TYPE_OUTPUT_RAW:
        take_output(r, rec->output_raw->line, true, rec->output_raw->output_type == 0,
                    rec->output_raw->timestamp);
        break;
    case PB__RECORD__RECORD_TYPE_STATS:
        take_stats(r, rec->stats);
        break;
    case PB__RECORD__RECORD_TYPE_PREEMPTING:
        r->preempting = true;
        break;
    case PB__RECORD__RECORD_TYPE_ENVIRONMENT:
        take_environment(r, rec->environment);
        break;
    case PB__RECORD__RECORD_TYPE_EXIT:
        take_exit(r, rec->exit);
        break;
    default:
        break; /* nothing to tell */
    }
}

/* ---- records ---- */

/* Kind, body and uuid of a record; false if it is malformed. */
static bool split(struct str record, uint32_t *kind, struct str *body, struct str *uuid)
{
    struct wire_reader reader = wire_open(record);
    struct wire_field f;
    *kind = 0;
    *uuid = STR("");
    int rc;
    while ((rc = wire_next(&reader, &f)) == 1) {
        if (f.type != WIRE_BYTES || f.number == FIELD_CONTROL || f.number == FIELD_INFO)
            continue;
        if (f.number == FIELD_UUID) {
            *uuid = f.bytes;
        } else {
            *kind = f.number;
            *body = f.bytes;
        }
    }
    return rc == 0 && *kind != 0;
}

uint32_t replay_record(struct replay *r, struct str record)
{
    uint32_t kind;
    struct str body, uuid;
    size_t n_bad = 0;
    r->n_records++;
    if (!split(record, &kind, &body, &uuid)) {
        r->n_bad++;
        return 0;
    }
    if (kind == KIND_HISTORY)
        take_history(r, body);
    if (kind != KIND_SUMMARY)
        replay_settle(r);
    switch (kind) {
    case KIND_HISTORY:
        return kind;
    case KIND_SUMMARY:
        take_summary(r, body, uuid);
        return kind;
    case KIND_CONFIG:
        if (config_apply(&r->config, body, &n_bad) < 0)
            n_bad++;
        break;
    case KIND_METRIC:
        n_bad = metrics_apply(&r->metrics, &r->summary, body) < 0;
        break;
    default: {
        Pb__Record *decoded;
        arena_reset(&r->arena);
        if (record_decode(&r->arena, record.p, record.n, &decoded, NULL) < 0)
            kind = 0, n_bad = 1;
        else
            take_decoded(r, decoded);
    }
    }
    r->n_bad += n_bad;
    return kind;
}

int replay_all(struct replay *r, struct journal_reader *from)
{
    struct journal_item item;
    int rc;
    while ((rc = journal_reader_next(from, &item)) > 0)
        if (rc == JOURNAL_RECORD)
            replay_record(r, item.bytes);
    replay_settle(r);
    return rc;
}

void replay_init(struct replay *r, const struct replay_events *on, void *ctx)
{
    static const struct replay_events none;
    uint64_t seed = random_u32();
    *r = (struct replay){.on = on ? on : &none, .ctx = ctx};
    config_init(&r->config, seed);
    summary_init(&r->summary, seed);
    metrics_init(&r->metrics, seed);
    row_init(&r->row, &r->summary, ROW_JSON);
    arena_init(&r->arena, ARENA_LIMIT);
}

void replay_fini(struct replay *r)
{
    char *const texts[] = {r->run_id,     r->entity,     r->project, r->name,     r->group,
                           r->job_type,   r->notes,      r->host,    r->sweep_id, r->tags,
                           r->git_remote, r->git_commit, r->producer, r->os,      r->python,
                           r->program,    r->cpu,        r->gpu};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        mem_free(texts[i]);
    for (size_t i = 0; i < r->n_files; i++)
        mem_free(r->files[i].path);
    for (size_t i = 0; i < r->n_artifacts; i++) {
        mem_free(r->artifacts[i].name);
        mem_free(r->artifacts[i].type);
        mem_free(r->artifacts[i].aliases);
    }
    for (size_t i = 0; i < r->n_alerts; i++) {
        mem_free(r->alerts[i].title);
        mem_free(r->alerts[i].text);
        mem_free(r->alerts[i].level);
    }
    mem_free(r->files);
    mem_free(r->artifacts);
    mem_free(r->alerts);
    row_fini(&r->row);
    metrics_fini(&r->metrics);
    summary_fini(&r->summary);
    config_fini(&r->config);
    arena_fini(&r->arena);
    buf_fini(&r->held);
}
