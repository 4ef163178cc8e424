/* SPDX-License-Identifier: MIT */
/* The command line: one file a verb, one row a verb in main.c. */
#ifndef TARE_CLI_CLI_H
#define TARE_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

/* Exit codes of every verb. */
enum {
    CLI_OK = 0,
    CLI_FAILED = 1, /* it was tried and did not work out */
    CLI_USAGE = 2,  /* the words of the call are wrong */
};

struct cli_verb {
    const char *name;
    const char *summary;               /* one line for `tare help` */
    int (*run)(int argc, char **argv); /* argv[0] is the verb; returns the exit code */
    const char *help;                  /* for `tare help VERB`: usage, options, exit codes */
};

/* The verbs, each in its own file. */
extern const struct cli_verb cli_export, cli_leet, cli_ls, cli_run, cli_server, cli_service,
    cli_show, cli_sync, cli_tail, cli_verify;

/* An option of a verb: "--name" sets *flag; with `value`, "--name VALUE" or "--name=VALUE". */
struct cli_option {
    const char *name;
    char letter; /* "-x"; 0 for none */
    bool *flag;
    const char **value;
};

/* Take the options out of the words behind argv[0], up to "--", or, with `stop_at_word`, up to the
 * first word that is none. What is left moves to argv[1..]; returns how many, or -1 when there is
 * nothing more to do: *exit_code is then what the verb returns (help was asked for and printed,
 * or an option is unknown and that was said). */
int cli_options(int argc, char **argv, const struct cli_option *options, size_t n,
                bool stop_at_word, int *exit_code);

/* Say "tare VERB: ..." on standard error; returns CLI_FAILED. */
int cli_fail(const char *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same with a pointer to the help; returns CLI_USAGE. */
int cli_misuse(const char *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void cli_print_help(const char *verb);

/* Flush standard output: `rc`, or CLI_FAILED (said on standard error) if it could not be written.
 * A reader that went away (`| head`) is no failure. */
int cli_flush(const char *verb, int rc);

#endif
