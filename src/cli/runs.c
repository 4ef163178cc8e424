/* SPDX-License-Identifier: MIT */
#include "cli/runs.h"

#include "base/alloc.h"
#include "base/path.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES_IN_ERROR = 5 };

const char *runs_default_dir(void)
{
    const char *dir = getenv("WANDB_DIR");
    return dir && *dir ? dir : ".";
}

void run_place_fini(struct run_place *p)
{
    mem_free(p->journal);
    mem_free(p->folder);
    mem_free(p->id);
    *p = (struct run_place){0};
}

void run_list_fini(struct run_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        run_place_fini(&list->at[i]);
    mem_free(list->at);
    mem_free(list->root);
    *list = (struct run_list){0};
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* "offline-run-20261123_145101-abcd" into time and id; false for other names. */
static bool parse_folder_name(struct str name, struct str *time, struct str *id)
{
    static const char *const starts[] = {"offline-run-", "run-"};
    for (size_t i = 0; i < 2; i++) {
        struct str start = str_of(starts[i]);
        if (!str_starts(name, start))
            continue;
        const char *p = name.p + start.n;
        size_t n = name.n - start.n;
        if (n < 17 || p[8] != '_' || p[15] != '-')
            return false;
        *time = str_make(p, 15);
        *id = str_make(p + 16, n - 16);
        return true;
    }
    return false;
}

/* The journal in `folder`: run-ID.wandb, else the only *.wandb there. Heap, or NULL. */
static char *journal_in(const char *folder, struct str id)
{
    char name[300];
    if (id.n && id.n < 256) {
        snprintf(name, sizeof name, "run-%.*s.wandb", STR_ARG(id));
        char *path = path_join(folder, name);
        if (path && access(path, F_OK) == 0)
            return path;
        mem_free(path);
    }
    DIR *d = opendir(folder);
    char *found = NULL;
    int n = 0;
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (!str_ends(str_of(entry->d_name), STR(".wandb")))
            continue;
        n++;
        mem_free(found);
        found = path_join(folder, entry->d_name);
    }
    if (d)
        closedir(d);
    if (n > 1) {
        mem_free(found);
        found = NULL;
    }
    return found;
}

/* Fill `to` from a journal's path; takes the path. */
static int place_of(struct run_place *to, char *journal_take)
{
    *to = (struct run_place){.journal = journal_take};
    struct str dir = path_dir(str_of(journal_take));
    to->folder = mem_strndup(dir.p, dir.n);
    struct str id, time = {0}, base = path_base(str_of(journal_take));
    AUTO_FREE char *full = to->folder ? realpath(to->folder, NULL) : NULL;
    if (!full || !parse_folder_name(path_base(str_of(full)), &time, &id)) {
        id = base;
        if (str_starts(id, STR("run-")))
            id = str_make(id.p + 4, id.n - 4);
        if (str_ends(id, STR(".wandb")))
            id.n -= 6;
    }
    memcpy(to->time, time.p ? time.p : "", time.n);
    to->time[time.n] = 0;
    to->id = mem_strndup(id.p, id.n);
    if (to->folder && to->id)
        return 0;
    run_place_fini(to);
    return TARE_ENOMEM;
}

static int by_time(const void *a, const void *b)
{
    const struct run_place *x = a, *y = b;
    int c = strcmp(x->time, y->time);
    return c ? c : strcmp(x->id, y->id);
}

static int add(struct run_list *list, struct run_place *place_take)
{
    struct run_place *more = mem_realloc(list->at, (list->n + 1) * sizeof *more);
    if (!more) {
        run_place_fini(place_take);
        return TARE_ENOMEM;
    }
    list->at = more;
    list->at[list->n++] = *place_take;
    return 0;
}

/* All runs directly in `root`. */
static int scan(struct run_list *list, const char *root)
{
    DIR *d = opendir(root);
    int rc = d ? 0 : -errno;
    for (struct dirent *entry; rc == 0 && (entry = readdir(d));) {
        struct str time, id;
        if (!parse_folder_name(str_of(entry->d_name), &time, &id))
            continue;
        AUTO_FREE char *folder = path_join(root, entry->d_name);
        char *journal = folder ? journal_in(folder, id) : NULL;
        struct run_place place;
        if (journal && (rc = place_of(&place, journal)) == 0)
            rc = add(list, &place);
    }
    if (d)
        closedir(d);
    return rc;
}

