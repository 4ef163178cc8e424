/* SPDX-License-Identifier: MIT */
/* Which route does a path take? Pure. */
#ifndef TARE_SERVER_HTTP_ROUTE_H
#define TARE_SERVER_HTTP_ROUTE_H

#include "server/http/http.h"

/* The route for `method` and `path`, its parameters decoded into `a`. NULL: none; *other is then
 * one that has the path under another method (405 instead of 404), or NULL. */
const struct http_route *route_find(const struct http_route *routes, struct str method, struct str path,
                                    struct arena *a, struct str *params, int *n_params,
                                    const struct http_route **other);

/* Resolve %XX; also `+` to a space if `plus`. False: malformed or out of memory. */
bool route_decode(struct arena *a, struct str in, bool plus, struct str *out);

#endif
