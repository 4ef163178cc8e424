/* SPDX-License-Identifier: MIT */
/* Linking an artifact to a collection of another project, a registry for one.
 * (peer: core/pkg/artifacts/linker.go) */
#include "service/upload/artifact_impl.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "base/json.h"
#include "record/wire.h"

#include <stdlib.h>
#include <utlist.h>

#define OF(p, member) ((struct link_call *)((char *)(p) - offsetof(struct link_call, member)))

/* LinkArtifactRequest, LinkArtifactResponse; proto/request.proto */
enum {
    LINK_CLIENT_ID = 1,
    LINK_SERVER_ID = 2,
    LINK_NAME = 3,
    LINK_ENTITY = 4,
    LINK_PROJECT = 5,
    LINK_ALIASES = 6,
    LINK_ORGANIZATION = 7,
};
enum { LINK_RESPONSE_ERROR = 1, LINK_RESPONSE_VERSION = 2 };

static const char link_artifact[] =
    "mutation LinkArtifact($artifactPortfolioName: String!, $entityName: String!, $projectName: String!,"
    " $aliases: [ArtifactAliasInput!], $clientId: ID, $artifactId: ID) { linkArtifact(input: {"
    "artifactPortfolioName: $artifactPortfolioName, entityName: $entityName, projectName: $projectName,"
    " aliases: $aliases, artifactID: $artifactId, clientID: $clientId}) { versionIndex } }";
static const char fetch_org[] =
    "query FetchOrgEntityFromEntity($entityName: String!) { entity(name: $entityName) {"
    " organization { name orgEntity { name } } } }";

struct link_call {
    struct link_call *prev, *next;
    struct artifacts *owner;
    struct artifact_ask *ask;
    struct buf request, variables;
    bool is_begun, is_calling;
    struct graphql_call call;
};

static struct str text(const struct link_call *l, uint32_t field)
{
    return wire_find_bytes(buf_str(&l->request), field);
}

static void end_link(struct link_call *l, struct str error, int64_t version)
{
    struct artifacts *a = l->owner;
    AUTO_BUF response = {0};
    if (error.n > 0) {
        diag_error("linking an artifact: %.*s", STR_ARG(error));
        wire_buf_bytes(&response, LINK_RESPONSE_ERROR, error);
    } else if (version >= 0) {
        wire_buf_varint(&response, LINK_RESPONSE_VERSION, (uint64_t)version);
    }
    DL_DELETE(a->links, l);
    a->n_links--;
    l->ask->done(l->ask, buf_str(&response));
    buf_fini(&l->request);
    buf_fini(&l->variables);
    graphql_call_fini(&l->call);
    mem_free(l);
    artifacts_wake(a);
    artifacts_release(a);
}

__attribute__((format(printf, 2, 3))) static void fail(struct link_call *l, const char *fmt, ...)
{
    AUTO_BUF why = {0};
    va_list ap;
    buf_printf(&why, "LinkArtifact: %.*s, error: ", STR_ARG(text(l, LINK_NAME)));
    va_start(ap, fmt);
    buf_vprintf(&why, fmt, ap);
    va_end(ap);
    end_link(l, buf_str(&why), -1);
}

static void on_linked(struct graphql_call *call)
{
    struct link_call *l = OF(call, call);
    struct str index = call->error ? (struct str){0} : json_at(call->data, "linkArtifact.versionIndex");
    l->is_calling = false;
    if (call->error)
        fail(l, "%s", call->why);
    else
        end_link(l, (struct str){0}, index.n ? strtoll(index.p, NULL, 10) : -1);
}

static void ask_backend(struct link_call *l, const char *operation, const char *document, void (*done)(struct graphql_call *))
{
    graphql_call_fini(&l->call);
    l->call = (struct graphql_call){
        .operation = operation, .document = document, .variables = buf_str(&l->variables), .done = done};
    l->is_calling = true;
    graphql_send(l->owner->backend, &l->call);
}

static void put(struct buf *v, const char *before, struct str value)
{
    buf_puts(v, before);
    json_put_string(v, value);
}

