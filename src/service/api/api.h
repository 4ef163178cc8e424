/* SPDX-License-Identifier: MIT */
/* Requests that belong to no run: the SDK's public API asks the backend through the service.
 *
 * A client opens a session with its settings, and sends requests with the session's id; each is
 * answered when the backend has. Sessions end with their connection. Loop thread only.
 *
 * (peer: core/internal/wbapi) */
#ifndef TARE_SERVICE_API_API_H
#define TARE_SERVICE_API_API_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct api;
struct service;

/* The sessions of one connection; zero at first. */
struct apis {
    struct api *first;
};

/* ServerApiInitRequest: append the ServerApiInitResponse, or the reason in `e`. */
int apis_open(struct apis *a, struct service *s, struct str request, struct buf *response, struct err *e);
/* ServerApiCleanupRequest. */
void apis_close(struct apis *a, struct str request);
/* The connection has gone: all of them. */
void apis_fini(struct apis *a);

/* ApiRequest; answered through the mailbox by `serial` (0: nobody waits) with an ApiResponse. */
void apis_request(struct apis *a, struct service *s, struct str request, uint64_t serial);
/* Request `serial` was cancelled and has been taken out of the mailbox. */
void apis_cancelled(struct apis *a, uint64_t serial);

/* ServerAuthenticateRequest: likewise, with a ServerAuthenticateResponse that has `info` at its end. */
void apis_authenticate(struct apis *a, struct service *s, struct str request, struct str info,
                       uint64_t serial);

#endif
