/* SPDX-License-Identifier: MIT */
/* The cache of artifact files that the SDK reads:
 *
 *   CACHE/artifacts/obj/md5/ab/cdef...     a file, under the hex of its digest
 *   CACHE/artifacts/obj/xxh128/ab/cdef...
 *   CACHE/artifacts/tmp/                   on its way there
 *
 * Many processes write it at once: a file appears under its name whole, by rename, or not at all.
 * (peer: core/pkg/artifacts/file_cache.go) */
#include "service/upload/artifact_impl.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/digest.h"
#include "base/os.h"
#include "base/path.h"
#include "base/random.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HASH_BYTES = 16 };

char *artifact_cache_dir(void)
{
    const char *dir = getenv("WANDB_CACHE_DIR"), *home = getenv("HOME"), *xdg = getenv("XDG_CACHE_HOME");
    AUTO_BUF path = {0};
    if (dir)
        buf_puts(&path, dir);
    else if (xdg && *xdg)
        buf_printf(&path, "%s/wandb", xdg);
    else if (home && *home)
        buf_printf(&path, "%s/.cache/wandb", home);
    else
        return NULL;
    buf_puts(&path, "/artifacts");
    return xmem_strndup(path.data, path.len);
}

/* Its folder may not be there yet. */
static char *place_of(const char *cache, struct str digest, bool is_xxh128)
{
    uint8_t hash[HASH_BYTES];
    size_t n;
    char hex[2 * HASH_BYTES + 1];
    AUTO_BUF path = {0};
    if (!base64_get(digest, BASE64_STANDARD, hash, sizeof hash, &n) || n != sizeof hash)
        return NULL;
    digest_hex(hex, hash, HASH_BYTES);
    buf_printf(&path, "%s/obj/%s/%.2s/%s", cache, is_xxh128 ? "xxh128" : "md5", hex, hex + 2);
    return path.failed ? NULL : mem_strndup(path.data, path.len);
}

static int make_folder(const char *place)
{
    AUTO_FREE char *folder = mem_strndup(place, (size_t)(strrchr(place, '/') - place));
    return folder ? os_mkdirs(folder, 0777) : TARE_ENOMEM;
}

char *artifact_cache_place(const char *cache, struct str digest, bool is_xxh128)
{
    char *place = place_of(cache, digest, is_xxh128);
    if (place && make_folder(place)) {
        mem_free(place);
        return NULL;
    }
    return place;
}

int artifact_cache_take(const char *cache, const char *path, struct str digest, bool is_xxh128)
{
    AUTO_FREE char *place = place_of(cache, digest, is_xxh128);
    if (!place)
        return TARE_EINVAL;
    if (access(place, F_OK) == 0)
        return TARE_EEXIST;
    int rc = os->rename(path, place);
    if (rc == UV_ENOENT && make_folder(place) == 0) /* the first of its folder */
        rc = os->rename(path, place);
    if (!rc)
        chmod(place, 0666); /* as the peer: the SDK of another user may share it */
    return rc;
}

int artifact_cache_copy(const char *cache, const char *path, struct str digest)
{
    AUTO_FREE char *place = artifact_cache_place(cache, digest, false);
    AUTO_BUF temporary = {0};
    char id[17], base64[32];
    if (!place)
        return TARE_EINVAL;
    if (access(place, F_OK) == 0)
        return 0;
    buf_printf(&temporary, "%s/tmp", cache);
    int rc = os_mkdirs(buf_z(&temporary), 0777);
    if (rc)
        return rc;
    random_id(id, sizeof id - 1);
    buf_printf(&temporary, "/%s", id);
    rc = artifact_copy(path, buf_z(&temporary), false, base64);
    if (rc)
        return rc;
    chmod(buf_z(&temporary), 0666);
    rc = str_eqz(digest, base64) ? os->rename(buf_z(&temporary), place) : TARE_ECONFLICT; /* it has changed */
    if (rc)
        os->unlink(buf_z(&temporary));
    return rc;
}
