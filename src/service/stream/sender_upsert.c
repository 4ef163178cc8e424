/* SPDX-License-Identifier: MIT */
/* When a run is told to its backend:
 *
 *   NONE ─ first run record ─► [ASKING resume, rewind] ─► [STARTING] ─► MAKING ─► READY
 *              any of them may fail ─► REFUSED
 *
 * and, once READY, again UPSERT_DEBOUNCE_MS after something has changed, at most one request at a
 * time, and at once when the run ends. (peer: core/internal/runupserter) */
#include "service/stream/sender_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/json.h"
#include "base/number.h"
#include "base/os.h"
#include "base/random.h"
#include "record/record.h"
#include "record/setting_wire.h"
#include "record/wire.h"
#include "service/limits.h"
#include "service/stream/sender_queries.h"
#include "service/watch/machine.h"

#include <errno.h>
#include <stdio.h>

enum { SET_INIT_TIMEOUT = 79, SET_RESUME = 102, SET_SERVER_SIDE_EXPAND_GLOBS = 190 };
enum { RUN_CONFIG = 4, RUN_TELEMETRY = 19, ENVIRONMENT_PROGRAM = 6, ENVIRONMENT_WRITER_ID = 199 };
enum { MAX_ENVIRONMENT_BYTES = 1 << 20, COMMUNICATION = 1 };

#define UPSERT_OF(call_) \
    ((struct sender *)((char *)(call_) - offsetof(struct sender, upsert.call)))

static void step(struct sender *s);

static struct str settings_of(const struct sender *s)
{
    return s->o.settings;
}

/* -- what the backend is told ---------------------------------------------------------------------- */

/* The parts of a telemetry record that are sets of flags; the others are texts. */
static const uint32_t telemetry_parts[] = {1, 2, 3, 8, 9, 10};

static bool is_telemetry_part(uint32_t number)
{
    for (size_t i = 0; i < sizeof telemetry_parts / sizeof *telemetry_parts; i++)
        if (telemetry_parts[i] == number)
            return true;
    return false;
}

/* Two records one behind the other are one: flags add up, of texts the last one counts. Here each part
 * is brought together, since protobuf-c keeps only the last of two. */
static void merge_telemetry(struct buf *merged, struct str more)
{
    struct wire_field f;
    AUTO_BUF both = {0}, out = {0}, part = {0};
    buf_put_str(&both, buf_str(merged));
    buf_put_str(&both, more);
    for (size_t i = 0; i < sizeof telemetry_parts / sizeof *telemetry_parts; i++) {
        buf_clear(&part);
        for (struct wire_reader r = wire_open(buf_str(&both)); wire_next(&r, &f) > 0;)
            if (f.number == telemetry_parts[i] && f.type == WIRE_BYTES)
                buf_put_str(&part, f.bytes);
        if (part.len)
            wire_buf_bytes(&out, telemetry_parts[i], buf_str(&part));
    }
    for (struct wire_reader r = wire_open(buf_str(&both)); wire_next(&r, &f) > 0;)
        if (!is_telemetry_part(f.number) && f.type == WIRE_BYTES)
            wire_buf_bytes(&out, f.number, f.bytes);
    struct arena a;
    ProtobufCMessage *m;
    arena_init(&a, 1 << 20);
    if (record_unpack(&pb__telemetry_record__descriptor, &a, out.data, out.len, &m, NULL) == 0) {
        buf_clear(merged);
        record_encode(merged, m);
    }
    arena_fini(&a);
}

static void put_environment(const struct upsert *u, struct buf *to)
{
    AUTO_BUF json = {0};
    if (!u->environment.len || machine_put_json(&json, buf_str(&u->environment)))
        return;
    buf_putc(to, '{');
    json_put_string(to, str_of(u->writer_id));
    buf_putc(to, ':');
    buf_put_str(to, buf_str(&json));
    buf_putc(to, '}');
}

static void set_internal(struct upsert *u)
{
    AUTO_BUF metrics = {0}, environment = {0};
    metrics_put_config(&u->metrics, u->globs == GLOBS_HERE, &metrics);
    put_environment(u, &environment);
    config_set_internal(&u->config, buf_str(&u->telemetry), buf_str(&metrics),
                        buf_str(&environment));
}

/* -- requests ---------------------------------------------------------------------------------------- */

