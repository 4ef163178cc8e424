/* SPDX-License-Identifier: MIT */
/* The disks that the settings name. A network file system whose server is gone hangs whoever looks at it: each
 * path is a source of its own (watch/source.h), whose thread ends when no run asks for a while. */
#ifndef TARE_SERVICE_WATCH_PLACE_H
#define TARE_SERVICE_WATCH_PLACE_H

#include "service/watch/sysmon.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/statvfs.h>

enum { PLACE_MAX = 32 /* paths at a time */, PLACE_MAX_PATH = 512, PLACE_MAX_DEVICES = 16 };

/* What lies under a path. */
struct place {
    bool has_usage;
    struct statvfs usage;
    /* The devices of all file systems on the way to it, as the peer tells them. */
    bool has_unknown; /* one of them does not say on which it is */
    int n_devices;
    char device[PLACE_MAX_DEVICES][SYSMON_NAME_MAX];
};

/* Of several paths: ask for each before the first is waited for. Any thread. */
void place_ask(const char *path);
/* As it was a moment ago; false where that is not known `wait_ns` after it was asked. Any thread. */
bool place_read(struct place *to, const char *path, int64_t wait_ns);

#endif
