/* SPDX-License-Identifier: MIT */
/* A file is a header of 512 bytes (name, mode, size in octal, checksum) and its bytes, filled up to a multiple
 * of 512; two empty blocks end the archive. A size of 8 GiB or more stands in binary, as GNU tar has it. */
#include "server/tar.h"

#include "base/os.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 512, PIECE = 65536 };

struct header {
    char name[TAR_NAME], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

static unsigned checksum(const struct header *h)
{
    struct header copy = *h;
    unsigned sum = 0;
    memset(copy.checksum, ' ', sizeof copy.checksum);
    for (size_t i = 0; i < sizeof copy; i++)
        sum += ((unsigned char *)&copy)[i];
    return sum;
}

static int put(int fd, const void *p, size_t n, struct err *e)
{
    int rc = os_write_all(fd, p, n, NULL);
    return rc ? err_set(e, rc == -ENOSPC ? TARE_ENOSPACE : rc, "writing: %s", err_text(rc)) : 0;
}

static int put_header(int fd, const char *name, int64_t size, struct err *e)
{
    struct header h = {0};
    if (strlen(name) >= sizeof h.name)
        return err_set(e, TARE_EINVAL, "name too long: %s", name);
    memcpy(h.name, name, strlen(name));
    memcpy(h.mode, "0000600", 8);
    memcpy(h.uid, "0000000", 8);
    memcpy(h.gid, "0000000", 8);
    memcpy(h.mtime, "00000000000", 12);
    h.type = '0';
    memcpy(h.magic, "ustar", 6);
    memcpy(h.version, "00", 2);
    if (size < INT64_C(1) << 33) {
        char digits[32];
        snprintf(digits, sizeof digits, "%011llo", (unsigned long long)size);
        memcpy(h.size, digits, 11);
    } else {
        for (int i = 0; i < 8; i++)
            h.size[11 - i] = (char)(size >> (8 * i));
        h.size[0] = (char)0x80;
    }
    char sum[16];
    snprintf(sum, sizeof sum, "%06o", checksum(&h) & 0777777);
    memcpy(h.checksum, sum, 7);
    h.checksum[7] = ' ';
    return put(fd, &h, sizeof h, e);
}

static int put_padding(int fd, int64_t size, struct err *e)
{
    static const char zeros[BLOCK];
    return put(fd, zeros, (size_t)(-size & (BLOCK - 1)), e);
}

int tar_put_file(int fd, const char *name, int from_fd, int64_t size_bytes, struct err *e)
{
    char piece[PIECE];
    int rc = put_header(fd, name, size_bytes, e);
    for (int64_t at = 0; at < size_bytes && !rc;) {
        int64_t left = size_bytes - at;
        ssize_t n = os->pread(from_fd, piece, left < PIECE ? (size_t)left : PIECE, at);
        if (n <= 0)
            return err_set(e, n ? (int)n : TARE_EFORMAT, "reading %s: %s", name,
                           n ? err_text((int)n) : "it got shorter");
        rc = put(fd, piece, (size_t)n, e);
        at += n;
    }
    return rc ? rc : put_padding(fd, size_bytes, e);
}

int tar_put_bytes(int fd, const char *name, const void *p, size_t n, struct err *e)
{
    int rc = put_header(fd, name, (int64_t)n, e);
    if (!rc)
        rc = put(fd, p, n, e);
    return rc ? rc : put_padding(fd, (int64_t)n, e);
}

int tar_put_end(int fd, struct err *e)
{
    static const char zeros[2 * BLOCK];
    return put(fd, zeros, sizeof zeros, e);
}

/* ---- reading ---- */

static int get(int fd, void *p, size_t n, struct err *e)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = os->read(fd, (char *)p + at, n - at);
        if (k <= 0)
            return err_set(e, k ? (int)k : TARE_EFORMAT, "reading the archive: %s",
                           k ? err_text((int)k) : "it is cut off");
        at += (size_t)k;
    }
    return 0;
}

static int64_t parse_size(const struct header *h)
{
    uint64_t v = 0;
    if ((unsigned char)h->size[0] == 0x80) {
        for (int i = 4; i < 12; i++)
            v = v << 8 | (unsigned char)h->size[i];
        return v > INT64_MAX ? -1 : (int64_t)v;
    }
    for (int i = 0; i < 12 && h->size[i] && h->size[i] != ' '; i++) {
        if (h->size[i] < '0' || h->size[i] > '7')
            return -1;
        v = v * 8 + (uint64_t)(h->size[i] - '0');
    }
    return (int64_t)v;
}

int tar_next(int fd, char name[TAR_NAME + 1], int64_t *size_bytes, struct err *e)
{
    struct header h;
    unsigned sum = 0;
    int rc = get(fd, &h, sizeof h, e);
    if (rc)
        return rc;
    if (!h.name[0])
        return 0;
    for (int i = 0; i < 6 && h.checksum[i] >= '0' && h.checksum[i] <= '7'; i++)
        sum = sum * 8 + (unsigned)(h.checksum[i] - '0');
    *size_bytes = parse_size(&h);
    if (sum != checksum(&h) || *size_bytes < 0 || (h.type != '0' && h.type != 0) || h.prefix[0])
        return err_set(e, TARE_EFORMAT, "this is not a backup, or it is damaged");
    memcpy(name, h.name, TAR_NAME);
    name[TAR_NAME] = 0;
    return 1;
}

int tar_get_bytes(int fd, int64_t size_bytes, int (*take)(void *arg, const void *p, size_t n, struct err *e),
                  void *arg, struct err *e)
{
    char piece[PIECE];
    int rc = 0;
    for (int64_t left = size_bytes; left > 0 && rc >= 0;) {
        size_t n = left < PIECE ? (size_t)left : PIECE;
        rc = get(fd, piece, n, e);
        if (!rc)
            rc = take(arg, piece, n, e);
        left -= (int64_t)n;
    }
    return rc < 0 ? rc : get(fd, piece, (size_t)(-size_bytes & (BLOCK - 1)), e);
}
