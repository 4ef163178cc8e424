/* SPDX-License-Identifier: MIT */
#include "service/watch/place.h"

#include "service/watch/source.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static struct known {
    struct source source;
    char path[PLACE_MAX_PATH];
} known[PLACE_MAX];

static int n_known;

/* ---- on the threads ---- */

static void add_device(struct place *p, const char *path)
{
    char name[SYSMON_NAME_MAX];
    enum sysmon_place kind = sysmon_device_of(path, name);
    bool is_new = kind == SYSMON_DEVICE;
    p->has_unknown |= kind == SYSMON_UNKNOWN;
    for (int i = 0; i < p->n_devices && is_new; i++)
        is_new = strcmp(p->device[i], name) != 0;
    if (is_new && p->n_devices < PLACE_MAX_DEVICES)
        memcpy(p->device[p->n_devices++], name, sizeof name);
}

static void add_devices(struct place *p, char *real)
{
    add_device(p, "/");
    for (char *end = real; end && real[1];) {
        end = strchr(end + 1, '/');
        if (end)
            *end = 0;
        add_device(p, real);
        if (end)
            *end = '/';
    }
}

static void look(struct source *s, void *reading)
{
    const struct known *k = (struct known *)((char *)s - offsetof(struct known, source));
    struct place *p = reading;
    char *real = realpath(k->path, NULL);
    *p = (struct place){.has_usage = false};
    if (real)
        add_devices(p, real);
    free(real);
    p->has_usage = statvfs(k->path, &p->usage) == 0;
}

/* ---- who asks: with the lock ---- */

/* Its own, or that of a path that nobody has asked for in a while; NULL if there is none. */
static struct known *known_of(const char *path)
{
    struct known *k = NULL;
    for (int i = 0; i < n_known; i++) {
        if (strcmp(known[i].path, path) == 0)
            return &known[i];
        if (known[i].source.state == SOURCE_NEW)
            k = &known[i];
    }
    if (!k && n_known < PLACE_MAX)
        k = &known[n_known++];
    if (!k || strlen(path) >= sizeof k->path)
        return NULL;
    strcpy(k->path, path);
    source_reuse(&k->source);
    k->source.read = look;
    k->source.size = sizeof(struct place);
    k->source.leaves = true;
    return k;
}

void place_ask(const char *path)
{
    sources_lock();
    struct known *k = known_of(path);
    if (k)
        source_ask(&k->source);
    sources_unlock();
}

bool place_read(struct place *to, const char *path, int64_t wait_ns)
{
    const struct place *last = NULL;
    sources_lock();
    struct known *k = known_of(path);
    if (k) {
        source_ask(&k->source);
        source_wait(&k->source, wait_ns);
        last = source_is_fresh(&k->source, wait_ns) ? source_last(&k->source) : NULL;
    }
    if (last)
        *to = *last;
    sources_unlock();
    return last != NULL;
}
