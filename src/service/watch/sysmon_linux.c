/* SPDX-License-Identifier: MIT */
/* /proc and /sys. A file that is missing or looks otherwise leaves its figures out. */
#include "service/watch/sysmon.h"

#include "base/os.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The first `size` - 1 bytes of a file, NUL-terminated; false if there are none. */
static bool read_text(const char *path, char *to, size_t size)
{
    int fd = os->open(path, O_RDONLY, 0);
    size_t n = 0;
    while (fd >= 0 && n < size - 1) {
        ssize_t got = os->read(fd, to + n, size - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    if (fd >= 0)
        os->close(fd);
    to[n] = 0;
    return n > 0;
}

/* Cut the next line off *rest; NULL at the end. */
static char *next_line(char **rest)
{
    char *line = *rest;
    if (!*line)
        return NULL;
    char *end = strchr(line, '\n');
    *rest = end ? end + 1 : line + strlen(line);
    if (end)
        *end = 0;
    return line;
}

/* The number in the line that begins with `name`. */
static uint64_t number_after(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* ---- the machine ---- */

static void read_memory(struct sysmon_host *h)
{
    char text[4096];
    if (!read_text("/proc/meminfo", text, sizeof text))
        return;
    h->memory_total = number_after(text, "MemTotal:") * 1024;
    h->memory_available = number_after(text, "MemAvailable:") * 1024;
}

/* Loopback, and what is part of a bond or bridge that is counted itself. */
static bool is_counted(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/class/net/%.64s/master", name);
    return strncmp(name, "lo", 2) != 0 && access(path, F_OK) != 0;
}

static void read_network(struct sysmon_host *h)
{
    char text[32768], *rest = text;
    if (!read_text("/proc/net/dev", text, sizeof text))
        return;
    h->has_network = true;
    for (char *line; (line = next_line(&rest));) {
        char name[64];
        unsigned long long received, sent;
        if (sscanf(line, " %63[^:]: %llu %*u %*u %*u %*u %*u %*u %*u %llu", name, &received, &sent) == 3 &&
            is_counted(name)) {
            h->received += received;
            h->sent += sent;
        }
    }
}

/* Two lines "Tcp: NAMES", "Tcp: VALUES". */
static void read_retransmits(struct sysmon_host *h)
{
    char text[8192];
    if (!read_text("/proc/net/snmp", text, sizeof text))
        return;
    char *names = strstr(text, "Tcp: "), *values = names ? strstr(names + 5, "\nTcp: ") : NULL;
    if (!values)
        return;
    *values++ = 0;
    char *name_rest, *value_rest;
    char *name = strtok_r(names, " ", &name_rest), *value = strtok_r(values, " \n", &value_rest);
    while (name && value && strcmp(name, "RetransSegs") != 0) {
        name = strtok_r(NULL, " ", &name_rest);
        value = strtok_r(NULL, " \n", &value_rest);
    }
    if (name && value) {
        h->has_retransmits = true;
        h->retransmits = strtoull(value, NULL, 10);
    }
}

static void read_devices(struct sysmon_host *h)
{
    char text[65536], *rest = text;
    if (!read_text("/proc/diskstats", text, sizeof text))
        return;
    for (char *line; (line = next_line(&rest)) && h->n_devices < SYSMON_MAX_DEVICES;) {
        struct sysmon_device *d = &h->device[h->n_devices];
        unsigned long long reads, read_sectors, writes, written_sectors;
        char name[SYSMON_NAME_MAX];
        if (sscanf(line, " %*u %*u %47s %llu %*u %llu %*u %llu %*u %llu", name, &reads, &read_sectors,
                   &writes, &written_sectors) != 5 ||
            reads + writes == 0 || strncmp(name, "loop", 4) == 0 || strncmp(name, "ram", 3) == 0 ||
            strncmp(name, "zram", 4) == 0)
            continue;
        memcpy(d->name, name, sizeof name);
        d->read_bytes = read_sectors * 512;
        d->written_bytes = written_sectors * 512;
        h->n_devices++;
    }
}

void sysmon_read_host(struct sysmon_host *to)
{
    *to = (struct sysmon_host){0};
    read_memory(to);
    read_network(to);
    read_retransmits(to);
    read_devices(to);
}

bool sysmon_device_of(const char *path, char name[SYSMON_NAME_MAX])
{
    struct stat st;
    char link[64], target[512];
    if (stat(path, &st) != 0)
        return false;
    snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(st.st_dev), minor(st.st_dev));
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n <= 0)
        return false;
    target[n] = 0;
    const char *slash = strrchr(target, '/');
    const char *device = slash ? slash + 1 : target;
    size_t size = strlen(device) + 1;
    if (size > SYSMON_NAME_MAX)
        return false;
    memcpy(name, device, size);
    return true;
}

/* ---- processes ---- */

struct stat_line {
    int32_t parent;
    uint64_t ticks, threads, rss_pages;
};

/* "PID (NAME) STATE PPID ...": the name may hold anything, so it ends at the last parenthesis. */
static bool read_stat(int32_t pid, struct stat_line *to)
{
    char path[32], text[1024];
    unsigned long long user, kernel, threads, rss;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (!read_text(path, text, sizeof text))
        return false;
    const char *at = strrchr(text, ')');
    if (!at || sscanf(at + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %llu %*d %*u %*u %llu",
                      &to->parent, &user, &kernel, &threads, &rss) != 5)
        return false;
    to->ticks = user + kernel;
    to->threads = threads;
    to->rss_pages = rss;
    return true;
}

static void add_stat(struct sysmon_process *to, const struct stat_line *line)
{
    to->rss_bytes += line->rss_pages * (uint64_t)sysconf(_SC_PAGESIZE);
    to->threads += line->threads;
    to->cpu_s += (double)line->ticks / (double)sysconf(_SC_CLK_TCK);
}

enum { MAX_PROCESSES = 4096 };

struct process {
    int32_t pid;
    bool below;
    struct stat_line line;
};

static int list_processes(struct process *all)
{
    int n = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && n < MAX_PROCESSES && (e = readdir(d));) {
        int32_t pid = (int32_t)strtol(e->d_name, NULL, 10);
        if (pid > 0 && read_stat(pid, &all[n].line)) {
            all[n].pid = pid;
            all[n++].below = false;
        }
    }
    if (d)
        closedir(d);
    return n;
}

