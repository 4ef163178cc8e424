/* SPDX-License-Identifier: MIT */
/* What is looked up of a file before the backend is asked for a place. */
#include "service/upload/artifact_files.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/os.h"
#include "service/limits.h"

int spec_md5(int fd, uint64_t at, uint64_t n, uint8_t md5[MD5_BYTES])
{
    enum { BLOCK = 256 * 1024 };
    AUTO_FREE char *block = mem_alloc(BLOCK);
    struct digest d;
    md5_init(&d);
    while (block && n > 0) {
        ssize_t got = os->pread(fd, block, n < BLOCK ? (size_t)n : BLOCK, (off_t)at);
        if (got <= 0)
            return got < 0 ? (int)got : UV_EOF;
        md5_add(&d, block, (size_t)got);
        at += (uint64_t)got;
        n -= (uint64_t)got;
    }
    md5_end(&d, md5);
    return block ? 0 : TARE_ENOMEM;
}

/* Parts of 100 MiB, larger ones where there would be more than 10,000: what S3 takes. */
static uint64_t part_size(uint64_t file_bytes)
{
    enum { PAGE = 4096 };
    if (file_bytes < MULTIPART_PART_BYTES * MULTIPART_MAX_PARTS)
        return MULTIPART_PART_BYTES;
    uint64_t n = (file_bytes + MULTIPART_MAX_PARTS - 1) / MULTIPART_MAX_PARTS;
    return (n + PAGE - 1) / PAGE * PAGE;
}

int spec_measure(struct spec *spec, int fd, bool is_xxh128)
{
    struct stat st;
    uint8_t md5[MD5_BYTES];
    int rc = os->fstat(fd, &st);
    if (rc)
        return rc;
    spec->stamp = file_stamp_of(&st);
    uint64_t size = spec->stamp.size;
    if (S_ISDIR(st.st_mode))
        return UV_EISDIR;
    if (size > MULTIPART_MAX_BYTES)
        return TARE_ELIMIT;
    if (size < MULTIPART_BYTES) {
        rc = is_xxh128 ? spec_md5(fd, 0, size, md5) : 0;
        if (is_xxh128)
            base64_text(spec->md5, md5, MD5_BYTES);
        return rc;
    }
    spec->part_bytes = part_size(size);
    uint32_t n = (uint32_t)((size + spec->part_bytes - 1) / spec->part_bytes);
    spec->parts = mem_calloc(n, sizeof *spec->parts);
    if (!spec->parts)
        return TARE_ENOMEM;
    spec->n_parts = n;
    return 0;
}

void spec_fini(struct spec *spec)
{
    for (uint32_t i = 0; i < spec->n_parts; i++) {
        mem_free(spec->parts[i].url);
        mem_free(spec->parts[i].etag);
    }
    mem_free(spec->parts);
    spec->parts = NULL;
    spec->n_parts = 0;
}
