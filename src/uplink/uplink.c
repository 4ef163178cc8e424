/* SPDX-License-Identifier: MIT */
#include "uplink/uplink.h"

#include "uplink/git.h"

__attribute__((visibility("default"))) const struct uplink *tare_uplink(void)
{
    static const struct uplink uplink = {
        .version = UPLINK_VERSION,
        .git_diff = uplink_git_diff,
        .git_upstream = uplink_git_upstream,
    };
    return &uplink;
}
