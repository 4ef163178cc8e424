/* SPDX-License-Identifier: MIT */
#include "service/main.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "service/limits.h"
#include "service/service.h"
#include "service/watch/gpu.h"
#include "service/watch/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_BAD_CALL = 2 };

/* As many files as the system lets us have: a thousand runs need two thousand. */
static void raise_descriptor_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

/* Where the debug log goes. Peer: core/internal/observability/util.go. */
static int diag_dir(char *to, size_t size)
{
    const char *cache = getenv("WANDB_CACHE_DIR"), *below = "";
    if (!cache || !*cache)
        cache = getenv("XDG_CACHE_HOME");
    if (!cache || *cache != '/') {
        cache = getenv("HOME");
        below = "/.cache";
    }
    if (!cache || !*cache)
        return -1;
    int n = snprintf(to, size, "%s%s/wandb/logs", cache, below);
    return n < 0 || (size_t)n >= size ? -1 : 0;
}

static void open_diag(struct service *s)
{
    char dir[sizeof s->diag_path - 40];
    time_t now = time(NULL);
    struct tm tm;
    localtime_r(&now, &tm);
    if (diag_dir(dir, sizeof dir))
        return;
    int n = snprintf(s->diag_path, sizeof s->diag_path, "%s/core-debug-", dir);
    strftime(s->diag_path + n, sizeof s->diag_path - (size_t)n, "%Y%m%d_%H%M%S.log", &tm);
    diag_open_file(s->diag_path, (int)s->options.log_level);
}

int service_main(int argc, char **argv)
{
    static struct service service;
    struct options o;
    struct err e = {0};
    switch (options_parse(&o, argc, argv, stdout, stderr)) {
    case OPTIONS_SHOWN: return 0;
    case OPTIONS_INVALID: return EXIT_BAD_CALL;
    case OPTIONS_RUN: break;
    }
    mem_tune(1, 8 << 20, 2 << 20); /* many small streams; a busy one reuses its buffers, not mapped anew */
    raise_descriptor_limit();
    if (service_open(&service, &o, &e)) {
        fprintf(stderr, "tare service: %s\n", e.text);
        return 1;
    }
    open_diag(&service);
    if (o.enable_dcgm_profiling)
        gpu_enable_dcgm();
    diag_info("tare %s serves at %s for process %lld", TARE_VERSION, service.sock.path,
              (long long)o.pid);
    int code = service_run(&service);
    diag_flush(DIAG_FLUSH_MS);
    if (sources_are_busy())
        _exit(code); /* nothing of ours is left to be done */
    return code;
}
