/* SPDX-License-Identifier: MIT */
/* Blobs in a directory: the layout is in blob.h. */
#include "server/blob/inner.h"

#include "base/clock.h"
#include "base/os.h"
#include "base/path.h"
#include "base/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEPT "kept-"

static void path_of(const struct blobs *b, const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%.2s/%s", b->dir, name, name);
}

/* From that of the staging folder, which was looked up once. */
static bool absolute_path_of(const struct blobs *b, const char *name, char path[PATH_MAX])
{
    if (!b->staging)
        return false;
    struct str dir = path_dir(str_of(b->staging));
    return snprintf(path, PATH_MAX, "%.*s/%.2s/%s", STR_ARG(dir), name, name) < PATH_MAX;
}

static void kept_path(const struct blobs *b, const char *key, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/tmp/%s%s", b->dir, b->kept_prefix, key);
}

static int stage(struct blobs *b, const char *key, char tmp[PATH_MAX], struct err *e)
{
    char id[17];
    random_id(id, sizeof id - 1);
    if (key)
        kept_path(b, key, tmp);
    else
        snprintf(tmp, PATH_MAX, "%s/tmp/%s", b->dir, id);
    int fd = os->open(tmp, O_RDWR | O_CREAT | O_EXCL, 0600);
    return fd < 0 ? blob_fail(e, fd, "cannot make", tmp) : fd;
}

static int stage_again(struct blobs *b, const char *key, char tmp[PATH_MAX], struct err *e)
{
    kept_path(b, key, tmp);
    int fd = os->open(tmp, O_RDWR | O_NOFOLLOW, 0);
    return fd == -ENOENT ? err_set(e, TARE_ENOTFOUND, "nothing is kept") : fd < 0 ? blob_fail(e, fd, "cannot open", tmp) : fd;
}

static int64_t unstage(struct blobs *b, const char *key)
{
    char path[PATH_MAX];
    struct stat st;
    kept_path(b, key, path);
    return stat(path, &st) == 0 && os->unlink(path) == 0 ? st.st_size : 0;
}

/* What is no plain file is not opened: that alone does something to a pipe or a device. What we may not open the client
 * must send, which it will after TARE_EINVAL; it would try again after an error of the server's own. */
static int open_linked(const char *path)
{
    struct stat st;
    int fd = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? os->open(path, O_RDONLY | O_NONBLOCK, 0) : TARE_EINVAL;
    os->unlink(path);
    return fd == -EACCES || fd == -EPERM || fd == -ENOENT ? TARE_EINVAL : fd;
}

static int adopt(struct blobs *b, const char *name, char tmp[PATH_MAX], struct err *e)
{
    struct stat st;
    bool is_linked = blob_is_linked(name);
    snprintf(tmp, PATH_MAX, "%s/tmp/%s", b->dir, name);
    int fd = is_linked ? open_linked(tmp) : os->open(tmp, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (is_linked && fd == TARE_EINVAL)
        return err_set(e, TARE_EINVAL, BLOB_NO_SUCH_LINK);
    if (fd < 0)
        return fd == -ENOENT ? err_set(e, TARE_ENOTFOUND, "there is no such file") : blob_fail(e, fd, "cannot open", tmp);
    int rc = os->fstat(fd, &st);
    bool is_ours = st.st_uid == geteuid() && st.st_nlink == 1;
    if (!rc && (!S_ISREG(st.st_mode) || (!is_ours && !is_linked)))
        rc = TARE_EINVAL;
    if (rc) {
        os->close(fd);
        return err_set(e, rc, is_linked ? BLOB_NO_SUCH_LINK : "this is no file of the server's user");
    }
    if (!is_linked)
        fchmod(fd, 0600);
    return fd;
}

/* Those of clients that have gone. They are in no account. */
static bool drop_local(int dir, const char *name, const struct stat *st, int64_t seconds)
{
    if (!blob_is_linked(name) && strncmp(name, BLOB_LOCAL_PREFIX, BLOB_PREFIX_LEN) != 0)
        return false;
    if (seconds > 0 && time(NULL) - st->st_mtim.tv_sec >= seconds)
        unlinkat(dir, name, 0);
    return true;
}

static int drop_staged(struct blobs *b, int64_t seconds, int64_t *dropped_bytes, int64_t *left_bytes)
{
    char path[PATH_MAX];
    int n = 0;
    snprintf(path, sizeof path, "%s/tmp", b->dir);
    DIR *d = opendir(path);
    if (!d)
        return 0;
    for (struct dirent *entry; (entry = readdir(d));) {
        struct stat st;
        if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) || drop_local(dirfd(d), entry->d_name, &st, seconds) ||
            strncmp(entry->d_name, b->kept_prefix, strlen(b->kept_prefix)) != 0)
            continue;
        bool is_old = seconds > 0 && time(NULL) - st.st_mtim.tv_sec >= seconds;
        bool is_gone = is_old && unlinkat(dirfd(d), entry->d_name, 0) == 0;
        *(is_gone ? dropped_bytes : left_bytes) += st.st_size;
        n += is_gone;
    }
    closedir(d);
    return n;
}

static int sync_dir(const char *path)
{
    int fd = os->open(path, O_RDONLY | O_DIRECTORY, 0);
    int rc = fd < 0 ? fd : os->fsync(fd);
    if (fd >= 0)
        os->close(fd);
    return rc;
}

/* Make a blob's name durable, and once also that of its folder: whoever made either may not have got so far. */
static int keep_name(struct blobs *b, const char *name)
{
    char dir[PATH_MAX];
    atomic_bool *is_kept = &b->kept_folders[hex_digit(name[0]) * 16 + hex_digit(name[1])];
    snprintf(dir, sizeof dir, "%s/%.2s", b->dir, name);
    int rc = sync_dir(dir);
    if (rc == 0 && !atomic_load(is_kept) && (rc = sync_dir(b->dir)) == 0)
        atomic_store(is_kept, true);
    return rc;
}

