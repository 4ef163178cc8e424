/* SPDX-License-Identifier: MIT */
/* How the runs go: first a page at a time of all that the sweep had before, then at every poll only those
 * that are followed, by name; with none of them the sweep's state alone.
 *
 * A run that a poll lacks need not be gone, as listings lag behind: it is asked for by itself before it
 * counts as failed. One that finished without all objectives in its summary counts as failed too, or an
 * optimizer would take the missing value for a good one. */
#include "service/sweep/scheduler_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/hash.h"
#include "base/json.h"
#include "service/limits.h"
#include "service/upload/json_path.h"

#include <utlist.h>

/* RunData */
enum {
    DATA_NAME = 1, DATA_ID = 2, DATA_STATE = 3, DATA_CONFIG = 4, DATA_SUMMARY = 5, DATA_HISTORY = 6,
};

static void put_text(struct buf *to, uint32_t number, struct str text)
{
    if (text.n)
        wire_buf_bytes(to, number, text);
}

static void put_data(struct buf *to, uint32_t number, struct str name, struct str id, enum run_state state,
                     struct str config, struct str summary, struct str history)
{
    size_t mark = wire_buf_begin(to, number);
    put_text(to, DATA_NAME, name);
    put_text(to, DATA_ID, id);
    wire_buf_varint(to, DATA_STATE, state);
    put_text(to, DATA_CONFIG, config);
    put_text(to, DATA_SUMMARY, summary);
    put_text(to, DATA_HISTORY, history);
    wire_buf_end(to, mark);
}

/* An update with the run in it. */
void scheduler_put_run(struct buf *to, uint32_t number, const struct sweep_run *run, struct str config,
                       struct str summary, struct str history)
{
    size_t mark = wire_buf_begin(to, number);
    put_data(to, UPDATE_RUN, str_of(run->name), str_of(run->id), run->state, config, summary, history);
    wire_buf_end(to, mark);
}

static enum run_state state_of(const struct scheduler *s, const struct sweep_row *row)
{
    enum run_state state = sweep_run_state(row->state);
    if (state != RUN_FINISHED || sweep_has_metrics(row->summary, buf_str(&s->config.metrics)))
        return state;
    diag_info("sweep: run %s finished without all metrics of the sweep: taken as failed", row->name);
    return RUN_FAILED;
}

/* Each run counts once, also if it is adopted or resumed. */
static void count_finished(struct scheduler *s, struct sweep_run *run, enum run_state state)
{
    if (run->is_counted || state != RUN_FINISHED)
        return;
    run->is_counted = true;
    s->n_finished++;
}

static void begin_page_vars(struct scheduler *s, uint32_t page, const char *cursor)
{
    AUTO_BUF specs = {0}, number = {0};
    sweep_put_history_specs(&specs, buf_str(&s->config.metrics));
    buf_printf(&number, "%u", page);
    sweep_var_raw(&s->variables, "first", buf_str(&number));
    if (cursor)
        sweep_var_text(&s->variables, "cursor", str_of(cursor));
    else
        sweep_var_raw(&s->variables, "cursor", STR("null"));
    sweep_var_raw(&s->variables, "historySpecs", buf_str(&specs));
}

/* ---- the warm start ---- */

static void put_prior(struct scheduler *s, struct buf *task, const struct sweep_row *row)
{
    AUTO_BUF config = {0};
    struct sweep_run *run = sweep_run_of_name(&s->runs, str_of(row->name));
    if (!run) {
        run = sweep_run_new(&s->runs, (struct str){0}, str_of(row->name));
        sweep_run_note_name(&s->runs, run);
    }
    enum run_state state = state_of(s, row);
    bool over = sweep_run_is_over(state);
    count_finished(s, run, state);
    sweep_put_flat(&config, row->config);
    put_data(task, over ? WARM_FINISHED_RUNS : WARM_ACTIVE_RUNS, str_of(row->name), (struct str){0}, state,
             buf_str(&config), over ? row->summary : (struct str){0}, over ? row->history : (struct str){0});
}

