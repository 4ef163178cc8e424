/* SPDX-License-Identifier: MIT */
#include "server/blob/blob.h"

#include "base/alloc.h"
#include "base/os.h"
#include "base/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { COPY_BYTES = 256 * 1024 };

struct blobs {
    char dir[PATH_MAX - 128];
    pthread_rwlock_t in_use; /* read: uploads that end; write: collection */
    pthread_mutex_t lock;    /* of the three figures below */
    int64_t keep_free_bytes, quota_bytes, used_bytes;
};

struct blob_put {
    struct blobs *store;
    EVP_MD_CTX *sha256, *md5;
    int fd;
    int64_t size_bytes, max_bytes;
    char tmp[PATH_MAX];
};

/* Tell a system call's failure in the store's own words. */
static int fail(struct err *e, int rc, const char *what, const char *path)
{
    if (rc == -ENOSPC || rc == -EDQUOT)
        return err_set(e, TARE_ENOSPACE, "%s: no space left for files", what);
    return err_set(e, rc, "%s %s: %s", what, path, err_text(rc));
}

bool blob_is_name(const char *name)
{
    size_t n = 0;
    for (; name[n]; n++)
        if (n >= BLOB_NAME - 1 || !strchr("0123456789abcdef", name[n]))
            return false;
    return n == BLOB_NAME - 1;
}

static void path_of(const struct blobs *b, const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%.2s/%s", b->dir, name, name);
}

/* ---- the store ---- */

static void empty_tmp(const struct blobs *b)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/tmp", b->dir);
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *entry; (entry = readdir(d));)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
}

int blobs_open(struct blobs **out, const char *url, struct err *e)
{
    const char *dir = strncmp(url, "file:", 5) == 0 ? url + 5 : url;
    if (strstr(dir, "://"))
        return err_set(e, TARE_EUNSUPPORTED, "--blobs %s: only a directory is supported", url);
    struct blobs *b = mem_calloc(1, sizeof *b);
    if (!b)
        return err_set(e, TARE_ENOMEM, "out of memory");
    if (strlen(dir) >= sizeof b->dir) {
        mem_free(b);
        return err_set(e, -ENAMETOOLONG, "--blobs %s: the path is too long", url);
    }
    strcpy(b->dir, dir);
    pthread_mutex_init(&b->lock, NULL);
    pthread_rwlock_init(&b->in_use, NULL);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/tmp", b->dir);
    int rc = os_mkdirs(path, 0700);
    if (rc < 0) {
        rc = fail(e, rc, "cannot make", path);
        blobs_close(b);
        return rc;
    }
    empty_tmp(b);
    *out = b;
    return 0;
}

