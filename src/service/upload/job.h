/* SPDX-License-Identifier: MIT */
/* The job of a run: an artifact that says how to run the program again (its git commit, its saved
 * code or its container image), made when the run ends, unless the settings forbid it.
 *
 *   wandb-job.json            {"_version":"v0","source":{...},"source_type":"repo","input_types":...,
 *                              "output_types":...,"runtime":"3.11.2"}
 *   requirements.frozen.txt   the run's requirements.txt
 *   diff.patch                of a run from a git repository with changes
 *
 * A run that was launched from a job makes none; one of a job that is known in part only (made by
 * `wandb job create`) has that job's metadata brought up to date instead.
 * (peer: core/pkg/launch) */
#ifndef TARE_SERVICE_UPLOAD_JOB_H
#define TARE_SERVICE_UPLOAD_JOB_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct job;

/* `settings` is a serialized wandb_internal.Settings, copied. NULL: they say that none is to be made. */
struct job *job_new(struct str settings);
void job_free(struct job *j); /* NULL is fine */

/* What the run tells, before job_build. NULL for `j` is fine. */
void job_use_artifact(struct job *j, struct str record);       /* UseArtifactRecord */
void job_add_input(struct job *j, struct str request);         /* JobInputRequest */
void job_set_code(struct job *j, const char *id, const char *name); /* its code was saved there */

/* False: nothing is to be made of this run, or `j` is NULL. */
bool job_is_wanted(const struct job *j);
/* The artifact that is to get new metadata, in place of a new one; NULL for none. */
const char *job_partial_id(const struct job *j);

/* Of the run, borrowed. */
struct job_run {
    const char *entity, *project, *id;
    const char *files_dir;          /* has requirements.txt, diff.patch, managed config files */
    struct str config, summary;     /* JSON objects */
    struct str metadata;            /* of the machine: wandb-metadata.json; empty where there is none */
};

/* The metadata of a job, JSON: what its inputs and outputs are. 0 or a negative code. Reads files: on
 * a worker. */
int job_metadata(const struct job *j, const struct job_run *run, struct buf *to, struct err *e);

/* Make the job: its ArtifactRecord is appended to `record`, or nothing if this run makes none, for
 * which `why` then has the reason (not an error). `folder` is where wandb-job.json is written; the
 * caller removes it. 0 or a negative code in `e`. Reads and writes files: on a worker. */
int job_build(const struct job *j, const struct job_run *run, const char *folder, struct buf *record,
              const char **why, struct err *e);

/* The name of an artifact as backends take it: others than letters, digits, _ - . become _, the middle
 * of a long one becomes two dots. */
void job_safe_name(struct str name, struct buf *to);

#endif
