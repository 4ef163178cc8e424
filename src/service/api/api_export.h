/* SPDX-License-Identifier: MIT */
/* Downloads of the Parquet files that a backend has exported a run's history to.
 *
 * (peer: core/internal/runhistoryreader/parquet/downloader.go) */
#ifndef TARE_SERVICE_API_API_EXPORT_H
#define TARE_SERVICE_API_API_EXPORT_H

#include "service/api/api_impl.h"
#include "service/api/api_scan.h"
#include "service/upload/download.h"

/* A request of the history kind. */
struct api_export_task {
    struct api_task task;
    struct api_scan *scan;
    size_t at;        /* of the next URL */
    int nth;
    char *path;       /* of the file on its way */
    struct buf files; /* fields of DownloadRunHistoryResponse */
    struct download download;
    bool is_downloading;
};

/* DownloadRunHistoryInit: `s` has the URLs; `has_live`: rows are not exported yet. Ends the task. */
void api_export_begin(struct api_task *t, struct api_scan *s, struct str request, bool has_live);
void api_export_download(struct api_task *t, struct str request);
void api_export_status(struct api_task *t, struct str request);
void api_export_cancel(struct api_task *t);
void api_export_fini(struct api_task *t);

#endif