int run_list_read(struct run_list *list, const char *dir, struct err *e)
{
    *list = (struct run_list){0};
    if (!is_dir(dir))
        return err_set(e, TARE_ENOTFOUND, "there is no folder '%s'", dir);
    AUTO_FREE char *inner = path_join(dir, "wandb");
    list->root =
        inner && is_dir(inner) ? mem_strndup(inner, strlen(inner)) : mem_strndup(dir, strlen(dir));
    int rc = list->root ? scan(list, list->root) : TARE_ENOMEM;
    if (rc == 0 && list->n == 0 && inner && strcmp(list->root, inner) == 0)
        rc = scan(list, dir); /* `wandb` is something else; runs may be here */
    if (rc < 0) {
        err_set(e, rc, "reading '%s': %s", dir, err_text(rc));
        run_list_fini(list);
        return rc;
    }
    if (list->n)
        qsort(list->at, list->n, sizeof *list->at, by_time);
    return 0;
}

/* " (there: a, b, ...)" for an error. */
static void name_runs(const struct run_list *list, char *to, size_t size)
{
    size_t len = 0;
    to[0] = 0;
    for (size_t i = 0; i < list->n && i < NAMES_IN_ERROR && len < size; i++)
        len += (size_t)snprintf(to + len, size - len, "%s%s", i ? ", " : "",
                                list->at[list->n - 1 - i].id);
    if (list->n > NAMES_IN_ERROR && len < size)
        snprintf(to + len, size - len, " and %zu more; `tare ls` lists them",
                 list->n - NAMES_IN_ERROR);
}

/* How well a run fits a name: 3 the id or the folder's name, 1 the start of an id, 0 not. */
static int fit(const struct run_place *p, struct str name)
{
    if (str_eqz(name, p->id) || str_eq(name, path_base(str_of(p->folder))))
        return 3;
    return name.n >= 2 && str_starts(str_of(p->id), name) ? 1 : 0;
}

static const struct run_place *pick(const struct run_list *list, const char *name, const char *dir,
                                    struct err *e)
{
    char names[300];
    const struct run_place *best = NULL;
    int best_fit = 0;
    bool several = false;
    for (size_t i = 0; i < list->n; i++) {
        int f = fit(&list->at[i], str_of(name));
        if (f == 0 || f < best_fit)
            continue;
        several = f == best_fit && strcmp(best->id, list->at[i].id) != 0;
        best = &list->at[i];
        best_fit = f;
    }
    name_runs(list, names, sizeof names);
    if (several) {
        err_set(e, TARE_ECONFLICT, "'%s' is the start of several ids under %s; runs there: %s",
                name, list->root, names);
        return NULL;
    }
    if (!best && list->n)
        err_set(e, TARE_ENOTFOUND, "no run '%s' under %s; runs there: %s", name, list->root, names);
    else if (!best)
        err_set(e, TARE_ENOTFOUND,
                "no run '%s': there are no runs under '%s' (--dir names "
                "another folder)",
                name, dir);
    return best;
}

static int copy_place(struct run_place *to, const struct run_place *from)
{
    char *journal = mem_strndup(from->journal, strlen(from->journal));
    return journal ? place_of(to, journal) : TARE_ENOMEM;
}

static int find_by_name(struct run_place *to, const char *name, const char *dir, struct err *e)
{
    struct run_list list;
    int rc = run_list_read(&list, dir, e);
    if (rc < 0)
        return rc;
    const struct run_place *best;
    if (strcmp(name, "latest") == 0 && list.n)
        best = &list.at[list.n - 1];
    else
        best = pick(&list, name, dir, e);
    rc = best ? copy_place(to, best) : e ? e->code : TARE_ENOTFOUND;
    run_list_fini(&list);
    return rc;
}

/* A folder: a run's own, or one with exactly one run in it. */
static int find_in_folder(struct run_place *to, const char *folder, struct err *e)
{
    struct str time, id = {0};
    AUTO_FREE char *full = realpath(folder, NULL);
    if (full)
        parse_folder_name(path_base(str_of(full)), &time, &id);
    char *journal = journal_in(folder, id);
    if (journal)
        return place_of(to, journal);
    struct run_list list;
    int rc = run_list_read(&list, folder, e);
    if (rc < 0)
        return rc;
    char names[300];
    name_runs(&list, names, sizeof names);
    if (list.n == 1)
        rc = copy_place(to, &list.at[0]);
    else if (list.n == 0)
        rc = err_set(e, TARE_ENOTFOUND, "there is no .wandb file in '%s' and no run", folder);
    else
        rc = err_set(e, TARE_ECONFLICT, "'%s' holds %zu runs, name one: %s", folder, list.n, names);
    run_list_fini(&list);
    return rc;
}

int run_find(struct run_place *to, const char *name, const char *dir, struct err *e)
{
    struct stat st;
    *to = (struct run_place){0};
    if (stat(name, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return find_in_folder(to, name, e);
        char *journal = mem_strndup(name, strlen(name));
        return journal ? place_of(to, journal) : TARE_ENOMEM;
    }
    if (strchr(name, '/'))
        return err_set(e, TARE_ENOTFOUND, "there is no file or folder '%s'", name);
    return find_by_name(to, name, dir ? dir : runs_default_dir(), e);
}
