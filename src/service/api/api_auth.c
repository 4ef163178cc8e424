/* SPDX-License-Identifier: MIT */
/* Who am I, and what can the backend do.
 *
 * (peer: core/internal/wbapi/authhandler.go, featureshandler.go; pkg/server/connection.go) */
#include "service/api/api_impl.h"

#include "base/alloc.h"
#include "base/json.h"
#include "service/upload/json_path.h"

enum {
    AUTHENTICATE = 1, /* of AuthRequest and AuthResponse */
    ACCESS_TOKEN = 2,
    FEATURES_SERVER = 1, /* of FeaturesRequest and FeaturesResponse */
    FEATURES_ORG = 2,
    ORG_NAME = 1,
    ORG_FEATURES = 2,
};

static const char viewer_query[] =
    "\nquery Viewer {\n\tviewer {\n\t\tid\n\t\tentity\n\t\tusername\n\t\temail\n\t\tflags\n\t\tteams {\n"
    "\t\t\tedges {\n\t\t\t\tnode {\n\t\t\t\t\tname\n\t\t\t\t}\n\t\t\t}\n\t\t}\n\t}\n}\n";

/* ---- authenticate ---- */

static void put_teams(struct buf *to, struct str viewer)
{
    struct str edges = json_at(viewer, "teams.edges");
    const char *at = edges.n ? json_skip_space(edges.p, edges.p + edges.n) : NULL, *end = edges.p + edges.n;
    struct json_item item;
    if (!at || at == end || *at++ != '[')
        return;
    while (json_next_element(&at, end, &item) == 1) {
        AUTO_FREE char *name = json_string_at(item.value, "node.name");
        if (name)
            wire_buf_bytes(to, 4, str_of(name));
    }
}

/* Errors beside a viewer do not make the credentials bad. */
static void on_viewer(struct api_task *t)
{
    AUTO_BUF body = {0}, inner = {0};
    struct str viewer = json_at(t->call.data, "viewer");
    if (viewer.n == 0 && t->call.error) {
        api_fail_call(t);
        return;
    }
    if (viewer.n == 0) {
        api_fail(t, 0,
                 "invalid credentials: the server did not recognize an account"
                 " for the configured credentials");
        return;
    }
    api_put_text_at(&inner, 1, viewer, "entity");
    api_put_text_at(&inner, 2, viewer, "username");
    api_put_text_at(&inner, 3, viewer, "email");
    put_teams(&inner, viewer);
    api_put_text_at(&inner, 5, viewer, "flags");
    wire_buf_bytes(&body, AUTHENTICATE, buf_str(&inner));
    api_reply_with(t, API_AUTH, buf_str(&body));
}

/* ---- access token ---- */

struct auth_task {
    struct api_task task;
    struct backend_headers token;
};

static void on_token(struct backend_headers *h, int error, const char *why)
{
    struct auth_task *a = (struct auth_task *)((char *)h - offsetof(struct auth_task, token));
    AUTO_BUF body = {0}, inner = {0};
    if (error) {
        api_fail(&a->task, 0, "%s", why);
        return;
    }
    if (h->text.len)
        wire_buf_bytes(&inner, 1, buf_str(&h->text));
    wire_buf_bytes(&body, ACCESS_TOKEN, buf_str(&inner));
    api_reply_with(&a->task, API_AUTH, buf_str(&body));
}

static void fini_auth(struct api_task *t)
{
    buf_fini(&((struct auth_task *)t)->token.text);
}

static void start_auth(struct api_task *t)
{
    struct auth_task *a = (struct auth_task *)t;
    struct wire_field f;
    t->takes_partial = true;
    a->token.ready = on_token;
    if (api_find(buf_str(&t->request), AUTHENTICATE, &f))
        api_ask(t, "Viewer", viewer_query, on_viewer);
    else if (api_find(buf_str(&t->request), ACCESS_TOKEN, &f))
        backend_token(t->api->backend, &a->token);
    else
        api_fail(t, 0, "unsupported auth request type");
}

const struct api_kind api_auth = {9, sizeof(struct auth_task), start_auth, NULL, fini_auth};

/* ---- login by a key alone: ServerAuthenticateResponse ---- */

enum { LOGIN_DEFAULT_ENTITY = 1, LOGIN_ERROR_STATUS = 2 };

