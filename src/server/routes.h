/* SPDX-License-Identifier: MIT */
/* All HTTP routes, one table. A new route is one row in routes.c and a handler in the file that
 * knows its subject; http/http.h says what a row means. */
#ifndef TARE_SERVER_ROUTES_H
#define TARE_SERVER_ROUTES_H

#include "server/http/http.h"

extern const struct http_route server_routes[];

#endif
