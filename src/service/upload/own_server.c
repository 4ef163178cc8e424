/* SPDX-License-Identifier: MIT */
/* A server that runs holds a lock on DIR/lock and has written its address to DIR/address (server/lifecycle.c). Both are
 * needed: files of these names may lie anywhere, but a lock on one is held by nobody; and a server that runs elsewhere
 * may be reached by a port of this machine (ssh -L), but not by the one that a server here listens at. */
#include "service/upload/own_server.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/os.h"
#include "base/path.h"
#include "loop/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { MAX_ADDRESS = 300 };

/* DIR of DIR/blobs/XX/NAME; heap, NULL if it is no such path. */
static char *folder_of(const char *path)
{
    struct str rest = str_of(path), blobs = path_dir(path_dir(rest));
    struct str dir = path_dir(blobs);
    return dir.n > 0 && str_eqz(path_base(blobs), "blobs") ? mem_strndup(dir.p, dir.n) : NULL;
}

/* Ours, and nobody else may write there. */
static bool is_private(const char *path, mode_t kind)
{
    struct stat st;
    return lstat(path, &st) == 0 && (st.st_mode & S_IFMT) == kind && st.st_uid == geteuid() && (st.st_mode & 022) == 0;
}

static bool is_locked(const char *path)
{
    int fd = os->open(path, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0)
        return false;
    bool locked = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    os->close(fd);
    return locked;
}

static bool is_same_server(const char *address, const char *backend_url)
{
    struct url_parts a, b;
    if (!url_split(address, &a) || !url_split(backend_url, &b) || a.https != b.https || a.port != b.port)
        return false;
    return str_eq(a.host, b.host) || (str_eqz(a.host, "127.0.0.1") && str_eqz(b.host, "localhost"));
}

bool own_server_has(const char *path, const char *backend_url)
{
    AUTO_BUF text = {0};
    AUTO_FREE char *dir = folder_of(path);
    AUTO_FREE char *address = dir ? path_join(dir, "address") : NULL;
    AUTO_FREE char *lock = dir ? path_join(dir, "lock") : NULL;
    if (!address || !lock || !is_private(dir, S_IFDIR) || !is_private(path, S_IFREG) || !is_private(address, S_IFREG) ||
        !is_private(lock, S_IFREG) || os_read_file(address, MAX_ADDRESS, &text))
        return false;
    const char *z = buf_z(&text);
    if (!z)
        return false;
    text.data[strcspn(z, "\n")] = 0;
    return is_same_server(z, backend_url) && is_locked(lock);
}
