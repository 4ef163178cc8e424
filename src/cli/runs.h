/* SPDX-License-Identifier: MIT */
/* Runs on disk, ours and the peer's: folders `run-TIME-ID` and `offline-run-TIME-ID` with the
 * journal `run-ID.wandb` in them, below a folder that is usually called `wandb`. One thread. */
#ifndef TARE_CLI_RUNS_H
#define TARE_CLI_RUNS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct run_place {
    char *journal; /* path of the .wandb file; owned, like the next two */
    char *folder;  /* the folder it is in */
    char *id;      /* from the folder's name, or the file's */
    char time[16]; /* "20261123_145101" from the folder's name, or "" */
};

struct run_list {
    struct run_place *at; /* by time, then by id; newest last */
    size_t n;
    char *root; /* where they were found: DIR or DIR/wandb */
};

/* Find the runs in `dir`, or in the folder `wandb` in it. An empty list is no failure.
 * Expected: TARE_ENOTFOUND  there is no such folder */
int run_list_read(struct run_list *list, const char *dir, struct err *e);
void run_list_fini(struct run_list *list);

/* Find the one run that `name` means: the path of a journal or of a run's folder; `latest`; an id
 * or the start of one; the name of a folder. Ids are looked for in `dir` (NULL: $WANDB_DIR, or
 * the current folder). Of several runs with one id (a run that was resumed) the newest.
 * Expected: TARE_ENOTFOUND, TARE_ECONFLICT (the start of several ids); the text names the runs
 * that are there. */
int run_find(struct run_place *to, const char *name, const char *dir, struct err *e);
void run_place_fini(struct run_place *p);

/* $WANDB_DIR, or ".". */
const char *runs_default_dir(void);

#endif
