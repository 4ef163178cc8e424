/* SPDX-License-Identifier: MIT */
/* What a stream keeps of the Settings message of inform_init: only what some stage uses, so that a
 * thousand streams stay small. A new use of a setting adds a row here and in stream_settings.c. */
#ifndef TARE_SERVICE_STREAM_STREAM_SETTINGS_H
#define TARE_SERVICE_STREAM_STREAM_SETTINGS_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Strings are NUL-terminated and owned by the struct (one block); "" where the setting is unset. */
struct stream_settings {
    const char *run_id;
    const char *sync_dir;  /* the run's folder, .../wandb/offline-run-DATE-ID */
    const char *sync_file; /* the journal, a path */
    const char *files_dir; /* sync_dir/files */
    const char *log_dir;   /* where debug-core.log is linked */
    const char *log_file;  /* debug-internal.log, a path */
    bool offline;          /* mode is "offline" */
    bool shared;           /* _shared: several writers, no local step */
    bool skip_journal;     /* x_skip_transaction_log */
    bool server_side_summary; /* x_server_side_derived_summary: derive none here */
    bool primary;          /* x_primary: this writer owns the files of the run */
    bool silent;           /* print no footer */
    bool asks_to_expand;   /* a client of wandb 0.28: see sender_upsert.c */
    struct str raw;        /* the Settings message itself, for what is asked once (record/setting_wire.h) */
    void *block;           /* where the strings and `raw` live */
};

/* Fill `to` from a serialized wandb_internal.Settings. 0, TARE_EFORMAT, TARE_EINVAL (a setting that
 * is needed is missing; `e` names it) or TARE_ENOMEM. */
int stream_settings_init(struct stream_settings *to, struct str settings, struct err *e);
void stream_settings_fini(struct stream_settings *s);

#endif
