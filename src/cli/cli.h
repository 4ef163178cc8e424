/* SPDX-License-Identifier: MIT */
/* The command line: one file a verb, one row a verb in main.c. */
#ifndef TARE_CLI_CLI_H
#define TARE_CLI_CLI_H

/* Exit codes of every verb. */
enum {
    CLI_OK = 0,
    CLI_FAILED = 1, /* it was tried and did not work out */
    CLI_USAGE = 2,  /* the words of the call are wrong */
};

struct cli_verb {
    const char *name;
    const char *summary;              /* one line for `tare help` */
    int (*run)(int argc, char **argv); /* argv[0] is the verb; returns the exit code */
};

#endif
