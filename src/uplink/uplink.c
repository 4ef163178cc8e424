/* SPDX-License-Identifier: MIT */
#include "uplink/uplink.h"

#include "uplink/git.h"
#include "uplink/grpc.h"
#include "uplink/http.h"
#include "uplink/sign.h"

__attribute__((visibility("default"))) const struct uplink *tare_uplink(void)
{
    static const struct uplink uplink = {
        .version = UPLINK_VERSION,
        .git_diff = uplink_git_diff,
        .git_upstream = uplink_git_upstream,
        .http_open = uplink_http_open,
        .http_close = uplink_http_close,
        .http_send = uplink_http_send,
        .http_cancel = uplink_http_cancel,
        .sign_rs256 = uplink_sign_rs256,
        .grpc_call = uplink_grpc_call,
    };
    return &uplink;
}
