/* SPDX-License-Identifier: MIT */
/* `tare leet`: what `wandb leet` of the Python package starts. Its terminal view is the peer's own
 * program; here the run it names is shown once, by `tare show`. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static int help(void)
{
    fputs(cli_leet.help, stderr); /* where the peer prints it */
    return CLI_OK;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-help") == 0 || strcmp(word, "-h") == 0;
}

/* `word` is the wandb folder, "" for the current one. */
static int show(const char *run_file, const char *folder, bool json)
{
    char *words[6] = {(char *)"show"};
    int n = 1;
    if (json)
        words[n++] = (char *)"--json";
    if (run_file) {
        words[n++] = (char *)run_file;
    } else if (*folder) {
        words[n++] = (char *)"--dir";
        words[n++] = (char *)folder;
    }
    return cli_show.run(n, words);
}

static int verb_leet(int argc, char **argv)
{
    static const char *const commands[] = {"run", "inspect", "symon", "config"};
    const char *command = "run";
    for (int i = 1; i < argc; i++)
        if (is_help(argv[i]))
            return help();
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i]) == 0) {
            command = commands[i];
            argc--, argv++;
        }
    const char *run_file = NULL, *remote = NULL, *ignored = NULL;
    bool json = false, summary = false, follow = false, quiet = false;
    const struct cli_option options[] = {
        {"run-file", 0, NULL, &run_file}, {"remote-url", 0, NULL, &remote},
        {"base-url", 0, NULL, &ignored},  {"log-level", 0, NULL, &ignored},
        {"pprof", 0, NULL, &ignored},     {"idle-timeout", 0, NULL, &ignored},
        {"interval", 0, NULL, &ignored},  {"no-observability", 0, &quiet, NULL},
        {"summary", 0, &summary, NULL},   {"json", 0, &json, NULL},
        {"follow", 'f', &follow, NULL},
    };
    int exit_code;
    int n = cli_options(argc, argv, options, sizeof options / sizeof *options, false, &exit_code);
    if (n < 0)
        return exit_code;
    if (n > 1)
        return cli_misuse("leet", "name one folder");
    if (remote)
        return cli_fail("leet", "runs of a server cannot be shown yet");
    if (strcmp(command, "run") != 0 && !(strcmp(command, "inspect") == 0 && summary))
        return cli_fail("leet", "`%s` is not there yet; see `tare help` for what is", command);
    return show(run_file, n ? argv[1] : "", json);
}

const struct cli_verb cli_leet = {
    "leet", "what `wandb leet` starts: the run, shown once", verb_leet,
    "usage: tare leet [run] [--run-file FILE] [FOLDER]\n"
    "       tare leet inspect --summary [--json] [--run-file FILE] [FOLDER]\n"
    "\n"
    "`wandb leet` (the peer's Lightweight Experiment Exploration Tool) starts this: it shows the "
    "run in\n"
    "FILE, or the latest in FOLDER, as `tare show` does. There is no interactive view yet, and "
    "runs of a\n"
    "server, `symon` and `config` are not there either.\n"};
