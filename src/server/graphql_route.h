/* SPDX-License-Identifier: MIT */
/* POST /graphql: body to document, variables, execution, reply. */
#ifndef TARE_SERVER_GRAPHQL_ROUTE_H
#define TARE_SERVER_GRAPHQL_ROUTE_H

#include "server/http/http.h"

/* Route handler; worker thread. */
void graphql_handle(struct http_request *r);

#endif