/* A task without runs: the client asks again, and the page is tried again. */
static void give_nothing_yet(struct scheduler *s)
{
    AUTO_BUF task = {0};
    wire_buf_varint(&task, WARM_HAS_MORE, 1);
    scheduler_give(s, TASK_WARM_START, buf_str(&task));
}

static void give_page(struct scheduler *s, const struct sweep_page *page)
{
    AUTO_BUF task = {0};
    if (scheduler_done_of_state(s, page->state))
        return;
    for (size_t i = 0; i < page->n; i++)
        put_prior(s, &task, &page->rows[i]);
    if (page->cursor) {
        wire_buf_varint(&task, WARM_HAS_MORE, 1);
        sweep_run_set(&s->warm_cursor, str_of(page->cursor));
    }
    s->is_warm = page->cursor == NULL;
    scheduler_give(s, TASK_WARM_START, buf_str(&task));
}

static void give_too_large(struct scheduler *s)
{
    scheduler_done(s, SWEEP_FATAL_ERROR, "the backend's answer about the sweep's runs is too large");
}

static void on_prior_runs(struct scheduler *s)
{
    struct sweep_page page = {0};
    arena_reset(&s->arena);
    int rc = s->call.error ? 0 : sweep_read_page(s->call.data, "project.sweep.runs", &s->arena, &page);
    enum failure f = scheduler_judge(s, rc != TARE_ENOTFOUND);
    if (f == FAILED_SLOW_DOWN) {
        s->last_poll_ns = clock_mono_ns();
        scheduler_rest(s, give_nothing_yet);
    } else if (scheduler_done_of(s, f)) {
        return;
    } else if (rc < 0) {
        give_too_large(s);
    } else {
        give_page(s, &page);
    }
}

void scheduler_warm_start(struct scheduler *s)
{
    scheduler_begin_vars(s, "sweep", str_of(s->sweep));
    begin_page_vars(s, SWEEP_WARM_PAGE, s->warm_cursor);
    scheduler_ask(s, WARMING, &sweep_query_prior_runs, on_prior_runs);
}

/* ---- generations ---- */

void scheduler_give_generation(struct scheduler *s, struct str updates, bool with_candidates, int64_t ask_up_to)
{
    AUTO_BUF task = {0};
    struct sweep_run *run;
    buf_put_str(&task, updates);
    if (ask_up_to > 0)
        wire_buf_varint(&task, GEN_ASK_UP_TO, (uint64_t)ask_up_to);
    LL_FOREACH (s->runs.first, run) {
        run->is_offered = with_candidates && run->is_candidate;
        if (run->is_offered)
            wire_buf_bytes(&task, GEN_CANDIDATES, str_of(run->id));
    }
    buf_put_str(&task, buf_str(&s->discards));
    buf_clear(&s->discards);
    scheduler_give(s, TASK_GENERATION, buf_str(&task));
}

static void count_tracked(const struct scheduler *s, int64_t *tracked, int64_t *occupied)
{
    const struct sweep_run *run;
    *tracked = *occupied = 0;
    LL_FOREACH (s->runs.first, run) {
        bool is_tracked = sweep_run_is_tracked(run);
        *tracked += is_tracked;
        *occupied += is_tracked && !sweep_run_is_over(run->state);
    }
}

static void give_updates(struct scheduler *s)
{
    int64_t tracked, occupied;
    count_tracked(s, &tracked, &occupied);
    if (s->is_exhausted && tracked == 0)
        scheduler_finish(s, "there is nothing left to search");
    else
        scheduler_give_generation(s, buf_str(&s->updates), true,
                                  s->is_exhausted ? 0 : (int64_t)s->params.batch - occupied);
}

/* ---- updates: run by run, s->at being the next ---- */

static void next_update(struct scheduler *s);

