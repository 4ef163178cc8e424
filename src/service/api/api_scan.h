/* SPDX-License-Identifier: MIT */
/* What is kept of a run's history between the requests of a scan or a download of it. */
#ifndef TARE_SERVICE_API_API_SCAN_H
#define TARE_SERVICE_API_API_SCAN_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct api;
struct download;

/* What a run's history is asked for with, and where it lies. */
struct api_scan {
    struct api_scan *prev, *next;
    int32_t id;
    char *entity, *project, *run_id;
    struct buf keys;      /* JSON array, "_step" in it; empty for all */
    char *dir;            /* of a download */
    struct buf urls;      /* of exported files, each followed by a NUL */
    bool is_download;
};

struct api_scan *api_scan_new(struct api *api);
struct api_scan *api_scan_find(struct api *api, int32_t id, bool is_download);
void api_scan_free(struct api *api, struct api_scan *s);
void api_scan_free_all(struct api *api);

#endif
