/* SPDX-License-Identifier: MIT */
/* A whole run, read once: what `tare show` prints, as text (look_text.c) or JSON (look_json.c). */
#ifndef TARE_CLI_LOOK_H
#define TARE_CLI_LOOK_H

#include "cli/lines.h"
#include "cli/runs.h"
#include "cli/series.h"
#include "cli/state.h"
#include "journal/replay.h"

enum { LOOK_LINES = 12 };

struct look_chart {
    struct series *series;
    char *x_name; /* owned */
    bool system;  /* of the system monitor */
};

struct look {
    struct run_place place;
    struct replay r;
    enum run_state state;
    double seconds;
    uint64_t n_gaps, gap_bytes;

    /* set before look_read */
    const char *keys;  /* patterns, comma separated: only these metrics; NULL: all but `_...` */
    bool want_system;  /* charts of the system monitor, too */
    bool no_charts;    /* do not collect points */
    size_t max_charts; /* collect the points of so many metrics only; 0: of all */

    struct look_chart *charts;
    size_t n_charts;
    size_t n_left;      /* metrics over max_charts */
    uint32_t *chart_of; /* by slot of the summary: chart + 1; UINT32_MAX none; 0 not looked up */
    uint32_t n_slots;
    struct lines lines;
    struct buf last_lines[LOOK_LINES]; /* a ring of the last lines of console output */
    uint64_t n_lines;
};

/* Read the run at `place` (taken). 0, or what failed; look_fini in any case. */
int look_read(struct look *l, struct run_place *place_take, struct err *e);
/* The same of a run of a backend. */
struct where;
int look_read_remote(struct look *l, const struct where *w, const char *entity, const char *project,
                     const char *id, struct err *e);
void look_begin(struct look *l); /* for these two */
void look_fini(struct look *l);

/* Print to standard output. `height`: lines of plot in a chart. */
void look_print_text(const struct look *l, const struct term *t, int height);
void look_print_json(const struct look *l);

#endif
