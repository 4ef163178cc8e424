/* SPDX-License-Identifier: MIT */
/* What file.c (policies, gathering, the end) and file_batch.c (URLs, transfers) share. */
#ifndef TARE_SERVICE_UPLOAD_FILE_IMPL_H
#define TARE_SERVICE_UPLOAD_FILE_IMPL_H

#include "service/upload/file.h"
#include "service/upload/file_watch.h"
#include "service/upload/graphql.h"
#include "service/upload/transfer.h"

#include <uthash.h>
#include <uv.h>

/*   QUIET ─► GATHERED ─► ASKED ─► MOVING ─► QUIET, or GATHERED again */
enum file_place { QUIET, GATHERED, ASKED, MOVING };

/* A file that was named once. */
struct file {
    UT_hash_handle hh; /* by path */
    struct files *owner;
    enum file_kind kind;
    enum file_place place;
    bool at_end, live;
    bool again;            /* asked for while it was ASKED or MOVING */
    bool is_up;            /* and was like `up` then */
    bool is_writing;       /* files_put: a job has `bytes` */
    struct file_stamp up;
    struct buf bytes;      /* files_put: until it is on disk, or up */
    struct buf next_bytes; /* files_put: came while the job was writing */
    uint64_t sent, total;  /* of the last try, for progress */
    bool was_counted;
    int n_changes;         /* how often it changed while it was sent */
    int n_urls;            /* how often its URL was refused */
    struct file *prev, *next; /* in files.gathered, or batch.files */
    char path[];              /* below the files folder */
};

struct file_headers { /* of all files of a batch */
    int n_users;
    struct buf text;
};

struct upload {
    struct transfer transfer;
    struct file *file;
    struct file_headers *headers;
    char *url, *full_path;
    struct upload *prev, *next;
};

struct file_batch;

struct files {
    struct backend *backend;
    uv_loop_t *loop;
    struct files_owner owner;
    struct retry_policy policy;
    struct buf settings; /* for ignore_globs */
    char *dir;
    char *entity, *project, *run_id; /* NULL until started */
    struct file *known;
    struct file *gathered; /* list */
    struct file_batch *batch;
    struct upload *uploads; /* list */
    int n_uploads, n_writing;
    struct file_watch *watch;
    uv_timer_t timer;
    bool timer_armed;
    bool finishing, aborted, over, is_freed;
    bool cut_off; /* when it was aborted, something was not up */
    int n_open; /* what must end before it is freed */
    int error;  /* the first failure */
    uint64_t n_failed, n_failed_told;
    int64_t told_ns;
    struct files_progress progress;
};

/* `file` has failed for good; `why` for a person. */
void file_failed(struct files *f, const struct file *file, int error, const char *why);
/* It should go up, or up again. */
void file_gather(struct files *f, struct file *file);
void file_free_later(struct files *f); /* one of n_open has ended */
void files_look(struct files *f);      /* something has ended: go on, or end */

/* Take a batch of what is gathered and bring it up, if none is being prepared. */
void file_batch_begin(struct files *f);
void file_batch_cancel(struct files *f);
void file_uploads_cancel(struct files *f);
void file_uploads_close(struct files *f); /* it is being freed */

#endif
