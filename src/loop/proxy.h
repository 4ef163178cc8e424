/* SPDX-License-Identifier: MIT */
/* Which proxy a URL is reached through, by the environment: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in
 * upper or lower case, as Go's net/http reads them. */
#ifndef TARE_LOOP_PROXY_H
#define TARE_LOOP_PROXY_H

#include "base/str.h"

#include <stdbool.h>

/* An "http://" or "https://" URL in parts, slices of it. */
struct url_parts {
    bool https;
    struct str authority; /* "user@host:port" */
    struct str host;      /* without brackets */
    int port;             /* the scheme's if it names none */
};

/* False if it is no such URL. Any thread. */
bool url_split(const char *url, struct url_parts *to);

/* The proxy for `url`, or "" for none. Loop thread (reads the environment). */
const char *proxy_from_environment(const struct url_parts *url);
/* True if the comma-separated `no_proxy` names `url`, or if it is this machine. */
bool proxy_is_skipped(const struct url_parts *url, const char *no_proxy);

#endif
