/* SPDX-License-Identifier: MIT */
/* Is a message well-formed? For records that are kept as they came: a reader of the journal, ours
 * or the peer's, must be able to decode every one of them. Any thread. */
#ifndef TARE_RECORD_CHECK_H
#define TARE_RECORD_CHECK_H

#include "base/str.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

/* Checks nested messages too, that known fields have their wire type, and that strings are valid
 * UTF-8 (readers in Go and Python refuse others). Unknown fields may be anything that can be
 * skipped. Allocates nothing. */
bool record_check(const ProtobufCMessageDescriptor *type, struct str message);

#endif
