/* SPDX-License-Identifier: MIT */
#include "service/stream/footer.h"

#include "base/alloc.h"
#include "loop/worker.h"
#include "service/limits.h"
#include "service/stream/stream_settings.h"

#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_BYTES = 4096 }; /* which a pipe takes whole, or not at all */

struct printing {
    struct work work;
    size_t n;
    char text[TEXT_BYTES];
};

/* Who should read it may have stopped to: a pager, a terminal held by Ctrl-S. */
static void on_print(struct work *w)
{
    static atomic_bool is_stuck; /* do not wait again for each run */
    struct printing *f = (struct printing *)w;
    struct pollfd out = {.fd = 1, .events = POLLOUT};
    if (poll(&out, 1, is_stuck ? 0 : FOOTER_MS) <= 0)
        is_stuck = true;
    else if (write(1, f->text, f->n) < 0)
        return; /* nobody reads it any more */
}

static void on_printed(struct work *w)
{
    mem_free(w);
}

/* `path` as seen from the working directory, if it lies below it. */
static const char *shown(const char *path)
{
    static char cwd[PATH_MAX];
    size_t n = getcwd(cwd, sizeof cwd) ? strlen(cwd) : 0;
    if (n && strncmp(path, cwd, n) == 0 && path[n] == '/')
        return path + n + 1;
    return path;
}

struct colours {
    const char *who, *bold, *name, *url, *plain;
};

static int put_where(char *to, size_t size, const struct colours *c, const struct footer *f)
{
    return snprintf(to, size, "%s: \xf0\x9f\x9a\x80 View run %s%.300s%s at: %s%.1000s%s\n", c->who, c->name,
                    f->name, c->plain, c->url, f->url, c->plain);
}

static int put_sync(char *to, size_t size, const struct colours *c, const struct stream_settings *s)
{
    return snprintf(to, size,
                    "%s: You can sync this run to the cloud by running:\n"
                    "%s: %swandb sync %.1500s%s\n",
                    c->who, c->who, c->bold, s->sync_dir, c->plain);
}

static const struct colours *colours(void)
{
    static const struct colours some = {"\033[1;34mwandb\033[0m", "\033[1m", "\033[33m", "\033[34m", "\033[0m"};
    static const struct colours none = {"wandb", "", "", "", ""};
    return isatty(1) && !getenv("NO_COLOR") ? &some : &none;
}

static void print(uv_loop_t *loop, struct printing *p)
{
    p->work.run = on_print;
    p->work.done = on_printed;
    work_start(loop, &p->work);
}

bool footer_is_seen(void)
{
    struct stat out, null;
    return fstat(1, &out) == 0 && (stat("/dev/null", &null) < 0 || out.st_rdev != null.st_rdev || !S_ISCHR(out.st_mode));
}

void footer_say(uv_loop_t *loop, const char *text)
{
    struct printing *p = xmem_calloc(1, sizeof *p);
    p->n = (size_t)snprintf(p->text, sizeof p->text, "%s: %.*s\n", colours()->who, TEXT_BYTES - 100, text);
    print(loop, p);
}

void footer_print(uv_loop_t *loop, const struct stream_settings *s, const struct footer *f)
{
    const struct colours *c = colours();
    struct printing *p = xmem_calloc(1, sizeof *p);
    p->n = (size_t)snprintf(p->text, sizeof p->text, "%s: \n", c->who);
    if (f->url)
        p->n += (size_t)put_where(p->text + p->n, sizeof p->text - p->n, c, f);
    if (f->sync)
        p->n += (size_t)put_sync(p->text + p->n, sizeof p->text - p->n, c, s);
    if (*s->log_dir)
        p->n += (size_t)snprintf(p->text + p->n, sizeof p->text - p->n, "%s: Find logs at: %.1000s\n",
                                 c->who, shown(s->log_dir));
    print(loop, p);
}
