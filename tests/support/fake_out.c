/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "tests/support/fake_out.h"

#include "record/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ONE_SECOND ((int64_t)1000000000)

/* -- records as text ------------------------------------------------------------------------- */

static void put_path(struct buf *to, const char *key, size_t n_nested, char **nested)
{
    if (!n_nested)
        buf_puts(to, key);
    for (size_t i = 0; i < n_nested; i++)
        buf_printf(to, "%s%s", i ? "/" : "", nested[i]);
}

static void put_history_value(struct buf *to, const Pb__HistoryItem *it)
{
    buf_printf(to, "=%s", it->value_json);
    switch (it->value_case) {
    case PB__HISTORY_ITEM__VALUE_NONE:
        buf_puts(to, "[none]");
        break;
    case PB__HISTORY_ITEM__VALUE_BOOLEAN:
        buf_puts(to, it->boolean ? "[true]" : "[false]");
        break;
    case PB__HISTORY_ITEM__VALUE_INTEGER:
        buf_printf(to, "[i%lld]", (long long)it->integer);
        break;
    case PB__HISTORY_ITEM__VALUE_NUMBER:
        buf_printf(to, "[f%.17g]", it->number);
        break;
    case PB__HISTORY_ITEM__VALUE_TEXT:
        buf_printf(to, "[t%s]", it->text);
        break;
    case PB__HISTORY_ITEM__VALUE_JSON:
        buf_printf(to, "[j%s]", it->json);
        break;
    default:
        break;
    }
}

static void put_history(struct fake_out *f, struct buf *to, const Pb__HistoryRecord *r)
{
    if (r->step)
        buf_printf(to, " %lld", (long long)r->step->num);
    buf_putc(to, ':');
    for (size_t i = 0; i < r->n_item; i++) {
        const Pb__HistoryItem *it = r->item[i];
        if (!f->show_runtime && !strcmp(it->key, "_runtime"))
            continue;
        buf_putc(to, ' ');
        put_path(to, it->key, it->n_nested_key, it->nested_key);
        put_history_value(to, it);
    }
}

static void put_summary_items(struct fake_out *f, struct buf *to, size_t n, Pb__SummaryItem **items,
                              bool removed)
{
    for (size_t i = 0; i < n; i++) {
        const Pb__SummaryItem *it = items[i];
        bool is_runtime = !strcmp(it->key, "_runtime") ||
                          (it->n_nested_key && !strcmp(it->nested_key[0], "_wandb"));
        if (is_runtime && !f->show_runtime)
            continue;
        if (to->len && to->data[to->len - 1] != ' ')
            buf_putc(to, ' ');
        put_path(to, it->key, it->n_nested_key, it->nested_key);
        if (removed)
            buf_puts(to, "=-");
        else
            buf_printf(to, "=%s", it->value_json);
    }
}

static void put_record(struct fake_out *f, struct buf *to, const Pb__Record *r)
{
    buf_printf(to, "%lld ", (long long)r->num);
    switch (r->record_type_case) {
    case PB__RECORD__RECORD_TYPE_HISTORY:
        buf_puts(to, "history");
        put_history(f, to, r->history);
        return;
    case PB__RECORD__RECORD_TYPE_SUMMARY:
        buf_printf(to, "summary%s:", *r->uuid ? " derived" : "");
        put_summary_items(f, to, r->summary->n_update, r->summary->update, false);
        put_summary_items(f, to, r->summary->n_remove, r->summary->remove, true);
        return;
    case PB__RECORD__RECORD_TYPE_EXIT:
        buf_printf(to, "exit %d runtime %d", r->exit->exit_code, r->exit->runtime);
        return;
    case PB__RECORD__RECORD_TYPE_HEADER:
        buf_printf(to, "header %s %s", r->header->version_info->producer,
                   r->header->version_info->min_consumer);
        return;
    case PB__RECORD__RECORD_TYPE_FILES:
        buf_puts(to, "files");
        for (size_t i = 0; i < r->files->n_files; i++)
            buf_printf(to, " %s/%d/%d", r->files->files[i]->path, r->files->files[i]->policy,
                       r->files->files[i]->type);
        return;
    default:
        buf_printf(to, "kind %d", (int)r->record_type_case);
    }
}

/* -- the seam -------------------------------------------------------------------------------- */

static void on_append(void *ctx, struct str bytes)
{
    struct fake_out *f = ctx;
    assert_true(f->n_records < FAKE_MAX);
    buf_put_str(&f->records[f->n_records], bytes);
    Pb__Record *r;
    assert_int_equal(record_decode(&f->arena, bytes.p, bytes.n, &r, NULL), 0);
    put_record(f, &f->text[f->n_records], r);
    f->n_records++;
}

static void keep_reply(struct fake_out *f, const struct reply_to *to, struct str bytes, bool error,
                       enum reply_when when)
{
    assert_true(f->n_replies < FAKE_MAX);
    assert_true(to->wanted);
    struct fake_reply *r = &f->replies[f->n_replies++];
    r->to = *to;
    r->is_error = error;
    r->when = when;
    buf_put_str(&r->bytes, bytes);
}