static int rename_into_place(struct blobs *b, const char *tmp, const char *name, const char *path)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s/%.2s", b->dir, name);
    int rc = os->rename(tmp, path);
    if (rc == -ENOENT && (rc = os_mkdirs(dir, 0700)) == 0) /* the first of its folder */
        rc = os->rename(tmp, path);
    return rc;
}

/* An existing blob of that name has the same bytes, which were on the disk before it got the name: the upload is
 * dropped. */
static int settle(struct blobs *b, struct blob_put *p, struct blob_info *info, struct err *e)
{
    char path[PATH_MAX];
    struct stat st;
    path_of(b, info->name, path);
    info->fresh = !(stat(path, &st) == 0 && st.st_size == p->size_bytes);
    int rc = info->fresh ? os->fsync(p->fd) : 0;
    if (rc < 0)
        return blob_fail(e, rc, "cannot write", p->tmp);
    if (info->fresh)
        rc = rename_into_place(b, p->tmp, info->name, path);
    if (rc == 0)
        rc = keep_name(b, info->name);
    if (rc < 0)
        return blob_fail(e, rc, "cannot keep", path);
    if (!info->fresh)
        os->unlink(p->tmp);
    return 0;
}

static int open_blob(struct blobs *b, const char *name, int64_t first, int64_t n, int *fd, int64_t *size_bytes,
                     struct err *e)
{
    char path[PATH_MAX];
    struct stat st;
    path_of(b, name, path);
    int opened = os->open(path, O_RDONLY, 0);
    if (opened < 0)
        return opened == -ENOENT ? err_set(e, TARE_ENOTFOUND, "there is no blob %s", name)
                                 : blob_fail(e, opened, "cannot open", path);
    int rc = os->fstat(opened, &st);
    if (rc == 0 && !S_ISREG(st.st_mode))
        rc = -EISDIR;
    if (rc < 0) {
        os->close(opened);
        return blob_fail(e, rc, "cannot look at", path);
    }
    *fd = opened;
    *size_bytes = st.st_size;
    return 0;
}

static int64_t size_of(struct blobs *b, const char *name, struct err *e)
{
    char path[PATH_MAX];
    struct stat st;
    path_of(b, name, path);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

static int remove_blob(struct blobs *b, const char *name, struct err *e)
{
    char path[PATH_MAX];
    path_of(b, name, path);
    int rc = os->unlink(path);
    return rc < 0 && rc != -ENOENT ? blob_fail(e, rc, "cannot delete", path) : 0;
}

/* The blobs in one of the 256 folders. */
static int each_in(const struct blobs *b, unsigned folder, int (*each)(void *arg, const char *name, int64_t size_bytes),
                   void *arg)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%02x", b->dir, folder);
    DIR *d = opendir(path);
    if (!d)
        return errno == ENOENT ? 0 : -errno;
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(d));) {
        struct stat st;
        if (blob_is_name(entry->d_name) && fstatat(dirfd(d), entry->d_name, &st, 0) == 0)
            rc = each(arg, entry->d_name, st.st_size);
    }
    closedir(d);
    return rc;
}

static int each_blob(struct blobs *b, int (*each)(void *arg, const char *name, int64_t size_bytes), void *arg,
                     struct err *e)
{
    for (unsigned folder = 0; folder < 256; folder++) {
        int rc = each_in(b, folder, each, arg);
        if (rc != 0)
            return rc < 0 && e && !e->code ? blob_fail(e, rc, "cannot list", b->dir) : rc;
    }
    return 0;
}

static void close_dir(struct blobs *b)
{
    free(b->staging);
}

static const struct blob_ops ops = {.stage = stage,
                                    .stage_again = stage_again,
                                    .unstage = unstage,
                                    .drop_staged = drop_staged,
                                    .adopt = adopt,
                                    .settle = settle,
                                    .open = open_blob,
                                    .path = absolute_path_of,
                                    .size = size_of,
                                    .remove = remove_blob,
                                    .each = each_blob,
                                    .close = close_dir};

/* Files that were not written to for `age_s` seconds. */
static void empty_tmp(const char *path, int64_t age_s)
{
    int64_t now_s = clock_wall_ns() / 1000000000;
    struct stat st;
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *entry; (entry = readdir(d));)
        if (entry->d_name[0] != '.' && fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            (age_s ? st.st_mtim.tv_sec + age_s < now_s : strncmp(entry->d_name, KEPT, strlen(KEPT)) != 0))
            unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
}

int blob_dir_open(struct blobs *b, const char *url, int64_t tidy_s, struct err *e)
{
    char path[PATH_MAX];
    const char *dir = strncmp(url, "file:", 5) == 0 ? url + 5 : url;
    b->ops = &ops;
    if (strlen(dir) >= sizeof b->dir)
        return err_set(e, -ENAMETOOLONG, "--blobs %.200s: the path is too long", url);
    strcpy(b->dir, dir);
    char own[9] = "";
    if (tidy_s > 0) /* another server must not go on in a file that this one has open */
        random_id(own, sizeof own - 1);
    snprintf(b->kept_prefix, sizeof b->kept_prefix, tidy_s > 0 ? KEPT "%s-" : KEPT "%s", own);
    snprintf(path, sizeof path, "%s/tmp", b->dir);
    int rc = os_mkdirs(path, 0700);
    if (rc < 0)
        return blob_fail(e, rc, "cannot make", path);
    b->staging = realpath(path, NULL);
    if (tidy_s >= 0)
        empty_tmp(path, tidy_s);
    return 0;
}