void blobs_close(struct blobs *b)
{
    if (!b)
        return;
    pthread_rwlock_destroy(&b->in_use);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

void blobs_limit(struct blobs *b, int64_t keep_free_bytes, int64_t quota_bytes, int64_t used_bytes)
{
    pthread_mutex_lock(&b->lock);
    b->keep_free_bytes = keep_free_bytes;
    b->quota_bytes = quota_bytes;
    if (used_bytes >= 0)
        b->used_bytes = used_bytes;
    pthread_mutex_unlock(&b->lock);
}

/* Is there room for `more` bytes? */
static int check_room(struct blobs *b, int64_t more, struct err *e)
{
    pthread_mutex_lock(&b->lock);
    int64_t keep = b->keep_free_bytes, quota = b->quota_bytes, used = b->used_bytes;
    pthread_mutex_unlock(&b->lock);
    if (quota && used + more > quota)
        return err_set(e, TARE_ENOSPACE, "the server's quota for files (%lld bytes) is used up",
                       (long long)quota);
    struct statvfs fs;
    if (keep && statvfs(b->dir, &fs) == 0 &&
        (int64_t)fs.f_bavail * (int64_t)fs.f_frsize < keep + more)
        return err_set(e, TARE_ENOSPACE, "the server's disk is nearly full");
    return 0;
}

int64_t blobs_used(struct blobs *b)
{
    pthread_mutex_lock(&b->lock);
    int64_t used = b->used_bytes;
    pthread_mutex_unlock(&b->lock);
    return used;
}

static void count_used(struct blobs *b, int64_t delta)
{
    pthread_mutex_lock(&b->lock);
    b->used_bytes += delta;
    pthread_mutex_unlock(&b->lock);
}

/* ---- uploads ---- */

static void put_free(struct blob_put *p)
{
    EVP_MD_CTX_free(p->sha256);
    EVP_MD_CTX_free(p->md5);
    mem_free(p);
}

int blob_put_begin(struct blobs *b, struct blob_put **out, int64_t max_bytes, struct err *e)
{
    int rc = check_room(b, 0, e);
    if (rc < 0)
        return rc;
    struct blob_put *p = mem_calloc(1, sizeof *p);
    if (!p)
        return err_set(e, TARE_ENOMEM, "out of memory");
    p->store = b;
    p->max_bytes = max_bytes;
    p->sha256 = EVP_MD_CTX_new();
    p->md5 = EVP_MD_CTX_new();
    if (!p->sha256 || !p->md5 || !EVP_DigestInit_ex(p->sha256, EVP_sha256(), NULL) ||
        !EVP_DigestInit_ex(p->md5, EVP_md5(), NULL)) {
        put_free(p);
        return err_set(e, TARE_ENOMEM, "the digests cannot be set up");
    }
    char id[17];
    random_id(id, sizeof id - 1);
    snprintf(p->tmp, sizeof p->tmp, "%s/tmp/%s", b->dir, id);
    p->fd = os->open(p->tmp, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (p->fd < 0) {
        rc = fail(e, p->fd, "cannot make", p->tmp);
        put_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

int blob_put_write(struct blob_put *p, const void *data, size_t n, struct err *e)
{
    if ((uint64_t)n > (uint64_t)(p->max_bytes - p->size_bytes))
        return err_set(e, TARE_ELIMIT, "the file is larger than %lld bytes",
                       (long long)p->max_bytes);
    int rc = check_room(p->store, p->size_bytes + (int64_t)n, e);
    if (rc == 0)
        rc = os_write_all(p->fd, data, n, NULL);
    if (rc < 0)
        return rc == TARE_ENOSPACE ? rc : fail(e, rc, "cannot write", p->tmp);
    EVP_DigestUpdate(p->sha256, data, n);
    EVP_DigestUpdate(p->md5, data, n);
    p->size_bytes += (int64_t)n;
    return 0;
}

int blob_put_blob(struct blob_put *p, const char *name, struct err *e)
{
    int fd;
    int64_t size;
    int rc = blob_open(p->store, name, &fd, &size, e);
    if (rc < 0)
        return rc;
    char *piece = mem_alloc(COPY_BYTES);
    if (!piece)
        rc = err_set(e, TARE_ENOMEM, "out of memory");
    while (rc == 0) {
        ssize_t n = os->read(fd, piece, COPY_BYTES);
        if (n < 0)
            rc = fail(e, (int)n, "cannot read", name);
        if (n <= 0)
            break;
        rc = blob_put_write(p, piece, (size_t)n, e);
    }
    mem_free(piece);
    os->close(fd);
    return rc;
}

static void write_digests(struct blob_put *p, struct blob_info *info)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_DigestFinal_ex(p->sha256, raw, &n);
    for (unsigned i = 0; i < n; i++)
        snprintf(info->name + 2 * i, 3, "%02x", raw[i]);
    EVP_DigestFinal_ex(p->md5, raw, &n);
    EVP_EncodeBlock((unsigned char *)info->md5, raw, (int)n);
    info->size_bytes = p->size_bytes;
}

/* Rename into place and make the new name durable. An existing blob of that name has the same
 * bytes: the upload is dropped. */
static int settle(struct blob_put *p, struct blob_info *info, struct err *e)
{
    char path[PATH_MAX], dir[PATH_MAX];
    path_of(p->store, info->name, path);
    struct stat st;
    info->fresh = !(stat(path, &st) == 0 && st.st_size == p->size_bytes);
    if (!info->fresh) {
        os->unlink(p->tmp);
        return 0;
    }
    snprintf(dir, sizeof dir, "%s/%.2s", p->store->dir, info->name);
    int rc = os_mkdirs(dir, 0700);
    if (rc == 0)
        rc = os->rename(p->tmp, path);
    if (rc == 0) {
        int fd = os->open(dir, O_RDONLY | O_DIRECTORY, 0);
        rc = fd < 0 ? fd : os->fsync(fd);
        if (fd >= 0)
            os->close(fd);
    }
    return rc < 0 ? fail(e, rc, "cannot keep", path) : 0;
}

int blob_put_end(struct blob_put *p, const char *want_md5, struct blob_info *info, struct err *e)
{
    struct blob_info got = {0};
    int rc = os->fsync(p->fd);
    int closed = os->close(p->fd);
    p->fd = -1;
    if (rc == 0)
        rc = closed;
    if (rc < 0) {
        rc = fail(e, rc, "cannot write", p->tmp);
    } else {
        write_digests(p, &got);
        if (want_md5 && strcmp(want_md5, got.md5) != 0)
            rc = err_set(e, TARE_ECONFLICT, "the bytes have MD5 %s, announced was %s", got.md5,
                         want_md5);
        else
            rc = settle(p, &got, e);
    }
    if (rc < 0) {
        os->unlink(p->tmp);
    } else {
        if (got.fresh)
            count_used(p->store, got.size_bytes);
        *info = got;
    }
    put_free(p);
    return rc;
}

void blob_put_abort(struct blob_put *p)
{
    if (!p)
        return;
    if (p->fd >= 0)
        os->close(p->fd);
    os->unlink(p->tmp);
    put_free(p);
}

int blob_put_bytes(struct blobs *b, const void *data, size_t n, struct blob_info *info,
                   struct err *e)
{
    struct blob_put *p;
    int rc = blob_put_begin(b, &p, (int64_t)n, e);
    if (rc < 0)
        return rc;
    rc = blob_put_write(p, data, n, e);
    if (rc < 0) {
        blob_put_abort(p);
        return rc;
    }
    return blob_put_end(p, NULL, info, e);
}

/* ---- reading and removing ---- */

int blob_open(struct blobs *b, const char *name, int *fd, int64_t *size_bytes, struct err *e)
{
    if (!blob_is_name(name))
        return err_set(e, TARE_EINVAL, "'%.80s' is no blob's name", name);
    char path[PATH_MAX];
    path_of(b, name, path);
    int opened = os->open(path, O_RDONLY, 0);
    if (opened < 0)
        return opened == -ENOENT ? err_set(e, TARE_ENOTFOUND, "there is no blob %s", name)
                                 : fail(e, opened, "cannot open", path);
    struct stat st;
    int rc = os->fstat(opened, &st);
    if (rc < 0) {
        os->close(opened);
        return fail(e, rc, "cannot look at", path);
    }
    *fd = opened;
    *size_bytes = st.st_size;
    return 0;
}

void blobs_use_begin(struct blobs *b)
{
    pthread_rwlock_rdlock(&b->in_use);
}

void blobs_use_end(struct blobs *b)
{
    pthread_rwlock_unlock(&b->in_use);
}

void blobs_collect_begin(struct blobs *b)
{
    pthread_rwlock_wrlock(&b->in_use);
}

void blobs_collect_end(struct blobs *b)
{
    pthread_rwlock_unlock(&b->in_use);
}

int64_t blob_size(struct blobs *b, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    if (!blob_is_name(name))
        return 0;
    path_of(b, name, path);
    return stat(path, &st) == 0 ? st.st_size : 0;
}

int blob_delete(struct blobs *b, const char *name, struct err *e)
{
    if (!blob_is_name(name))
        return err_set(e, TARE_EINVAL, "'%.80s' is no blob's name", name);
    char path[PATH_MAX];
    path_of(b, name, path);
    int64_t size = blob_size(b, name);
    int rc = os->unlink(path);
    if (rc < 0)
        return rc == -ENOENT ? 0 : fail(e, rc, "cannot delete", path);
    count_used(b, -size);
    return 0;
}

/* The blobs in one of the 256 folders. */
static int each_in(const struct blobs *b, unsigned folder,
                   int (*each)(void *arg, const char *name, int64_t size_bytes), void *arg)
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

int blobs_each(struct blobs *b, int (*each)(void *arg, const char *name, int64_t size_bytes),
               void *arg, struct err *e)
{
    for (unsigned folder = 0; folder < 256; folder++) {
        int rc = each_in(b, folder, each, arg);
        if (rc != 0)
            return rc < 0 && e && !e->code ? fail(e, rc, "cannot list", b->dir) : rc;
    }
    return 0;
}

int blob_verify_bytes(int fd, const char *name, struct err *e)
{
    int rc = 0;
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    char *piece = mem_alloc(COPY_BYTES);
    if (!sha || !piece || !EVP_DigestInit_ex(sha, EVP_sha256(), NULL))
        rc = err_set(e, TARE_ENOMEM, "out of memory");
    ssize_t n = 0;
    while (rc == 0 && (n = os->read(fd, piece, COPY_BYTES)) > 0)
        EVP_DigestUpdate(sha, piece, (size_t)n);
    if (rc == 0 && n < 0)
        rc = fail(e, (int)n, "cannot read", name);
    if (rc == 0) {
        unsigned char raw[EVP_MAX_MD_SIZE];
        char hex[BLOB_NAME];
        unsigned len = 0;
        EVP_DigestFinal_ex(sha, raw, &len);
        for (unsigned i = 0; i < len; i++)
            snprintf(hex + 2 * i, 3, "%02x", raw[i]);
        if (strcmp(hex, name) != 0)
            rc = err_set(e, TARE_EFORMAT, "blob %s is damaged: its bytes have SHA-256 %s", name, hex);
    }
    EVP_MD_CTX_free(sha);
    mem_free(piece);
    return rc;
}

int blob_verify(struct blobs *b, const char *name, struct err *e)
{
    int fd;
    int64_t size;
    int rc = blob_open(b, name, &fd, &size, e);
    if (rc < 0)
        return rc;
    rc = blob_verify_bytes(fd, name, e);
    os->close(fd);
    return rc;
}
