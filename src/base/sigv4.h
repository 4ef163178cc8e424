/* SPDX-License-Identifier: MIT */
/* Signing requests to S3: AWS Signature Version 4, with the signature in a header.
 * Source: "Authenticating Requests: Using the Authorization Header", Amazon S3 API Reference. Pure. */
#ifndef TARE_BASE_SIGV4_H
#define TARE_BASE_SIGV4_H

#include "base/buf.h"

#include <stdint.h>

enum { SIGV4_MAX_HEADERS = 8, SIGV4_TIME = 17 };

struct sigv4 {
    const char *method;
    const char *path;         /* as it stands in the request, percent-encoded, from '/' on */
    const char *query;        /* the same without '?', parameters ordered by name, each with '='; "" */
    const char *payload_hash; /* SHA-256 of the body in hex */
    const char *key_id, *secret, *region;
    int64_t unix_s;
    /* The headers that are signed, by lower-case name in order; x-amz-date and host among them. */
    struct {
        const char *name, *value;
    } headers[SIGV4_MAX_HEADERS];
    int n_headers;
};

/* "20130524T000000Z", the value of x-amz-date. */
void sigv4_time(int64_t unix_s, char to[SIGV4_TIME]);

/* Append the value of the Authorization header. 0 or TARE_ENOMEM. */
int sigv4_authorization(const struct sigv4 *s, struct buf *to);

#endif
