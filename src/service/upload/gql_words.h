/* SPDX-License-Identifier: MIT */
/* What a backend said went wrong, in the words that the peer's users know. Pure; any thread.
 *
 * (peer: core/internal/api/gqlerrors.go; genqlient's HTTPError; gqlparser's gqlerror.Error) */
#ifndef TARE_SERVICE_UPLOAD_GQL_WORDS_H
#define TARE_SERVICE_UPLOAD_GQL_WORDS_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>

/* Are there errors in an answer? */
bool gql_has_errors(struct str answer);

/* Append the messages of an answer's errors: "a", or "[a; b]"; of an answer that is no JSON, all of it;
 * nothing if it names none. */
void gql_put_messages(struct buf *to, struct str answer);
/* Append the errors beside data, as a Go program prints them: "input: path message\n" each. */
void gql_put_list(struct buf *to, struct str answer);
/* What a failed request is called, its messages among the rest: "returned error 502: {...}". */
void gql_put_http_error(struct buf *to, int status, struct str answer);

struct graphql_call;
/* Why a call failed, in the peer's words; the HTTP status to tell with them, 0 for none. */
int gql_put_failure(struct buf *to, const struct graphql_call *c);

#endif
