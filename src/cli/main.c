/* SPDX-License-Identifier: MIT */
/* `tare`: finds the verb and runs it. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static int verb_version(int argc, char **argv)
{
    (void)argc, (void)argv;
    puts("tare " TARE_VERSION);
    return CLI_OK;
}

static int verb_help(int argc, char **argv);

static const struct cli_verb verbs[] = {
    {"help", "what the verbs do", verb_help},
    {"version", "which version this is", verb_version},
};

static const struct cli_verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int verb_help(int argc, char **argv)
{
    (void)argc, (void)argv;
    puts("usage: tare VERB [ARGUMENT...]\n");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        printf("  %-10s %s\n", verbs[i].name, verbs[i].summary);
    return CLI_OK;
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return verb_help(argc, argv);
    if (strcmp(argv[1], "--version") == 0)
        return verb_version(argc, argv);
    const struct cli_verb *verb = find_verb(argv[1]);
    if (!verb) {
        fprintf(stderr, "tare: there is no verb '%s'; `tare help` lists them\n", argv[1]);
        return CLI_USAGE;
    }
    return verb->run(argc - 1, argv + 1);
}
