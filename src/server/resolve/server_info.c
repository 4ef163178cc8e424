/* SPDX-License-Identifier: MIT */
/* serverInfo: what this server can do, as clients ask before they try. */
#include "server/resolve/fields.h"

/* Features that are on. The rest is off by not being here. */
static const char *const features[] = {
    "STRUCTURED_CONSOLE_LOGS",
    "FILESTREAM_GZIP",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "ARTIFACT_COLLECTIONS_FILTERING_SORTING",
    "SWEEPS_QUERY_FILTERING",
    "SWEEPS_LOCAL_SCHEDULER",
    "ARTIFACT_REGISTRY_SEARCH",
    "INCLUDE_ARTIFACT_TYPES_IN_REGISTRY_CREATION",
    /* automations are kept: automations.c */
    "QUERY_AUTOMATIONS_ON_ENTITY",
    "AUTOMATION_ACTION_NO_OP",
    "AUTOMATION_EVENT_RUN_METRIC",
    "AUTOMATION_EVENT_RUN_METRIC_CHANGE",
    "AUTOMATION_EVENT_RUN_METRIC_ZSCORE",
    "AUTOMATION_EVENT_RUN_STATE",
    "AUTOMATION_EVENT_ADD_ARTIFACT_TAG",
    "AUTOMATION_EVENT_ADD_COLLECTION_TAG",
    "AUTOMATION_EVENT_REMOVE_ARTIFACT_TAG",
    "AUTOMATION_EVENT_REMOVE_COLLECTION_TAG",
    "AUTOMATION_EVENT_UNLINK_ARTIFACT",
    "AUTOMATION_SCOPE_ENTITY",
    /* assumed by newer clients, asked for by older ones */
    "ARTIFACT_TAGS",
    "CLIENT_IDS",
    "LARGE_FILENAMES",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILE_DOWNLOAD_HANDLER",
};

void resolve_Query_serverInfo(struct gql_call *c, const void *obj)
{
    gql_object(c, TYPE_ServerInfo, features);
}

void resolve_ServerInfo_features(struct gql_call *c, const void *obj)
{
    gql_list_begin(c);
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        gql_object(c, TYPE_ServerFeature, features[i]);
    gql_list_end(c);
}

void resolve_ServerFeature_name(struct gql_call *c, const void *obj)
{
    gql_strz(c, obj);
}

FIELD_CONST_BOOL(ServerFeature, isEnabled, true)

void resolve_ServerInfo_cliVersionInfo(struct gql_call *c, const void *obj)
{
    gql_json(c, STR("{\"min_cli_version\":\"0.13.0\",\"max_cli_version\":\"99.0.0\"}"));
}

void resolve_ServerInfo_latestLocalVersionInfo(struct gql_call *c, const void *obj)
{
    gql_object(c, TYPE_LocalVersionInfo, obj);
}

FIELD_CONST_BOOL(LocalVersionInfo, outOfDate, false)
FIELD_CONST_STR(LocalVersionInfo, latestVersionString, TARE_VERSION)
FIELD_CONST_STR(LocalVersionInfo, versionOnThisInstanceString, TARE_VERSION)

void resolve_ServerInfo_frontendHost(struct gql_call *c, const void *obj)
{
    gql_strz(c, request_base_url(request_of(c)));
}
