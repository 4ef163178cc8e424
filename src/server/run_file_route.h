/* SPDX-License-Identifier: MIT */
/* GET /files/{entity}/{project}/{run}/{name...}: a run's file, for who may read the run. */
#ifndef TARE_SERVER_RUN_FILE_ROUTE_H
#define TARE_SERVER_RUN_FILE_ROUTE_H

#include "server/http/http.h"

/* Route handler; worker thread. */
void run_file_handle(struct http_request *r);

#endif
