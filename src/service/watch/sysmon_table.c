/* SPDX-License-Identifier: MIT */
/* Which processes there are, and which are below another.
 *
 * All of /proc is listed, and each process read, once in SYSMON_ALL_NS: for thousands that costs more than all
 * else. Between that two things are made use of:
 *
 * - The kernel gives numbers in rising order and tells the last one (/proc/sys/kernel/ns_last_pid). So the new
 *   processes are those with higher numbers than it told at the look before the last (one that had just got its
 *   number at the last was not listed yet). They alone are listed, from the place on that their numbers have in
 *   the directory: in /proc that is the number and a constant. Where it is not, where the kernel tells no number, or
 *   where it began anew with low ones, all are listed.
 * - When a process ends, its children go to a process above it or out of its tree. So all that are below a process now
 *   were so before, or are new. These are read anyway, which tells who is gone and who has another parent. */
#include "service/watch/sysmon.h"
#include "service/watch/sysmon_file.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOT_YET = -2, UNKNOWN = -1, LIST_BYTES = 32768, LIST_BYTES_NEW = 512 };

/* ---- entries, sorted by number ---- */

/* Where it is, or is to be. */
static int place_of(const struct sysmon_table *t, int32_t pid)
{
    int low = 0, high = t->n;
    if (t->n > 0 && t->entry[t->n - 1].pid < pid)
        return t->n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (t->entry[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct sysmon_entry *find_entry(const struct sysmon_table *t, int32_t pid)
{
    int at = place_of(t, pid);
    return at < t->n && t->entry[at].pid == pid ? &t->entry[at] : NULL;
}

static struct sysmon_entry *find_or_add(struct sysmon_table *t, int32_t pid)
{
    int at = place_of(t, pid);
    if (at < t->n && t->entry[at].pid == pid)
        return &t->entry[at];
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->entry = xmem_realloc(t->entry, (size_t)t->cap * sizeof *t->entry);
    }
    struct sysmon_entry *e = &t->entry[at];
    memmove(e + 1, e, (size_t)(t->n - at) * sizeof *e);
    *e = (struct sysmon_entry){.pid = pid, .fd = -1};
    t->n++;
    return e;
}

static void close_entry(struct sysmon_table *t, struct sysmon_entry *e)
{
    t->n_open -= e->fd >= 0;
    sysmon_close_process(&e->fd);
}

static void remove_entry(struct sysmon_table *t, struct sysmon_entry *e)
{
    close_entry(t, e);
    t->n--;
    memmove(e, e + 1, (size_t)(&t->entry[t->n] - e) * sizeof *e);
}

/* Once in a look. False if it is gone. `again` where it will be read in the next looks, too. */
static bool read_entry(struct sysmon_table *t, struct sysmon_entry *e, bool again)
{
    if (e->look == t->look)
        return !e->is_gone;
    bool keep = e->fd >= 0 || (again && t->n_open < SYSMON_MAX_OPEN && sysmon_may_keep());
    t->n_open -= e->fd >= 0;
    e->look = t->look;
    e->is_gone = !sysmon_read_stat(&e->stat, e->pid, keep ? &e->fd : NULL);
    t->n_open += e->fd >= 0;
    if (e->is_gone)
        close_entry(t, e);
    return !e->is_gone;
}

void sysmon_table_close(struct sysmon_table *t)
{
    for (int i = 0; i < t->n && t->n_open > 0; i++)
        close_entry(t, &t->entry[i]);
}

static void forget_all(struct sysmon_table *t)
{
    sysmon_table_close(t);
    t->n = 0;
    t->all_ns = 0;
}

void sysmon_table_fini(struct sysmon_table *t)
{
    forget_all(t);
    mem_free(t->entry);
    *t = (struct sysmon_table){0};
}

/* ---- which there are ---- */

/* The last number that the kernel gave to a process or thread; 0 if it does not tell. */
static int32_t last_number(void)
{
    char text[32];
    return sysmon_read_text(text, sizeof text, "/proc/sys/kernel/ns_last_pid") ? (int32_t)strtol(text, NULL, 10) : 0;
}

/* That number is of our own namespace; /proc may show another's. */
static bool is_ours(void)
{
    char path[PATH_MAX], text[32];
    snprintf(path, sizeof path, "%.2048s/proc/self", sysmon_root());
    ssize_t n = readlink(path, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    return strtol(text, NULL, 10) == getpid();
}

/* One that is listed at `place`; numbers up to `seen` were not given since the last look. The places of two listed one
 * after the other tell what the table's base is. */
static void take_listed(struct sysmon_table *t, int32_t pid, int32_t seen, long place, bool *is_first)
{
    if (!*is_first && t->base == NOT_YET)
        t->base = place - pid;
    if (!*is_first && t->base != place - pid)
        t->base = UNKNOWN;
    *is_first = false;
    struct sysmon_entry *e = find_or_add(t, pid);
    bool is_known = e->look != 0 && !e->is_gone && pid <= seen;
    if (!is_known && !read_entry(t, e, false))
        remove_entry(t, e);
}

/* Take the processes that the open directory lists from `place` on, up to the number `last`, `size` bytes a call. */
static void list_from(struct sysmon_table *t, int fd, long place, int32_t seen, int32_t last, size_t size)
{
    _Alignas(struct dirent64) char bytes[LIST_BYTES];
    bool is_first = true;
    for (ssize_t n; (n = getdents64(fd, bytes, size)) > 0;) {
        const struct dirent64 *e;
        for (ssize_t at = 0; at < n; at += e->d_reclen) {
            e = (const struct dirent64 *)(bytes + at);
            int32_t pid = (int32_t)strtol(e->d_name, NULL, 10);
            if (pid > last || t->n >= SYSMON_MAX_PROCESSES)
                return;
            if (pid > 0)
                take_listed(t, pid, seen, place, &is_first);
            place = (long)e->d_off;
        }
    }
}

static void list_all(struct sysmon_table *t, int fd)
{
    forget_all(t);
    t->all_ns = clock_mono_ns();
    t->base = NOT_YET;
    list_from(t, fd, 0, 0, INT32_MAX, LIST_BYTES);
    if (t->base == NOT_YET || !is_ours())
        t->base = UNKNOWN;
    t->n_all = t->n;
}

/* Those with numbers above `above`; false if that cannot be told. */
static bool list_new(struct sysmon_table *t, int fd, int32_t above, int32_t seen, int32_t last)
{
    long place = t->base + above + 1;
    if (lseek(fd, place, SEEK_SET) != place)
        return false;
    list_from(t, fd, place, seen, last, LIST_BYTES_NEW);
    return t->base != UNKNOWN && t->n <= t->n_all + SYSMON_MANY_NEW;
}

static void list_processes(struct sysmon_table *t)
{
    char path[PATH_MAX];
    int32_t above = t->before, seen = t->last, last = last_number();
    bool all = t->all_ns == 0 || clock_mono_ns() - t->all_ns > SYSMON_ALL_NS || t->base == UNKNOWN || above <= 0 ||
               last < seen || seen < above;
    t->before = seen;
    t->last = last;
    if (!all && last == above)
        return;
    snprintf(path, sizeof path, "%.2048s/proc", sysmon_root());
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && !all && !list_new(t, fd, above, seen, last))
        all = lseek(fd, 0, SEEK_SET) == 0;
    if (fd >= 0 && all)
        list_all(t, fd);
    if (fd >= 0)
        close(fd);
}

/* ---- looks ---- */

void sysmon_table_look(struct sysmon_table *t)
{
    if (t->n > t->n_all + 2 * SYSMON_MANY_NEW)
        forget_all(t);
    t->look++;
}

static bool holds(const int32_t *pids, int n, int32_t pid)
{
    for (int i = 0; i < n; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

/* The numbers of the process and of all that are below it, as far as that is known. How many. Parents are not always
 * before their children: take one after the other as a parent. */
static int find_below(const struct sysmon_table *t, int32_t pid, int32_t pids[SYSMON_MAX_TREE])
{
    int n = 0;
    pids[n++] = pid;
    for (int at = 0; at < n; at++)
        for (int i = 0; i < t->n && n < SYSMON_MAX_TREE; i++)
            if (t->entry[i].stat.parent == pids[at] && !t->entry[i].is_gone && !holds(pids, n, t->entry[i].pid))
                pids[n++] = t->entry[i].pid;
    return n;
}

/* Whether one of them is gone or has another parent. */
static bool read_them(struct sysmon_table *t, const int32_t *pids, int n)
{
    bool changed = false;
    for (int i = 0; i < n; i++) {
        struct sysmon_entry *e = find_entry(t, pids[i]);
        if (!e || e->look == t->look)
            continue;
        int32_t parent = e->stat.parent;
        changed |= !read_entry(t, e, true) || e->stat.parent != parent;
    }
    return changed;
}

void sysmon_read_tree(struct sysmon_process *to, struct sysmon_table *t, int32_t pid)
{
    int32_t pids[SYSMON_MAX_TREE];
    int n;
    if (t->listed != t->look)
        list_processes(t);
    t->listed = t->look;
    do
        n = find_below(t, pid, pids);
    while (read_them(t, pids, n));
    *to = (struct sysmon_process){0};
    for (int i = 0; i < n; i++) {
        const struct sysmon_entry *e = find_entry(t, pids[i]);
        if (!e || e->is_gone)
            continue;
        to->found |= i == 0;
        sysmon_add_stat(to, &e->stat);
    }
}

bool sysmon_is_below(struct sysmon_table *t, int32_t pid, int32_t top)
{
    for (int depth = 0; pid > 0 && depth < SYSMON_MAX_TREE; depth++) {
        if (pid == top)
            return true;
        struct sysmon_entry *e = find_or_add(t, pid);
        if (!read_entry(t, e, true))
            return false;
        pid = e->stat.parent;
    }
    return false;
}
