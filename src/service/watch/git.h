/* SPDX-License-Identifier: MIT */
/* What a run's program differs in from its repository, as patch files.
 *
 * The work is done by libgit2 in the module tare-uplink.so, which is loaded by the first call:
 * from $TARE_UPLINK if that is set, else from beside the program, else from the library folder.
 * Blocks: for worker threads. */
#ifndef TARE_SERVICE_WATCH_GIT_H
#define TARE_SERVICE_WATCH_GIT_H

#include "base/buf.h"

#include <stdbool.h>

/* Write files_dir/diff.patch (against HEAD) and files_dir/diff_COMMIT.patch (against upstream; with
 * `fork_point` against the last commit in common with it), each only if there is a difference, and
 * append the names of those written to `names`, each with a NUL.
 * Expected: TARE_ENOTFOUND     no repository, or no commit in it
 *           TARE_EUNSUPPORTED  the module cannot be loaded (said once) */
int git_save_patches(const char *root, const char *files_dir, bool fork_point, struct buf *names);

#endif