static void on_reply(void *ctx, const struct reply_to *to, struct str result, enum reply_when when)
{
    keep_reply(ctx, to, result, false, when);
}

static void on_fail(void *ctx, const struct reply_to *to, const char *message)
{
    keep_reply(ctx, to, str_of(message), true, REPLY_NOW);
}

static void on_work(void *ctx, struct handler_job *job)
{
    struct fake_out *f = ctx;
    assert_true(f->n_jobs < sizeof f->jobs / sizeof f->jobs[0]);
    f->jobs[f->n_jobs++] = job;
}

void fake_run_jobs(struct fake_out *f)
{
    for (size_t i = 0; i < f->n_jobs; i++) {
        f->jobs[i]->run(f->jobs[i]);
        f->jobs[i]->done(f->jobs[i], f->h);
    }
    f->n_jobs = 0;
}

/* -- life ------------------------------------------------------------------------------------ */

void fake_init(struct fake_out *f)
{
    memset(f, 0, sizeof *f);
    f->settings = (struct stream_settings){
        .run_id = "run1",
        .sync_dir = "",
        .sync_file = "",
        .files_dir = "",
        .offline = true,
        .primary = true,
    };
    f->now_ns = 1795000000 * ONE_SECOND;
    arena_init(&f->arena, 0);
}

void fake_open(struct fake_out *f)
{
    struct handler_out out = {f, on_append, on_reply, on_fail, on_work};
    f->h = handler_new(&f->settings, &out, f->now_ns);
    assert_non_null(f->h);
}

void fake_start(struct fake_out *f)
{
    fake_init(f);
    fake_open(f);
    AUTO_BUF run = {0};
    wire_buf_bytes(&run, 1, STR("run1"));
    fake_send(f, 17, buf_str(&run));
    AUTO_BUF start = {0};
    wire_buf_bytes(&start, 1, buf_str(&run));
    fake_request(f, 11, buf_str(&start));
    fake_forget(f);
}

void fake_forget(struct fake_out *f)
{
    for (size_t i = 0; i < f->n_records; i++) {
        buf_fini(&f->records[i]);
        buf_fini(&f->text[i]);
    }
    for (size_t i = 0; i < f->n_replies; i++)
        buf_fini(&f->replies[i].bytes);
    f->n_records = f->n_replies = 0;
    arena_reset(&f->arena);
}

void fake_stop(struct fake_out *f)
{
    fake_run_jobs(f);
    handler_free(f->h);
    fake_forget(f);
    buf_fini(&f->scratch);
    arena_fini(&f->arena);
}

/* -- in -------------------------------------------------------------------------------------- */

static void send(struct fake_out *f, uint32_t number, struct str body, const char *slot)
{
    AUTO_BUF record = {0};
    wire_buf_bytes(&record, number, body);
    wire_buf_bytes(&record, 16, STR("\x22\x01x"));  /* control { mailbox_slot } */
    wire_buf_bytes(&record, 200, STR("\x0a\x01s")); /* _info { stream_id } */
    struct reply_to to = {.connection_id = f->next_connection_id, .wanted = slot != NULL};
    snprintf(to.mailbox_slot, sizeof to.mailbox_slot, "%s", slot ? slot : "");
    snprintf(to.request_id, sizeof to.request_id, "%s", slot ? slot : "");
    /* In memory of its own, so that sanitizers see a use behind the call. */
    char *bytes = malloc(record.len);
    memcpy(bytes, record.data, record.len);
    assert_int_equal(handler_record(f->h, str_make(bytes, record.len), &to, f->now_ns), 0);
    free(bytes);
}

void fake_send(struct fake_out *f, uint32_t number, struct str body)
{
    send(f, number, body, NULL);
}

void fake_ask(struct fake_out *f, uint32_t number, struct str body, const char *slot)
{
    send(f, number, body, slot);
}

void fake_request(struct fake_out *f, uint32_t number, struct str body)
{
    AUTO_BUF request = {0};
    wire_buf_bytes(&request, number, body);
    send(f, 100, buf_str(&request), NULL);
}

Pb__Result *fake_result(struct fake_out *f, const struct fake_reply *r)
{
    ProtobufCMessage *m;
    assert_false(r->is_error);
    assert_int_equal(record_unpack(&pb__result__descriptor, &f->arena, r->bytes.data, r->bytes.len,
                                   &m, NULL),
                     0);
    return (Pb__Result *)m;
}

Pb__Result *fake_answer(struct fake_out *f, uint32_t number, struct str body)
{
    AUTO_BUF request = {0};
    wire_buf_bytes(&request, number, body);
    size_t before = f->n_replies;
    send(f, 100, buf_str(&request), "slot");
    assert_int_equal(f->n_replies, before + 1);
    return fake_result(f, &f->replies[before]);
}

