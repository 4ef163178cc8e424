/* SPDX-License-Identifier: MIT */
/* Records, kind by kind, on their way to the backend. */
#include "service/stream/sender_impl.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/json.h"
#include "base/number.h"
#include "record/wire.h"
#include "record/yaml.h"
#include "service/stream/sender_queries.h"
#include "service/watch/machine.h"

#include <utlist.h>

/* -- history and summary ------------------------------------------------------------------------- */

void send_history(struct sender *s, struct str record)
{
    int64_t step;
    uint32_t n_bad;
    size_t n;
    buf_clear(&s->text);
    if (history_line_put_quoted(&s->line, record, &s->text, &n, &step, &n_bad)) {
        diag_warn("sender: a history record is left out: it is malformed");
        return;
    }
    if (n_bad)
        diag_warn("sender: %u values are left out of step %lld", n_bad, (long long)step);
    filestream_history(s->filestream, buf_str(&s->text), n);
    if (s->shared && s->server_side_summary)
        return;
    s->last_step = step;
    filestream_summary(s->filestream);
}

void send_summary(struct sender *s, struct str record)
{
    size_t n_bad;
    if (summary_apply(&s->summary, record, &n_bad) || n_bad)
        diag_warn("sender: %zu summary values are no JSON", n_bad);
    filestream_summary(s->filestream);
}

/* The step is the history's, whatever the summary's records say. */
void sender_put_summary(struct sender *s, struct buf *to)
{
    char text[NUMBER_MAX];
    if (s->last_step < 0)
        summary_remove(&s->summary, str_make(s->summary.slots[s->step_slot].path,
                                             s->summary.slots[s->step_slot].path_len));
    else
        summary_set(&s->summary, s->step_slot, str_make(text, number_format_i64(text, s->last_step)));
    summary_put_json(&s->summary, to);
}

/* -- stats ----------------------------------------------------------------------------------------- */

static void put_seconds(struct buf *to, const char *name, int64_t seconds, int64_t ns)
{
    buf_printf(to, "\"%s\":", name);
    json_put_double(to, (double)seconds + (double)ns / 1e9);
}

void send_stats(struct sender *s, struct str record)
{
    enum { TIMESTAMP = 2, ITEM = 3, KEY = 1, VALUE_JSON = 16 };
    struct str time = wire_find_bytes(record, TIMESTAMP);
    int64_t seconds = (int64_t)wire_find_varint(time, 1), ns = (int32_t)wire_find_varint(time, 2);
    const struct run_params *p = &s->upsert.params;
    struct buf *line = &s->text;
    buf_clear(line);
    buf_puts(line, "{\"_wandb\":true,");
    put_seconds(line, "_timestamp", seconds, ns);
    buf_putc(line, ',');
    put_seconds(line, "_runtime", seconds - p->start_s, ns - p->start_ns);
    struct wire_reader r = wire_open(record);
    for (struct wire_field f; wire_next(&r, &f) == 1;) {
        if (f.number != ITEM || f.type != WIRE_BYTES)
            continue;
        struct str value = wire_find_bytes(f.bytes, VALUE_JSON);
        AUTO_BUF name = {0};
        if (!json_valid(value) || memchr(value.p, '\n', value.n))
            continue;
        buf_puts(&name, "system.");
        buf_put_str(&name, wire_find_bytes(f.bytes, KEY));
        buf_putc(line, ',');
        json_put_string(line, buf_str(&name));
        buf_putc(line, ':');
        buf_put_str(line, value);
    }
    buf_putc(line, '}');
    filestream_event(s->filestream, buf_str(line));
}

/* -- files ----------------------------------------------------------------------------------------- */

void send_files(struct sender *s, struct str record)
{
    enum { ITEM = 1, PATH = 1, POLICY = 2, TYPE = 3 };
    struct wire_reader r = wire_open(record);
    for (struct wire_field f; wire_next(&r, &f) == 1;) {
        if (f.number != ITEM || f.type != WIRE_BYTES)
            continue;
        uint64_t policy = wire_find_varint(f.bytes, POLICY), kind = wire_find_varint(f.bytes, TYPE);
        files_add(s->files, wire_find_bytes(f.bytes, PATH),
                  policy <= FILE_LIVE ? (enum file_policy)policy : FILE_NOW,
                  kind <= FILE_ARTIFACT ? (enum file_kind)kind : FILE_OTHER);
    }
}

