/* SPDX-License-Identifier: MIT */
/* Saved files and artifacts, handled in the courier's thread since disks may be slow. */
#ifndef TARE_CLIENT_FILES_H
#define TARE_CLIENT_FILES_H

#include "base/buf.h"
#include "client/manager.h"
#include "client/run.h"

/* Payloads of the entries, packed by the caller. 0, or an error with last_error set. */
int files_pack_save(struct buf *b, const char *path, const char *name, enum tare_policy policy);
int files_pack_artifact(struct buf *b, const struct tare_artifact *artifact);

/* Courier: do what a payload says. */
void files_save(struct manager *m, struct tare_run *run, const char *payload, size_t n);
void files_artifact(struct manager *m, struct tare_run *run, const char *payload, size_t n);

#endif
