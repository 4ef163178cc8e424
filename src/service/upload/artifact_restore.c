/* SPDX-License-Identifier: MIT */
/* Files of artifacts between the cache (artifact_cache.c) and where a download wants them. Nothing half
 * is ever under its name: copies are made under another and renamed. What is taken from the cache is
 * hashed on the way: a file that is not what its name says is removed from there, and downloaded.
 * (peer: core/pkg/artifacts/file_cache.go, RestoreTo and AddFileAndCheckDigest) */
#include "service/upload/artifact_impl.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/diag.h"
#include "base/digest.h"
#include "base/os.h"
#include "base/path.h"
#include "base/random.h"
#include "service/upload/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

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

/* A new file `to` with the contents of `from`: 0, or a negative code and there is none. */
static int copy_file(const char *from, const char *to)
{
    int in = os->open(from, O_RDONLY | O_NONBLOCK, 0);
    if (in < 0)
        return in;
    int out = os->open(to, O_WRONLY | O_CREAT | O_EXCL, 0666);
    int rc = out < 0 ? out : copy_bytes(in, out);
    os->close(in);
    if (out >= 0) {
        int closed = os->close(out);
        rc = rc ? rc : closed;
    }
    if (rc && out >= 0)
        os->unlink(to);
    return rc;
}

static bool is_file(const char *path, uint64_t *size)
{
    struct stat st;
    bool is = stat(path, &st) == 0 && S_ISREG(st.st_mode);
    *size = is ? (uint64_t)st.st_size : 0;
    return is;
}

static bool has_digest(const char *path, const struct manifest_entry *e)
{
    char base64[32];
    return download_digest_of(path, e->is_xxh128, base64) == 0 && str_eqz(e->digest, base64);
}

static bool is_checked(const struct manifest_entry *e)
{
    return e->ref.n == 0;
}

/* A reference's file: by its address and the ETag it had. */
static char *etag_place(const char *cache, const struct manifest_entry *e)
{
    uint8_t both[2 * SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    struct digest d;
    AUTO_BUF path = {0};
    if (str_eq(e->digest, e->ref))
        return NULL; /* no ETag: it may have changed */
    sha256_init(&d);
    sha256_add(&d, e->ref.p, e->ref.n);
    sha256_end(&d, both);
    sha256_init(&d);
    sha256_add(&d, e->digest.p, e->digest.n);
    sha256_end(&d, both + SHA256_BYTES);
    sha256_hex(hex, both, sizeof both);
    buf_printf(&path, "%s/obj/etag/%.2s", cache, hex);
    if (os_mkdirs(buf_z(&path), 0777))
        return NULL;
    buf_printf(&path, "/%s", hex + 2);
    return path.failed ? NULL : mem_strndup(path.data, path.len);
}

static char *place_of(const char *cache, const struct manifest_entry *e)
{
    return is_checked(e) ? artifact_cache_place(cache, e->digest, e->is_xxh128) : etag_place(cache, e);
}

static char *beside(const char *folder_and_name, const char *between)
{
    char id[17];
    AUTO_BUF path = {0};
    random_id(id, sizeof id - 1);
    id[16] = '\0';
    buf_printf(&path, "%s%s%s%s", folder_and_name, between, id, *between == '.' ? ".part" : "");
    return path.failed ? NULL : mem_strndup(path.data, path.len);
}

static int bring(const char *place, const struct manifest_entry *e, const char *to)
{
    struct str dir = path_dir(str_of(to));
    AUTO_FREE char *folder = mem_strndup(dir.p, dir.n), *part = beside(to, ".");
    int rc = folder && part ? os_mkdirs(folder, 0777) : TARE_ENOMEM;
    if (!rc)
        rc = copy_file(place, part);
    if (rc)
        return rc == UV_ENOENT ? 0 : rc;
    if (is_checked(e) && !has_digest(part, e)) {
        diag_warn("cache: %s is not what its name says: removed", place);
        os->unlink(place);
        os->unlink(part);
        return 0;
    }
    rc = os->rename(part, to);
    if (rc)
        os->unlink(part);
    return rc ? rc : 1;
}

int artifact_restore(const char *cache, const struct manifest_entry *e, const char *to)
{
    uint64_t size;
    if (is_checked(e) && is_file(to, &size) && size == (uint64_t)e->size && has_digest(to, e))
        return 1;
    AUTO_FREE char *place = cache ? place_of(cache, e) : NULL;
    if (!place || !is_file(place, &size) || size != (uint64_t)e->size)
        return 0;
    return bring(place, e, to);
}

static bool has_xxh128(const char *path, const char *xxh128)
{
    char base64[32], hex[2 * XXH128_BYTES + 1];
    uint8_t bytes[XXH128_BYTES];
    size_t n;
    if (download_digest_of(path, true, base64) || !base64_get(str_of(base64), BASE64_STANDARD, bytes, sizeof bytes, &n))
        return false;
    digest_hex(hex, bytes, n);
    return strcmp(hex, xxh128) == 0;
}

int artifact_cache_add(const char *cache, const struct manifest_entry *e, const char *path)
{
    return artifact_cache_add_if(cache, e, path, NULL);
}

int artifact_cache_add_if(const char *cache, const struct manifest_entry *e, const char *path, const char *xxh128)
{
    AUTO_FREE char *place = place_of(cache, e);
    AUTO_BUF folder = {0};
    uint64_t size;
    if (!place)
        return str_eq(e->digest, e->ref) ? 0 : TARE_EIO;
    if (is_checked(e) && is_file(place, &size) && size == (uint64_t)e->size)
        return 0;
    buf_printf(&folder, "%s/tmp", cache);
    int rc = os_mkdirs(buf_z(&folder), 0777);
    AUTO_FREE char *temporary = beside(buf_z(&folder), "/");
    if (!rc)
        rc = temporary ? copy_file(path, temporary) : TARE_ENOMEM;
    if (rc)
        return rc;
    if (xxh128 && !has_xxh128(temporary, xxh128)) {
        diag_info("cache: %s has changed: left out", path);
        os->unlink(temporary);
        return 0;
    }
    chmod(temporary, 0666); /* as the peer: the SDK of another user may share it */
    rc = os->rename(temporary, place);
    if (rc)
        os->unlink(temporary);
    return rc;
}
