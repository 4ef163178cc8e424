/* SPDX-License-Identifier: MIT */
#include "cli/writers.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRESH_NS ((int64_t)2 * 1000000000)

/* What the last look at /proc found. */
static struct {
    struct {
        dev_t dev;
        ino_t ino;
    } * at;
    size_t n;
    int64_t looked_ns;
    bool looked;
} open_files;

static bool is_locked(const char *journal)
{
    int fd = open(journal, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool locked = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    close(fd);
    return locked;
}

/* Open for writing, by /proc/PID/fdinfo/FD: "flags:\t0100002". */
static bool is_for_writing(const char *process, const char *fd)
{
    char path[600], line[80];
    unsigned flags = 0;
    snprintf(path, sizeof path, "/proc/%s/fdinfo/%s", process, fd);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "flags: %o", &flags) == 1)
            break;
    if (f)
        fclose(f);
    return (flags & O_ACCMODE) != O_RDONLY;
}

static void note(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return;
    open_files.at = xmem_realloc(open_files.at, (open_files.n + 1) * sizeof *open_files.at);
    open_files.at[open_files.n].dev = st.st_dev;
    open_files.at[open_files.n++].ino = st.st_ino;
}

static void look_at_process(const char *process)
{
    char path[600], target[4096];
    snprintf(path, sizeof path, "/proc/%s/fd", process);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%s/fd/%s", process, e->d_name);
        ssize_t n = readlink(path, target, sizeof target);
        if (n > 0 && str_ends(str_make(target, (size_t)n), STR(".wandb")) &&
            is_for_writing(process, e->d_name))
            note(path);
    }
    if (d)
        closedir(d);
}

static void look(void)
{
    DIR *d = opendir("/proc");
    open_files.n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
            look_at_process(e->d_name);
    if (d)
        closedir(d);
    open_files.looked = true;
    open_files.looked_ns = clock_mono_ns();
}

bool writers_hold(const char *journal)
{
    struct stat st;
    if (is_locked(journal))
        return true;
    if (stat(journal, &st) < 0)
        return false;
    if (!open_files.looked || clock_mono_ns() - open_files.looked_ns > FRESH_NS)
        look();
    for (size_t i = 0; i < open_files.n; i++)
        if (open_files.at[i].dev == st.st_dev && open_files.at[i].ino == st.st_ino)
            return true;
    return false;
}
