/* SPDX-License-Identifier: MIT */
/* What a frame asks for, and who does it. Knows the fields of ServerRequest, not of records.
 * Loop thread only. */
#ifndef TARE_SERVICE_INTAKE_ROUTER_H
#define TARE_SERVICE_INTAKE_ROUTER_H

#include "base/str.h"

struct connection;

/* Do one serialized ServerRequest. 0, or TARE_EFORMAT if it cannot be decoded: the request has been
 * answered with an error if its id could be read, and the connection should be closed. */
int router_frame(struct connection *c, struct str request);

/* Answer the request with an error that says why this connection is refused. */
void router_refuse(struct connection *c, struct str request);

#endif