static void put_aliases(struct link_call *l)
{
    struct wire_reader r = wire_open(buf_str(&l->request));
    struct wire_field f;
    struct buf *v = &l->variables;
    const char *sep = "[";
    buf_puts(v, ",\"aliases\":");
    while (wire_next(&r, &f) > 0) {
        if (f.number != LINK_ALIASES || f.type != WIRE_BYTES)
            continue;
        buf_puts(v, sep);
        put(v, "{\"artifactCollectionName\":", text(l, LINK_NAME));
        put(v, ",\"alias\":", f.bytes);
        buf_putc(v, '}');
        sep = ",";
    }
    buf_puts(v, *sep == ',' ? "]" : "null");
}

static void link_to(struct link_call *l, struct str entity)
{
    struct buf *v = &l->variables;
    struct str server = text(l, LINK_SERVER_ID), client = text(l, LINK_CLIENT_ID);
    AUTO_FREE char *name = xmem_strndup(entity.n ? entity.p : "", entity.n); /* it may be in l->call */
    if (server.n + client.n == 0) {
        fail(l, "artifact must have either server id or client id");
        return;
    }
    buf_clear(v);
    put(v, "{\"artifactPortfolioName\":", text(l, LINK_NAME));
    put(v, ",\"entityName\":", str_of(name));
    put(v, ",\"projectName\":", text(l, LINK_PROJECT));
    put_aliases(l);
    buf_puts(v, server.n ? ",\"clientId\":null" : ",\"artifactId\":null");
    put(v, server.n ? ",\"artifactId\":" : ",\"clientId\":", server.n ? server : client);
    buf_putc(v, '}');
    ask_backend(l, "LinkArtifact", link_artifact, on_linked);
}

/* A registry belongs to the organization's own entity. */
static void on_org(struct graphql_call *call)
{
    struct link_call *l = OF(call, call);
    struct str entity = text(l, LINK_ENTITY), wanted = text(l, LINK_ORGANIZATION);
    AUTO_FREE char *asked = xmem_strndup(entity.n ? entity.p : "", entity.n);
    AUTO_FREE char *organization = xmem_strndup(wanted.n ? wanted.p : "", wanted.n);
    l->is_calling = false;
    if (call->error) {
        fail(l, "%s", call->why);
        return;
    }
    AUTO_FREE char *name = json_string_at(call->data, "entity.organization.orgEntity.name");
    AUTO_FREE char *display = json_string_at(call->data, "entity.organization.name");
    if (!name)
        fail(l,
             "unable to resolve an organization associated with the entity: %s that is initialized in the API or Run "
             "settings. This could be because %s is a personal entity or the team entity doesn't exist. Please "
             "re-initialize the API or Run with a team entity using wandb.Api(overrides={'entity': "
             "'<my_team_entity>'}) or wandb.init(entity='<my_team_entity>')",
             asked, asked);
    else if (wanted.n > 0 && !str_eqz(wanted, name) && !(display && str_eqz(wanted, display)))
        fail(l,
             "artifact belongs to the organization \"%s\" and cannot be linked/fetched with \"%s\". Please update the "
             "target path with the correct organization name",
             display ? display : name, organization);
    else
        link_to(l, str_of(name));
}

static void begin(struct link_call *l)
{
    l->is_begun = true;
    if (!str_starts(text(l, LINK_PROJECT), STR("wandb-registry-"))) {
        link_to(l, text(l, LINK_ENTITY));
        return;
    }
    put(&l->variables, "{\"entityName\":", text(l, LINK_ENTITY));
    buf_putc(&l->variables, '}');
    ask_backend(l, "FetchOrgEntityFromEntity", fetch_org, on_org);
}

void link_begin_all(struct artifacts *a)
{
    struct link_call *l, *next;
    DL_FOREACH_SAFE (a->links, l, next)
        if (!l->is_begun)
            begin(l);
}

void link_cancel_all(struct artifacts *a)
{
    struct link_call *l, *next;
    DL_FOREACH_SAFE (a->links, l, next) {
        if (l->is_calling)
            graphql_cancel(a->backend, &l->call);
        else if (!l->is_begun)
            fail(l, "the request was given up");
    }
}

void artifacts_link(struct artifacts *a, struct str request, struct artifact_ask *ask)
{
    struct link_call *l = xmem_calloc(1, sizeof *l);
    l->owner = a;
    l->ask = ask;
    buf_put_str(&l->request, request);
    DL_APPEND(a->links, l);
    a->n_links++;
    a->n_open++;
    artifacts_wake(a);
}
