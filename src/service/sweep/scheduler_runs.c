/* SPDX-License-Identifier: MIT */
/* Runs are never forgotten while the sweep is scheduled: an id of the optimizer's stays taken. */
#include "service/sweep/scheduler_impl.h"

#include "base/alloc.h"
#include "base/diag.h"

#include <utlist.h>

static const struct {
    const char *text;
    enum run_state state;
    bool is_over;
} states[] = {
    {"running", RUN_RUNNING, false},       {"pending", RUN_PENDING, false},
    {"preempting", RUN_PREEMPTING, false}, {"preempted", RUN_PREEMPTED, true},
    {"finished", RUN_FINISHED, true},      {"failed", RUN_FAILED, true},
    {"crashed", RUN_CRASHED, true},        {"killed", RUN_KILLED, true},
};
enum { N_STATES = sizeof states / sizeof states[0] };

/* A state from the future is most likely an end. */
enum run_state sweep_run_state(const char *text)
{
    for (size_t i = 0; i < N_STATES; i++)
        if (strcmp(states[i].text, text) == 0)
            return states[i].state;
    diag_info("sweep: a run is in a state that is not known, %.40s: taken as failed", text);
    return RUN_FAILED;
}

/* The SDK's optimizers end a trial on the same states. */
bool sweep_run_is_over(enum run_state state)
{
    for (size_t i = 0; i < N_STATES; i++)
        if (states[i].state == state)
            return states[i].is_over;
    return false;
}

const char *sweep_run_state_name(enum run_state state)
{
    for (size_t i = 0; i < N_STATES; i++)
        if (states[i].state == state)
            return states[i].text;
    return "unknown";
}

void sweep_run_set(char **text, struct str to)
{
    mem_free(*text);
    *text = xmem_strndup(to.n ? to.p : "", to.n);
}

struct sweep_run *sweep_run_new(struct sweep_run_list *l, struct str id, struct str name)
{
    struct sweep_run *run = xmem_calloc(1, sizeof *run);
    sweep_run_set(&run->name, name);
    sweep_run_set(&run->node_id, (struct str){0});
    run->stage = RUN_RETIRED;
    LL_PREPEND2(l->all, run, next_of_all);
    if (!id.p)
        return run;
    sweep_run_set(&run->id, id);
    HASH_ADD_KEYPTR(by_id, l->by_id, run->id, id.n, run);
    if (l->last)
        l->last->next = run;
    else
        l->first = run;
    l->last = run;
    return run;
}

void sweep_run_note_name(struct sweep_run_list *l, struct sweep_run *run)
{
    struct sweep_run *other = sweep_run_of_name(l, str_of(run->name));
    if (other)
        HASH_DELETE(by_name, l->by_name, other);
    HASH_ADD_KEYPTR(by_name, l->by_name, run->name, strlen(run->name), run);
}

struct sweep_run *sweep_run_of_id(const struct sweep_run_list *l, struct str id)
{
    struct sweep_run *run;
    HASH_FIND(by_id, l->by_id, id.n ? id.p : "", id.n, run);
    return run;
}

struct sweep_run *sweep_run_of_name(const struct sweep_run_list *l, struct str name)
{
    struct sweep_run *run;
    HASH_FIND(by_name, l->by_name, name.n ? name.p : "", name.n, run);
    return run;
}

bool sweep_run_is_tracked(const struct sweep_run *run)
{
    return run->stage == RUN_IN_FLIGHT || run->stage == RUN_TOLD;
}

void sweep_runs_free(struct sweep_run_list *l)
{
    struct sweep_run *run, *next;
    HASH_CLEAR(by_id, l->by_id);
    HASH_CLEAR(by_name, l->by_name);
    LL_FOREACH_SAFE2(l->all, run, next, next_of_all)
    {
        mem_free(run->id);
        mem_free(run->name);
        mem_free(run->node_id);
        mem_free(run);
    }
    *l = (struct sweep_run_list){0};
}