static void on_retry(struct graphql_call *call, const char *why)
{
    struct sender *s = UPSERT_OF(call);
    struct upsert *u = &s->upsert;
    bool is_first = !*u->retry_why;
    snprintf(u->retry_why, sizeof u->retry_why, "%s", why);
    if (s->o.tells_retries && is_first)
        sender_tell(s, false, "The backend cannot be reached and is being tried again (%s)", why);
}

static void on_done(struct graphql_call *call);

/* Send what is in u->variables. */
static void call_backend(struct sender *s, const char *operation, const char *document)
{
    struct upsert *u = &s->upsert;
    u->call = (struct graphql_call){
        .operation = operation,
        .document = document,
        .variables = buf_str(&u->variables),
        .give_up_ns = u->state == UPSERT_READY ? 0 : u->give_up_ns,
        .done = on_done,
        .on_retry = on_retry,
    };
    u->calling = true;
    u->since_ns = clock_mono_ns();
    u->retry_why[0] = '\0';
    s->n_open++;
    graphql_send(s->backend, &u->call);
}

static void send_upsert(struct sender *s, bool with_params, bool with_config)
{
    struct upsert *u = &s->upsert;
    if (with_config)
        set_internal(u);
    buf_clear(&u->variables);
    run_put_upsert(&u->params, with_params, with_config ? &u->config : NULL, &u->variables);
    u->params_dirty = u->config_dirty = false;
    call_backend(s, "UpsertBucket", UPSERT_BUCKET);
}

/* -- the run begins ------------------------------------------------------------------------------------ */

static void refuse(struct sender *s, const struct run_error *e)
{
    s->upsert.state = UPSERT_REFUSED;
    sender_run_refused(s, e);
}

/* It failed as often as the settings allow. */
static void explain_tries(const struct sender *s, const struct graphql_call *call, struct run_error *e)
{
    char status[16] = "", text[sizeof call->why + sizeof status];
    if (call->status)
        snprintf(status, sizeof status, "HTTP %d: ", call->status);
    snprintf(text, sizeof text, "%s%s", status, call->why);
    e->code = 0;
    snprintf(e->message, sizeof e->message,
             "Error initializing run: POST %.200s/graphql giving up after %u attempt(s)%s%s\nwhile retrying: %s",
             backend_url(s->backend), call->n_tries, call->status ? "" : ": ", call->status ? "" : call->why, text);
}

/* Words of the peer's runupdateerror.go. */
static void explain(const struct sender *s, const struct graphql_call *call, struct run_error *e)
{
    static const char hint[] = "Consider increasing the init_timeout setting:\n"
                               "  wandb.init(settings=wandb.Settings(init_timeout=...))";
    e->code = COMMUNICATION;
    if (call->error == TARE_ETIMEOUT) {
        snprintf(e->message, sizeof e->message, "Timed out %s%s\n%s",
                 *call->why ? "while retrying: " : "initializing run", call->why, hint);
    } else if (call->n_tries) {
        explain_tries(s, call, e);
    } else if (call->status >= 400) {
        snprintf(e->message, sizeof e->message, "%s", *call->why ? call->why : "<no message>");
    } else {
        e->code = 0;
        snprintf(e->message, sizeof e->message, "Error initializing run: %s", call->why);
    }
}

static void make(struct sender *s)
{
    s->upsert.state = UPSERT_MAKING;
    send_upsert(s, true, true);
}

/* Where the run began: read before it is made, settled when the backend has told its lines. */
static void run_state(struct work *w)
{
    struct upsert *u = (struct upsert *)((char *)w - offsetof(struct upsert, state_work));
    u->state_rc = u->state_place
                      ? start_state_settle(u->state_path, u->state_place, &u->state_kept)
                      : start_state_read(u->state_path, &u->state_kept);
}

static void on_state(struct work *w)
{
    struct sender *s = (struct sender *)((char *)w - offsetof(struct sender, upsert.state_work));
    struct upsert *u = &s->upsert;
    struct filestream_offsets *lines = &u->params.offsets;
    if (u->state_rc)
        diag_warn("%s: %s", u->state_path, err_text(u->state_rc));
    if (u->state_rc && u->state_place && s->o.is_sync)
        sender_tell(s, false, "Which lines of the backend are this journal's could not be kept (%s): if it is synced "
                    "again, its rows are sent a second time.", err_text(u->state_rc));
    u->params.starting_step = u->state_kept.step;
    u->params.runtime_ms = u->state_kept.runtime_ms;
    if (u->state_place) {
        lines->history = u->state_kept.lines[0];
        lines->events = u->state_kept.lines[1];
        lines->console = u->state_kept.lines[2];
    }
    if (s->freed || s->error)
        ;
    else if (!u->state_place)
        make(s);
    else
        sender_run_known(s);
    sender_release(s);
}

