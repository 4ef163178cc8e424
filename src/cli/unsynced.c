/* SPDX-License-Identifier: MIT */
/* Peer: wandb/cli/beta_sync.py. */
#include "cli/unsynced.h"

#include "base/alloc.h"
#include "base/path.h"
#include "base/str.h"
#include "cli/writers.h"
#include "journal/format.h"
#include "journal/reader.h"
#include "journal/replay.h"
#include "service/stream/start_state.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_journal(const char *path)
{
    return str_ends(str_of(path), STR(".wandb"));
}

static bool is_synced(const char *journal)
{
    char mark[4096];
    return (size_t)snprintf(mark, sizeof mark, "%s.synced", journal) < sizeof mark &&
           access(mark, F_OK) == 0;
}

/* Its service was to bring it to a backend: the folder is run-..., not offline-run-... If that was
 * ours, it says whether it got there. */
static bool was_online(const char *journal)
{
    char state[4096];
    struct str folder = path_base(path_dir(str_of(journal)));
    snprintf(state, sizeof state, "%s.syncstate", journal);
    return !str_starts(folder, STR("offline-")) && !start_state_is_cut_off(state);
}

static bool is_there(const struct unsynced *u, const char *path)
{
    for (size_t i = 0; i < u->n; i++)
        if (strcmp(u->paths[i], path) == 0)
            return true;
    return false;
}

/* The program of an offline run has ended, and its service has not come to closing the file: right after the program
 * that may be, and nothing more is written. (It is still at bringing an online run.) The exit is at the end. */
static bool is_over(const char *journal)
{
    struct journal_reader reader;
    struct journal_item item;
    struct replay r;
    struct stat st;
    if (!str_starts(path_base(path_dir(str_of(journal))), STR("offline-")) || stat(journal, &st) < 0 ||
        journal_reader_open(&reader, journal, NULL) < 0)
        return false;
    uint64_t last_block = (uint64_t)st.st_size / JOURNAL_BLOCK_BYTES;
    reader.live = true;
    if (last_block > 1)
        journal_reader_seek(&reader, (last_block - 1) * JOURNAL_BLOCK_BYTES);
    replay_init(&r, NULL, NULL);
    r.skip_rows = true;
    for (int got; (got = journal_reader_next(&reader, &item)) > 0;)
        if (got == JOURNAL_RECORD)
            replay_record(&r, item.bytes);
    bool over = r.exited;
    replay_fini(&r);
    journal_reader_close(&reader);
    return over;
}

static void add(struct unsynced *u, const char *given, bool by_name)
{
    AUTO_FREE char *path = realpath(given, NULL);
    if (!path || is_there(u, path))
        return;
    if (is_synced(path) && !u->with_synced) {
        u->n_synced++;
    } else if (!u->with_running && writers_hold(path) && !is_over(path)) {
        u->n_running++;
    } else if (!by_name && !u->with_online && was_online(path)) {
        u->n_online++;
    } else {
        u->paths = xmem_realloc(u->paths, (u->n + 1) * sizeof *u->paths);
        u->paths[u->n++] = xmem_strdup(path);
    }
}

static void note_unreadable(struct unsynced *u, const char *folder)
{
    if (errno == ENOENT)
        return;
    fprintf(stderr, "tare sync: %s cannot be read: %s\n", folder, strerror(errno));
    u->n_unreadable++;
}

/* The journals in `folder`: how many there were. */
static size_t add_folder(struct unsynced *u, const char *folder, bool by_name)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    if (!d)
        note_unreadable(u, folder);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        AUTO_FREE char *path = path_join(folder, entry->d_name);
        if (path && is_journal(path) && entry->d_name[0] != '.') {
            add(u, path, by_name);
            n++;
        }
    }
    if (d)
        closedir(d);
    return n;
}

static size_t add_folders_of(struct unsynced *u, const char *root)
{
    size_t n = 0;
    DIR *d = opendir(root);
    if (!d)
        note_unreadable(u, root);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        struct stat st;
        AUTO_FREE char *path = path_join(root, entry->d_name);
        if (path && entry->d_name[0] != '.' && lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
            n += add_folder(u, path, false);
    }
    if (d)
        closedir(d);
    return n;
}

int unsynced_add(struct unsynced *u, const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_set(e, TARE_ENOTFOUND, "there is no '%s'", path);
    if (!S_ISDIR(st.st_mode)) {
        if (!is_journal(path))
            return err_set(e, TARE_ENOTFOUND, "'%s' is neither a folder nor a .wandb file", path);
        add(u, path, true);
        return 0;
    }
    if (add_folder(u, path, true) || add_folders_of(u, path))
        return 0;
    AUTO_FREE char *inner = path_join(path, "wandb");
    if (inner)
        add_folders_of(u, inner);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void unsynced_sort(struct unsynced *u)
{
    if (u->n)
        qsort(u->paths, u->n, sizeof *u->paths, by_name);
}

void unsynced_fini(struct unsynced *u)
{
    for (size_t i = 0; i < u->n; i++)
        mem_free(u->paths[i]);
    mem_free(u->paths);
    u->paths = NULL;
    u->n = 0;
}
