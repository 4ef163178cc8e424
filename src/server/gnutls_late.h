/* SPDX-License-Identifier: MIT */
/* The program sets GnuTLS up only where it serves TLS. */
#ifndef TARE_SERVER_GNUTLS_LATE_H
#define TARE_SERVER_GNUTLS_LATE_H

#include <stdbool.h>

/* Once, at the beginning of main: GnuTLS may be set up from now on, and is at once if it is needed. 0, or its error
 * (negative). */
int gnutls_late(bool needed);

#endif
