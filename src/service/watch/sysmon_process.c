/* SPDX-License-Identifier: MIT */
/* Processes and their control groups (version 2), from /proc and wherever the groups are mounted.
 * A process may end between any two reads: what cannot be read is left out. */
#include "service/watch/sysmon.h"
#include "service/watch/sysmon_file.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/os.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- processes ---- */

/* "PID (NAME) STATE PPID ...": the name may hold anything, so it ends at the last parenthesis. */
static bool parse_stat(const char *text, int32_t pid, struct sysmon_entry *to)
{
    enum { STATE = 3, PARENT = 4, USER = 14, KERNEL = 15, THREADS = 20, RSS = 24 };
    unsigned long long v[RSS + 1] = {0};
    const char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || !at[2])
        return false;
    at += 3;
    for (int i = STATE + 1; i <= RSS; i++) {
        char *end;
        v[i] = strtoull(at, &end, 10); /* some are negative; none of ours is */
        if (end == at)
            return false;
        at = end;
    }
    to->pid = pid;
    to->parent = (int32_t)v[PARENT];
    to->ticks = v[USER] + v[KERNEL];
    to->threads = v[THREADS];
    to->rss_pages = v[RSS];
    return true;
}

/* Where `fd` is not NULL the file is kept open there between calls; -1: it is not open yet. A process that is
 * gone may have given its number to another. */
static bool read_stat(int32_t pid, int *fd, struct sysmon_entry *to)
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
    return parse_stat(text, pid, to);
}

void sysmon_close_process(int *fd)
{
    if (fd && *fd >= 0)
        os->close(*fd);
    if (fd)
        *fd = -1;
}

/* ---- the table ---- */

static int compare_entries(const void *a, const void *b)
{
    int32_t x = ((const struct sysmon_entry *)a)->pid, y = ((const struct sysmon_entry *)b)->pid;
    return (x > y) - (x < y);
}

static struct sysmon_entry *find_entry(struct sysmon_entry *all, int n, int32_t pid)
{
    struct sysmon_entry key = {.pid = pid};
    return n > 0 ? bsearch(&key, all, (size_t)n, sizeof *all, compare_entries) : NULL;
}

static struct sysmon_entry *add_entry(struct sysmon_table *t)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->entry = xmem_realloc(t->entry, (size_t)t->cap * sizeof *t->entry);
    }
    return &t->entry[t->n];
}

/* What was known of the processes is `before`. */
static void turn_over(struct sysmon_table *t)
{
    struct sysmon_entry *entry = t->before;
    int cap = t->cap_before;
    t->before = t->entry;
    t->cap_before = t->cap;
    t->n_before = t->n;
    t->entry = entry;
    t->cap = cap;
    t->n = 0;
}

static void list_processes(struct sysmon_table *t)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.2048s/proc", sysmon_root());
    DIR *d = opendir(path);
    bool is_sorted = true;
    for (struct dirent *e; d && t->n < SYSMON_MAX_PROCESSES && (e = readdir(d));) {
        int32_t pid = (int32_t)strtol(e->d_name, NULL, 10);
        if (pid <= 0)
            continue;
        struct sysmon_entry *to = add_entry(t), *known = find_entry(t->before, t->n_before, pid);
        if (known)
            *to = *known;
        to->is_fresh = !known && read_stat(pid, NULL, to);
        if (!known && !to->is_fresh)
            continue;
        is_sorted &= t->n == 0 || t->entry[t->n - 1].pid < pid;
        t->n++;
    }
    if (d)
        closedir(d);
    if (!is_sorted && t->n > 0)
        qsort(t->entry, (size_t)t->n, sizeof *t->entry, compare_entries);
}

/* Those that knew of a parent that is gone have another now. */
static void follow_orphans(struct sysmon_table *t)
{
    for (int i = 0; i < t->n; i++) {
        struct sysmon_entry *e = &t->entry[i];
        if (e->is_fresh || e->parent == 0 || find_entry(t->entry, t->n, e->parent))
            continue;
        e->is_fresh = read_stat(e->pid, NULL, e);
    }
}

void sysmon_read_table(struct sysmon_table *t)
{
    int64_t now_ns = clock_mono_ns();
    turn_over(t);
    if (t->all_ns == 0 || now_ns - t->all_ns > SYSMON_ALL_NS) {
        t->all_ns = now_ns;
        t->n_before = 0;
    }
    list_processes(t);
    follow_orphans(t);
}

void sysmon_table_fini(struct sysmon_table *t)
{
    mem_free(t->entry);
    mem_free(t->before);
    *t = (struct sysmon_table){0};
}

static bool holds(const int32_t *pids, int n, int32_t pid)
{
    for (int i = 0; i < n; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

/* Parents are not always listed before their children: take one after the other as a parent. */
int sysmon_descendants(const struct sysmon_table *t, int32_t pid, int32_t *pids, int max)
{
    int n = 0;
    pids[n++] = pid;
    for (int at = 0; at < n; at++)
        for (int i = 0; i < t->n && n < max; i++)
            if (t->entry[i].parent == pids[at] && !holds(pids, n, t->entry[i].pid))
                pids[n++] = t->entry[i].pid;
    return n;
}

static void add(struct sysmon_process *to, const struct sysmon_entry *e)
{
    to->rss_bytes += e->rss_pages * (uint64_t)sysconf(_SC_PAGESIZE);
    to->threads += e->threads;
    to->cpu_s += (double)e->ticks / (double)sysconf(_SC_CLK_TCK);
}

void sysmon_read_process(struct sysmon_process *to, int32_t pid, int *fd)
{
    struct sysmon_entry e;
    *to = (struct sysmon_process){.found = read_stat(pid, fd, &e)};
    if (to->found)
        add(to, &e);
}

void sysmon_sum_tree(struct sysmon_process *to, struct sysmon_table *t, const int32_t *pids, int n)
{
    *to = (struct sysmon_process){0};
    for (int i = 0; i < n; i++) {
        struct sysmon_entry *e = find_entry(t->entry, t->n, pids[i]);
        if (!e || (!e->is_fresh && !(e->is_fresh = read_stat(e->pid, NULL, e))))
            continue;
        to->found |= i == 0;
        add(to, e);
    }
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
