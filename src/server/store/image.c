/* SPDX-License-Identifier: MIT */
/* The file has no name until it is whole and on the disk; it gets one only if there is none of that name: of two
 * processes that start at the same time one makes the file, and both use it. Its directory entry is waited for
 * with the first commit, when SQLite waits for the entry of its log. */
#include "server/store/image.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/os.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 1 << 16 }; /* written at a time; whole pages */

#ifdef O_TMPFILE

/* What lies in [from, from + BLOCK) of the image into `block`. */
static void fill_block(char *block, uint32_t from, uint64_t time)
{
    const unsigned char *bytes = db_image.bytes;
    memset(block, 0, BLOCK);
    for (uint32_t i = 0; i < db_image.n_pieces; bytes += db_image.pieces[i++].n)
        if (db_image.pieces[i].offset / BLOCK == from / BLOCK)
            memcpy(block + db_image.pieces[i].offset - from, bytes, db_image.pieces[i].n);
    for (uint32_t i = 0; i < db_image.n_times; i++)
        for (int k = 0; k < 8 && db_image.times[i] / BLOCK == from / BLOCK; k++)
            block[db_image.times[i] - from + (uint32_t)k] = (char)(time >> (56 - 8 * k));
}

static int write_image(int fd)
{
    AUTO_FREE char *block = mem_alloc(BLOCK);
    uint64_t now = (uint64_t)(clock_wall_ns() / 1000);
    int rc = block ? 0 : -1;
    for (uint32_t at = 0; at < db_image.size && !rc; at += BLOCK) {
        fill_block(block, at, now);
        rc = os_write_all(fd, block, db_image.size - at < BLOCK ? db_image.size - at : BLOCK, NULL);
    }
    return rc ? rc : os->fsync(fd);
}

/* A log without its database would be taken for the new one's. */
static bool is_there(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-journal"};
    bool any = false;
    for (int i = 0; i < 3 && !any; i++) {
        AUTO_BUF name = {0};
        buf_puts(&name, path);
        buf_puts(&name, suffixes[i]);
        const char *z = buf_z(&name);
        any = !z || access(z, F_OK) == 0;
    }
    return any;
}

bool db_image_make(const char *path)
{
    AUTO_BUF dir = {0};
    char self[64];
    const char *slash = strrchr(path, '/');
    if (!slash || is_there(path) || buf_append(&dir, path, (size_t)(slash - path + 1)) || !buf_z(&dir))
        return false;
    int fd = os->open(dir.data, O_RDWR | O_TMPFILE, 0600);
    if (fd < 0)
        return false;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    bool made = write_image(fd) == 0 && linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0;
    os->close(fd);
    return made;
}

#else

bool db_image_make(const char *path)
{
    (void)path;
    return false;
}

#endif
