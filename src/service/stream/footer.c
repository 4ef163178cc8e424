/* SPDX-License-Identifier: MIT */
#include "service/stream/footer.h"

#include "service/stream/stream_settings.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

void footer_print(const struct stream_settings *s, const char *url, const char *name)
{
    bool colours = isatty(1) && !getenv("NO_COLOR");
    const char *who = colours ? "\033[1;34mwandb\033[0m" : "wandb";
    const char *bold = colours ? "\033[1m" : "", *plain = colours ? "\033[0m" : "";
    char text[2 * PATH_MAX + 256];
    int n = url ? put_where(text, sizeof text, colours, who, url, name)
                : snprintf(text, sizeof text,
                     "%s: \n%s: You can sync this run to the cloud by running:\n"
                     "%s: %swandb sync %s%s\n",
                     who, who, who, bold, s->sync_dir, plain);
    if (*s->log_dir && n > 0 && (size_t)n < sizeof text)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s: Find logs at: %s\n", who,
                      shown(s->log_dir));
    if (n > 0 && write(1, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1) < 0)
        return; /* nobody reads it any more */
}
