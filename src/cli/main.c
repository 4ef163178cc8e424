/* SPDX-License-Identifier: MIT */
/* `tare`: finds the verb and runs it. */
#include "service/main.h"
#include "base/path.h"
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static int verb_help(int argc, char **argv);
static int verb_version(int argc, char **argv);

static const struct cli_verb cli_help = {
    "help",
    "what the verbs do",
    verb_help,
    "usage: tare help [VERB]\n\nList the verbs, or say all about one.\n",
};

static const struct cli_verb cli_version = {
    "version",
    "which version this is",
    verb_version,
    "usage: tare version\n",
};

/* In the order of use. */
static const struct cli_verb *const verbs[] = {
    /* clang-format off */
    &cli_run,
    &cli_ls,
    &cli_show,
    &cli_tail,
    &cli_export,
    &cli_sync,
    &cli_verify,
    &cli_service,
    &cli_server,
    &cli_leet,
    &cli_help,
    &cli_version,
    /* clang-format on */
};

enum { N_VERBS = sizeof verbs / sizeof *verbs };

static const struct cli_verb *find_verb(const char *name)
{
    for (size_t i = 0; i < N_VERBS; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

static int no_such_verb(const char *name)
{
    fprintf(stderr, "tare: there is no verb '%s'; `tare help` lists them\n", name);
    return CLI_USAGE;
}

static int verb_version(int argc, char **argv)
{
    (void)argc, (void)argv;
    puts("tare " TARE_VERSION);
    return cli_flush("version", CLI_OK);
}

void cli_print_help(const char *name)
{
    const struct cli_verb *verb = find_verb(name);
    if (verb)
        fputs(verb->help, stdout);
}

static int verb_help(int argc, char **argv)
{
    if (argc > 1 && argv[1][0] != '-') {
        if (!find_verb(argv[1]))
            return no_such_verb(argv[1]);
        cli_print_help(argv[1]);
        return cli_flush("help", CLI_OK);
    }
    puts("usage: tare VERB [ARGUMENT...]\n");
    for (size_t i = 0; i < N_VERBS; i++)
        printf("  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
    puts("\n`tare help VERB` says all about one. Exit codes: 0 done, 1 failed, 2 wrong use.");
    return cli_flush("help", CLI_OK);
}

/* Started as the service: `tare service` (a word after it is for the verb of that name), under the
 * peer's name, or with flags where a verb should be, as the peer is. Returns how many words come
 * before the service's flags, 0 if it is not meant. */
static int is_meant_as_service(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "service") == 0)
        return argc == 2 || argv[2][0] == '-' ? 2 : 0;
    if (argc > 0 && str_eqz(path_base(str_of(argv[0])), "wandb-core"))
        return argc < 2 || strcmp(argv[1], "leet") != 0;
    return argc > 1 && argv[1][0] == '-' && strcmp(argv[1], "--help") != 0 &&
           strcmp(argv[1], "-h") != 0 && strcmp(argv[1], "--version") != 0;
}

int main(int argc, char **argv)
{
    int words = is_meant_as_service(argc, argv);
    if (words)
        return service_main(argc - words + 1, argv + words - 1);
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return verb_help(1, argv);
    if (strcmp(argv[1], "--version") == 0)
        return verb_version(argc, argv);
    const struct cli_verb *verb = find_verb(argv[1]);
    return verb ? verb->run(argc - 1, argv + 1) : no_such_verb(argv[1]);
}
