/* SPDX-License-Identifier: MIT */
/* What the user process prepares before a run can begin: its identity, folder and settings (the
 * peer's Backend and Settings). */
#ifndef TARE_CLIENT_BACKEND_H
#define TARE_CLIENT_BACKEND_H

#include "base/buf.h"
#include "base/err.h"
#include "client/run.h"
#include "tare/tare.h"

#include <stdbool.h>

/* The options with the environment's values filled in; strings are borrowed from both. */
struct run_options {
    struct tare_options o;
    const char *const *tags; /* n_tags of them */
    char *tag_text;          /* owns the tags taken from the environment */
    const char **tag_list;
    bool disabled, online;
};

/* Expected: TARE_EINVAL, TARE_ENOMEM */
int run_options_init(struct run_options *to, const struct tare_options *from, struct err *e);
void run_options_fini(struct run_options *o);

/* A run with its names, folder (created: never one that was there) and Settings message.
 * `no_service`: a folder name that marks an offline run, whatever the mode. */
int backend_prepare(struct tare_run *run, const struct run_options *options, bool no_service,
                    struct err *e);

/* Create a folder for the run: dir/(offline-)run-TIMESPEC-ID with files/ and logs/ in it. The
 * path is for mem_free. */
int backend_make_folder(const char *wandb_dir, bool online, const char *id, int64_t start_ns,
                        char **path, char timespec[16], struct err *e);

/* Append the RunRecord's fields. `config`: with what is set so far. */
void backend_put_run(const struct tare_run *run, const struct run_options *options,
                     struct buf *b);

#endif