void sender_put_metadata_file(struct sender *s)
{
    AUTO_BUF json = {0};
    if (s->primary && !machine_put_json(&json, buf_str(&s->upsert.environment)))
        files_put(s->files, "wandb-metadata.json", buf_str(&json), FILE_WANDB);
}

void sender_put_config_file(struct sender *s)
{
    AUTO_BUF json = {0}, yaml = {0};
    config_put_wrapped(&s->upsert.config, &json);
    if (s->primary && !yaml_put_json(buf_str(&json), &yaml))
        files_put(s->files, "config.yaml", buf_str(&yaml), FILE_WANDB);
}

void sender_put_summary_file(struct sender *s)
{
    AUTO_BUF json = {0};
    sender_put_summary(s, &json);
    if (s->primary)
        files_put(s->files, "wandb-summary.json", buf_str(&json), FILE_WANDB);
}

/* -- alerts ------------------------------------------------------------------------------------------ */

static void on_alerted(struct graphql_call *call)
{
    struct alert_call *a = (struct alert_call *)((char *)call - offsetof(struct alert_call, call));
    struct sender *s = a->sender;
    if (call->error && call->error != TARE_ECANCELLED)
        diag_warn("sender: an alert did not reach the backend: %s", call->why);
    graphql_call_fini(call);
    DL_DELETE(s->alerts, a);
    buf_fini(&a->variables);
    mem_free(a);
    if (!s->freed)
        sender_end_on(s);
    sender_release(s);
}

static void put_text(struct buf *to, const char *lead, struct str text)
{
    buf_puts(to, lead);
    json_put_string(to, text);
}

void send_alert(struct sender *s, struct str record)
{
    enum { TITLE = 1, TEXT = 2, LEVEL = 3, WAIT_DURATION = 4 };
    const struct run_params *p = &s->upsert.params;
    struct alert_call *a = xmem_calloc(1, sizeof *a);
    struct buf *v = &a->variables;
    put_text(v, "{\"entityName\":", str_of(run_text(p, RUN_TEXT_ENTITY)));
    put_text(v, ",\"projectName\":", str_of(run_text(p, RUN_TEXT_PROJECT)));
    put_text(v, ",\"runName\":", str_of(run_text(p, RUN_TEXT_ID)));
    put_text(v, ",\"title\":", wire_find_bytes(record, TITLE));
    put_text(v, ",\"text\":", wire_find_bytes(record, TEXT));
    put_text(v, ",\"severity\":", wire_find_bytes(record, LEVEL));
    buf_puts(v, ",\"waitDuration\":");
    json_put_i64(v, (int64_t)wire_find_varint(record, WAIT_DURATION));
    buf_putc(v, '}');
    a->sender = s;
    a->call = (struct graphql_call){
        .operation = "NotifyScriptableRunAlert",
        .document = NOTIFY_RUN_ALERT,
        .variables = buf_str(v),
        .done = on_alerted,
    };
    DL_APPEND(s->alerts, a);
    s->n_open++;
    graphql_send(s->backend, &a->call);
}

void alerts_abort(struct sender *s)
{
    struct alert_call *a, *next;
    DL_FOREACH_SAFE(s->alerts, a, next)
        graphql_cancel(s->backend, &a->call);
}

/* -- the rest ------------------------------------------------------------------------------------------ */

void send_preempting(struct sender *s, struct str record)
{
    (void)record;
    filestream_preempting(s->filestream);
}

static void put_change(struct buf *to, uint32_t field, const char *value)
{
    if (value)
        wire_buf_bytes(to, field, str_of(value));
}

/* Of the journal: nobody waits for it (a program that does sends a request instead). It names its run, which
 * the options of a sync may have renamed: of a field that is there twice the last one counts. */
void send_artifact(struct sender *s, struct str record)
{
    enum { RUN_ID = 1, PROJECT = 2, ENTITY = 3 };
    const struct sender_changes *c = &s->o.changes;
    buf_clear(&s->text);
    buf_put_str(&s->text, record);
    put_change(&s->text, RUN_ID, c->run_id);
    put_change(&s->text, PROJECT, c->project);
    put_change(&s->text, ENTITY, c->entity);
    artifacts_save(s->artifacts, s->text.failed ? record : buf_str(&s->text));
}
