/* SPDX-License-Identifier: MIT */
#include "service/options.h"

#include "base/err.h"
#include "service/limits.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { SWITCH, INTEGER, TEXT, DURATION };

static const struct flag {
    const char *name;
    enum kind kind;
    size_t at; /* offset in struct options */
    const char *value_name, *help;
} flags[] = {
    {"detached", SWITCH, offsetof(struct options, detached), "",
     "Outlive the process that started the service."},
    {"enable-dcgm-profiling", SWITCH, offsetof(struct options, enable_dcgm_profiling), "",
     "Collect profiling figures of NVIDIA GPUs through DCGM."},
    {"idle-timeout", DURATION, offsetof(struct options, idle_timeout_ns), "duration",
     "With --detached, end after this long without a client; 0 never does (default 10m0s)."},
    {"listen-on-localhost", SWITCH, offsetof(struct options, listen_on_localhost), "",
     "Also listen on a TCP port of 127.0.0.1, for clients without Unix sockets."},
    {"log-level", INTEGER, offsetof(struct options, log_level), "int",
     "How much goes to the debug log. -4: debug, 0: info, 4: warn, 8: error."},
    {"max-frame-bytes", INTEGER, offsetof(struct options, max_frame_bytes), "int",
     "Largest message accepted from a client (default 2147483648)."},
    {"no-observability", SWITCH, offsetof(struct options, no_observability), "",
     "Accepted for compatibility; this service reports nothing to anyone."},
    {"os-pid-shutdown", SWITCH, offsetof(struct options, os_pid_shutdown), "",
     "Accepted for compatibility; the parent is always watched through the kernel."},
    {"pid", INTEGER, offsetof(struct options, pid), "int",
     "Process id of the parent; the service ends when it does."},
    {"port-filename", TEXT, offsetof(struct options, port_filename), "string",
     "Where to write how to connect (default \"port_file.txt\")."},
};

static void usage(FILE *to)
{
    fprintf(to, "tare service: takes what training programs log and keeps it safe\n\n"
                "Version: " TARE_VERSION "\n\n"
                "Usage:\n  tare service [flags]\n\nFlags:\n"
                "  -h, --help\n    \tShow this message.\n"
                "  --version\n    \tShow the version.\n");
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        fprintf(to, "  --%s %s\n    \t%s\n", flags[i].name, flags[i].value_name, flags[i].help);
}

/* One number and unit at `*at`; false if there is none. */
static bool duration_part(const char **at, double *ns)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"ns", 1},   {"us", 1e3}, {"\u00b5s", 1e3}, {"\u03bcs", 1e3},
                 {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},      {"h", 3600e9}};
    const char *p = *at;
    if (!isdigit((unsigned char)p[0]) && !(p[0] == '.' && isdigit((unsigned char)p[1])))
        return false;
    size_t n = strspn(p, "0123456789.");
    char number[40];
    if (n >= sizeof number)
        return false;
    memcpy(number, p, n);
    number[n] = '\0';
    char *end;
    double value = strtod(number, &end);
    if (*end)
        return false;
    p += n;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t len = strlen(units[i].name);
        if (strncmp(p, units[i].name, len) == 0 && !isalpha((unsigned char)p[len])) {
            *ns += value * units[i].ns;
            *at = p + len;
            return true;
        }
    }
    return false;
}

int options_duration(const char *text, int64_t *ns)
{
    double sign = 1, sum = 0;
    if (*text == '-' || *text == '+')
        sign = *text++ == '-' ? -1 : 1;
    if (strcmp(text, "0") == 0) {
        *ns = 0;
        return 0;
    }
    if (!*text)
        return TARE_EINVAL;
    while (*text)
        if (!duration_part(&text, &sum))
            return TARE_EINVAL;
    if (!(sum < 9.2e18))
        return TARE_EINVAL;
    *ns = (int64_t)(sign * sum + (sign > 0 ? 0.5 : -0.5));
    return 0;
}

static int parse_switch(const char *text, bool *value)
{
    static const char *const words[2][6] = {{"0", "f", "F", "false", "FALSE", "False"},
                                            {"1", "t", "T", "true", "TRUE", "True"}};
    for (int v = 0; v < 2; v++)
        for (int i = 0; i < 6; i++)
            if (strcmp(text, words[v][i]) == 0) {
                *value = v;
                return 0;
            }
    return TARE_EINVAL;
}

static int parse_integer(const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 0);
    if (errno || end == text || *end || isspace((unsigned char)*text))
        return TARE_EINVAL;
    *value = v;
    return 0;
}

static int set(struct options *o, const struct flag *f, const char *value)
{
    char *field = (char *)o + f->at;
    switch (f->kind) {
    case SWITCH: return parse_switch(value, (bool *)(void *)field);
    case INTEGER: return parse_integer(value, (int64_t *)(void *)field);
    case DURATION: return options_duration(value, (int64_t *)(void *)field);
    case TEXT: *(const char **)(void *)field = value; return 0;
    }
    return TARE_EINVAL;
}

static const struct flag *find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0)
            return &flags[i];
    return NULL;
}

static enum options_verdict complain(FILE *err, const char *what, const char *arg)
{
    fprintf(err, "%s: %s\n", what, arg);
    usage(err);
    return OPTIONS_INVALID;
}

static bool is(const char *name, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(name, word, len) == 0;
}

/* argv[*i] is a flag; takes the next argument too where that is its value. */
static enum options_verdict one(struct options *o, int argc, char *const *argv, int *i, FILE *out,
                                FILE *err)
{
    const char *arg = argv[*i], *name = arg + (arg[1] == '-' ? 2 : 1);
    const char *value = strchr(name, '=');
    size_t len = value ? (size_t)(value - name) : strlen(name);
    if (len == 0 || *name == '-')
        return complain(err, "bad flag syntax", arg);
    if (is(name, len, "h") || is(name, len, "help")) {
        usage(err);
        return OPTIONS_SHOWN;
    }
    if (is(name, len, "version")) {
        fprintf(out, "tare " TARE_VERSION "\n");
        return OPTIONS_SHOWN;
    }
    const struct flag *f = find(name, len);
    if (!f)
        return complain(err, "flag provided but not defined", arg);
    if (value)
        value++;
    else if (f->kind == SWITCH)
        value = "true";
    else if (*i + 1 < argc)
        value = argv[++*i];
    else
        return complain(err, "flag needs an argument", arg);
    if (set(o, f, value))
        return complain(err, "invalid value", arg);
    return OPTIONS_RUN;
}

enum options_verdict options_parse(struct options *o, int argc, char *const *argv, FILE *out,
                                   FILE *err)
{
    *o = (struct options){.port_filename = "port_file.txt",
                          .idle_timeout_ns = IDLE_TIMEOUT_NS,
                          .max_frame_bytes = MAX_FRAME_BYTES};
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' || argv[i][1] == '\0' || strcmp(argv[i], "--") == 0)
            break;
        enum options_verdict v = one(o, argc, argv, &i, out, err);
        if (v != OPTIONS_RUN)
            return v;
    }
    if (o->idle_timeout_ns < 0) {
        fprintf(err, "Error: --idle-timeout must be >= 0\n");
        return OPTIONS_INVALID;
    }
    if (o->max_frame_bytes < 1 || o->max_frame_bytes > UINT32_MAX)
        return complain(err, "invalid value", "--max-frame-bytes");
    if (o->pid < 0 || o->pid > INT32_MAX)
        return complain(err, "invalid value", "--pid");
    return OPTIONS_RUN;
}
