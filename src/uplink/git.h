/* SPDX-License-Identifier: MIT */
/* The two questions about a repository: see uplink.h. */
#ifndef TARE_UPLINK_GIT_H
#define TARE_UPLINK_GIT_H

#include "uplink/uplink.h"

int uplink_git_diff(const char *root, const char *revision,
                    int (*write)(void *ctx, const char *bytes, size_t n), void *ctx, char *why,
                    size_t why_size);
int uplink_git_upstream(const char *root, bool fork_point, char sha[UPLINK_SHA_LEN + 1], char *why,
                        size_t why_size);

#endif
