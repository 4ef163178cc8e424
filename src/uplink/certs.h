/* SPDX-License-Identifier: MIT */
/* The certificates by which servers are judged, read once and on a worker thread: the 140 of a system
 * take 20 ms, and curl would read them inside the first transfer, on the loop. Loop thread only but for
 * what says otherwise.
 *
 * Where curl has another TLS library than OpenSSL, or the certificates cannot be read, there is no
 * store, and curl reads them itself: it knows what to say. */
#ifndef TARE_UPLINK_CERTS_H
#define TARE_UPLINK_CERTS_H

#include "loop/worker.h"

#include <stdbool.h>

struct x509_store_st;

struct certs {
    struct work work; /* `done` is the owner's; it calls certs_read first */
    enum { CERTS_UNREAD, CERTS_READING, CERTS_READ } state;
    const char *file, *dir;      /* NULL: none; the worker's while it reads */
    char *own_file;              /* `file` where the environment names one */
    struct x509_store_st *store; /* once CERTS_READ; NULL: leave it to curl */
};

/* Those of SSL_CERT_FILE, or the system's. CERTS_READ at once where there is nothing to be done, else
 * `work` is ready to be started. */
void certs_begin(struct certs *c);
void certs_read(struct certs *c); /* the work is done */
void certs_free(struct certs *c); /* not while CERTS_READING */
/* Let a transfer (a CURL *) take them instead of reading them. They live as long as it does. */
bool certs_give(const struct certs *c, void *easy);

#endif
