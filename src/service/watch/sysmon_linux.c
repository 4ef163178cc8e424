/* SPDX-License-Identifier: MIT */
/* The machine, from /proc and /sys. A file that is missing or looks otherwise leaves its figures
 * out. Processes and control groups: sysmon_process.c. */
#include "service/watch/sysmon.h"
#include "service/watch/sysmon_file.h"

#include "base/clock.h"
#include "base/os.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { SMALL_FILE = 1024, NAME_SIZE = 64, MAX_INTERFACES = 128 };
#define INTERFACES_NS (15LL * 1000000000)

static char root[PATH_MAX]; /* before "/proc" and "/sys"; empty but in tests */

static struct {
    int64_t asked_ns;
    int n;
    struct {
        char name[NAME_SIZE];
        bool is_part;
    } known[MAX_INTERFACES];
} interfaces; /* what is part of another seldom changes */

void sysmon_set_root(const char *path)
{
    snprintf(root, sizeof root, "%s", path);
    interfaces.asked_ns = 0;
}

const char *sysmon_root(void)
{
    return root;
}

bool sysmon_read_text(char *to, size_t size, const char *format, ...)
{
    char path[PATH_MAX];
    va_list args;
    int at = snprintf(path, sizeof path, "%s", root);
    va_start(args, format);
    int more = vsnprintf(path + at, sizeof path - (size_t)at, format, args);
    va_end(args);
    to[0] = 0;
    if (more < 0 || more >= (int)sizeof path - at)
        return false;
    int fd = os->open(path, O_RDONLY, 0);
    size_t n = 0;
    while (fd >= 0 && n < size - 1) {
        ssize_t got = os->read(fd, to + n, size - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
        if (size <= SMALL_FILE)
            break; /* such files come whole, or not at all */
    }
    if (fd >= 0)
        os->close(fd);
    to[n] = 0;
    return n > 0;
}

bool sysmon_may_keep(void)
{
    enum { MANY_DESCRIPTORS = 4096 };
    struct rlimit r;
    return !*root && getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur >= MANY_DESCRIPTORS;
}

char *sysmon_next_line(char **rest)
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
    char text[SMALL_FILE]; /* they are at its beginning */
    if (!sysmon_read_text(text, sizeof text, "/proc/meminfo"))
        return;
    h->memory_total = number_after(text, "MemTotal:") * 1024;
    h->memory_available = number_after(text, "MemAvailable:") * 1024;
}

/* `n` numbers from `at` on; where they end, NULL if they are not there. */
static char *read_numbers(char *at, uint64_t *v, int n)
{
    for (int i = 0; i < n; i++) {
        char *end;
        v[i] = strtoull(at, &end, 10);
        if (end == at)
            return NULL;
        at = end;
    }
    return at;
}

/* Loopback, and what is part of a bond or bridge that is counted itself. */
static bool is_part(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.2048s/sys/class/net/%.64s/master", root, name);
    return strncmp(name, "lo", 2) == 0 || access(path, F_OK) == 0;
}

static bool is_counted(const char *name, int64_t mono_ns)
{
    if (interfaces.asked_ns == 0 || mono_ns - interfaces.asked_ns > INTERFACES_NS) {
        interfaces.n = 0;
        interfaces.asked_ns = mono_ns;
    }
    for (int i = 0; i < interfaces.n; i++)
        if (strcmp(interfaces.known[i].name, name) == 0)
            return !interfaces.known[i].is_part;
    bool part = is_part(name);
    if (interfaces.n < MAX_INTERFACES) {
        interfaces.known[interfaces.n].is_part = part;
        strcpy(interfaces.known[interfaces.n++].name, name);
    }
    return !part;
}

/* "  eth0: RECEIVED ... SENT ...", bytes the first of eight each. */
static void read_network(struct sysmon_host *h)
{
    enum { RECEIVED, SENT = 8 };
    char text[32768], *rest = text;
    int64_t mono_ns = clock_mono_ns();
    if (!sysmon_read_text(text, sizeof text, "/proc/net/dev"))
        return;
    h->has_network = true;
    for (char *line; (line = sysmon_next_line(&rest));) {
        uint64_t v[SENT + 1];
        char *name = line + strspn(line, " "), *colon = strchr(name, ':');
        if (!colon || colon == name || colon - name >= NAME_SIZE || !read_numbers(colon + 1, v, SENT + 1))
            continue;
        *colon = 0;
        if (is_counted(name, mono_ns)) {
            h->received += v[RECEIVED];
            h->sent += v[SENT];
        }
    }
}

/* Two lines "Tcp: NAMES", "Tcp: VALUES". */
static void read_retransmits(struct sysmon_host *h)
{
    char text[8192];
    if (!sysmon_read_text(text, sizeof text, "/proc/net/snmp"))
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

static bool is_no_device(const char *name)
{
    return strncmp(name, "loop", 4) == 0 || strncmp(name, "ram", 3) == 0 || strncmp(name, "zram", 4) == 0;
}

/* "MAJOR MINOR NAME READS MERGED SECTORS MS WRITES MERGED SECTORS ..." */
static void read_devices(struct sysmon_host *h)
{
    enum { READS, READ_SECTORS = 2, WRITES = 4, WRITTEN_SECTORS = 6 };
    char text[65536], *rest = text;
    if (!sysmon_read_text(text, sizeof text, "/proc/diskstats"))
        return;
    for (char *line; (line = sysmon_next_line(&rest)) && h->n_devices < SYSMON_MAX_DEVICES;) {
        struct sysmon_device *d = &h->device[h->n_devices];
        uint64_t number[2], v[WRITTEN_SECTORS + 1];
        char *name = read_numbers(line, number, 2);
        if (!name)
            continue;
        name += strspn(name, " ");
        size_t n = strcspn(name, " ");
        if (n == 0 || n >= SYSMON_NAME_MAX || is_no_device(name) || !read_numbers(name + n, v, WRITTEN_SECTORS + 1) ||
            v[READS] + v[WRITES] == 0)
            continue;
        memcpy(d->name, name, n);
        d->name[n] = 0;
        d->read_bytes = v[READ_SECTORS] * 512;
        d->written_bytes = v[WRITTEN_SECTORS] * 512;
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

/* Mounts without a device of their own that the peer does not count as disks. */
static bool is_no_disk(const char *path)
{
    static const long kinds[] = {0x01021994 /* tmpfs */, 0x9fa0 /* proc */, 0x62656572 /* sysfs */,
                                 0x1cd1 /* devpts */, 0x63677270 /* cgroup2 */, 0x858458f6 /* ramfs */};
    struct statfs fs;
    if (statfs(path, &fs) != 0)
        return true;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if ((long)fs.f_type == kinds[i])
            return true;
    return false;
}

enum sysmon_place sysmon_device_of(const char *path, char name[SYSMON_NAME_MAX])
{
    struct stat st;
    char link[PATH_MAX], target[512];
    if (stat(path, &st) != 0 || is_no_disk(path))
        return SYSMON_NOWHERE;
    snprintf(link, sizeof link, "%.2048s/sys/dev/block/%u:%u", root, major(st.st_dev), minor(st.st_dev));
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n <= 0)
        return SYSMON_UNKNOWN;
    target[n] = 0;
    const char *slash = strrchr(target, '/');
    const char *device = slash ? slash + 1 : target;
    size_t size = strlen(device) + 1;
    if (size > SYSMON_NAME_MAX)
        return SYSMON_UNKNOWN;
    memcpy(name, device, size);
    return SYSMON_DEVICE;
}
