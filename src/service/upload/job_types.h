/* SPDX-License-Identifier: MIT */
/* What a value is made of: the types of a job's inputs and outputs.
 *
 *   {"lr":0.1,"layers":[1,2]}  ─►  {"wb_type":"typedDict","params":{"type_map":{
 *                                     "layers":{"wb_type":"list","params":{"element_type":
 *                                        {"wb_type":"number"},"length":2}},
 *                                     "lr":{"wb_type":"number"}}}}
 *
 * A text (JSON, YAML) becomes a tree without the values, parts of it are chosen by key paths, and
 * what is left is written. Pure, any thread.
 * (peer: core/internal/data_types, core/pkg/launch/config.go) */
#ifndef TARE_SERVICE_UPLOAD_JOB_TYPES_H
#define TARE_SERVICE_UPLOAD_JOB_TYPES_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum job_kind { JOB_NONE, JOB_BOOLEAN, JOB_NUMBER, JOB_STRING, JOB_LIST, JOB_MAP, JOB_UNKNOWN };

struct job_value {
    enum job_kind kind;
    struct str key;                  /* as a member of a map; not escaped */
    struct job_value *first, *last;  /* of a list or map; members of a map sorted by key */
    struct job_value *next;
    size_t n;
};

/* A list of labels from the root down. */
struct job_path {
    const struct str *labels;
    size_t n;
};

/* A value in `a`; NULL when it is out of memory. */
struct job_value *job_value_new(struct arena *a, enum job_kind kind);
void job_value_add(struct job_value *to, struct job_value *item);
/* Sort the members of a map; of several with one key the last stays. False: out of memory. */
bool job_value_sort(struct arena *a, struct job_value *map);

/* JSON (NaN and infinities allowed) as a tree in `a`, which is the limit of its size. NULL: it is no
 * JSON, or out of memory. */
struct job_value *job_value_of_json(struct arena *a, struct str json);

/* Take away from a map what lies at or below a path of `exclude`, and what lies at or below none of
 * `include`, unless there is no such path. Maps that are empty, before or then, go too. */
void job_value_filter(struct job_value *map, const struct job_path *include, size_t n_include,
                      const struct job_path *exclude, size_t n_exclude);

/* Append the type of `v`. Members called `_wandb` are left out. */
void job_type_put(const struct job_value *v, struct buf *to);

/* Append `json` as Go's encoding/json writes what it read into `any`: no blanks, members sorted,
 * numbers as doubles. 0, TARE_EFORMAT or TARE_ENOMEM. */
int job_json_put_sorted(struct str json, struct buf *to);
/* Append JSON text with <, >, & and the line separators of Unicode escaped, as encoding/json does. */
void job_json_put_escaped(struct str json, struct buf *to);

#endif
