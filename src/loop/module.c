/* SPDX-License-Identifier: MIT */
#include "loop/module.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/path.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <uv.h>

#define MODULE "tare-uplink.so"

static const struct uplink *uplink; /* NULL until loaded, and if it cannot be */

static bool load(const char *path)
{
    void *module = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!module)
        return false;
    const struct uplink *(*door)(void);
    *(void **)(&door) = dlsym(module, UPLINK_SYMBOL);
    const struct uplink *found = door ? door() : NULL;
    if (!found || found->version != UPLINK_VERSION) {
        diag_warn("module: %s is of another version", path);
        dlclose(module);
        return false;
    }
    uplink = found;
    return true;
}

static char *beside_the_program(void)
{
    char exe[4096];
    size_t n = sizeof exe;
    if (uv_exepath(exe, &n) != 0)
        return NULL;
    struct str dir = path_dir(str_of(exe));
    AUTO_FREE char *folder = mem_strndup(dir.p, dir.n);
    return folder ? path_join(folder, MODULE) : NULL;
}

static void load_once(void)
{
    const char *set = getenv("TARE_UPLINK");
    if (set && *set) {
        if (!load(set))
            diag_warn("module: cannot load %s: %s", set, dlerror());
        return;
    }
    AUTO_FREE char *beside = beside_the_program();
    if (!load(beside) && !load(TARE_LIBDIR "/tare/" MODULE))
        diag_warn("module: cannot load %s, needed for the network and for patches: %s", MODULE, dlerror());
}

const struct uplink *module_uplink(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_once);
    return uplink;
}
