/* SPDX-License-Identifier: MIT */
/* What backend.c and graphql.c share: the calls under way. */
#ifndef TARE_SERVICE_UPLOAD_BACKEND_IMPL_H
#define TARE_SERVICE_UPLOAD_BACKEND_IMPL_H

#include "service/upload/backend.h"

struct graphql_work;

/* List of calls whose `done` has not been called; NULL if there is none. */
struct graphql_work **backend_calls(struct backend *b);
bool backend_is_closing(const struct backend *b);
/* End every call. (graphql.c) */
void graphql_cancel_all(struct backend *b);

#endif
