/* SPDX-License-Identifier: MIT */
/* The inside of a scheduler, for its own files only: scheduler.c (life, steps, what is asked),
 * scheduler_result.c (what the optimizer did), scheduler_poll.c (how the runs go), scheduler_runs.c
 * (the runs that are followed). */
#ifndef TARE_SERVICE_SWEEP_SCHEDULER_IMPL_H
#define TARE_SERVICE_SWEEP_SCHEDULER_IMPL_H

#include "record/wire.h"
#include "service/sweep/scheduler.h"
#include "service/upload/graphql.h"

#include <uthash.h>

/* wandb_internal.SweepRunState */
enum run_state {
    RUN_RUNNING = 1,
    RUN_PENDING = 2,
    RUN_PREEMPTING = 3,
    RUN_PREEMPTED = 4,
    RUN_FINISHED = 5,
    RUN_FAILED = 6,
    RUN_CRASHED = 7,
    RUN_KILLED = 8,
    RUN_UNKNOWN = 9, /* adopted, and not polled yet */
};

enum {
    /* fields of NextTaskResponse, and of the tasks and results in it */
    TASK_SEQ = 1, TASK_WARM_START = 2, TASK_GENERATION = 3, TASK_DONE = 4,
    WARM_FINISHED_RUNS = 1, WARM_ACTIVE_RUNS = 2, WARM_HAS_MORE = 3,
    GEN_UPDATES = 1, GEN_ASK_UP_TO = 2, GEN_CANDIDATES = 3, GEN_DISCARDED = 4,
    DONE_REASON = 1, DONE_MESSAGE = 2,
    UPDATE_RUN = 1,
    RESULT_SEQ = 1, RESULT_WARM_START = 2, RESULT_GENERATION = 3, RESULT_ERROR = 4,
    ERROR_MESSAGE = 1,
};

/* How far a run that is followed has come:
 *
 *   IN_FLIGHT ─► TOLD ─► DORMANT ─► RETIRED
 *       │          └────────────────►▲
 *       └────────────────────────────┘
 *
 * TOLD: its end was in the last task; DORMANT: it ended without success, is still polled because it may
 * be resumed, but the optimizer hears no more of it; RETIRED: of no interest any more. */
enum run_stage { RUN_IN_FLIGHT, RUN_TOLD, RUN_DORMANT, RUN_RETIRED };

struct sweep_run {
    struct sweep_run *next;        /* in `order`, as they were made */
    struct sweep_run *next_of_all; /* of those that are to be freed */
    UT_hash_handle by_id, by_name;
    char *id;   /* the optimizer's; NULL: a prior run that it does not follow */
    char *name; /* the backend's; "" before it has one */
    char *node_id;
    enum run_stage stage;
    enum run_state state;
    bool is_counted;       /* among n_finished */
    bool is_resume_told;
    bool is_pruned;        /* to be stopped, until the backend does it */
    bool is_candidate;     /* of the task being made */
    bool is_offered;       /* for pruning, by the last task */
};

struct sweep_run_list {
    struct sweep_run *by_id, *by_name; /* hash tables */
    struct sweep_run *first, *last;    /* those with an id, in order */
    struct sweep_run *all;
};

struct row_entry {
    struct sweep_row row;
    UT_hash_handle hh;
};

struct scheduler {
    struct scheduler_params params;
    char *entity, *project, *sweep;
    int state;
    bool is_stopped, is_cancelled; /* for ever; this step only */
    bool is_closing, is_timer_closed, is_feature_awaited, is_call_under_way;
    void (*closed)(void *ctx);

    /* -- the sweep -- */
    struct sweep_facts facts;
    struct sweep_config config;
    int64_t poll_ms;

    /* -- asking -- */
    struct graphql_call call;
    struct buf variables;
    void (*answered)(struct scheduler *s);
    uv_timer_t timer;
    void (*rested)(struct scheduler *s);
    int64_t slowdown_ms;  /* added to poll_ms after failures */
    int64_t last_poll_ns; /* clock_mono_ns when the latest poll was sent; 0: none was */

    /* -- the exchange with the client -- */
    uint64_t seq;          /* of the task that awaits a result */
    struct buf result;     /* of the step under way, */
    struct str generation; /* the generation result in it, */
    struct wire_reader suggestions; /* and how far it has been dealt with */
    struct str suggested_id, suggested_config;

