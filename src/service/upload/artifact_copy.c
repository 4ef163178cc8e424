/* SPDX-License-Identifier: MIT */
/* Copies of files between the cache and where a download, or a save, has them. */
#include "service/upload/artifact_impl.h"

#include "base/alloc.h"
#include "base/os.h"
#include "service/upload/download.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif

enum { COPY_BYTES = 256 * 1024 };

static int copy_by_hand(int from, int to)
{
    AUTO_FREE char *block = mem_alloc(COPY_BYTES);
    for (off_t at = 0; block;) {
        ssize_t n = os->pread(from, block, COPY_BYTES, at);
        int rc = n > 0 ? os_write_all(to, block, (size_t)n, NULL) : (int)n;
        if (rc || n == 0)
            return rc;
        at += n;
    }
    return TARE_ENOMEM;
}

/* The kernel copies, or shares the blocks, where the file systems can. */
static int copy_bytes(int from, int to)
{
#ifdef __linux__
    for (off_t at = 0;;) {
        ssize_t n = copy_file_range(from, &at, to, NULL, (size_t)1 << 30, 0);
        if (n == 0 && at > 0)
            return 0;
        if (n <= 0 && at > 0 && errno != EINTR)
            return errno ? -errno : TARE_EIO;
        if (n <= 0 && at == 0)
            break; /* not these two; or empty, or a file that says it is */
    }
#endif
    return copy_by_hand(from, to);
}

/* A block is summed while it is in the processor's cache; shared blocks are read from the copy. */
static int copy_summed(int from, int to, bool is_xxh128, char base64[32])
{
#ifdef FICLONE
    if (ioctl(to, FICLONE, from) == 0)
        return download_digest_of(to, -1, is_xxh128, base64);
#endif
    return download_digest_of(from, to, is_xxh128, base64);
}

int artifact_copy(const char *from, const char *to, bool is_xxh128, char *base64)
{
    int in = os->open(from, O_RDONLY | O_NONBLOCK, 0);
    if (in < 0)
        return in;
    int out = os->open(to, O_RDWR | O_CREAT | O_EXCL, 0666);
    int rc = out;
    if (out >= 0) {
        rc = base64 ? copy_summed(in, out, is_xxh128, base64) : copy_bytes(in, out);
        int closed = os->close(out);
        rc = rc ? rc : closed;
    }
    os->close(in);
    if (rc && out >= 0)
        os->unlink(to);
    return rc;
}
