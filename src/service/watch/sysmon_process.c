/* SPDX-License-Identifier: MIT */
/* Processes and their control groups (version 2), from /proc and wherever the groups are mounted.
 * A process may end between any two reads: what cannot be read is left out. */
#include "service/watch/sysmon.h"
#include "service/watch/sysmon_file.h"

#include "base/alloc.h"
#include "base/os.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- processes ---- */

/* "PID (NAME) STATE PPID ...": the name may hold anything, so it ends at the last parenthesis. */
static bool parse_stat(const char *text, struct sysmon_stat *to)
{
    enum { PARENT = 4, USER = 14, KERNEL = 15, THREADS = 20, RSS = 24 };
    uint64_t v[RSS + 1] = {0};
    const char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || !at[2] || at[3] != ' ')
        return false;
    at += 4;
    for (int i = PARENT; i <= RSS; i++) {
        const char *first = at += *at == '-'; /* some are negative; none of ours is */
        for (; *at >= '0' && *at <= '9'; at++)
            v[i] = v[i] * 10 + (uint64_t)(*at - '0');
        if (at == first || (*at != ' ' && *at != '\n' && *at))
            return false;
        at += *at == ' ';
    }
    to->parent = (int32_t)v[PARENT];
    to->ticks = v[USER] + v[KERNEL];
    to->threads = v[THREADS];
    to->rss_pages = v[RSS];
    return true;
}

/* A process that is gone may have given its number to another. */
bool sysmon_read_stat(struct sysmon_stat *to, int32_t pid, int *fd)
{
    char text[1024], path[PATH_MAX];
    ssize_t n = fd && *fd >= 0 ? os->pread(*fd, text, sizeof text - 1, 0) : 0;
    if (n <= 0) {
        sysmon_close_process(fd);
        snprintf(path, sizeof path, "%.2048s/proc/%d/stat", sysmon_root(), pid);
        int opened = os->open(path, O_RDONLY, 0);
        n = opened < 0 ? 0 : os->pread(opened, text, sizeof text - 1, 0);
        if (opened >= 0 && fd && n > 0)
            *fd = opened;
        else if (opened >= 0)
            os->close(opened);
    }
    text[n > 0 ? n : 0] = 0;
    return parse_stat(text, to);
}

void sysmon_close_process(int *fd)
{
    if (fd && *fd >= 0)
        os->close(*fd);
    if (fd)
        *fd = -1;
}

void sysmon_add_stat(struct sysmon_process *to, const struct sysmon_stat *stat)
{
    to->rss_bytes += stat->rss_pages * (uint64_t)sysconf(_SC_PAGESIZE);
    to->threads += stat->threads;
    to->cpu_s += (double)stat->ticks / (double)sysconf(_SC_CLK_TCK);
}

void sysmon_read_process(struct sysmon_process *to, int32_t pid, int *fd)
{
    struct sysmon_stat stat;
    *to = (struct sysmon_process){.found = sysmon_read_stat(&stat, pid, fd)};
    if (to->found)
        sysmon_add_stat(to, &stat);
}

/* ---- control groups ---- */

/* The number after `name` and a blank at the start of a line. */
static bool value_of(const char *text, const char *name, uint64_t *v)
{
    size_t n = strlen(name);
    for (const char *at = text; at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
        if (strncmp(at, name, n) != 0 || at[n] != ' ')
            continue;
        *v = strtoull(at + n + 1, NULL, 10);
        return true;
    }
    return false;
}

static double allowed_cpus(int32_t pid, uint32_t n_logical)
{
    char text[8192];
    if (!sysmon_read_text(text, sizeof text, "/proc/%d/status", pid))
        return 0;
    char *at = strstr(text, "Cpus_allowed_list:");
    double n = 0;
    for (at = at ? at + 18 : NULL; at && *at && *at != '\n'; at++) {
        char *end;
        long first = strtol(at, &end, 10), last = first;
        if (end == at)
            break;
        if (*end == '-')
            last = strtol(end + 1, &end, 10);
        n += last >= first ? (double)(last - first + 1) : 0;
        at = end;
        if (*at != ',')
            break;
    }
    return n < (double)n_logical ? n : 0;
}

