/* SPDX-License-Identifier: MIT */
/* The words of a call, and complaints about them. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void complain(const char *verb, const char *fmt, va_list ap)
{
    fflush(stdout);
    fprintf(stderr, "tare %s: ", verb);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

int cli_fail(const char *verb, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    complain(verb, fmt, ap);
    va_end(ap);
    return CLI_FAILED;
}

int cli_misuse(const char *verb, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    complain(verb, fmt, ap);
    va_end(ap);
    fprintf(stderr, "`tare help %s` says more\n", verb);
    return CLI_USAGE;
}

int cli_flush(const char *verb, int rc)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return rc;
    if (errno == EPIPE)
        return rc;
    return cli_fail(verb, "writing the output: %s", strerror(errno));
}

static const struct cli_option *find(const struct cli_option *options, size_t n, const char *word,
                                     size_t len)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = options[i].name;
        if (word[1] != '-' && len == 2 && options[i].letter && word[1] == options[i].letter)
            return &options[i];
        if (word[1] == '-' && strlen(name) == len - 2 && memcmp(word + 2, name, len - 2) == 0)
            return &options[i];
    }
    return NULL;
}

/* One option at argv[*i]; moves *i on if the value is the next word. 0, or the exit code. */
static int take(int argc, char **argv, int *i, const struct cli_option *options, size_t n)
{
    const char *word = argv[*i], *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    const struct cli_option *o = find(options, n, word, len);
    if (!o)
        return cli_misuse(argv[0], "there is no option '%.*s'", (int)len, word);
    if (!o->value) {
        if (equals)
            return cli_misuse(argv[0], "option '%.*s' takes no value", (int)len, word);
        *o->flag = true;
        return 0;
    }
    if (!equals && *i + 1 >= argc)
        return cli_misuse(argv[0], "option '%s' needs a value", word);
    *o->value = equals ? equals + 1 : argv[++*i];
    if (o->flag)
        *o->flag = true;
    return 0;
}

int cli_options(int argc, char **argv, const struct cli_option *options, size_t n,
                bool stop_at_word, int *exit_code)
{
    int words = 0, i = 1;
    for (; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--") == 0) {
            i++;
            break;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            cli_print_help(argv[0]);
            *exit_code = cli_flush(argv[0], CLI_OK);
            return -1;
        }
        if (word[0] == '-' && word[1]) {
            if ((*exit_code = take(argc, argv, &i, options, n)) != 0)
                return -1;
            continue;
        }
        if (stop_at_word)
            break;
        argv[++words] = argv[i];
    }
    while (i < argc)
        argv[++words] = argv[i++];
    argv[words + 1] = NULL;
    return words;
}
