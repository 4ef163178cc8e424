/* SPDX-License-Identifier: MIT */
/* `tare-server`, which `tare server` runs: starts, waits for a signal, ends. */
#include "base/alloc.h"
#include "base/diag.h"
#include "server/admin.h"
#include "server/backup.h"
#include "server/gnutls_late.h"
#include "server/http/http.h"
#include "server/lifecycle.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DONE = 0, FAILED = 1, USAGE = 2, GRACE_MS = 5000 };

static const char options_help[] =
    "\n"
    "  --dir DIR              where everything is kept (default ~/.local/share/tare/server)\n"
    "  --listen ADDR:PORT     or unix:PATH (default 127.0.0.1:8080; port 0: any)\n"
    "  --tls-cert FILE --tls-key FILE   PEM files; needed for addresses that others can reach\n"
    "  --insecure             plain HTTP on such an address all the same\n"
    "  --base-url URL         how clients reach the server, when a proxy stands before it\n"
    "  --db URL               another database than DIR/tare.db (postgres://…)\n"
    "  --blobs URL            another place for files than DIR/blobs: a directory, or\n"
    "                         s3://BUCKET/PREFIX?endpoint=URL&region=NAME (keys: AWS_ACCESS_KEY_ID …)\n"
    "  --quota SIZE           disk for database and files together, like 20G (default: no limit)\n"
    "  --port-file FILE       written when the server is ready\n"
    "  --no-access-log        do not write DIR/access.log\n"
    "  --no-local-files       do not tell clients on this machine where files lie: all goes over HTTP\n"
    "  --workers N            threads for requests that wait (default 16)\n"
    "  --log-level N          -4 debug, 0 info, 4 warnings (default), 8 errors\n";

static void announce(struct server *s, const char *new_key)
{
    printf("tare server: listening on %s%s\n",
           http_port(s->http) ? s->options.tls_cert ? "https://" : "http://" : "", http_address(s->http));
    if (new_key)
        printf("tare server: made the user 'local', an administrator, with the API key\n%s\n"
               "tare server: it is kept in %s/admin.key and not shown again\n",
               new_key, s->options.dir);
    fflush(stdout);
}

static void wait_for_end(const sigset_t *set)
{
    int sig = 0;
    while (sigwait(set, &sig) != 0) {
    }
    diag_info("ending: %s", strsignal(sig));
}

static int serve(struct server_options *o)
{
    struct server *s;
    struct err e = {0};
    char *new_key;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* all threads to come inherit this */
    signal(SIGPIPE, SIG_IGN);
    /* Many threads, little memory: what a large answer took goes back when it is sent, and the ends
     * of arenas, which mem_trim leaves alone. */
    mem_tune(4, 1 << 20, 512 << 10);
    diag_open(STDERR_FILENO, o->log_level);
    if (gnutls_late(o->tls_cert) < 0) {
        fprintf(stderr, "tare server: GnuTLS cannot be set up\n");
        return FAILED;
    }
    if (server_open(o, &s, &new_key, &e)) {
        fprintf(stderr, "tare server: %s\n", e.text);
        return FAILED;
    }
    announce(s, new_key);
    mem_free(new_key);
    wait_for_end(&set);
    bool is_lost = s->is_lost;
    server_close(s, GRACE_MS);
    return is_lost ? FAILED : DONE;
}

/* Behind other words too: `tare server user add --help`. */
static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    struct server_options o;
    struct err e = {0};
    int rest;
    if (asks_for_help(argc, argv)) {
        printf("usage: tare server [OPTION...]           run the server\n%s%s%s", admin_help, backup_help,
               options_help);
        return DONE;
    }
    if (argc > 1 && admin_knows(argv[1]))
        return admin_main(argc - 1, argv + 1);
    if (argc > 1 && backup_knows(argv[1]))
        return backup_main(argc - 1, argv + 1);
    if (options_parse(argc, argv, &o, &rest, &e)) {
        fprintf(stderr, "tare server: %s (--help tells more)\n", e.text);
        return USAGE;
    }
    if (rest < argc) {
        fprintf(stderr, "tare server: unknown command '%s' (--help tells more)\n", argv[rest]);
        options_fini(&o);
        return USAGE;
    }
    return serve(&o);
}
