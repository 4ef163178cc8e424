/* SPDX-License-Identifier: MIT */
/* POST /files/{entity}/{project}/{run}/file_stream: finds the run, hands the body to ingest, and
 * answers when the lines are durable. */
#ifndef TARE_SERVER_FILESTREAM_ROUTE_H
#define TARE_SERVER_FILESTREAM_ROUTE_H

#include "server/http/http.h"

/* Route handler; worker thread. The reply comes from the store's writer thread. */
void filestream_handle(struct http_request *r);

#endif
