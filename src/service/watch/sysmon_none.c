/* SPDX-License-Identifier: MIT */
/* Where we do not know how to ask: disks by path are all there is. */
#include "service/watch/sysmon.h"

void sysmon_read_host(struct sysmon_host *to)
{
    *to = (struct sysmon_host){0};
}

void sysmon_read_process(struct sysmon_process *to, int32_t pid, bool tree)
{
    *to = (struct sysmon_process){0};
}

void sysmon_read_limits(struct sysmon_limits *to, int32_t pid)
{
    *to = (struct sysmon_limits){0};
}

bool sysmon_device_of(const char *path, char name[SYSMON_NAME_MAX])
{
    return false;
}