/* Parents are not always listed before their children: go round until nothing is added. */
static void add_descendants(struct sysmon_process *to, int32_t root)
{
    struct process *all = calloc(MAX_PROCESSES, sizeof *all);
    int n = all ? list_processes(all) : 0;
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < n; i++) {
            bool of_root = all[i].line.parent == root;
            for (int k = 0; k < n && !of_root && !all[i].below; k++)
                of_root = all[k].below && all[k].pid == all[i].line.parent;
            if (all[i].below || !of_root || all[i].pid == root)
                continue;
            all[i].below = more = true;
            add_stat(to, &all[i].line);
        }
    }
    free(all);
}

void sysmon_read_process(struct sysmon_process *to, int32_t pid, bool tree)
{
    struct stat_line line;
    *to = (struct sysmon_process){.found = read_stat(pid, &line)};
    if (!to->found)
        return;
    add_stat(to, &line);
    if (tree)
        add_descendants(to, pid);
}

/* ---- control groups (version 2, where it is usually mounted) ---- */

static bool read_group_file(const char *group, const char *name, char *to, size_t size)
{
    char path[1024];
    int n = snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", group, name);
    return n < (int)sizeof path && read_text(path, to, size);
}

static double allowed_cpus(int32_t pid)
{
    char path[32], text[8192];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    if (!read_text(path, text, sizeof text))
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
        n += (double)(last - first + 1);
        at = end;
        if (*at != ',')
            break;
    }
    return n < (double)sysconf(_SC_NPROCESSORS_ONLN) ? n : 0;
}

void sysmon_read_limits(struct sysmon_limits *to, int32_t pid)
{
    char path[32], text[1024], group[512] = "";
    *to = (struct sysmon_limits){.cpus = allowed_cpus(pid)};
    snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
    if (!read_text(path, text, sizeof text))
        return;
    const char *at = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!at || sscanf(strchr(at, ':') + 2, "%511[^\n]", group) != 1)
        return;
    if (strcmp(group, "/") == 0)
        group[0] = 0;
    unsigned long long quota, period;
    if (read_group_file(group, "cpu.max", text, sizeof text) &&
        sscanf(text, "%llu %llu", &quota, &period) == 2 && period > 0) {
        double cpus = (double)quota / (double)period;
        to->cpus = to->cpus > 0 && to->cpus < cpus ? to->cpus : cpus;
    }
    if (read_group_file(group, "memory.max", text, sizeof text) && text[0] != 'm')
        to->memory_bytes = strtoull(text, NULL, 10);
    if (to->memory_bytes > 0 && read_group_file(group, "memory.current", text, sizeof text))
        to->memory_used_bytes = strtoull(text, NULL, 10);
}
