/* SPDX-License-Identifier: MIT */
/* A GraphQL document without what an older backend does not know: variables, fields and fragments
 * left out, fields renamed, and with them what is empty or unused then. Pure; any thread.
 *
 * (peer: core/internal/wbapi/gqlcompat.go) */
#ifndef TARE_SERVICE_API_GQLCOMPAT_H
#define TARE_SERVICE_API_GQLCOMPAT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Fields of wandb_internal.GraphQLRequest that say what to change. */
enum { GQL_OMIT_VARIABLES = 3, GQL_OMIT_FRAGMENTS = 4, GQL_OMIT_FIELDS = 5, GQL_RENAME_FIELDS = 6 };

/* Append `document` as `request` (a GraphQLRequest) wants it, as it is if that wants nothing. 0,
 * TARE_EFORMAT (no such document; the reason in `e`) or TARE_ENOMEM. */
int gqlcompat_rewrite(struct buf *to, struct str document, struct str request, struct err *e);

#endif
