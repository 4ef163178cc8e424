/* SPDX-License-Identifier: MIT */
/* What is kept of a run's history between the requests of a scan or of a download of it, and the task
 * of one such request. */
#ifndef TARE_SERVICE_API_API_SCAN_H
#define TARE_SERVICE_API_API_SCAN_H

#include "loop/worker.h"
#include "service/api/api_impl.h"
#include "service/api/api_rows.h"
#include "service/upload/download.h"

struct parquet_file;

/* What a run's history is asked for with, and where it lies. */
struct api_scan {
    struct api_scan *prev, *next; /* in the session, while not gone */
    int32_t id;
    bool is_download;
    bool is_gone;  /* out of the session: freed with its last user */
    int n_users;   /* tasks */
    char *entity, *project, *run_id;
    char *dir;              /* of a download */
    struct buf keys;        /* JSON array for the backend; empty: all */
    struct buf columns;     /* the same for files: names, each followed by a NUL */
    struct buf urls;        /* of exported files, each followed by a NUL */
    struct parquet_file **files; /* of them, open; NULL: everything is asked of the backend */
    size_t n_files;
    int64_t live_step;      /* from here on rows are not in files; INT64_MAX if none is known */
    uv_mutex_t lock;        /* of the files: one worker at a time */
};

/* A request of the history kind. */
struct api_history_task {
    struct api_task task;
    struct api_scan *scan; /* held */
    size_t at;             /* of the next URL in scan->urls */
    size_t nth;            /* its number */
    char *path;            /* of the file on its way */
    struct buf files;      /* fields of DownloadRunHistoryResponse */
    struct download download;
    bool is_downloading;
    struct work work;
    struct buf is_cached;  /* a byte for each URL: its file is in the cache */
    bool use_cache;
    bool is_new; /* the scan: its client has no id of it yet */
    int64_t min_step, max_step;
    struct api_rows rows;
    struct err err;
};

static inline struct api_history_task *api_history_task_of(struct api_task *t)
{
    return (struct api_history_task *)t;
}

struct api_scan *api_scan_new(struct api *api);
struct api_scan *api_scan_find(struct api *api, int32_t id, bool is_download);
void api_scan_hold(struct api_history_task *t, struct api_scan *s);
void api_scan_release(struct api_history_task *t);
/* Out of its session; freed when nobody uses it. */
void api_scan_drop(struct api *api, struct api_scan *s);
void api_scan_drop_all(struct api *api);

/* "entity_project_run_0.runhistory.parquet" */
void api_scan_put_name(struct buf *to, const struct api_scan *s, size_t nth);

/* -- exported files, in requests of a scan (api_exported.c) -------------------------------------- */

/* Open those of t->scan, bringing them to the cache first if need be; then `api_exported_opened`, or
 * the task fails. */
void api_exported_open(struct api_history_task *t);
void api_exported_opened(struct api_history_task *t); /* api_history.c */
/* Add their rows from min_step to max_step to t->rows; then `api_exported_scanned`, or it fails. */
void api_exported_scan(struct api_history_task *t);
void api_exported_scanned(struct api_history_task *t); /* api_history.c */
/* Close files on a worker thread. */
void api_exported_close(uv_loop_t *loop, struct parquet_file **files, size_t n);

/* -- downloads of them (api_export.c) ------------------------------------------------------------ */

/* DownloadRunHistoryInit: t->scan has the URLs; `has_live`: rows are not exported yet. Ends the task. */
void api_export_begin(struct api_history_task *t, struct str request, bool has_live);
void api_export_download(struct api_task *t, struct str request);
void api_export_status(struct api_task *t, struct str request);

#endif
