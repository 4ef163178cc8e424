/* SPDX-License-Identifier: MIT */
/* gRPC calls: HTTP/2 without TLS or upgrade, by curl (uplink.h says what a call does). */
#ifndef TARE_UPLINK_GRPC_H
#define TARE_UPLINK_GRPC_H

#include "base/buf.h"
#include "base/str.h"

#include <stdint.h>

int uplink_grpc_call(const char *url, struct str body, uint32_t timeout_ms, size_t max_bytes, struct buf *answer,
                     int *status);

#endif
