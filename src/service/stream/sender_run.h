/* SPDX-License-Identifier: MIT */
/* What a run is to its backend: what its RunRecords say, and what the backend answered. No loop, no
 * network: functions from bytes to bytes. (peer: core/internal/runbranch) */
#ifndef TARE_SERVICE_STREAM_SENDER_RUN_H
#define TARE_SERVICE_STREAM_SENDER_RUN_H

#include "base/buf.h"
#include "base/str.h"
#include "record/config.h"
#include "service/stream/sender.h"
#include "service/upload/filestream.h"

#include <stdbool.h>
#include <stdint.h>

enum run_text {
    RUN_TEXT_STORAGE_ID, /* the backend's own id */
    RUN_TEXT_ENTITY,
    RUN_TEXT_PROJECT,
    RUN_TEXT_ID,
    RUN_TEXT_GROUP,
    RUN_TEXT_DISPLAY_NAME,
    RUN_TEXT_NOTES,
    RUN_TEXT_COMMIT,
    RUN_TEXT_REMOTE,
    RUN_TEXT_HOST,
    RUN_TEXT_PROGRAM,
    RUN_TEXT_JOB_TYPE,
    RUN_TEXT_SWEEP,
    N_RUN_TEXTS
};

struct run_params {
    char *text[N_RUN_TEXTS]; /* owned; NULL for none */
    char **tags;
    uint32_t n_tags;
    bool tags_known; /* the backend told them: an empty list is one */
    int64_t starting_step;
    int64_t runtime_ms; /* of all earlier parts */
    int64_t start_s;    /* when it began, since 1970 */
    int32_t start_ns;
    bool resume, resumed, forked;
    struct filestream_offsets offsets;
    struct buf summary; /* of the run that is resumed, a JSON object; empty for none */
};

/* Why a run could not be begun: ErrorInfo of the answer to the client. */
struct run_error {
    int code; /* ErrorInfo.ErrorCode: 0 unknown, 1 communication, 3 usage, 4 unsupported */
    char message[1400];
};

void run_params_fini(struct run_params *p);
const char *run_text(const struct run_params *p, enum run_text which); /* never NULL */
void run_set_text(struct run_params *p, enum run_text which, struct str value);

void run_add_tag(struct run_params *p, struct str tag);

/* Take what a RunRecord says; what it leaves empty stays. `settings` is a serialized Settings. */
void run_update(struct run_params *p, struct str record, struct str settings);
/* The same for what the sync options replace. */
void run_change(struct run_params *p, const struct sender_changes *changes);

/* Append the variables of UpsertBucket: with all that is known of the run or only its name, with its
 * config or without. */
void run_put_upsert(const struct run_params *p, bool with_params, const struct config *c,
                    struct buf *to);
/* The answer to it. */
void run_take_upsert(struct run_params *p, struct str data);

/* Append the RunRecord that the client is answered: `record` with what is known now. */
void run_put_record(const struct run_params *p, const struct config *c, struct str record,
                    struct buf *to);

/* A run that branches off: where from. `metric` NULL if there is no branch point. */
struct run_branch {
    struct str run, metric;
    double value;
};
struct run_branch run_branch_of(struct str record);

/* Each 0, or -1 and why. */
int run_fork(struct run_params *p, const struct run_branch *b, struct run_error *e);
int run_rewind(struct run_params *p, const struct run_branch *b, struct run_error *e);
int run_take_rewind(struct run_params *p, struct config *c, struct str data, struct run_error *e);
/* `mode` is the setting `resume`. */
int run_take_resume(struct run_params *p, struct config *c, struct str data, struct str mode,
                    struct run_error *e);

/* A whole number that is not negative, in a JSON object; false if there is none. */
bool run_count_at(struct str object, const char *path, uint64_t *to);

void run_put_resume_variables(const struct run_params *p, struct buf *to);
void run_put_rewind_variables(const struct run_params *p, const struct run_branch *b,
                              struct buf *to);

#endif
