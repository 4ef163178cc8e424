/* SPDX-License-Identifier: MIT */
/* The part of a file that is being downloaded: PATH.SUFFIX.part beside its place.
 *
 * Where the digest of the whole is known, the suffix is the digest's, and the part outlives us: a later
 * process finds it, takes the bytes that are there into its sum, and asks for the rest. Whoever has it
 * holds a lock on it (flock), which ends with the process; another that wants the same file at the same
 * time takes a random suffix and goes its own way. Wrong bytes can cost a try, never a wrong file: what is
 * put into place is what the digest says. */
#include "service/upload/download.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/err.h"
#include "base/md5_lanes.h"
#include "base/os.h"
#include "base/path.h"
#include "base/random.h"
#include "service/limits.h"
#include "service/upload/own_server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#endif

enum { SUM_BLOCK_BYTES = 256 * 1024, COPY_STEP_BYTES = 64 << 20 };

/* ---- sums ---- */

static void sum_begin(struct download *d)
{
    d->have = 0;
    d->sums_xxh = d->is_xxh128 || (d->quick.n > 0 && (!d->quick_is_for_here || d->is_ours));
    if (d->sums_xxh)
        xxh3_init(&d->sum.xxh);
    else
        md5_init(&d->sum.md5);
}

static void sum_add(struct download *d, const char *p, size_t n)
{
    d->have += n;
    if (d->digest.n == 0)
        return;
    if (d->sums_xxh)
        xxh3_add(&d->sum.xxh, p, n);
    else
        md5_add_together(&d->sum.md5, p, n);
}

static void sum_end(struct download *d, uint8_t bytes[XXH128_BYTES])
{
    if (d->sums_xxh)
        xxh3_end(&d->sum.xxh, bytes);
    else
        md5_end(&d->sum.md5, bytes);
}

/* Into the sum what the file `from` has, and into the file `to` (-1: none). */
static int sum_copy(struct download *d, int from, int to)
{
    AUTO_FREE char *block = mem_alloc(SUM_BLOCK_BYTES);
    if (!block)
        return TARE_ENOMEM;
    sum_begin(d);
    for (;;) {
        ssize_t n = os->pread(from, block, SUM_BLOCK_BYTES, (off_t)d->have);
        int rc = n > 0 && to >= 0 ? os_write_all(to, block, (size_t)n, NULL) : 0;
        if (n <= 0 || rc)
            return n <= 0 ? (int)n : rc;
        sum_add(d, block, (size_t)n);
    }
}

static int sum_file(struct download *d, int fd)
{
    return sum_copy(d, fd, -1);
}

int download_digest_of(int from, int to, bool is_xxh128, char base64[32])
{
    uint8_t bytes[XXH128_BYTES];
    struct download *d = mem_calloc(1, sizeof *d);
    if (!d)
        return TARE_ENOMEM;
    d->is_xxh128 = is_xxh128;
    d->digest = STR("?");
    int rc = sum_copy(d, from, to);
    sum_end(d, bytes);
    base64_text(base64, bytes, sizeof bytes);
    mem_free(d);
    return rc;
}

/* ---- the part ---- */

static int name_part(struct download *d, const char *suffix)
{
    AUTO_BUF name = {0};
    buf_printf(&name, "%s.%s.part", d->path, suffix);
    mem_free(d->part);
    d->part = name.failed ? NULL : mem_strndup(name.data, name.len);
    return d->part ? 0 : TARE_ENOMEM;
}

/* Is `fd` still what its name says? Someone may have finished, and moved or removed it, meanwhile. */
static bool is_there(const struct download *d, int fd)
{
    struct stat mine, named;
    return os->fstat(fd, &mine) == 0 && S_ISREG(mine.st_mode) && lstat(d->part, &named) == 0 &&
           mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
}

static void suffix_of_digest(const struct download *d, char to[17])
{
    char hex[2 * SHA256_BYTES + 1];
    sha256_hex(hex, d->digest.p, d->digest.n);
    snprintf(to, 17, "%.16s", hex);
}

