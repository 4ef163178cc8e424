/* SPDX-License-Identifier: MIT */
/* A file for a server on this machine: a symbolic link to it is put into the server's folder, and the server makes its own
 * copy, with the digests, in one pass (server/storage_put.c). What has no digest that the server could hold it to, and parts
 * of files, we copy there by ourselves. */
#include "service/upload/transfer.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/os.h"
#include "base/random.h"
#include "service/limits.h"
#include "service/upload/url_hints.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BYTES = 256 * 1024, ID_BYTES = 16 };

bool place_is_wanted(const struct transfer *t)
{
    return t->fd >= 0 && !t->no_place && !t->has_sent && t->total >= PLACE_MIN_BYTES && t->total <= PLACE_MAX_BYTES &&
           strstr(t->url, "#place=");
}

/* Which folder it is, the backend says: only one of our own user that is shut to all others, as a server keeps its, gets
 * a file. None of the system's, and none that another user could have laid out. */
static bool is_private(const char *folder)
{
    struct stat st;
    return lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 07777) == 0700;
}

/* The path could lead the server to another file than the one that is open: then the digest is wrong, and it is sent. */
static bool link_place(const struct transfer *t, const char *placed)
{
    struct stat st;
    if (t->part_at > 0 || !transfer_has_header(t->headers, "Content-MD5") || os->fstat(t->fd, &st) ||
        (uint64_t)st.st_size != t->total)
        return false;
    char *path = realpath(t->path, NULL);
    bool is_linked = path && symlink(path, placed) == 0;
    free(path);
    return is_linked;
}

static int create_place(struct transfer *t, const char *placed)
{
    t->place_fd = os->open(placed, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    return t->place_fd < 0 ? t->place_fd : 0;
}

/* `placed`, with all of the file, or with `place_fd` to write it to. */
static int open_place(struct transfer *t)
{
    uint8_t id[ID_BYTES];
    char hex[2 * ID_BYTES + 1];
    AUTO_BUF link = {0}, copy = {0};
    AUTO_FREE char *folder = url_place(t->url, t->backend_url);
    if (!folder || !is_private(folder))
        return TARE_EINVAL;
    random_bytes(id, sizeof id);
    digest_hex(hex, id, sizeof id);
    buf_printf(&link, "%s/links-%s", folder, hex);
    buf_printf(&copy, "%s/local-%s", folder, hex);
    bool is_linked = !link.failed && link_place(t, buf_z(&link));
    int rc = is_linked ? 0 : copy.failed ? TARE_ENOMEM : create_place(t, buf_z(&copy));
    if (rc)
        return rc;
    t->n_placed = is_linked ? t->total : 0;
    t->placed = xmem_strdup(is_linked ? buf_z(&link) : buf_z(&copy));
    return 0;
}

static ssize_t copy_by_hand(struct transfer *t, size_t n)
{
    AUTO_FREE char *block = mem_alloc(COPY_BYTES);
    ssize_t got = block ? os->pread(t->fd, block, n < COPY_BYTES ? n : COPY_BYTES, (off_t)(t->part_at + t->n_placed)) : TARE_ENOMEM;
    int rc = got > 0 ? os_write_all(t->place_fd, block, (size_t)got, NULL) : 0;
    return rc ? rc : got;
}

/* The kernel copies, where it can between these two. */
static ssize_t copy_some(struct transfer *t, size_t n)
{
#ifdef __linux__
    off_t at = (off_t)(t->part_at + t->n_placed);
    ssize_t done = t->by_hand ? -1 : copy_file_range(t->fd, &at, t->place_fd, NULL, n, 0);
    if (done > 0)
        return done;
    t->by_hand = true; /* or the end of the file: that is seen there */
#endif
    return copy_by_hand(t, n);
}

int place_step(struct transfer *t)
{
    uint64_t until = t->total - t->n_placed < PLACE_STEP_BYTES ? t->total : t->n_placed + PLACE_STEP_BYTES;
    int rc = t->placed ? 0 : open_place(t);
    while (rc == 0 && t->n_placed < until) {
        ssize_t n = copy_some(t, (size_t)(until - t->n_placed));
        rc = n > 0 ? 0 : n < 0 ? (int)n : UV_EOF;
        t->n_placed += n > 0 ? (uint64_t)n : 0;
    }
    if (rc == 0 && t->n_placed < t->total)
        return 1;
    if (rc)
        place_drop(t);
    else if (t->place_fd >= 0)
        rc = os->close(t->place_fd);
    t->place_fd = -1;
    return rc;
}

void place_drop(struct transfer *t)
{
    if (!t->placed)
        return;
    if (t->place_fd >= 0)
        os->close(t->place_fd);
    t->place_fd = -1;
    os->unlink(t->placed); /* unless the server has taken it */
    mem_free(t->placed);
    t->placed = NULL;
}
