/* SPDX-License-Identifier: MIT */
/* The inside of a job, for its own files only: job.c (what the run tells, the artifact), job_source.c
 * (where the program comes from), job_inputs.c (what its metadata says). */
#ifndef TARE_SERVICE_UPLOAD_JOB_IMPL_H
#define TARE_SERVICE_UPLOAD_JOB_IMPL_H

#include "service/upload/job.h"

#include <stddef.h>

/* A JobInputRequest with the file that it is about, NULL for the run's config. */
struct job_input {
    char *file;
    struct buf request;
};

struct job {
    struct buf settings_kept;
    struct str settings; /* of it */
    bool is_disabled;
    char *partial_id;
    char *code_id, *code_name; /* NULL: none was saved */
    struct job_input *inputs;
    size_t n_inputs;
};

enum {
    JOB_SET_COLAB = 5,
    JOB_SET_JUPYTER = 21,
    JOB_SET_JUPYTER_ROOT = 22,
    JOB_SET_DISABLED = 65,
    JOB_SET_SOURCE = 81,
    JOB_SET_NAME = 145,
    JOB_SET_NO_MACHINE = 158,
};

enum job_source_type { JOB_REPO, JOB_CODE, JOB_IMAGE, JOB_NO_SOURCE };

/* Where the program comes from. */
struct job_source {
    enum job_source_type type;
    struct buf json;  /* "source" of wandb-job.json */
    struct buf name;  /* of the artifact */
    struct buf alias; /* an image's tag, or empty */
};

extern const char *const job_source_names[];

/* 0 (type JOB_NO_SOURCE: none, `why` says it) or a negative code; job_source_fini either way. */
int job_source_find(const struct job *j, struct str metadata, struct job_source *to, const char **why,
                    struct err *e);
void job_source_fini(struct job_source *s);

/* -- job_yaml.c -- */

struct arena;
/* The first document of a YAML text as Go's yaml.v3 reads it into a map. NULL with `e` set. */
struct job_value *job_value_of_yaml(struct arena *a, struct str text, struct err *e);

#endif
