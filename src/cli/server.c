/* SPDX-License-Identifier: MIT */
/* `tare server`: becomes `tare-server`, a program of its own because the libraries that it needs
 * would make every other verb start late. */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where it may be, seen from the directory of `tare`. */
static const char *const places[] = {"tare-server", "../libexec/tare/tare-server"};

static int run(int argc, char **argv)
{
    char self[PATH_MAX], path[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    (void)argc;
    if (n < 0)
        return cli_fail("server", "finding the program itself: %s", strerror(errno));
    self[n] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    argv[0] = "tare-server";
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s/%s", self, places[i]);
        execv(path, argv);
        if (errno != ENOENT && errno != ENOTDIR)
            break;
    }
    return cli_fail("server", "starting %s: %s", path, strerror(errno));
}

const struct cli_verb cli_server = {
    "server",
    "run the backend: projects, runs, files and a page to see them, in one folder",
    run,
    "usage: tare server [OPTION...]\n"
    "       tare server user add|list|revoke ...\n\n"
    "`tare server --help` lists the options.\n",
};
