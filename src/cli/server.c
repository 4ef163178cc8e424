/* SPDX-License-Identifier: MIT */
/* `tare server`: becomes `tare-server`, a program of its own because the libraries that it needs
 * would make every other verb start late. */
#include "cli/cli.h"
#include "cli/server_up.h"

static int run(int argc, char **argv)
{
    struct err e = {0};
    (void)argc;
    server_exec(argv, &e);
    return cli_fail("server", "%s", e.text);
}

const struct cli_verb cli_server = {
    "server",
    "run the backend: projects, runs, files and artifacts, in one folder",
    run,
    "usage: tare server [OPTION...]\n"
    "       tare server user|team|org|retention|webhook WORD...\n"
    "       tare server backup|restore FILE\n"
    "       tare server verify\n\n"
    "`tare server --help` lists words and options.\n",
};
