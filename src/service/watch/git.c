/* SPDX-License-Identifier: MIT */
#include "service/watch/git.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/os.h"
#include "base/path.h"
#include "loop/module.h"

#include <fcntl.h>
#include <stdio.h>

/* ---- one patch ---- */

struct patch {
    const char *path;
    int fd; /* -1 until there is something to write */
    int rc;
};

static int on_bytes(void *ctx, const char *bytes, size_t n)
{
    struct patch *p = ctx;
    if (p->fd < 0)
        p->fd = os->open(p->path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    p->rc = p->fd < 0 ? p->fd : os_write_all(p->fd, bytes, n, NULL);
    return p->rc;
}

/* Small pieces gathered: libgit2 gives a line at a time. */
struct gather {
    struct patch *patch;
    struct buf bytes;
};

static int on_piece(void *ctx, const char *bytes, size_t n)
{
    struct gather *g = ctx;
    buf_append(&g->bytes, bytes, n);
    if (g->bytes.len < 64 << 10)
        return 0;
    int rc = on_bytes(g->patch, g->bytes.data, g->bytes.len);
    buf_clear(&g->bytes);
    return rc;
}

static int save_patch(const struct uplink *uplink, const char *root, const char *revision,
                      const char *files_dir, const char *name, struct buf *names)
{
    AUTO_FREE char *path = path_join(files_dir, name);
    struct patch patch = {path, -1, 0};
    struct gather g = {&patch, {0}};
    char why[256] = "";
    if (!path)
        return TARE_ENOMEM;
    int rc = uplink->git_diff(root, revision, on_piece, &g, why, sizeof why);
    if (rc == 0 && g.bytes.len > 0)
        rc = on_bytes(&patch, g.bytes.data, g.bytes.len);
    buf_fini(&g.bytes);
    bool written = patch.fd >= 0;
    if (written && os->close(patch.fd) < 0)
        rc = TARE_EIO;
    if (rc == 0 && written)
        buf_append(names, name, strlen(name) + 1);
    else if (rc == UPLINK_NONE)
        diag_debug("git: no %s: %s", name, why);
    else if (rc != 0)
        diag_warn("git: no %s: %s", name, patch.rc < 0 ? err_text(patch.rc) : why);
    return rc;
}

int git_save_patches(const char *root, const char *files_dir, bool fork_point, struct buf *names)
{
    const struct uplink *uplink = module_uplink();
    if (!uplink)
        return TARE_EUNSUPPORTED;
    int rc = save_patch(uplink, root, "HEAD", files_dir, "diff.patch", names);
    char sha[UPLINK_SHA_LEN + 1], why[256] = "", name[64];
    int found = uplink->git_upstream(root, fork_point, sha, why, sizeof why);
    if (found == 0) {
        snprintf(name, sizeof name, "diff_%s.patch", sha);
        rc = save_patch(uplink, root, sha, files_dir, name, names);
    }
    return rc < 0 ? TARE_ENOTFOUND : 0;
}
