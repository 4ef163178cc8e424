/* SPDX-License-Identifier: MIT */
/* libtpu.so gives a table of functions, of version VERS_1.0: two numbers of 32 bits, 0 and 1, and pointers at
 * fixed places. Each function takes one structure and returns NULL or an error, which another tells and a
 * third frees. Layout: the peer's (symon/src/tpu_libtpu.rs), there checked against libtpu 0.0.37 to 0.0.39. */
#include "service/watch/tpu.h"

#include "base/diag.h"

#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum slot {
    ERROR_MESSAGE = 0x08, DESTROY_ERROR = 0x10, CREATE_CLIENT = 0x20, DESTROY_CLIENT = 0x28, GET_METRIC = 0x50,
    GET_DESCRIPTION = 0x58, GET_VALUES = 0x60,
};

static const char *table; /* NULL before it is known to be one */
static void *client;

typedef void *function(void *args);

static function *at(const char *of, enum slot slot)
{
    function *f;
    memcpy(&f, of + slot, sizeof f);
    return f;
}

/* Whether a call brought an error, which is freed here and told to diag. */
static bool failed(void *error, const char *what)
{
    struct {
        void *error;
        const char *text;
        size_t n;
    } message = {error, NULL, 0};
    struct {
        void *error;
    } destroy = {error};
    if (!error)
        return false;
    at(table, ERROR_MESSAGE)(&message);
    int n = !message.text ? 0 : message.n < 256 ? (int)message.n : 256;
    diag_debug("tpu: %s: %.*s", what, n, n > 0 ? message.text : "");
    at(table, DESTROY_ERROR)(&destroy);
    return true;
}

/* ---- finding ---- */

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* The library at a path, or in it. */
static bool take(char to[PATH_MAX], const char *path)
{
    struct stat st;
    bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    return snprintf(to, PATH_MAX, "%s%s", path, is_folder ? "/libtpu.so" : "") < PATH_MAX && is_file(to);
}

static bool take_match(char to[PATH_MAX], const char *pattern)
{
    glob_t found;
    bool taken = false;
    if (glob(pattern, 0, NULL, &found) != 0)
        return false;
    for (size_t i = 0; i < found.gl_pathc && !taken; i++)
        taken = take(to, found.gl_pathv[i]);
    globfree(&found);
    return taken;
}

static bool find_library(char to[PATH_MAX])
{
    static const char *const variables[] = {"WANDB_LIBTPU_PATH", "TPU_LIBRARY_PATH", "LIBTPU_PATH"};
    static const char *const patterns[] = {
        "/lib/libtpu.so", "/usr/lib/libtpu.so", "/usr/local/lib/libtpu.so",
        "~/.local/lib/python*/site-packages/libtpu/libtpu.so", "~/.venv/lib/python*/site-packages/libtpu/libtpu.so",
        "/usr/local/lib/python*/dist-packages/libtpu/libtpu.so",
        "/usr/local/lib/python*/dist-packages/torch_xla/lib/libtpu.so",
    };
    const char *home = getenv("HOME");
    char pattern[PATH_MAX];
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *path = getenv(variables[i]);
        if (path && *path && take(to, path))
            return true;
    }
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        bool of_home = *patterns[i] == '~';
        if (of_home && !home)
            continue;
        int n = snprintf(pattern, sizeof pattern, "%s%s", of_home ? home : "", patterns[i] + of_home);
        if (n < (int)sizeof pattern && take_match(to, pattern))
            return true;
    }
    return false;
}

/* ---- opening ---- */

static bool is_table(const char *p)
{
    static const enum slot needed[] = {ERROR_MESSAGE, DESTROY_ERROR, CREATE_CLIENT, DESTROY_CLIENT,
                                       GET_METRIC,    GET_DESCRIPTION, GET_VALUES};
    uint32_t head[2];
    if (!p)
        return false;
    memcpy(head, p, sizeof head);
    bool good = head[0] == 0 && head[1] == 1;
    for (size_t i = 0; good && i < sizeof needed / sizeof *needed; i++)
        good = at(p, needed[i]) != NULL;
    return good;
}

bool tpu_sdk_open(void)
{
    char path[PATH_MAX];
    const char *(*get)(void) = NULL;
    struct {
        void *client;
    } create = {NULL};
    void *library = find_library(path) ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library)
        return false;
    *(void **)(&get) = dlsym(library, "GetLibtpuSdkApi");
    const char *found = get ? get() : NULL;
    if (!is_table(found)) {
        diag_warn("tpu: %s has no table of functions that is known", path);
        return false; /* it stays: nothing is known of how it goes */
    }
    table = found;
    if (failed(at(table, CREATE_CLIENT)(&create), "no client") || !create.client)
        return false;
    client = create.client;
    return true;
}

/* ---- reading ---- */

static bool read_description(void *metric, struct str *description)
{
    struct {
        void *metric;
        const char *text;
        size_t n;
    } get = {metric, NULL, 0};
    if (failed(at(table, GET_DESCRIPTION)(&get), "no description") || get.n > TPU_MAX_TEXT ||
        (get.n > 0 && !get.text))
        return false;
    *description = get.n > 0 ? str_make(get.text, get.n) : STR("");
    return true;
}

static bool read_values(void *metric, struct str *values, size_t *n)
{
    struct {
        void *metric;
        const char *const *values;
        size_t n;
    } get = {metric, NULL, 0};
    if (failed(at(table, GET_VALUES)(&get), "no values") || get.n > TPU_MAX_VALUES || (get.n > 0 && !get.values))
        return false;
    for (size_t i = 0; i < get.n; i++)
        values[i] = get.values[i] ? str_make(get.values[i], strnlen(get.values[i], TPU_MAX_TEXT)) : STR("");
    *n = get.n;
    return true;
}

bool tpu_sdk_read(const char *name, struct str *description, struct str *values, size_t *n)
{
    struct {
        void *client;
        const char *name;
        void *metric;
    } get = {client, name, NULL};
    return client && !failed(at(table, GET_METRIC)(&get), name) && get.metric &&
           read_description(get.metric, description) && read_values(get.metric, values, n);
}