/* The part that outlives us: true if it is ours now. */
static bool take_lasting(struct download *d)
{
    char suffix[17];
    suffix_of_digest(d, suffix);
    if (name_part(d, suffix))
        return false;
    int fd = os->open(d->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (fd < 0)
        return false;
    if (flock(fd, LOCK_EX | LOCK_NB) || !is_there(d, fd)) {
        os->close(fd);
        return false;
    }
    d->fd = fd;
    d->is_locked = true;
    if (sum_file(d, fd) || d->have >= d->size) {
        os->ftruncate(fd, 0);
        sum_begin(d);
    }
    d->was_continued = d->have > 0;
    return true;
}

static int make_folder(const struct download *d)
{
    struct str dir = path_dir(str_of(d->path));
    AUTO_FREE char *folder = mem_strndup(dir.p, dir.n);
    return folder ? os_mkdirs(folder, 0777) : TARE_ENOMEM;
}

static int make_random(struct download *d)
{
    char id[9];
    random_id(id, 8);
    id[8] = '\0';
    int rc = name_part(d, id);
    if (rc)
        return rc;
    d->fd = os->open(d->part, O_RDWR | O_CREAT | O_EXCL, 0666);
    return d->fd < 0 ? d->fd : 0;
}

int download_part_open(struct download *d)
{
    int rc = make_folder(d);
    sum_begin(d);
    if (rc)
        return rc;
    if (d->digest.n > 0 && take_lasting(d))
        return 0;
    rc = make_random(d);
    if (rc) { /* no part of ours */
        mem_free(d->part);
        d->part = NULL;
    }
    return rc;
}

void download_part_add(struct download *d, uint64_t at, const char *p, size_t n)
{
    if (at == 0)
        sum_begin(d);
    if (at == d->have)
        sum_add(d, p, n);
}

/* ---- from a file of this machine ---- */

/* What is no file is not even opened: that alone does something to a pipe or a device. */
static int open_here(struct download *d)
{
    struct stat st;
    if (lstat(d->here, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return TARE_EINVAL;
    d->from_fd = os->open(d->here, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0);
    int rc = d->from_fd < 0 ? d->from_fd : os->fstat(d->from_fd, &st);
    if (!rc && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != d->size))
        rc = TARE_EINVAL;
#ifdef FICLONE
    d->is_clone = !rc && ioctl(d->fd, FICLONE, d->from_fd) == 0;
#endif
    d->is_ours = !rc && d->quick_is_for_here && own_server_has(d->here, d->backend_url);
    sum_begin(d);
    return rc;
}

/* What was cloned is read from the clone, which nobody changes. */
static int copy_block(struct download *d, char *block, size_t n)
{
    ssize_t got = os->pread(d->is_clone ? d->fd : d->from_fd, block, n, (off_t)d->have);
    if (got <= 0)
        return got < 0 ? (int)got : UV_EOF;
    int rc = d->is_clone ? 0 : os_pwrite_all(d->fd, block, (size_t)got, d->have, NULL);
    if (!rc)
        sum_add(d, block, (size_t)got);
    return rc;
}

static int copy_step(struct download *d)
{
    AUTO_FREE char *block = mem_alloc(SUM_BLOCK_BYTES);
    uint64_t until = d->size - d->have < COPY_STEP_BYTES ? d->size : d->have + COPY_STEP_BYTES;
    int rc = block ? 0 : TARE_ENOMEM;
    while (!rc && d->have < until) {
        uint64_t left = until - d->have;
        rc = copy_block(d, block, left < SUM_BLOCK_BYTES ? (size_t)left : SUM_BLOCK_BYTES);
    }
    return rc ? rc : d->have < d->size;
}

static void close_here(struct download *d)
{
    if (d->from_fd >= 0)
        os->close(d->from_fd);
    d->from_fd = -1;
}

int download_part_copy(struct download *d)
{
    int rc = d->from_fd < 0 ? open_here(d) : 0;
    if (!rc)
        rc = copy_step(d);
    if (rc <= 0)
        close_here(d);
    if (rc < 0) {
        d->is_ours = false;
        os->ftruncate(d->fd, 0);
        sum_begin(d);
    }
    return rc;
}

/* ---- the end ---- */

static int write_small(struct download *d)
{
    struct str all = buf_str(&d->http.answer);
    int rc = make_folder(d);
    if (!rc)
        rc = make_random(d);
    if (rc)
        return rc;
    sum_begin(d);
    rc = os_write_all(d->fd, all.p, all.n, NULL);
    sum_add(d, all.p, all.n);
    return rc;
}

static bool is_quickly_right(const struct download *d, const uint8_t bytes[XXH128_BYTES])
{
    char hex[2 * XXH128_BYTES + 1];
    digest_hex(hex, bytes, XXH128_BYTES);
    return d->sums_xxh && !d->is_xxh128 && d->have == d->size && str_eqz(d->quick, hex);
}

static int verify(struct download *d)
{
    uint8_t bytes[XXH128_BYTES];
    char base64[32];
    if (d->digest.n == 0)
        return 0;
    sum_end(d, bytes);
    if (is_quickly_right(d, bytes))
        return 0;
    if (d->sums_xxh && !d->is_xxh128) {
        d->quick = (struct str){0};
        int rc = sum_file(d, d->fd);
        if (rc) {
            snprintf(d->why, sizeof d->why, "read %s: %s", d->part, err_text(rc));
            return rc;
        }
        sum_end(d, bytes);
    }
    base64_text(base64, bytes, sizeof bytes);
    if (str_eqz(d->digest, base64))
        return 0;
    snprintf(d->why, sizeof d->why, "file hash mismatch: expected %.*s, actual %s", STR_ARG(d->digest), base64);
    return TARE_ECONFLICT;
}

int download_part_finish(struct download *d)
{
    int rc = d->is_small ? write_small(d) : os->ftruncate(d->fd, (off_t)d->have);
    int wrong = rc ? 0 : verify(d); /* an earlier try may have been longer */
    if (wrong)
        return wrong;
    if (!rc && d->landed)
        d->landed(d, d->part);
    if (!rc && !d->is_locked) { /* a lock ends with the descriptor: the name must be gone before */
        rc = os->close(d->fd);
        d->fd = -1;
    }
    if (!rc)
        rc = os->rename(d->part, d->path);
    if (rc) {
        snprintf(d->why, sizeof d->why, "open %s: %s", d->path, err_text(rc));
        return rc;
    }
    mem_free(d->part);
    d->part = NULL;
    if (d->fd >= 0)
        os->close(d->fd);
    d->fd = -1;
    return 0;
}

/* Worth keeping: what another process may go on with. Not what a full disk has cut, nor what is wrong. */
static bool is_of_use(const struct download *d)
{
    bool broke_off = d->http.error || d->http.status >= 500 || d->http.status == 429;
    return d->error != TARE_ECONFLICT && d->is_locked && d->have >= DOWNLOAD_KEEP_BYTES && d->rc == 0 && (d->cancelled || broke_off) &&
           d->http.error != UV_ENOSPC && d->http.error != -EDQUOT;
}

void download_part_drop(struct download *d)
{
    close_here(d);
    if (d->part && d->fd >= 0 && is_of_use(d))
        os->ftruncate(d->fd, (off_t)d->have);
    else if (d->part)
        os->unlink(d->part);
    if (d->fd >= 0)
        os->close(d->fd);
    d->fd = -1;
    mem_free(d->part);
    d->part = NULL;
}
