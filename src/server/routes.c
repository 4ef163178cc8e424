/* SPDX-License-Identifier: MIT */
#include "server/routes.h"
#include "server/filestream_route.h"
#include "server/graphql_route.h"
#include "server/metrics.h"
#include "server/run_file_route.h"
#include "server/server.h"
#include "server/storage.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

static void handle_health(struct http_request *r)
{
    http_reply_str(r, 200, "application/json", STR("{\"ok\":true,\"ready\":true}"));
}

static void handle_front(struct http_request *r)
{
    http_reply_str(r, 200, "text/plain; charset=utf-8", STR("tare server " TARE_VERSION "\n"));
}

static void handle_metrics(struct http_request *r)
{
    struct buf b = {0};
    metrics_write(r->app, &b);
    http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

const struct http_route server_routes[] = {
    {"GET", "/", .open = true, .quick = true, .handle = handle_front},
    {"GET", "/healthz", .open = true, .quick = true, .handle = handle_health},
    {"GET", "/ready", .open = true, .quick = true, .handle = handle_health},
    {"GET", "/metrics", .handle = handle_metrics},
    {"POST", "/graphql", .body = HTTP_KEPT, .max_body = 64 * MIB, .handle = graphql_handle},
    {"PUT", "/storage/{token}/{name...}", .body = HTTP_STREAMED, .max_body = SIZE_MAX, .open = true, .secret_path = true,
     .begin = storage_put_begin, .data = storage_put_data, .handle = storage_put_handle, .end = storage_put_end},
    {"GET", "/storage/{token}/{name...}", .open = true, .secret_path = true, .cors = true, .handle = storage_get_handle},
    {"GET", "/artifacts/{entity}/{digest}", .handle = storage_artifact_v1_handle},
    {"GET", "/artifactsV2/{region}/{entity}/{project}/{collection}/{birth}/{digest}/{name}",
     .handle = storage_artifact_v2_handle},
    {"GET", "/artifactsV2/{region}/{entity}/{project}/{collection}/{artifact}/{birth}/{digest}/{name}",
     .handle = storage_artifact_v2_handle},
    {"POST", "/files/{entity}/{project}/{run}/file_stream", .body = HTTP_KEPT, .max_body = 48 * MIB,
     .quick_body = 16 * KIB, .handle = filestream_handle},
    {"GET", "/files/{entity}/{project}/{run}/{name...}", .cors = true, .handle = run_file_handle},
    {0},
};
