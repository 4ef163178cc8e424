/* SPDX-License-Identifier: MIT */
/* What a journal tells, record by record: who the run is, its config, metrics, rows, summary,
 * files, console output and end.
 *
 * Rows and console output are given to callbacks as they pass (they may be many); everything else
 * is state that can be looked at after any record. The summary is what the run's service would
 * answer at this place: derived from the rows by the same code (record/row.c, metric.c), and
 * changed by explicit summary records. One thread. */
#ifndef TARE_JOURNAL_REPLAY_H
#define TARE_JOURNAL_REPLAY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "record/config.h"
#include "record/metric.h"
#include "record/row.h"
#include "record/summary.h"

#include <stdbool.h>
#include <stdint.h>

struct replay;

/* All may be NULL. What is passed is valid during the call. */
struct replay_events {
    /* A row of history: r->row and r->step (valid if r->has_step). Called before the summary
     * takes the row in. */
    void (*on_row)(void *ctx, struct replay *r);
    /* Console output: whole lines without their end (`raw` false), or bytes as the program wrote
     * them (`raw` true). */
    void (*on_output)(void *ctx, struct str text, bool raw, bool is_stderr, int64_t time_ns);
    /* A sample of the system monitor: a StatsRecord's item. */
    void (*on_stat)(void *ctx, struct str key, struct str value_json, int64_t time_ns);
};

struct replay_file {
    char *path;     /* relative to the run's files folder; may be a glob */
    uint8_t policy; /* 0 now, 1 at the end, 2 live */
    uint8_t type;   /* 0 other, 1 wandb's own, 2 media, 3 artifact */
};

struct replay_artifact {
    char *name, *type;
    char *aliases; /* joined with ", " */
    bool used;     /* an input of the run; else made by it */
};

struct replay_alert {
    char *title, *text, *level;
};

struct replay {
    const struct replay_events *on; /* borrowed, like ctx */
    void *ctx;
    bool skip_rows; /* count rows without looking into them: no on_row, no summary of them */

    /* who */
    char *run_id, *entity, *project, *name, *group, *job_type, *notes, *host, *sweep_id;
    char *tags; /* joined with ", " */
    char *git_remote, *git_commit;
    char *producer;   /* version of the SDK that wrote the header */
    int64_t start_ns; /* 0 if not told */
    bool has_run, resumed;

    /* where (environment records); NULL and 0 where it was not told */
    char *os, *python, *program, *cpu, *gpu; /* cpu and gpu: the models */
    uint32_t n_cores, n_cpus, n_gpus;        /* physical, logical */
    uint64_t memory_bytes;

    /* what */
    struct config config;
    struct summary summary;
    struct metrics metrics;
    struct row row;
    int64_t step; /* of the last row */
    bool has_step;
    uint64_t n_rows, n_stats, n_outputs;
    struct replay_file *files;
    size_t n_files;
    struct replay_artifact *artifacts;
    size_t n_artifacts;
    struct replay_alert *alerts;
    size_t n_alerts;
    bool preempting;

    /* end */
    bool exited;
    int exit_code;
    int runtime_s; /* of the exit record; 0 if it has none */

    uint64_t n_records, n_bad; /* bad: records or items that could not be understood */

    /* the rest is replay's own */
    struct arena arena;
    struct buf held; /* summary records that belong to the row that follows, as fields */
};

void replay_init(struct replay *r, const struct replay_events *on, void *ctx);
void replay_fini(struct replay *r);

/* Take the next record of a journal (journal_reader_next). Returns its kind, the field number in
 * Record; 0 if it could not be understood (counted, state unchanged). */
uint32_t replay_record(struct replay *r, struct str record);

/* No more records will come (for now): settles what waited for the next one. */
void replay_settle(struct replay *r);

/* Read the rest of a journal. 0 or a negative code of the reader; gaps are only counted there. */
struct journal_reader;
int replay_all(struct replay *r, struct journal_reader *from);

#endif
