/* SPDX-License-Identifier: MIT */
#include "base/path.h"

#include "base/alloc.h"

#include <stdlib.h>

char *path_join(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    if (na == 0 || b[0] == '/')
        return mem_strndup(b, nb);
    char *p = mem_alloc(na + nb + 2);
    if (!p)
        return NULL;
    memcpy(p, a, na);
    if (a[na - 1] != '/')
        p[na++] = '/';
    memcpy(p + na, b, nb + 1);
    return p;
}

static const char *last_slash(struct str path)
{
    return path.p && path.n ? memrchr(path.p, '/', path.n) : NULL;
}

struct str path_base(struct str path)
{
    const char *slash = last_slash(path);
    return slash ? str_make(slash + 1, (size_t)(path.p + path.n - slash - 1)) : path;
}

struct str path_dir(struct str path)
{
    const char *slash = last_slash(path);
    if (!slash)
        return STR(".");
    return slash == path.p ? STR("/") : str_make(path.p, (size_t)(slash - path.p));
}

bool path_is_safe(struct str path)
{
    if (path.n == 0 || path.p[0] == '/' || memchr(path.p, 0, path.n))
        return false;
    for (size_t at = 0; at < path.n;) {
        const char *slash = memchr(path.p + at, '/', path.n - at);
        size_t end = slash ? (size_t)(slash - path.p) : path.n;
        if (end - at == 2 && path.p[at] == '.' && path.p[at + 1] == '.')
            return false;
        at = end + 1;
    }
    return true;
}

char *path_server_dir(void)
{
    const char *dir = getenv("TARE_SERVER_DIR"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (dir && *dir)
        return mem_strndup(dir, strlen(dir));
    if (data && *data)
        return path_join(data, "tare/server");
    return path_join(home && *home ? home : "/tmp", ".local/share/tare/server");
}
