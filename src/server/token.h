/* SPDX-License-Identifier: MIT */
/* Rights that travel in a URL: clients PUT files without a key, so the URL itself must say what may
 * be written, unforgeably and not for ever.
 *
 * A token is  base64url(expiry, 8 bytes big endian ‖ claims) "." base64url(first 16 bytes of
 * HMAC-SHA256 over that text). Claims are a short text that the issuer and the checker agree on,
 * such as "file 12 media/a.png". They are not secret. Any thread. */
#ifndef TARE_SERVER_TOKEN_H
#define TARE_SERVER_TOKEN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Append a token that holds until `expires_s` (seconds since the epoch). 0 or TARE_ENOMEM. */
int token_put(struct buf *to, const unsigned char secret[32], struct str claims, int64_t expires_s);

/* The claims of a genuine token that has not expired, in `a`. Expected: TARE_EPERM. */
int token_check(struct arena *a, const unsigned char secret[32], struct str token, struct str *claims);

#endif