static void start_state_work(struct sender *s)
{
    struct upsert *u = &s->upsert;
    const struct filestream_offsets *lines = &u->params.offsets;
    u->state_kept = (struct start_state){
        .step = u->params.starting_step,
        .runtime_ms = u->params.runtime_ms,
        .lines = {lines->history, lines->events, lines->console},
    };
    u->state_work = (struct work){.run = run_state, .done = on_state};
    s->n_open++;
    work_start(s->o.loop, &u->state_work);
}

static void find_start(struct sender *s)
{
    struct upsert *u = &s->upsert;
    u->state = UPSERT_STARTING;
    if (!s->journal_path) {
        make(s);
        return;
    }
    size_t n = strlen(s->journal_path) + sizeof ".syncstate";
    mem_free(u->state_path);
    u->state_path = xmem_alloc(n);
    snprintf(u->state_path, n, "%s.syncstate", s->journal_path);
    start_state_work(s);
}

/* The backend and the run's place there. */
static void settle_start(struct sender *s)
{
    struct upsert *u = &s->upsert;
    AUTO_BUF place = {0};
    if (!u->state_path) {
        sender_run_known(s);
        return;
    }
    buf_printf(&place, "%s %s/%s/%s", backend_url(s->backend), run_text(&u->params, RUN_TEXT_ENTITY),
               run_text(&u->params, RUN_TEXT_PROJECT), run_text(&u->params, RUN_TEXT_ID));
    u->state_place = xmem_strdup(buf_z(&place));
    start_state_work(s);
}

static void run_set_done(struct work *w)
{
    struct upsert *u = (struct upsert *)((char *)w - offsetof(struct upsert, state_work));
    u->state_rc = start_state_set_done(u->state_path);
}

static void on_set_done(struct work *w)
{
    sender_release((struct sender *)((char *)w - offsetof(struct sender, upsert.state_work)));
}

void upsert_set_done(struct sender *s)
{
    struct upsert *u = &s->upsert;
    if (!u->state_place || u->state_work.busy)
        return;
    u->state_work = (struct work){.run = run_set_done, .done = on_set_done};
    s->n_open++;
    work_start(s->o.loop, &u->state_work);
}

/* Does the run go on from somewhere? Then the backend is asked first. */
static void begin(struct sender *s)
{
    struct upsert *u = &s->upsert;
    struct run_branch b = run_branch_of(buf_str(&u->record));
    struct run_error e = {0};
    bool resume = u->params.resume || setting_wire_text(settings_of(s), SET_RESUME).n;
    bool rewind = !resume && b.run.n && str_eqz(b.run, run_text(&u->params, RUN_TEXT_ID));
    u->state = UPSERT_ASKING;
    if (resume) {
        run_put_resume_variables(&u->params, &u->variables);
        call_backend(s, "RunResumeStatus", RUN_RESUME_STATUS);
    } else if (rewind) {
        if (run_rewind(&u->params, &b, &e)) {
            refuse(s, &e);
            return;
        }
        run_put_rewind_variables(&u->params, &b, &u->variables);
        call_backend(s, "RewindRun", REWIND_RUN);
    } else if (b.run.n && run_fork(&u->params, &b, &e)) {
        refuse(s, &e);
    } else {
        find_start(s);
    }
}

static void on_asked(struct sender *s, const struct graphql_call *call)
{
    struct upsert *u = &s->upsert;
    struct run_error e = {.code = COMMUNICATION};
    bool rewind = strcmp(call->operation, "RewindRun") == 0;
    int rc = -1;
    if (call->error == TARE_ETIMEOUT)
        explain(s, call, &e);
    else if (call->error && rewind)
        snprintf(e.message, sizeof e.message, "failed to rewind run: %s", call->why);
    else if (call->error)
        snprintf(e.message, sizeof e.message, "Failed to get resume status for run %s: %s",
                 run_text(&u->params, RUN_TEXT_ID), call->why);
    else if (rewind)
        rc = run_take_rewind(&u->params, &u->config, call->data, &e);
    else
        rc = run_take_resume(&u->params, &u->config, call->data,
                             setting_wire_text(settings_of(s), SET_RESUME), &e);
    if (rc)
        refuse(s, &e);
    else
        find_start(s);
}

