/* SPDX-License-Identifier: MIT */
/* The command line of `tare server`. */
#ifndef TARE_SERVER_OPTIONS_H
#define TARE_SERVER_OPTIONS_H

#include "base/err.h"

#include <stdbool.h>

struct server_options {
    char *dir;                /* --dir; made absolute. Default: $TARE_SERVER_DIR, else
                                 $XDG_DATA_HOME/tare/server or ~/.local/share/tare/server */
    const char *listen;       /* --listen; default 127.0.0.1:8080 */
    const char *db_url;       /* --db; NULL: DIR/tare.db */
    const char *blobs_url;    /* --blobs; NULL: DIR/blobs */
    const char *tls_cert, *tls_key; /* file names */
    const char *port_file;    /* --port-file */
    const char *quota;        /* --quota: "20G"; NULL: none */
    const char *base_url;     /* --base-url: how clients reach us when that is not what they ask for */
    bool insecure;            /* --insecure: plain HTTP beyond loopback */
    bool no_access_log;       /* --no-access-log */
    bool no_local_files;      /* --no-local-files: nobody is told where files lie or may be put */
    int max_workers;          /* --workers; 0: the default */
    int log_level;            /* --log-level; diag.h's numbers */
};

/* Parse argv[1…]: options up to the first word that is none, whose index goes to *rest (argc when
 * there is none). Strings are borrowed from argv but for `dir`, which options_fini frees.
 * Expected: TARE_EINVAL with a sentence in `e`. */
int options_parse(int argc, char **argv, struct server_options *o, int *rest, struct err *e);
void options_fini(struct server_options *o);

/* May `listen` be used without TLS? True for loopback addresses and unix sockets. */
bool options_is_local(const char *listen);

#endif
