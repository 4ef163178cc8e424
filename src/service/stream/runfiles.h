/* SPDX-License-Identifier: MIT */
/* What a run leaves in its files folder, beside the journal:
 *
 *   output.log            captured output (stream/console.h)
 *   requirements.txt      python_packages
 *   wandb-metadata.json   the machine and the program (watch/machine.h)
 *   code/...              the program, if save_code
 *   events.out.tfevents.*  links to TensorBoard's files, where the record asks for them
 *   diff.patch, diff_COMMIT.patch   what differs from the repository (watch/git.h), if save_code
 *
 * and the journal's stats records (watch/sysmon.h).
 *
 * All of it is made by jobs on the worker threads. A record that says so follows its file, so it
 * is kept when the job is done; the run's end waits for that (runfiles_finish). Loop thread. */
#ifndef TARE_SERVICE_STREAM_RUNFILES_H
#define TARE_SERVICE_STREAM_RUNFILES_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct handler_job;
struct runfiles;
struct stream_settings;

/* Who has the run: the handler. `ctx` is the first argument of each. */
struct runfiles_owner {
    void *ctx;
    /* Keep a record: `kind` is its field number in Record. */
    void (*keep)(void *ctx, uint32_t kind, struct str body);
    /* Run a job on the worker threads; jobs run one after another (handler_out.work). */
    void (*work)(void *ctx, struct handler_job *job);
    /* Take a whole Record as if a client had sent it. */
    void (*feed)(void *ctx, struct str record);
    /* After runfiles_finish returned false: nothing is under way any more. */
    void (*idle)(void *ctx, int64_t now_ns);
    /* NULL without endpoints of metrics: see handler_out. */
    void (*scrape)(void *ctx, struct buf *to);
    void (*scrape_gpus)(void *ctx);
};

/* `settings` is borrowed and outlives it. Without a files_dir nothing is made. */
struct runfiles *runfiles_new(const struct stream_settings *settings,
                              const struct runfiles_owner *owner, int64_t now_ns);
/* No job may be under way. */
void runfiles_free(struct runfiles *r);

/* Which of several writers of the run this is: in its environment records. */
const char *runfiles_writer_id(const struct runfiles *r);

/* A run_start came: `run` is its RunRecord. Saves code and diffs where the settings ask for it. */
void runfiles_start(struct runfiles *r, struct str run);
/* The program waits, or goes on: metrics of the system are taken only while it does not wait. */
void runfiles_pause(struct runfiles *r, bool paused);
/* The requests python_packages and probe_system_info, the records output_raw and output_logger;
 * each takes the bytes of its message. */
void runfiles_packages(struct runfiles *r, struct str request);
/* True: the machine is looked at, too, not only the settings. */
bool runfiles_probe(struct runfiles *r, int64_t now_ns);
/* What scrape_gpus was asked for: GPU fields of an EnvironmentRecord. */
void runfiles_gpus(struct runfiles *r, struct str fields);
/* A tbrecord: follow that TensorBoard folder (watch/tensorboard.h). */
void runfiles_tensorboard(struct runfiles *r, struct str tbrecord, int64_t now_ns);
void runfiles_output(struct runfiles *r, struct str output_raw, int64_t now_ns);
void runfiles_line(struct runfiles *r, struct str output_logger, int64_t now_ns);

/* Append the fields of a GetSystemMetricsResponse: the samples that the settings asked to keep. */
void runfiles_metrics(const struct runfiles *r, struct buf *to);

int64_t runfiles_deadline(const struct runfiles *r); /* wall ns, INT64_MAX for never */
void runfiles_tick(struct runfiles *r, int64_t now_ns);

/* The run ends: output that comes later is ignored. True if no record can come any more, else
 * `idle` will be called once, when that is so. The last write of output.log may still be under
 * way: the owner's REPLY_WHEN_WRITTEN waits for it. Idempotent. */
bool runfiles_finish(struct runfiles *r, int64_t now_ns);

#endif
