/* SPDX-License-Identifier: MIT */
/* libmicrohttpd and GnuTLS itself set GnuTLS up as soon as they are loaded, before main: 0.9 MB of memory, of which
 * plain HTTP needs nothing. The loader finds the functions of the program first, so these decide: before main
 * nothing is set up, later whoever asks gets it. The first is the switch that GnuTLS has for that
 * (GNUTLS_SKIP_GLOBAL_INIT in gnutls.h); libmicrohttpd has none. */
#include "server/gnutls_late.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static bool is_late;

int _gnutls_global_init_skip(void);
int gnutls_global_init(void);

int _gnutls_global_init_skip(void)
{
    return 1;
}

int gnutls_global_init(void)
{
    int (*real)(void);
    if (!is_late)
        return 0;
    void *found = dlsym(RTLD_NEXT, "gnutls_global_init");
    memcpy(&real, &found, sizeof real);
    return found ? real() : -1;
}

int gnutls_late(bool needed)
{
    is_late = true;
    return needed ? gnutls_global_init() : 0;
}
