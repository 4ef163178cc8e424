/* SPDX-License-Identifier: MIT */
/* Any document of the client's.
 *
 * (peer: core/internal/wbapi/graphqlhandler.go) */
#include "service/api/api_impl.h"

#include "base/json.h"
#include "service/api/gqlcompat.h"

enum { QUERY = 1, VARIABLES_JSON = 2, DATA_JSON = 1 };

struct graphql_task {
    struct api_task task;
    struct buf document;
};

static void on_data(struct api_task *t)
{
    AUTO_BUF body = {0};
    wire_buf_bytes(&body, DATA_JSON, t->call.data.n ? t->call.data : STR("null"));
    api_reply_with(t, API_GRAPHQL, buf_str(&body));
}

static void start(struct api_task *t)
{
    struct graphql_task *g = (struct graphql_task *)t;
    struct str request = buf_str(&t->request), variables = wire_find_bytes(request, VARIABLES_JSON);
    struct err e = {0};
    if (variables.n && (!json_valid(variables) || !strchr("{n", *json_skip_space(variables.p, variables.p + variables.n)))) {
        api_fail(t, 0, "decode GraphQL variables: no JSON object");
        return;
    }
    if (gqlcompat_rewrite(&g->document, wire_find_bytes(request, QUERY), request, &e) != 0) {
        api_fail(t, 0, "%s", e.text);
        return;
    }
    const char *document = buf_z(&g->document);
    buf_put_str(&t->variables, variables.n ? variables : STR("null"));
    api_ask_raw(t, "", document ? document : "", on_data);
}

static void fini(struct api_task *t)
{
    buf_fini(&((struct graphql_task *)t)->document);
}

const struct api_kind api_graphql = {4, sizeof(struct graphql_task), start, NULL, fini};
