/* SPDX-License-Identifier: MIT */
#include "service/sync_look.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/os.h"
#include "base/path.h"
#include "journal/reader.h"
#include "journal/replay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The version of the peer whose records we know. */
#define KNOWN_PRODUCER "0.31.0"

static char *copy_text(const char *text)
{
    return xmem_strdup(text ? text : "");
}

void sync_look_fini(struct sync_look *l)
{
    mem_free(l->entity);
    mem_free(l->project);
    mem_free(l->id);
    mem_free(l->producer);
    l->entity = l->project = l->id = l->producer = NULL;
}

static int read_until_run(struct journal_reader *reader, struct replay *r)
{
    struct journal_item found;
    int rc;
    while (!r->has_run && (rc = journal_reader_next(reader, &found)) != JOURNAL_END) {
        if (rc < 0)
            return rc;
        if (rc == JOURNAL_RECORD)
            replay_record(r, found.bytes);
    }
    return r->has_run ? 0 : TARE_ENOTFOUND;
}

static void say_why(struct sync_look *l, int rc, const char *shown)
{
    if (rc == TARE_ENOTFOUND || rc == -ENOENT)
        snprintf(l->why, sizeof l->why, "File does not exist: %s", shown);
    else if (rc == -EACCES || rc == -EPERM)
        snprintf(l->why, sizeof l->why, "Permission error opening file for reading: %s", shown);
    else if (rc == TARE_EINVAL)
        snprintf(l->why, sizeof l->why, "Failed to read \"%s\": it is no regular file", shown);
    else
        snprintf(l->why, sizeof l->why, "Failed to read \"%s\": %s", shown, err_text(rc));
}

void sync_look(struct sync_look *l, const char *path, const char *shown)
{
    struct journal_reader reader;
    struct replay r;
    l->rc = journal_reader_open(&reader, path, NULL);
    if (l->rc < 0) {
        say_why(l, l->rc, shown);
        return;
    }
    replay_init(&r, NULL, NULL);
    r.skip_rows = true;
    l->rc = read_until_run(&reader, &r);
    struct stat st;
    if (os->fstat(reader.fd, &st) == 0)
        l->bytes = (uint64_t)st.st_size;
    if (l->rc == TARE_ENOTFOUND)
        snprintf(l->why, sizeof l->why,
                 reader.n_records ? "Failed to read \"%s\": it does not say which run it is of"
                                  : "Failed to read \"%s\": it is no journal, or an empty one",
                 shown);
    else if (l->rc < 0)
        say_why(l, l->rc, shown);
    l->entity = copy_text(r.entity);
    l->project = copy_text(r.project);
    l->id = copy_text(r.run_id);
    l->producer = copy_text(r.producer);
    l->start_ns = r.start_ns;
    replay_fini(&r);
    journal_reader_close(&reader);
}

/* "0.31.0" against "0.30.1.dev1": by the numbers. */
static int compare_versions(const char *a, const char *b)
{
    for (int i = 0; i < 3; i++) {
        char *after_a, *after_b;
        long x = strtol(a, &after_a, 10), y = strtol(b, &after_b, 10);
        if (x != y)
            return x < y ? -1 : 1;
        a = *after_a == '.' ? after_a + 1 : after_a;
        b = *after_b == '.' ? after_b + 1 : after_b;
    }
    return 0;
}

bool sync_is_newer(const char *producer)
{
    return compare_versions(producer, KNOWN_PRODUCER) > 0;
}

/* The folder of a run where the file lies in one named after its id, below `cwd` without it:
 * wandb/offline-run-20261123_145101-3fk2abcd. (peer: runsync/displaypath.go) */
char *sync_shown_path(const char *path, const char *cwd)
{
    struct str dir = path_dir(str_of(path)), file = path_base(str_of(path));
    struct str id = {0};
    if (str_starts(file, STR("run-")) && str_ends(file, STR(".wandb")))
        id = str_make(file.p + 4, file.n > 10 ? file.n - 10 : 0);
    struct str folder = path_base(dir);
    struct str show = id.n && memmem(folder.p, folder.n, id.p, id.n) ? dir : str_of(path);
    size_t n = cwd ? strlen(cwd) : 0;
    if (n && show.n > n + 1 && memcmp(show.p, cwd, n) == 0 && show.p[n] == '/')
        show = str_make(show.p + n + 1, show.n - n - 1);
    return xmem_strndup(show.p, show.n);
}