static void on_login(struct api_task *t)
{
    AUTO_BUF response = {0};
    AUTO_FREE char *entity = json_string_at(t->call.data, "viewer.entity");
    if (entity)
        wire_buf_bytes(&response, LOGIN_DEFAULT_ENTITY, str_of(entity));
    else
        wire_buf_bytes(&response, LOGIN_ERROR_STATUS, STR("Invalid credentials"));
    buf_put_str(&response, buf_str(&t->request)); /* its _info */
    api_reply(t, buf_str(&response));
}

static void start_login(struct api_task *t)
{
    t->takes_partial = true;
    api_ask(t, "Viewer", viewer_query, on_login);
}

const struct api_kind api_login = {0, sizeof(struct api_task), start_login, NULL, NULL};

/* ---- features of the server ---- */

/* enum ServerFeature */
static const char *const feature_names[] = {
    [1] = "ARTIFACT_TAGS",
    [2] = "CLIENT_IDS",
    [3] = "ARTIFACT_REGISTRY_SEARCH",
    [4] = "STRUCTURED_CONSOLE_LOGS",
    [5] = "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    [6] = "ARTIFACT_COLLECTION_MEMBERSHIP_FILE_DOWNLOAD_HANDLER",
    [7] = "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    [9] = "AUTOMATION_EVENT_RUN_METRIC",
    [10] = "AUTOMATION_EVENT_RUN_METRIC_CHANGE",
    [11] = "AUTOMATION_ACTION_NO_OP",
    [12] = "INCLUDE_ARTIFACT_TYPES_IN_REGISTRY_CREATION",
    [13] = "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    [14] = "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
    [15] = "TOTAL_COUNT_IN_FILE_CONNECTION",
    [16] = "ARTIFACT_COLLECTIONS_FILTERING_SORTING",
    [17] = "LARGE_FILENAMES",
    [18] = "ARTIFACT_V2_DOWNLOAD_HANDLER_SUPPORTS_ARTIFACT_ID",
    [19] = "AUTOMATION_EVENT_RUN_METRIC_ZSCORE",
    [20] = "AUTOMATION_EVENT_RUN_STATE",
    [21] = "AUTOMATION_ACTION_PUSH_NOTIFICATION",
    [22] = "AUTOMATION_EVENT_ADD_ARTIFACT_TAG",
    [23] = "AUTOMATION_EVENT_ADD_COLLECTION_TAG",
    [24] = "AUTOMATION_EVENT_REMOVE_ARTIFACT_TAG",
    [25] = "AUTOMATION_EVENT_REMOVE_COLLECTION_TAG",
    [26] = "AUTOMATION_EVENT_UNLINK_ARTIFACT",
    [27] = "AUTOMATIONS_ON_USER",
    [28] = "AUTOMATION_LAST_EXECUTED_AT",
    [29] = "MARK_RUN_FILES_UPLOADED",
    [30] = "SWEEPS_QUERY_FILTERING",
    [31] = "AUTOMATION_SCOPE_ENTITY",
    [32] = "QUERY_AUTOMATIONS_ON_ENTITY",
    [33] = "AUTOMATIONS_ON_ORGANIZATION",
    [34] = "FILESTREAM_GZIP",
    [35] = "SWEEPS_LOCAL_SCHEDULER",
    [36] = "ARTIFACT_DIGEST_ALGORITHM",
    [37] = "AUTOMATION_ACTION_ARIA",
    [38] = "EVAL_TABLES_CES",
};

struct features_task {
    struct api_task task;
    struct wire_reader rest; /* of ServerFeaturesRequest */
    struct wire_reader packed;
    uint64_t asked;
    bool is_old; /* the client is of 0.28: numbers alone where later ones have a message of them */
    bool is_asking, waits;
    struct buf enabled; /* ServerFeaturesResponse */
};

static void ask_features(struct features_task *f);

/* Also from inside ask_features. */
static void on_feature(void *ctx, bool has)
{
    struct features_task *f = ctx;
    if (has)
        wire_buf_varint(&f->enabled, 1, f->asked);
    f->waits = false;
    if (!f->is_asking)
        ask_features(f);
}

/* The next number in a repeated field, packed or not. */
static bool next_number(struct features_task *f, uint64_t *to)
{
    struct wire_field field;
    for (;;) {
        if (wire_get_varint(&f->packed, to))
            return true;
        if (wire_next(&f->rest, &field) <= 0)
            return false;
        if (field.number != 1)
            continue;
        if (field.type == WIRE_VARINT) {
            *to = field.value;
            return true;
        }
        f->packed = wire_open(field.bytes);
    }
}

