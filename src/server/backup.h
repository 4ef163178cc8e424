/* SPDX-License-Identifier: MIT */
/* A whole server in one file, and back; and a look at whether all is sound.
 *
 * A backup is a tar archive: the database as it was at one moment, every file it refers to, the secret
 * that signs URLs. It is made while the server runs, by another process. Where the database is
 * PostgreSQL, use its own tools. */
#ifndef TARE_SERVER_BACKUP_H
#define TARE_SERVER_BACKUP_H

#include "server/options.h"

#include <stdbool.h>
#include <stdint.h>

struct backup_counts {
    int64_t n_blobs, n_bytes; /* files, and the size of the archive; verifying: of database and files */
};

/* Write FILE (not there before; it appears when it is complete, mode 0600).
 * Expected: TARE_EEXIST, TARE_ENOTFOUND (no server was ever here), TARE_ENOSPACE, TARE_EUNSUPPORTED. */
int backup_write(const struct server_options *options, const char *file, struct backup_counts *counts,
                 struct err *e);

/* Make the directory of `options` from FILE. Every file is checked against its digest, the database against
 * itself. Expected: TARE_EEXIST (there is a server in the directory), TARE_EFORMAT. */
int backup_restore(const struct server_options *options, const char *file, struct backup_counts *counts,
                   struct err *e);

/* Called for each fault found. */
typedef void (*verify_fault_fn)(void *arg, const char *text);

/* Check the database's structure, every block of every run's history, and that each file is there and is what
 * its digest says. How many faults; negative: it could not be done. While a server runs or not. */
int64_t backup_verify(const struct server_options *options, struct backup_counts *counts,
                      verify_fault_fn on_fault, void *arg, struct err *e);

/* `tare server backup FILE`, `restore FILE`, `verify`. */
extern const char backup_help[];
bool backup_knows(const char *verb);
int backup_main(int argc, char **argv);

#endif