static void note_resumed(struct sweep_run *run, enum run_state before)
{
    if (run->state == before || run->is_resume_told)
        return;
    run->is_resume_told = true;
    diag_warn("sweep: run %s is %s after its end (%s) was told: the optimizer hears no more of it", run->name,
              sweep_run_state_name(run->state), sweep_run_state_name(before));
}

/* `row` is NULL for a run that is gone. */
static void put_update(struct scheduler *s, struct sweep_run *run, const struct sweep_row *row, enum run_state before)
{
    AUTO_BUF config = {0};
    static const struct sweep_row none;
    if (run->stage == RUN_DORMANT) {
        note_resumed(run, before);
        return;
    }
    if (!row)
        row = &none;
    sweep_put_flat(&config, row->config);
    scheduler_put_run(&s->updates, GEN_UPDATES, run, buf_str(&config), row->summary, row->history);
    if (sweep_run_is_over(run->state))
        run->stage = RUN_TOLD;
    else
        run->is_candidate = !run->is_pruned && (run->state == RUN_RUNNING || run->state == RUN_PENDING);
}

static void on_confirmed(struct scheduler *s)
{
    struct sweep_run *run = s->at;
    enum run_state before = run->state;
    enum failure f = scheduler_judge(s, true);
    s->at = run->next;
    if (f == FAILED_NOT && json_at(s->call.data, "project.run").n == 0) {
        diag_warn("sweep: run %s was deleted: taken as failed", run->name);
        run->state = RUN_FAILED;
        if (run->stage == RUN_DORMANT)
            run->stage = RUN_RETIRED;
        else
            put_update(s, run, NULL, before);
    }
    next_update(s);
}

static void update_from(struct scheduler *s, struct sweep_run *run, const struct sweep_row *row)
{
    enum run_state before = run->state;
    sweep_run_set(&run->node_id, str_of(row->id));
    if (*row->state) {
        run->state = state_of(s, row);
        count_finished(s, run, run->state);
    } else {
        diag_error("sweep: the backend names no state of run %s", run->name);
    }
    put_update(s, run, row, before);
}

static void next_update(struct scheduler *s)
{
    for (; s->at; s->at = s->at->next) {
        struct row_entry *entry;
        if (s->at->stage == RUN_RETIRED)
            continue;
        HASH_FIND_STR(s->rows, s->at->name, entry);
        if (entry) {
            update_from(s, s->at, &entry->row);
        } else if (!scheduler_is_ending(s)) {
            scheduler_begin_vars(s, "run", str_of(s->at->name));
            scheduler_ask(s, CONFIRMING, &sweep_query_run_state, on_confirmed);
            return;
        }
    }
    give_updates(s);
}

/* ---- a poll ---- */

/* A line now and then while nothing moves: something to go by for whoever wonders why. */
static void note_stillness(struct scheduler *s)
{
    struct row_entry *entry;
    int64_t now = clock_mono_ns();
    uint64_t print = hash_bytes(s->sweep_state, strlen(s->sweep_state), 1);
    for (entry = s->rows; entry; entry = entry->hh.next)
        print += hash_bytes(entry->row.name, strlen(entry->row.name),
                            hash_bytes(entry->row.state, strlen(entry->row.state),
                                       hash_bytes(entry->row.summary.p, entry->row.summary.n, 2)));
    if (print != s->last_print) {
        s->last_print = print;
        s->changed_ns = s->told_ns = now;
    } else if (now - s->told_ns >= SWEEP_STILL_NS) {
        s->told_ns = now;
        diag_info("sweep: nothing has changed for %lld s, %u runs are followed",
                  (long long)((now - s->changed_ns) / 1000000000), HASH_COUNT(s->rows));
    }
}

