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

/* Every byte of a string that belongs to no character becomes '?', in nested messages too; nothing changes its length.
 * For what is said to a client: a reader refuses the whole message otherwise, and texts quote what others sent (pages
 * of proxies, names of files), or are cut where room ends. Allocates nothing. */
void record_mend_texts(const ProtobufCMessageDescriptor *type, char *message, size_t n);

#endif