    /* -- what is known -- */
    struct sweep_run_list runs;
    struct sweep_run *at; /* in `order`: which is dealt with */
    bool is_warm;         /* prior runs have all been told */
    char *warm_cursor;
    bool is_exhausted;    /* nothing more will be suggested */
    int64_t n_finished;
    const char *why_finished; /* a literal */
    struct buf discards;  /* fields GEN_DISCARDED of the next generation */
    struct buf enqueued;  /* fields GEN_UPDATES, of runs made since the last */

    /* -- a poll -- */
    struct arena arena; /* its rows */
    struct row_entry *rows;
    const char *sweep_state, *poll_cursor;
    struct buf updates;
    uint64_t last_print; /* of the rows; how long it is the same: */
    int64_t changed_ns, told_ns;
};

/* -- scheduler.c -- */

enum failure { FAILED_NOT, FAILED_SHUTDOWN, FAILED_SLOW_DOWN, FAILED_NOT_FOUND, FAILED_FATAL };

bool scheduler_is_ending(const struct scheduler *s); /* stopped or cancelled */
/* Begin the variables of a question about the sweep: entity, project, and the sweep under `name`. */
void scheduler_begin_vars(struct scheduler *s, const char *name, struct str value);
/* Ask with s->variables; then `answered`, with s->call. State `to` until then. */
void scheduler_ask(struct scheduler *s, int to, const struct sweep_query *q, void (*answered)(struct scheduler *s));
/* Note how a question went (`found`: its answer has what was asked for) and say what that means. */
enum failure scheduler_judge(struct scheduler *s, bool found);
void scheduler_put_why(const struct scheduler *s, struct buf *to);
int64_t scheduler_rest_ms(const struct scheduler *s); /* until the next poll; may be negative */
/* Wait until then; `rested`, or a Done task if it ends. */
void scheduler_rest(struct scheduler *s, void (*rested)(struct scheduler *s));
/* End the step with a task: the fields of its message. */
void scheduler_give(struct scheduler *s, uint32_t kind, struct str body);
void scheduler_done(struct scheduler *s, enum sweep_done reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The Done task of a failure that ends the loop; false if it goes on. */
bool scheduler_done_of(struct scheduler *s, enum failure f);
/* The Done task of a sweep in that state; false if runs may still be scheduled. */
bool scheduler_done_of_state(struct scheduler *s, const char *state);
/* Mark the sweep finished, then give a Done task that says why. */
void scheduler_finish(struct scheduler *s, const char *why);
/* When the result has been dealt with. */
void scheduler_go_on(struct scheduler *s);

enum {
    OPENING,    /* the sweep is asked for */
    IDLE,       /* the client has a task, or has not asked yet */
    WARMING,    /* a page of prior runs is asked for */
    STOPPING,   /* a pruned run is stopped */
    FINISHING,  /* the sweep is marked finished */
    CHECKING,   /* is the sweep still open for new runs? */
    ENQUEUEING, /* a suggestion becomes a run */
    RESTING,    /* until the next poll */
    POLLING,    /* runs that are followed are asked for */
    CONFIRMING, /* is a run that the poll lacks really gone? */
    OVER,
};

/* -- scheduler_result.c -- */

/* Take the result of the step; ends in scheduler_go_on or a Done task. */
void scheduler_take_result(struct scheduler *s);

/* -- scheduler_poll.c -- */

void scheduler_warm_start(struct scheduler *s);
void scheduler_poll(struct scheduler *s);
/* Give a generation task: fields of updates, the candidates noted in the runs, what was discarded. */
void scheduler_give_generation(struct scheduler *s, struct str updates, bool with_candidates, int64_t ask_up_to);
void scheduler_put_run(struct buf *to, uint32_t number, const struct sweep_run *run, struct str config,
                       struct str summary, struct str history);

/* -- scheduler_runs.c -- */

enum run_state sweep_run_state(const char *text); /* RUN_FAILED of one that is not known */
bool sweep_run_is_over(enum run_state state);
const char *sweep_run_state_name(enum run_state state);
/* Made and noted under `id` (NULL: under none), not under its name. */
struct sweep_run *sweep_run_new(struct sweep_run_list *l, struct str id, struct str name);
void sweep_run_note_name(struct sweep_run_list *l, struct sweep_run *run); /* instead of another */
struct sweep_run *sweep_run_of_id(const struct sweep_run_list *l, struct str id);
struct sweep_run *sweep_run_of_name(const struct sweep_run_list *l, struct str name);
void sweep_run_set(char **text, struct str to);
bool sweep_run_is_tracked(const struct sweep_run *run); /* the optimizer waits for it */
void sweep_runs_free(struct sweep_run_list *l);

#endif