static void on_made(struct sender *s, const struct graphql_call *call)
{
    struct upsert *u = &s->upsert;
    struct run_error e = {0};
    if (call->error) {
        explain(s, call, &e);
        refuse(s, &e);
        return;
    }
    run_take_upsert(&u->params, call->data);
    u->state = UPSERT_READY;
    settle_start(s);
}

static void on_done(struct graphql_call *call)
{
    struct sender *s = UPSERT_OF(call);
    struct upsert *u = &s->upsert;
    struct graphql_call ended = *call; /* the next one may take its place */
    u->calling = false;
    if (s->freed || s->error || ended.error == TARE_ECANCELLED)
        ;
    else if (u->state == UPSERT_ASKING)
        on_asked(s, &ended);
    else if (u->state == UPSERT_MAKING)
        on_made(s, &ended);
    else if (ended.error)
        diag_warn("run %s: its changes did not reach the backend: %s",
                  run_text(&u->params, RUN_TEXT_ID), ended.why);
    graphql_call_fini(&ended);
    if (!s->freed)
        step(s);
    sender_release(s);
}

/* -- the run changes ----------------------------------------------------------------------------------- */

static void on_debounced(uv_timer_t *t)
{
    struct sender *s = t->data;
    s->upsert.waiting = false;
    step(s);
}

/* Whatever is due now. */
static void step(struct sender *s)
{
    struct upsert *u = &s->upsert;
    if (u->state != UPSERT_READY || u->calling || u->waiting || u->globs == GLOBS_ASKED)
        return;
    if (u->params_dirty || u->config_dirty)
        send_upsert(s, u->params_dirty, u->config_dirty);
    else if (u->finishing)
        sender_end_on(s);
}

static void changed(struct sender *s)
{
    struct upsert *u = &s->upsert;
    if (u->state != UPSERT_READY || u->waiting || u->finishing)
        return;
    u->waiting = true;
    uv_timer_start(&u->debounce, on_debounced, UPSERT_DEBOUNCE_MS, 0);
}

void upsert_run(struct sender *s, struct str record)
{
    struct upsert *u = &s->upsert;
    size_t n_bad;
    run_update(&u->params, record, settings_of(s));
    run_change(&u->params, &s->o.changes);
    if (u->state != UPSERT_NONE) {
        u->params_dirty = true;
        changed(s);
        return;
    }
    buf_put_str(&u->record, record);
    config_apply(&u->config, wire_find_bytes(record, RUN_CONFIG), &n_bad);
    merge_telemetry(&u->telemetry, wire_find_bytes(record, RUN_TELEMETRY));
    if (s->o.is_sync)
        merge_telemetry(&u->telemetry, STR("\x1a\x03\xe0\x04\x01")); /* feature.sync2 */
    set_internal(u);
    double bound_s = setting_wire_double(settings_of(s), SET_INIT_TIMEOUT);
    u->give_up_ns = bound_s > 0 ? clock_mono_ns() + (int64_t)(bound_s * 1e9) : 0;
    begin(s);
}

void upsert_config(struct sender *s, struct str record)
{
    size_t n_bad;
    if (config_apply(&s->upsert.config, record, &n_bad) || n_bad)
        diag_warn("sender: %zu config values are no JSON", n_bad);
    s->upsert.config_dirty = true;
    changed(s);
}

void upsert_telemetry(struct sender *s, struct str record)
{
    merge_telemetry(&s->upsert.telemetry, record);
    s->upsert.config_dirty = true;
    changed(s);
}

static void on_globs(void *ctx, bool has)
{
    struct sender *s = ctx;
    s->upsert.globs = has ? GLOBS_BACKEND : GLOBS_HERE;
    if (!s->freed)
        step(s);
    sender_release(s);
}

/* Clients of wandb 0.28 say whether the backend may match globs (x_server_side_expand_glob_metrics,
 * which 0.31 has no more: there the backend always does). If not, or if it cannot, it is told of what
 * the globs have made in their place. (peer: core/internal/runupserter of 0.28.2) */
static void decide_globs(struct sender *s)
{
    struct upsert *u = &s->upsert;
    if (u->globs != GLOBS_UNKNOWN)
        return;
    if (!setting_wire_has(settings_of(s), SET_SERVER_SIDE_EXPAND_GLOBS)) {
        u->globs = GLOBS_BACKEND;
    } else if (!setting_wire_bool(settings_of(s), SET_SERVER_SIDE_EXPAND_GLOBS)) {
        u->globs = GLOBS_HERE;
    } else {
        u->globs = GLOBS_ASKED;
        s->n_open++;
        backend_feature(s->backend, "EXPAND_DEFINED_METRIC_GLOBS", on_globs, s);
    }
}

