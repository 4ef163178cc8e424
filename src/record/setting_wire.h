/* SPDX-License-Identifier: MIT */
/* Single settings out of a serialized wandb_internal.Settings, without decoding the rest.
 *
 * Every setting is a message of the google.protobuf wrapper kind with its value in field 1. An
 * absent setting, or one that does not decode, gives the empty string, 0 or false. Field numbers
 * are those of proto/settings.proto. Any thread. */
#ifndef TARE_RECORD_SETTING_WIRE_H
#define TARE_RECORD_SETTING_WIRE_H

#include "record/wire.h"

#include <stdbool.h>

bool setting_wire_has(struct str settings, uint32_t number); /* whether it is there at all */
struct str setting_wire_text(struct str settings, uint32_t number);
bool setting_wire_bool(struct str settings, uint32_t number);
int64_t setting_wire_int(struct str settings, uint32_t number);
double setting_wire_double(struct str settings, uint32_t number);

/* The values of a list of strings one by one: start with *at = 0; false at the end. */
bool setting_wire_list(struct str settings, uint32_t number, size_t *at, struct str *value);

#endif
