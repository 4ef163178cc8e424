/* SPDX-License-Identifier: MIT */
#include "server/options.h"
#include "base/alloc.h"
#include "base/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { TEXT, FLAG, NUMBER };

struct option {
    const char *name;
    enum kind kind;
    size_t at;
};

#define AT(member) offsetof(struct server_options, member)
static const struct option table[] = {
    {"--dir", TEXT, AT(dir)},
    {"--listen", TEXT, AT(listen)},
    {"--db", TEXT, AT(db_url)},
    {"--blobs", TEXT, AT(blobs_url)},
    {"--tls-cert", TEXT, AT(tls_cert)},
    {"--tls-key", TEXT, AT(tls_key)},
    {"--port-file", TEXT, AT(port_file)},
    {"--quota", TEXT, AT(quota)},
    {"--base-url", TEXT, AT(base_url)},
    {"--insecure", FLAG, AT(insecure)},
    {"--no-access-log", FLAG, AT(no_access_log)},
    {"--no-local-files", FLAG, AT(no_local_files)},
    {"--workers", NUMBER, AT(max_workers)},
    {"--log-level", NUMBER, AT(log_level)},
};

static const struct option *find(const char *word, const char **value)
{
    size_t n = strcspn(word, "=");
    *value = word[n] ? word + n + 1 : NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strlen(table[i].name) == n && memcmp(table[i].name, word, n) == 0)
            return &table[i];
    return NULL;
}

static int set(struct server_options *o, const struct option *opt, const char *value, struct err *e)
{
    char *field = (char *)o + opt->at, *end = NULL;
    if (opt->kind == TEXT) {
        memcpy(field, &value, sizeof value);
        return 0;
    }
    if (opt->kind == FLAG) {
        *(bool *)(void *)field = true;
        return 0;
    }
    long n = strtol(value, &end, 10);
    if (!*value || *end || n < -100 || n > 100000)
        return err_set(e, TARE_EINVAL, "%s wants a number, not '%s'", opt->name, value);
    *(int *)(void *)field = (int)n;
    return 0;
}

/* Heap: an absolute path of the data directory. */
static char *data_dir(const char *given)
{
    char here[4096];
    char *dir = given ? xmem_strdup(given) : path_server_dir();
    if (!dir || dir[0] == '/' || !getcwd(here, sizeof here))
        return dir;
    char *whole = path_join(here, dir);
    mem_free(dir);
    return whole;
}

int options_parse(int argc, char **argv, struct server_options *o, int *rest, struct err *e)
{
    *o = (struct server_options){.listen = "127.0.0.1:8080", .log_level = 4};
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        const char *value;
        const struct option *opt = find(argv[i], &value);
        if (!opt || (value && opt->kind == FLAG)) {
            o->dir = NULL;
            return err_set(e, TARE_EINVAL, "unknown option '%s'", argv[i]);
        }
        if (!value && opt->kind != FLAG && !(value = i + 1 < argc ? argv[++i] : NULL)) {
            o->dir = NULL;
            return err_set(e, TARE_EINVAL, "%s wants a value", opt->name);
        }
        int rc = set(o, opt, value, e);
        if (rc) {
            o->dir = NULL;
            return rc;
        }
    }
    *rest = i;
    o->dir = data_dir(o->dir);
    if (!o->tls_cert != !o->tls_key) {
        options_fini(o);
        return err_set(e, TARE_EINVAL, "--tls-cert and --tls-key go together");
    }
    return 0;
}

void options_fini(struct server_options *o)
{
    mem_free(o->dir);
    o->dir = NULL;
}

bool options_is_local(const char *listen)
{
    return strncmp(listen, "unix:", 5) == 0 || strncmp(listen, "127.", 4) == 0 ||
           strncmp(listen, "localhost:", 10) == 0 || strncmp(listen, "[::1]:", 6) == 0;
}
