/* SPDX-License-Identifier: MIT */
/* Names of the kinds of messages, for diagnostics: "history", "poll_exit", "inform_init".
 *
 * `kind` is a value of the generated ..._case enums. All return static text, never NULL;
 * "none" for 0 and "unknown" for a number that no message has. Any thread. */
#ifndef TARE_RECORD_NAMES_H
#define TARE_RECORD_NAMES_H

#include "server.pb-c.h"

const char *record_kind_name(int kind);         /* Pb__Record.record_type_case */
const char *request_kind_name(int kind);        /* Pb__Request.request_type_case */
const char *server_request_kind_name(int kind); /* Pb__ServerRequest.server_request_type_case */

/* The most telling name of a record: that of its request where it is one. NULL is "none". */
const char *record_name(const Pb__Record *r);

#endif