/* The name of the next one asked for; NULL at the end. */
static const char *next_feature(struct features_task *f)
{
    while (next_number(f, &f->asked))
        if (f->asked < sizeof feature_names / sizeof feature_names[0] && feature_names[f->asked])
            return feature_names[f->asked];
    return NULL;
}

static void ask_features(struct features_task *f)
{
    AUTO_BUF body = {0};
    const char *name;
    f->is_asking = true;
    while ((name = next_feature(f))) {
        f->waits = true;
        backend_feature(f->task.api->backend, name, on_feature, f);
        if (f->waits) {
            f->is_asking = false;
            return;
        }
    }
    wire_buf_bytes(&body, FEATURES_SERVER, buf_str(&f->enabled));
    api_reply_with(&f->task, API_FEATURES, buf_str(f->is_old ? &f->enabled : &body));
}

static bool is_message(struct str bytes)
{
    struct wire_field f;
    int rc;
    for (struct wire_reader r = wire_open(bytes); (rc = wire_next(&r, &f)) > 0;)
        continue;
    return rc == 0;
}

static void fini_features(struct api_task *t)
{
    buf_fini(&((struct features_task *)t)->enabled);
}

/* ---- features of an organization: not kept ---- */

static bool is_asked_for(struct str request, const char *name)
{
    struct wire_field f;
    for (struct wire_reader r = wire_open(request); wire_next(&r, &f) > 0;)
        if (f.number == ORG_FEATURES && f.type == WIRE_BYTES && str_eqz(f.bytes, name))
            return true;
    return false;
}

static void put_flag(struct buf *to, struct str request, struct str flag)
{
    AUTO_FREE char *name = json_string_at(flag, "rampKey");
    if (!name || !is_asked_for(request, name))
        return;
    size_t mark = wire_buf_begin(to, 1); /* an entry of a map */
    wire_buf_bytes(to, 1, str_of(name));
    wire_buf_varint(to, 2, str_eqz(json_at(flag, "isEnabled"), "true"));
    wire_buf_end(to, mark);
}

static void on_org(struct api_task *t)
{
    AUTO_BUF body = {0}, inner = {0};
    struct str request = wire_find_bytes(buf_str(&t->request), FEATURES_ORG);
    struct str flags = json_at(t->call.data, "organization.featureFlags");
    const char *at = flags.n ? json_skip_space(flags.p, flags.p + flags.n) : NULL, *end = flags.p + flags.n;
    struct json_item item;
    if (at && at < end && *at++ == '[')
        while (json_next_element(&at, end, &item) == 1)
            put_flag(&inner, request, item.value);
    wire_buf_bytes(&body, FEATURES_ORG, buf_str(&inner));
    api_reply_with(t, API_FEATURES, buf_str(&body));
}

static void start_org(struct api_task *t, struct str request)
{
    struct wire_field f;
    struct str org = wire_find_bytes(request, ORG_NAME);
    if (!api_find(request, ORG_FEATURES, &f)) {
        on_org(t);
    } else if (org.n == 0) {
        api_fail(t, 0, "org is required to check organization feature flags");
    } else {
        api_var_text(t, "org", org);
        api_ask(t, "OrgFeatureFlags",
                "\nquery OrgFeatureFlags ($org: String!) {\n\torganization(name: $org) {\n"
                "\t\tfeatureFlags(rampIDType: OrgName) {\n\t\t\trampKey\n\t\t\tisEnabled\n\t\t}\n\t}\n}\n",
                on_org);
    }
}

static void start_features(struct api_task *t)
{
    struct features_task *f = (struct features_task *)t;
    struct wire_field field;
    if (api_find(buf_str(&t->request), FEATURES_SERVER, &field)) {
        f->is_old = !is_message(field.bytes);
        *(f->is_old ? &f->packed : &f->rest) = wire_open(field.bytes);
        ask_features(f);
    } else if (api_find(buf_str(&t->request), FEATURES_ORG, &field)) {
        start_org(t, field.bytes);
    } else {
        api_fail(t, 0, "unsupported features request");
    }
}

const struct api_kind api_features = {3, sizeof(struct features_task), start_features, NULL, fini_features};
