/* SPDX-License-Identifier: MIT */
/* What becomes of an artifact's files once it is there: into the cache (CLEANING), or away (SWEEPING). Removing
 * thousands of files one by one can take longer than all the rest where a file system is slow at it, so whoever waits for
 * the artifact is answered before. */
#include "service/upload/artifact_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/os.h"
#include "base/path.h"
#include "service/limits.h"

#include <stddef.h>
#include <stdio.h>

#define OF(p, member) ((struct save *)((char *)(p) - offsetof(struct save, member)))

/* ---- into the cache ---- */

/* True for a path in the staging folder: nobody else has the file. */
static bool is_staged(const struct save *s, struct str path)
{
    size_t n = strlen(s->staging);
    while (n > 1 && s->staging[n - 1] == '/')
        n--;
    return n > 0 && path.n > n + 1 && memcmp(path.p, s->staging, n) == 0 && path.p[n] == '/' &&
           path_is_safe(str_make(path.p + n + 1, path.n - n - 1));
}

/* Moving is free; where the cache is on another disk it is copied. TARE_EEXIST: the cache has it, and so has the
 * staging folder. */
static int take_staged(const struct save *s, const char *path, struct str digest)
{
    int rc = artifact_cache_take(s->owner->cache, path, digest, s->is_xxh128);
    if (rc != UV_EXDEV || s->is_xxh128)
        return rc;
    rc = artifact_cache_copy(s->owner->cache, path, digest);
    return rc ? rc : TARE_EEXIST;
}

/* What is staged goes into the cache; other files are copied there. Trouble with the cache harms nobody. Inputs of
 * a save that failed stay, for a later sync. */
static void clean_run(struct work *w)
{
    struct save *s = OF(w, work);
    s->leftover = mem_calloc(s->manifest.n + 1, sizeof *s->leftover);
    for (size_t i = 0; i < s->manifest.n; i++) {
        const struct manifest_entry *e = &s->manifest.entries[i];
        AUTO_FREE char *path = e->local_path.n ? mem_strndup(e->local_path.p, e->local_path.n) : NULL;
        bool to_cache = s->owner->cache && !e->skip_cache && !s->was_committed, staged = is_staged(s, e->local_path);
        int rc = 0;
        if (!path)
            continue;
        if (staged)
            rc = to_cache ? take_staged(s, path, e->digest) : TARE_EEXIST;
        else if (to_cache && !s->is_xxh128)
            rc = artifact_cache_copy(s->owner->cache, path, e->digest);
        if (staged && rc && s->leftover)
            s->leftover[s->n_leftover++] = (uint32_t)i;
        if (rc && rc != TARE_EEXIST)
            diag_warn("artifact %s: %s was not put into the cache: %s", s->name, path, err_text(rc));
    }
}

static void clean_done(struct work *w)
{
    save_go(OF(w, work), SAVE_SWEEPING);
}

/* Not more than once a minute, whichever artifact it is: some are logged with every step. */
static bool may_tell_same(struct artifacts *a)
{
    int64_t now = clock_mono_ns();
    if (a->told_same_ns != 0 && now - a->told_same_ns < TELL_AGAIN_NS)
        return false;
    a->told_same_ns = now;
    return true;
}

void save_clean(struct save *s)
{
    if (s->was_committed && artifacts_are_wanted(s->owner) && may_tell_same(s->owner)) {
        char text[300];
        snprintf(text, sizeof text,
                 "Artifact \"%.200s\" already exists with the same content. No new version will be created.", s->name);
        s->owner->owner.tell(s->owner->owner.ctx, false, text);
    }
    save_work(s, clean_run, clean_done);
}

/* ---- what is left in the staging folder ---- */

static void sweep_run(struct work *w)
{
    struct save *s = OF(w, work);
    for (size_t i = 0; i < s->n_leftover; i++) {
        struct str path = s->manifest.entries[s->leftover[i]].local_path;
        AUTO_FREE char *name = mem_strndup(path.p, path.n);
        if (name)
            os->unlink(name);
    }
}

static void sweep_done(struct work *w)
{
    save_go(OF(w, work), SAVE_DONE);
}

void save_sweep(struct save *s)
{
    if (s->n_leftover == 0) {
        save_go(s, SAVE_DONE);
        return;
    }
    artifacts_logged(s);
    save_work(s, sweep_run, sweep_done);
}