/* The path of the process in the hierarchy. */
static bool group_of(int32_t pid, char *to, size_t size)
{
    char text[4096], *rest = text;
    sysmon_read_text(text, sizeof text, "/proc/%d/cgroup", pid);
    for (char *line; (line = sysmon_next_line(&rest));)
        if (strncmp(line, "0::/", 4) == 0)
            return snprintf(to, size, "%s", line + 3) < (int)size;
    return false;
}

/* Where the hierarchy, or the part of it below `top`, is mounted. */
static bool group_mount(int32_t pid, char *top, char *mount, size_t size)
{
    static const size_t max = 1 << 18;
    char *text = xmem_alloc(max), *rest = text;
    bool found = false;
    sysmon_read_text(text, max, "/proc/%d/mountinfo", pid);
    for (char *line; !found && (line = sysmon_next_line(&rest));)
        found = strstr(line, " - cgroup2 ") && size >= 512 &&
                sscanf(line, "%*u %*u %*s %511s %511s", top, mount) == 2;
    mem_free(text);
    return found;
}

/* A bind mount shows a part of the hierarchy: what leads to it is not in the path there. */
static bool find_dir(int32_t pid, char dir[SYSMON_GROUP_MAX])
{
    char path[512], top[512], mount[512];
    if (!group_of(pid, path, sizeof path) || !group_mount(pid, top, mount, sizeof top))
        return false;
    size_t n = strlen(top);
    while (n > 0 && top[n - 1] == '/')
        n--;
    bool below = n > 0 && strncmp(path, top, n) == 0 && (path[n] == '/' || path[n] == 0);
    const char *rest = below ? path + n : path;
    return snprintf(dir, SYSMON_GROUP_MAX, "%s%s", mount, strcmp(rest, "/") == 0 ? "" : rest) <
           SYSMON_GROUP_MAX;
}

void sysmon_find_group(struct sysmon_group *g, int32_t pid, uint32_t n_logical)
{
    char text[256];
    unsigned long long quota, period;
    *g = (struct sysmon_group){0};
    if (!find_dir(pid, g->dir))
        return;
    double allowed = allowed_cpus(pid, n_logical);
    if (sysmon_read_text(text, sizeof text, "%s/cpu.max", g->dir) &&
        sscanf(text, "%llu %llu", &quota, &period) == 2 && quota > 0 && period > 0) {
        g->has_quota = true;
        g->cpus = (double)quota / (double)period;
    }
    if (allowed > 0 && (!g->has_quota || allowed < g->cpus))
        g->cpus = allowed;
    if (sysmon_read_text(text, sizeof text, "%s/memory.max", g->dir))
        g->memory_bytes = strtoull(text, NULL, 10); /* "max" is 0: no limit */
    g->is_limited = g->memory_bytes > 0 || g->cpus > 0;
}

void sysmon_read_group(struct sysmon_usage *to, const struct sysmon_group *g)
{
    char text[8192];
    *to = (struct sysmon_usage){0};
    if (!g->is_limited)
        return;
    if (g->memory_bytes > 0 && sysmon_read_text(text, sizeof text, "%s/memory.current", g->dir)) {
        to->has_memory = true;
        to->memory_bytes = strtoull(text, NULL, 10);
    }
    if (g->has_quota && sysmon_read_text(text, sizeof text, "%s/cpu.stat", g->dir))
        to->has_throttling = value_of(text, "nr_periods", &to->periods) &&
                             value_of(text, "nr_throttled", &to->throttled);
    if (sysmon_read_text(text, sizeof text, "%s/memory.events", g->dir))
        to->has_oom_kills = value_of(text, "oom_kill", &to->oom_kills);
}