static void end_of_poll(struct scheduler *s)
{
    struct sweep_run *run;
    note_stillness(s);
    if (scheduler_done_of_state(s, s->sweep_state))
        return;
    if (strcmp(s->sweep_state, "PAUSED") == 0) {
        scheduler_give_generation(s, (struct str){0}, false, 0);
        return;
    }
    if (s->config.run_cap > 0 && s->n_finished >= s->config.run_cap) {
        scheduler_finish(s, "as many runs have finished as its cap says");
        return;
    }
    buf_clear(&s->updates);
    LL_FOREACH (s->runs.first, run)
        run->is_candidate = false;
    s->at = s->runs.first;
    next_update(s);
}

/* A failure of a poll: the loop ends, or the next one comes later. */
static void end_of_failed_poll(struct scheduler *s, enum failure f)
{
    if (!scheduler_done_of(s, f))
        scheduler_give_generation(s, (struct str){0}, false, 0);
}

static void on_state(struct scheduler *s)
{
    struct sweep_facts now = {0};
    bool found = !s->call.error && sweep_read_facts(s->call.data, &now);
    enum failure f = scheduler_judge(s, found);
    s->sweep_state = found ? arena_strdup(&s->arena, now.state) : NULL;
    sweep_facts_fini(&now);
    if (f != FAILED_NOT)
        end_of_failed_poll(s, f);
    else if (!s->sweep_state)
        give_too_large(s);
    else
        end_of_poll(s);
}

static void ask_page(struct scheduler *s);

/* False: no room. */
static bool keep_rows(struct scheduler *s, const struct sweep_page *page)
{
    for (size_t i = 0; i < page->n; i++) {
        struct row_entry *entry = arena_calloc(&s->arena, sizeof *entry), *old;
        if (!entry)
            return false;
        entry->row = page->rows[i];
        HASH_REPLACE(hh, s->rows, row.name[0], strlen(entry->row.name), entry, old);
        (void)old;
    }
    s->sweep_state = page->state;
    s->poll_cursor = page->cursor;
    return true;
}

static void on_page(struct scheduler *s)
{
    struct sweep_page page = {0};
    int rc = s->call.error ? 0 : sweep_read_page(s->call.data, "project.runs", &s->arena, &page);
    enum failure f = scheduler_judge(s, rc != TARE_ENOTFOUND);
    if (f != FAILED_NOT)
        end_of_failed_poll(s, f);
    else if (rc < 0 || !keep_rows(s, &page))
        give_too_large(s);
    else if (s->poll_cursor)
        ask_page(s);
    else
        end_of_poll(s);
}

/* The filter names runs only: one that was moved to another sweep is still found. */
static void ask_page(struct scheduler *s)
{
    AUTO_BUF names = {0};
    const struct sweep_run *run;
    const char *comma = "";
    buf_puts(&names, "{\"name\":{\"$in\":[");
    LL_FOREACH (s->runs.first, run)
        if (run->stage != RUN_RETIRED) {
            buf_puts(&names, comma);
            json_put_string(&names, str_of(run->name));
            comma = ",";
        }
    buf_puts(&names, "]}}");
    scheduler_begin_vars(s, "sweep", str_of(s->sweep));
    sweep_var_text(&s->variables, "filters", buf_str(&names));
    begin_page_vars(s, SWEEP_POLL_PAGE, s->poll_cursor);
    s->last_poll_ns = clock_mono_ns();
    scheduler_ask(s, POLLING, &sweep_query_watched_runs, on_page);
}

void scheduler_poll(struct scheduler *s)
{
    const struct sweep_run *run;
    buf_clear(&s->enqueued); /* the poll tells of them */
    HASH_CLEAR(hh, s->rows);
    arena_reset(&s->arena);
    s->poll_cursor = NULL;
    LL_FOREACH (s->runs.first, run)
        if (run->stage != RUN_RETIRED) {
            ask_page(s);
            return;
        }
    s->last_poll_ns = clock_mono_ns();
    scheduler_begin_vars(s, "sweep", str_of(s->sweep));
    scheduler_ask(s, POLLING, &sweep_query_config, on_state);
}
