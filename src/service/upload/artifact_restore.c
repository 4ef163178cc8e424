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
    int fd = os->open(path, O_RDONLY | O_NONBLOCK, 0);
    int rc = fd < 0 ? fd : download_digest_of(fd, -1, e->is_xxh128, base64);
    if (fd >= 0)
        os->close(fd);
    return rc == 0 && str_eqz(e->digest, base64);
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
    char base64[32];
    int rc = folder && part ? os_mkdirs(folder, 0777) : TARE_ENOMEM;
    if (!rc)
        rc = artifact_copy(place, part, e->is_xxh128, is_checked(e) ? base64 : NULL);
    if (rc)
        return rc == UV_ENOENT ? 0 : rc;
    if (is_checked(e) && !str_eqz(e->digest, base64)) {
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

static bool is_hex_of(struct str base64, const char *hex)
{
    char other[2 * XXH128_BYTES + 1];
    uint8_t bytes[XXH128_BYTES];
    size_t n;
    if (!base64_get(base64, BASE64_STANDARD, bytes, sizeof bytes, &n))
        return false;
    digest_hex(other, bytes, n);
    return strcmp(other, hex) == 0;
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
    char base64[32];
    if (!place)
        return str_eq(e->digest, e->ref) ? 0 : TARE_EIO;
    if (is_checked(e) && is_file(place, &size) && size == (uint64_t)e->size)
        return 0;
    buf_printf(&folder, "%s/tmp", cache);
    int rc = os_mkdirs(buf_z(&folder), 0777);
    AUTO_FREE char *temporary = beside(buf_z(&folder), "/");
    if (!rc)
        rc = temporary ? artifact_copy(path, temporary, true, xxh128 ? base64 : NULL) : TARE_ENOMEM;
    if (rc)
        return rc;
    if (xxh128 && !is_hex_of(str_of(base64), xxh128)) {
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