/* -- in, in words ---------------------------------------------------------------------------- */

static void put_key(struct buf *to, const char *key)
{
    if (!strchr(key, '/')) {
        wire_buf_bytes(to, 1, str_of(key));
        return;
    }
    for (const char *slash; (slash = strchr(key, '/')); key = slash + 1)
        wire_buf_bytes(to, 2, str_make(key, (size_t)(slash - key)));
    wire_buf_bytes(to, 2, str_of(key));
}

void fake_log(struct fake_out *f, int64_t step, int action, ...)
{
    AUTO_BUF body = {0};
    va_list ap;
    va_start(ap, action);
    for (const char *key; (key = va_arg(ap, const char *));) {
        AUTO_BUF item = {0};
        put_key(&item, key);
        wire_buf_bytes(&item, 16, str_of(va_arg(ap, const char *)));
        wire_buf_bytes(&body, 1, buf_str(&item));
    }
    va_end(ap);
    AUTO_BUF sub = {0};
    if (step > 0)
        wire_buf_varint(&sub, 1, (uint64_t)step);
    if (step != NO_STEP)
        wire_buf_bytes(&body, 2, buf_str(&sub));
    buf_clear(&sub);
    if (action > 0)
        wire_buf_varint(&sub, 1, 1);
    if (action != NO_ACTION)
        wire_buf_bytes(&body, 3, buf_str(&sub));
    fake_request(f, 10, buf_str(&body));
}

void fake_summary(struct fake_out *f, ...)
{
    AUTO_BUF body = {0};
    va_list ap;
    va_start(ap, f);
    for (const char *key; (key = va_arg(ap, const char *));) {
        AUTO_BUF item = {0};
        put_key(&item, key);
        const char *json = va_arg(ap, const char *);
        bool removes = !strcmp(json, "-");
        if (!removes)
            wire_buf_bytes(&item, 16, str_of(json));
        wire_buf_bytes(&body, removes ? 2 : 1, buf_str(&item));
    }
    va_end(ap);
    fake_send(f, 3, buf_str(&body));
}

static uint32_t summary_field(const char *word)
{
    static const char *const names[] = {"",     "min",  "max",  "mean", "best",
                                        "last", "none", "copy", "first"};
    for (uint32_t i = 1; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(word, names[i]))
            return i;
    fail_msg("no summary %s", word);
    return 0;
}

static void define_word(struct buf *body, struct buf *options, char *word)
{
    if (!strncmp(word, "summary=", 8)) {
        AUTO_BUF sub = {0};
        char *save;
        for (char *w = strtok_r(word + 8, ",", &save); w; w = strtok_r(NULL, ",", &save))
            wire_buf_varint(&sub, summary_field(w), 1);
        wire_buf_bytes(body, 7, buf_str(&sub));
    } else if (!strncmp(word, "step=", 5)) {
        wire_buf_bytes(body, 4, str_of(word + 5));
    } else if (!strcmp(word, "sync")) {
        wire_buf_varint(options, 1, 1);
    } else if (!strcmp(word, "hidden")) {
        wire_buf_varint(options, 2, 1);
    } else if (!strcmp(word, "overwrite")) {
        wire_buf_bytes(body, 9, STR("\x08\x01"));
    } else if (!strncmp(word, "goal=", 5)) {
        wire_buf_varint(body, 8, !strcmp(word + 5, "min") ? 1 : 2);
    } else {
        bool glob = word[strlen(word) - 1] == '*';
        wire_buf_bytes(body, glob ? 2 : 1, str_of(word));
    }
}

void fake_define(struct fake_out *f, const char *words)
{
    AUTO_BUF body = {0};
    AUTO_BUF options = {0};
    char text[512], *save;
    snprintf(text, sizeof text, "%s", words);
    wire_buf_varint(&options, 3, 1);
    for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
        define_word(&body, &options, w);
    wire_buf_bytes(&body, 6, buf_str(&options));
    fake_send(f, 12, buf_str(&body));
}

/* -- out, in words --------------------------------------------------------------------------- */

const char *fake_record(struct fake_out *f, size_t n)
{
    assert_true(n < f->n_records);
    return buf_z(&f->text[n]);
}

const char *fake_journal(struct fake_out *f)
{
    buf_clear(&f->scratch);
    for (size_t i = 0; i < f->n_records; i++)
        buf_printf(&f->scratch, "%s\n", buf_z(&f->text[i]));
    return buf_z(&f->scratch);
}

const char *fake_get_summary(struct fake_out *f)
{
    Pb__Result *r = fake_answer(f, 4, STR(""));
    assert_int_equal(r->response->response_type_case,
                     PB__RESPONSE__RESPONSE_TYPE_GET_SUMMARY_RESPONSE);
    Pb__GetSummaryResponse *s = r->response->get_summary_response;
    buf_clear(&f->scratch);
    put_summary_items(f, &f->scratch, s->n_item, s->item, false);
    return buf_z(&f->scratch);
}
