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
#include <unistd.h>

enum { TEXT_BYTES = 4096 }; /* which a pipe takes whole, or not at all */

struct footer {
    struct work work;
    size_t n;
    char text[TEXT_BYTES];
};

/* Who should read it may have stopped to: a pager, a terminal held by Ctrl-S. */
static void on_print(struct work *w)
{
    static atomic_bool is_stuck; /* do not wait again for each run */
    struct footer *f = (struct footer *)w;
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

static int put_where(char *to, size_t size, bool colours, const char *who, const char *url,
                     const char *name)
{
    return snprintf(to, size, "%s: \n%s: \xf0\x9f\x9a\x80 View run %s%.500s%s at: %s%.2000s%s\n", who, who,
                    colours ? "\033[33m" : "", name, colours ? "\033[0m" : "",
                    colours ? "\033[34m" : "", url, colours ? "\033[0m" : "");
}

void footer_print(uv_loop_t *loop, const struct stream_settings *s, const char *url, const char *name)
{
    bool colours = isatty(1) && !getenv("NO_COLOR");
    const char *who = colours ? "\033[1;34mwandb\033[0m" : "wandb";
    const char *bold = colours ? "\033[1m" : "", *plain = colours ? "\033[0m" : "";
    struct footer *f = xmem_calloc(1, sizeof *f);
    size_t size = sizeof f->text;
    int n = url ? put_where(f->text, size, colours, who, url, name)
                : snprintf(f->text, size,
                           "%s: \n%s: You can sync this run to the cloud by running:\n"
                           "%s: %swandb sync %s%s\n",
                           who, who, who, bold, s->sync_dir, plain);
    if (*s->log_dir && n > 0 && (size_t)n < size)
        snprintf(f->text + n, size - (size_t)n, "%s: Find logs at: %s\n", who, shown(s->log_dir));
    f->n = strlen(f->text);
    f->work.run = on_print;
    f->work.done = on_printed;
    work_start(loop, &f->work);
}
