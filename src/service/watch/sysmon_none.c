/* SPDX-License-Identifier: MIT */
/* Where we do not know how to ask: disks by path are all there is. */
#include "service/watch/gpu.h"
#include "service/watch/sysmon.h"
#include "service/watch/sysmon_file.h"
#include "service/watch/tpu.h"
#include "service/watch/trainium.h"

void sysmon_read_host(struct sysmon_host *to)
{
    *to = (struct sysmon_host){0};
}

void sysmon_read_process(struct sysmon_process *to, int32_t pid, int *fd)
{
    *to = (struct sysmon_process){0};
}

void sysmon_close_process(int *fd)
{
}

void sysmon_find_group(struct sysmon_group *g, int32_t pid, uint32_t n_logical)
{
    *g = (struct sysmon_group){0};
}

void sysmon_read_group(struct sysmon_usage *to, const struct sysmon_group *g)
{
    *to = (struct sysmon_usage){0};
}

void sysmon_table_look(struct sysmon_table *t)
{
}

void sysmon_read_tree(struct sysmon_process *to, struct sysmon_table *t, int32_t pid)
{
    *to = (struct sysmon_process){0};
}

bool sysmon_is_below(struct sysmon_table *t, int32_t pid, int32_t top)
{
    return pid == top;
}

void sysmon_table_close(struct sysmon_table *t)
{
}

void sysmon_table_fini(struct sysmon_table *t)
{
}

bool sysmon_may_keep(void)
{
    return false;
}

enum sysmon_place sysmon_device_of(const char *path, char name[SYSMON_NAME_MAX])
{
    return SYSMON_NOWHERE;
}

bool gpu_may_be(void)
{
    return false;
}

bool gpu_read(struct gpu_reading *to, int64_t wait_ns)
{
    return false;
}

void gpu_enable_dcgm(void)
{
}

void gpu_put_facts(struct buf *to, const struct gpu_reading *r)
{
}

void tpu_read(struct buf *items, int64_t wait_ns)
{
}

void tpu_put_facts(struct buf *to)
{
}

void trainium_ask(struct str settings)
{
}

void trainium_read(int32_t pid, trainium_put *put, void *ctx)
{
}

void trainium_put_facts(struct buf *to, int64_t wait_ns)
{
}