void upsert_metric(struct sender *s, struct str record)
{
    enum { EXPANDED_FROM_GLOB = 10 };
    decide_globs(s);
    if (s->upsert.globs == GLOBS_BACKEND && wire_find_varint(record, EXPANDED_FROM_GLOB))
        return;
    metrics_apply(&s->upsert.metrics, &s->upsert.metric_slots, record);
    s->upsert.config_dirty = true;
    changed(s);
}

void upsert_environment(struct sender *s, struct str record)
{
    if (s->upsert.environment.len + record.n > MAX_ENVIRONMENT_BYTES)
        return;
    buf_put_str(&s->upsert.environment, record);
    struct str writer = wire_find_bytes(record, ENVIRONMENT_WRITER_ID);
    if (writer.n && writer.n < sizeof s->upsert.writer_id) {
        memcpy(s->upsert.writer_id, writer.p, writer.n);
        s->upsert.writer_id[writer.n] = '\0';
    }
    struct str program = wire_find_bytes(record, ENVIRONMENT_PROGRAM);
    if (s->o.is_sync && program.n && !*run_text(&s->upsert.params, RUN_TEXT_PROGRAM)) {
        run_set_text(&s->upsert.params, RUN_TEXT_PROGRAM, program); /* `tare sync` has no settings that name it */
        s->upsert.params_dirty = true;
    }
    s->upsert.config_dirty = true;
    changed(s);
}

/* -- life ------------------------------------------------------------------------------------------------ */

void upsert_init(struct sender *s)
{
    struct upsert *u = &s->upsert;
    uint64_t seed;
    random_bytes(&seed, sizeof seed);
    config_init(&u->config, seed);
    metrics_init(&u->metrics, seed);
    summary_init(&u->metric_slots, seed);
    if (s->o.writer_id)
        snprintf(u->writer_id, sizeof u->writer_id, "%s", s->o.writer_id);
    else
        machine_writer_id(u->writer_id, clock_wall_ns());
    backend_set_writer(s->backend, u->writer_id);
    uv_timer_init(s->o.loop, &u->debounce);
    u->debounce.data = s;
    s->n_open++;
}

static void on_closed(uv_handle_t *h)
{
    sender_release(h->data);
}

void upsert_close(struct sender *s)
{
    upsert_abort(s);
    uv_close((uv_handle_t *)&s->upsert.debounce, on_closed);
}

void upsert_fini(struct sender *s)
{
    struct upsert *u = &s->upsert;
    buf_fini(&u->record);
    run_params_fini(&u->params);
    config_fini(&u->config);
    metrics_fini(&u->metrics);
    summary_fini(&u->metric_slots);
    buf_fini(&u->telemetry);
    buf_fini(&u->environment);
    buf_fini(&u->variables);
    mem_free(u->state_path);
    mem_free(u->state_place);
}

void upsert_finish(struct sender *s)
{
    struct upsert *u = &s->upsert;
    u->finishing = true;
    u->waiting = false;
    uv_timer_stop(&u->debounce);
    step(s);
}

bool upsert_is_done(const struct sender *s)
{
    const struct upsert *u = &s->upsert;
    return !u->calling && !u->waiting && (u->globs != GLOBS_ASKED || s->error) &&
           (u->state != UPSERT_READY || s->error || !(u->params_dirty || u->config_dirty));
}

void upsert_abort(struct sender *s)
{
    struct upsert *u = &s->upsert;
    u->params_dirty = u->config_dirty = false;
    if (u->calling)
        graphql_cancel(s->backend, &u->call);
}

int upsert_operations(const struct sender *s, struct buf *to)
{
    enum { OPERATIONS = 1, DESC = 1, RUNTIME_SECONDS = 2, ERROR_STATUS = 4 };
    const struct upsert *u = &s->upsert;
    char text[256] = "updating run metadata";
    if (!u->calling)
        return 0;
    if (u->state != UPSERT_READY)
        snprintf(text, sizeof text, "setting up run %s", run_text(&u->params, RUN_TEXT_ID));
    size_t mark = wire_buf_begin(to, OPERATIONS);
    wire_buf_bytes(to, DESC, str_of(text));
    wire_buf_double(to, RUNTIME_SECONDS, (double)(clock_mono_ns() - u->since_ns) / 1e9);
    if (*u->retry_why)
        wire_buf_bytes(to, ERROR_STATUS, str_of(u->retry_why));
    wire_buf_end(to, mark);
    return 1;
}
