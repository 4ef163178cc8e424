/* SPDX-License-Identifier: MIT */
/* What is known of the machine and the program at the start of a run, as EnvironmentRecords.
 *
 * The peer writes two: what the client told in its settings, then what the machine itself shows
 * (peer: core/internal/monitor, symon). Field numbers are those of proto/environment.proto. */
#ifndef TARE_SERVICE_WATCH_MACHINE_H
#define TARE_SERVICE_WATCH_MACHINE_H

#include "base/buf.h"
#include "base/str.h"

struct str_pair {
    struct str remote_url, commit;
};

enum { WRITER_ID_LEN = 36 };

/* A time-ordered UUID (version 7) and a NUL: which of several writers of a run this one is. */
void machine_writer_id(char to[WRITER_ID_LEN + 1], int64_t now_ns);

/* Append the fields of an EnvironmentRecord: the program. `settings` is a serialized Settings
 * message, `git` where the program's repository came from (empty strings: unknown). Reads the
 * SLURM_* variables of this process. Any thread. */
void machine_put_program(struct buf *to, struct str settings, struct str_pair git,
                         const char *writer_id);

/* The same: the machine. `gpus` are fields of other machines' GPUs (watch/scrape.h), which stand behind
 * those that were found here. Reads /proc and the disks; may block. Any thread. */
void machine_put_host(struct buf *to, struct str settings, struct str gpus, const char *writer_id);

/* Physical cores of the machine. Any thread. */
uint32_t machine_cores(void);
/* Logical processors: hardware threads. Any thread. */
uint32_t machine_processors(void);

/* Append an EnvironmentRecord (serialized; several one after the other are merged) as the JSON of
 * wandb-metadata.json. 0, or TARE_EFORMAT if it does not decode. Any thread. */
int machine_put_json(struct buf *to, struct str environment);

#endif
