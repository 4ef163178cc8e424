/* SPDX-License-Identifier: MIT */
/* What is the same wherever blobs are: uploads, digests, limits. */
#include "server/blob/inner.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/md5_lanes.h"
#include "base/os.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif

enum {
    LOOK_BYTES = 8 << 20,        /* of an upload between looks at the room on the disk */
    MUCH_ROOM_BYTES = 1 << 30,   /* more than uploads take in … */
    ASK_DISK_NS = 100 * 1000000, /* … such a time */
};

int blob_fail(struct err *e, int rc, const char *what, const char *path)
{
    if (rc == -ENOSPC || rc == -EDQUOT)
        return err_set(e, rc == -EDQUOT ? rc : TARE_ENOSPACE, "%s: no space left for files", what);
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

static int check_name(const char *name, struct err *e)
{
    return blob_is_name(name) ? 0 : err_set(e, TARE_EINVAL, "'%.80s' is no blob's name", name);
}

/* ---- the store ---- */

static int open_place(struct blobs **out, const char *url, int64_t tidy_s, struct err *e)
{
    struct blobs *b = mem_calloc(1, sizeof *b);
    if (!b)
        return err_set(e, TARE_ENOMEM, "out of memory");
    pthread_mutex_init(&b->lock, NULL);
    int rc = strncmp(url, "s3://", 5) == 0 ? blob_s3_open(b, url, e)
             : strstr(url, "://")          ? err_set(e, TARE_EUNSUPPORTED, "--blobs %.200s: a directory or an s3:// URL is wanted", url)
                                           : blob_dir_open(b, url, tidy_s, e);
    if (rc < 0) {
        blobs_close(b);
        return rc;
    }
    int64_t dropped = 0;
    if (b->ops->drop_staged)
        b->ops->drop_staged(b, 0, &dropped, &b->kept_bytes);
    *out = b;
    return 0;
}

int blobs_open(struct blobs **out, const char *url, struct err *e)
{
    return open_place(out, url, 0, e);
}

int blobs_open_shared(struct blobs **out, const char *url, struct err *e)
{
    return open_place(out, url, 24 * 3600, e);
}

int blobs_open_beside(struct blobs **out, const char *url, struct err *e)
{
    return open_place(out, url, -1, e);
}

void blobs_close(struct blobs *b)
{
    if (!b)
        return;
    if (b->ops)
        b->ops->close(b);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

void blobs_limit(struct blobs *b, int64_t keep_free_bytes, int64_t quota_bytes, int64_t used_bytes)
{
    pthread_mutex_lock(&b->lock);
    b->keep_free_bytes = keep_free_bytes;
    b->disk_asked_ns = 0;
    b->quota_bytes = quota_bytes;
    if (used_bytes >= 0)
        b->used_bytes = used_bytes;
    pthread_mutex_unlock(&b->lock);
}

/* Does the quota leave room for `more` bytes of a file, `kept` of which are kept already? What unfinished uploads
 * take is free again soon. */
static int check_quota(struct blobs *b, int64_t more, int64_t kept, struct err *e)
{
    pthread_mutex_lock(&b->lock);
    int64_t quota = b->quota_bytes, used = b->used_bytes, all_kept = b->kept_bytes;
    pthread_mutex_unlock(&b->lock);
    if (!quota || used + all_kept + more <= quota)
        return 0;
    if (used + kept + more <= quota)
        return err_set(e, TARE_ENOSPACE, "unfinished uploads take what the server's quota leaves");
    return err_set(e, -EDQUOT, "the server's quota for files (%lld bytes) is used up", (long long)quota);
}

/* Does the disk? With much room it is not asked again at once: a small file costs three questions else. */
static int check_disk(struct blobs *b, int64_t more, struct err *e)
{
    int64_t now_ns = clock_mono_ns();
    pthread_mutex_lock(&b->lock);
    int64_t keep = b->keep_free_bytes, asked_ns = b->disk_asked_ns;
    pthread_mutex_unlock(&b->lock);
    struct statvfs fs;
    if (!keep || (asked_ns && now_ns - asked_ns < ASK_DISK_NS && more < MUCH_ROOM_BYTES / 2) || statvfs(b->dir, &fs) != 0)
        return 0;
    int64_t room = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize - keep;
    pthread_mutex_lock(&b->lock);
    b->disk_asked_ns = room > MUCH_ROOM_BYTES && keep == b->keep_free_bytes ? now_ns : 0;
    pthread_mutex_unlock(&b->lock);
    return room < more ? err_set(e, TARE_ENOSPACE, "the server's disk is nearly full") : 0;
}

int blobs_check_room(struct blobs *b, int64_t bytes, struct err *e)
{
    int rc = check_quota(b, bytes, 0, e);
    return rc ? rc : check_disk(b, bytes, e);
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

static void count_kept(struct blobs *b, int64_t delta)
{
    pthread_mutex_lock(&b->lock);
    b->kept_bytes += delta;
    pthread_mutex_unlock(&b->lock);
}

/* ---- uploads ---- */

static void put_free(struct blob_put *p)
{
    EVP_MD_CTX_free(p->sha256);
    EVP_MD_CTX_free(p->md5);
    mem_free(p);
}

/* Without its file. */
static struct blob_put *put_new(struct blobs *b, int64_t max_bytes, struct err *e)
{
    struct blob_put *p = mem_calloc(1, sizeof *p);
    if (!p) {
        err_set(e, TARE_ENOMEM, "out of memory");
        return NULL;
    }
    p->store = b;
    p->max_bytes = max_bytes;
    p->sha256 = EVP_MD_CTX_new();
    p->md5 = EVP_MD_CTX_new();
    if (!p->sha256 || !p->md5 || !EVP_DigestInit_ex(p->sha256, EVP_sha256(), NULL) ||
        !EVP_DigestInit_ex(p->md5, EVP_md5(), NULL)) {
        put_free(p);
        err_set(e, TARE_ENOMEM, "the digests cannot be set up");
        return NULL;
    }
    xxh3_init(&p->xxh);
    return p;
}

static int begin(struct blobs *b, const char *key, struct blob_put **out, int64_t max_bytes, struct err *e)
{
    int rc = blobs_check_room(b, 0, e);
    if (rc < 0)
        return rc;
    struct blob_put *p = put_new(b, max_bytes, e);
    if (!p)
        return TARE_ENOMEM;
    p->has_key = key != NULL;
    p->fd = b->ops->stage(b, key, p->tmp, e);
    if (p->fd < 0) {
        rc = p->fd;
        put_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

int blob_put_begin(struct blobs *b, struct blob_put **out, int64_t max_bytes, struct err *e)
{
    return begin(b, NULL, out, max_bytes, e);
}

/* The disk is asked now and then: file systems answer slowly compared with a piece of a body. */
static int check_room(struct blob_put *p, size_t n, struct err *e)
{
    int64_t more = (int64_t)n + (p->has_key ? 0 : p->size_bytes);
    int rc = check_quota(p->store, more, p->has_key ? p->size_bytes : 0, e);
    if (rc == 0 && (p->size_bytes == 0 || p->size_bytes - p->looked_at_bytes >= LOOK_BYTES)) {
        p->looked_at_bytes = p->size_bytes;
        rc = check_disk(p->store, (int64_t)n + LOOK_BYTES, e);
    }
    return rc;
}

static void add_bytes(struct blob_put *p, const void *data, size_t n)
{
    EVP_DigestUpdate(p->sha256, data, n);
    EVP_DigestUpdate(p->md5, data, n);
    xxh3_add(&p->xxh, data, n);
    p->size_bytes += (int64_t)n;
}

int blob_put_write(struct blob_put *p, const void *data, size_t n, struct err *e)
{
    if ((uint64_t)n > (uint64_t)(p->max_bytes - p->size_bytes))
        return err_set(e, TARE_ELIMIT, "the file is larger than %lld bytes",
                       (long long)p->max_bytes);
    int rc = check_room(p, n, e);
    if (rc < 0)
        return rc;
    rc = os_write_all(p->fd, data, n, NULL);
    if (rc < 0)
        return blob_fail(e, rc, "cannot write", *p->tmp ? p->tmp : "the staged file");
    add_bytes(p, data, n);
    if (p->has_key)
        count_kept(p->store, (int64_t)n);
    return 0;
}

int blob_put_blob(struct blob_put *p, const char *name, struct err *e)
{
    int fd;
    int64_t size;
    int rc = blob_open(p->store, name, &fd, &size, e);
    if (rc < 0)
        return rc;
    char *piece = mem_alloc(BLOB_COPY_BYTES);
    if (!piece)
        rc = err_set(e, TARE_ENOMEM, "out of memory");
    while (rc == 0) {
        ssize_t n = os->read(fd, piece, BLOB_COPY_BYTES);
        if (n < 0)
            rc = blob_fail(e, (int)n, "cannot read", name);
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
    if (p->is_adopted)
        md5_end(&p->own_md5, raw);
    else
        EVP_DigestFinal_ex(p->md5, raw, &n);
    EVP_EncodeBlock((unsigned char *)info->md5, raw, MD5_BYTES);
    xxh3_end(&p->xxh, raw);
    digest_hex(info->xxh128, raw, XXH128_BYTES);
    info->size_bytes = p->size_bytes;
}

/* Its bytes are kept under no key any more. */
static void uncount(struct blob_put *p)
{
    if (p->has_key)
        count_kept(p->store, -p->size_bytes);
    p->has_key = false;
}

static void drop_file(struct blob_put *p)
{
    uncount(p);
    os->close(p->fd);
    if (*p->tmp)
        os->unlink(p->tmp);
}

int blob_put_end(struct blob_put *p, const char *want_md5, struct blob_info *info, struct err *e)
{
    struct blob_info got = {0};
    int rc = 0;
    write_digests(p, &got);
    if (want_md5 && strcmp(want_md5, got.md5) != 0 && p->is_linked)
        rc = err_set(e, TARE_ECONFLICT, BLOB_NO_SUCH_LINK);
    else if (want_md5 && strcmp(want_md5, got.md5) != 0)
        rc = err_set(e, TARE_ECONFLICT, "the bytes have MD5 %s, announced was %s", got.md5, want_md5);
    else
        rc = p->store->ops->settle(p->store, p, &got, e);
    if (rc < 0) {
        drop_file(p);
    } else {
        uncount(p);
        os->close(p->fd);
        if (got.fresh)
            count_used(p->store, got.size_bytes);
        *info = got;
        info->store = p->store;
    }
    put_free(p);
    return rc;
}

void blob_put_abort(struct blob_put *p)
{
    if (!p)
        return;
    drop_file(p);
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

/* ---- uploads that may go on ---- */

int blob_put_begin_kept(struct blobs *b, const char *key, struct blob_put **out, int64_t max_bytes, struct err *e)
{
    if (b->ops->unstage)
        count_kept(b, -b->ops->unstage(b, key));
    return begin(b, key, out, max_bytes, e);
}

static int read_again(struct blob_put *p, struct err *e)
{
    char *piece = mem_alloc(BLOB_COPY_BYTES);
    ssize_t n = 0;
    int rc = piece ? 0 : err_set(e, TARE_ENOMEM, "out of memory");
    while (rc == 0 && (n = os->read(p->fd, piece, BLOB_COPY_BYTES)) > 0) {
        if (n > p->max_bytes - p->size_bytes)
            rc = err_set(e, TARE_ELIMIT, "more is kept than there should be");
        else
            add_bytes(p, piece, (size_t)n);
    }
    mem_free(piece);
    return rc == 0 && n < 0 ? blob_fail(e, (int)n, "cannot read", p->tmp) : rc;
}

int blob_put_resume(struct blobs *b, const char *key, struct blob_put **out, int64_t max_bytes, struct err *e)
{
    struct stat st;
    if (!b->ops->stage_again)
        return err_set(e, TARE_ENOTFOUND, "nothing is kept");
    struct blob_put *p = put_new(b, max_bytes, e);
    if (!p)
        return TARE_ENOMEM;
    p->fd = b->ops->stage_again(b, key, p->tmp, e);
    int rc = p->fd < 0 ? p->fd : os->fstat(p->fd, &st);
    if (rc < 0 && p->fd >= 0)
        rc = blob_fail(e, rc, "cannot look at", p->tmp);
    if (rc == 0)
        rc = read_again(p, e);
    if (rc == 0) {
        p->has_key = true;
        *out = p;
        return 0;
    }
    if (p->fd >= 0)
        os->close(p->fd);
    put_free(p);
    return rc;
}

/* ---- uploads of clients on this machine ---- */

struct str blobs_staging(const struct blobs *b)
{
    return str_of(b->staging);
}

bool blob_is_linked(const char *name)
{
    return strncmp(name, BLOB_LINKED_PREFIX, BLOB_PREFIX_LEN) == 0;
}

static bool is_local_name(const char *name)
{
    return strlen(name) == BLOB_LOCAL - 1 &&
           (strncmp(name, BLOB_LOCAL_PREFIX, BLOB_PREFIX_LEN) == 0 || blob_is_linked(name)) &&
           strspn(name + BLOB_PREFIX_LEN, "0123456789abcdef") == BLOB_LOCAL - 1 - BLOB_PREFIX_LEN;
}

/* The end of a file, or what was cut, is no whole number of blocks: that and what follows goes the usual way. */
static int write_piece(struct blob_put *p, const char *piece, size_t n)
{
    size_t written = 0;
    if (n % OS_DIRECT_ALIGN && p->is_direct)
        p->is_direct = os_set_direct(p->fd, false);
    int rc = os_write_all(p->fd, piece, n, &written);
    if (rc != -EINVAL || !p->is_direct)
        return rc;
    p->is_direct = os_set_direct(p->fd, false);
    return os_write_all(p->fd, piece + written, n - written, NULL);
}

/* The next piece into p's digests and, if `from` is another file, into p's. Threads that are in here share the lanes of a
 * vector for their MD5. */
static int take_piece(struct blob_put *p, int from, const char *piece, size_t n, int64_t size)
{
    if ((int64_t)n > size - p->size_bytes)
        return TARE_EINVAL;
    int rc = from == p->fd ? 0 : write_piece(p, piece, n);
    EVP_DigestUpdate(p->sha256, piece, n);
    xxh3_add(&p->xxh, piece, n);
    md5_add_together(&p->own_md5, piece, n);
    p->size_bytes += (int64_t)n;
    return rc;
}

static int take_file(struct blob_put *p, int from, int64_t size, struct err *e)
{
    char *memory = mem_alloc(BLOB_COPY_BYTES + OS_DIRECT_ALIGN), *piece = os_align(memory);
    ssize_t n = 0;
    int rc = piece ? 0 : TARE_ENOMEM;
    p->is_adopted = true;
    md5_init(&p->own_md5);
    p->is_direct = from != p->fd && size >= OS_DIRECT_MIN_BYTES && os_set_direct(p->fd, true);
    while (rc == 0 && (n = os->read(from, piece, BLOB_COPY_BYTES)) > 0)
        rc = take_piece(p, from, piece, (size_t)n, size);
    if (p->is_direct)
        p->is_direct = os_set_direct(p->fd, false);
    mem_free(memory);
    if (rc == TARE_EINVAL || (rc == 0 && n == 0 && p->size_bytes != size))
        return err_set(e, TARE_EINVAL, "the file is not as long as was said");
    if (rc == 0 && n < 0 && from != p->fd)
        return TARE_EINVAL; /* the client's: it may send it */
    return rc < 0 ? blob_fail(e, rc, "cannot write", p->tmp) : n < 0 ? blob_fail(e, (int)n, "cannot read", p->tmp) : 0;
}

/* A file of our own, which shares the blocks of `from` where the file system can. */
static int take_copy(struct blobs *b, int from, int64_t size, struct blob_put **out, struct err *e)
{
    int rc = blobs_check_room(b, size, e);
    if (rc == 0)
        rc = begin(b, NULL, out, size, e);
    if (rc < 0)
        return rc;
    bool is_clone = false;
#ifdef FICLONE
    is_clone = ioctl((*out)->fd, FICLONE, from) == 0;
#endif
    (*out)->is_linked = true;
    rc = take_file(*out, is_clone ? (*out)->fd : from, size, e);
    return rc == TARE_EINVAL ? err_set(e, rc, BLOB_NO_SUCH_LINK) : rc;
}

/* Nobody else has this file: it becomes ours. */
static int take_over(struct blobs *b, int fd, const char *tmp, int64_t size, struct blob_put **out, struct err *e)
{
    struct blob_put *p = *out = put_new(b, size, e);
    if (!p) {
        os->close(fd);
        os->unlink(tmp);
        return TARE_ENOMEM;
    }
    p->fd = fd;
    strcpy(p->tmp, tmp);
    int rc = check_quota(b, size, 0, e);
    if (rc == 0)
        rc = check_disk(b, 0, e); /* its bytes are there already */
    return rc < 0 ? rc : take_file(p, fd, size, e);
}

int blob_put_adopt(struct blobs *b, const char *name, int64_t size, bool may_follow, struct blob_put **out, struct err *e)
{
    char tmp[PATH_MAX];
    if (!b->ops->adopt || !is_local_name(name) || (blob_is_linked(name) && !may_follow))
        return err_set(e, TARE_EINVAL, "this name is not understood");
    *out = NULL;
    int rc, fd = b->ops->adopt(b, name, tmp, e);
    if (fd < 0)
        return fd;
    if (blob_is_linked(name)) {
        rc = take_copy(b, fd, size, out, e);
        os->close(fd);
    } else {
        rc = take_over(b, fd, tmp, size, out, e);
    }
    if (rc < 0)
        blob_put_abort(*out);
    return rc;
}

void blob_put_keep(struct blob_put *p)
{
    if (!*p->tmp) {
        blob_put_abort(p);
        return;
    }
    os->close(p->fd);
    put_free(p);
}

int64_t blob_put_size(const struct blob_put *p)
{
    return p->size_bytes;
}

int blobs_drop_kept(struct blobs *b, int64_t seconds)
{
    int64_t dropped = 0, left = 0;
    int n = b->ops->drop_staged ? b->ops->drop_staged(b, seconds, &dropped, &left) : 0;
    count_kept(b, -dropped);
    return n;
}

/* ---- reading and removing ---- */

int blob_open(struct blobs *b, const char *name, int *fd, int64_t *size_bytes, struct err *e)
{
    return blob_open_part(b, name, 0, -1, fd, size_bytes, e);
}

int blob_open_part(struct blobs *b, const char *name, int64_t first, int64_t n, int *fd, int64_t *size_bytes,
                   struct err *e)
{
    int rc = check_name(name, e);
    return rc ? rc : b->ops->open(b, name, first, n, fd, size_bytes, e);
}

bool blob_put_path(struct blobs *b, const char *name, struct buf *to)
{
    char path[PATH_MAX];
    return b->ops->path && blob_is_name(name) && b->ops->path(b, name, path) && buf_puts(to, path) == 0;
}

int blob_exists(struct blobs *b, const char *name, struct err *e)
{
    int64_t size = blob_is_name(name) ? b->ops->size(b, name, e) : -1;
    return size >= 0 ? 1 : size == -1 ? 0 : (int)size;
}

int64_t blob_size(struct blobs *b, const char *name)
{
    int64_t size = blob_is_name(name) ? b->ops->size(b, name, NULL) : 0;
    return size < 0 ? 0 : size;
}

int blob_delete(struct blobs *b, const char *name, struct err *e)
{
    int rc = check_name(name, e);
    if (rc)
        return rc;
    int64_t size = blob_size(b, name);
    rc = b->ops->remove(b, name, e);
    if (rc < 0)
        return rc;
    count_used(b, -size);
    return 0;
}

int blobs_each(struct blobs *b, int (*each)(void *arg, const char *name, int64_t size_bytes), void *arg,
               struct err *e)
{
    return b->ops->each(b, each, arg, e);
}

static int verify_bytes(int fd, const char *name, struct err *e)
{
    int rc = 0;
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    char *piece = mem_alloc(BLOB_COPY_BYTES);
    if (!sha || !piece || !EVP_DigestInit_ex(sha, EVP_sha256(), NULL))
        rc = err_set(e, TARE_ENOMEM, "out of memory");
    ssize_t n = 0;
    while (rc == 0 && (n = os->read(fd, piece, BLOB_COPY_BYTES)) > 0)
        EVP_DigestUpdate(sha, piece, (size_t)n);
    if (rc == 0 && n < 0)
        rc = blob_fail(e, (int)n, "cannot read", name);
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
    rc = verify_bytes(fd, name, e);
    os->close(fd);
    return rc;
}
