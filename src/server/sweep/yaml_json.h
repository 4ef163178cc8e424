/* SPDX-License-Identifier: MIT */
/* A YAML document as JSON: sweep configurations come as YAML.
 *
 * Plain scalars are resolved as YAML 1.1 does in the client's library (PyYAML): null ~, true/yes/on,
 * integers (decimal, 0x, 0o, leading 0 octal, underscores), floats (with a point), .inf, .nan; quoted ones are strings.
 * Anchors and aliases are followed; depth and size are limited. Any thread. */
#ifndef TARE_SERVER_SWEEP_YAML_JSON_H
#define TARE_SERVER_SWEEP_YAML_JSON_H

#include "base/err.h"
#include "base/str.h"

#include <jansson.h>

enum { YAML_MAX_DEPTH = 64, YAML_MAX_NODES = 200000 };

/* The first document of `text`; the caller owns the result (json_decref). NULL with `e` set:
 * TARE_EFORMAT (line and problem), TARE_ELIMIT, TARE_ENOMEM. .inf and .nan become the strings
 * "Infinity", "-Infinity", "NaN", as JSON has no such numbers. */
json_t *yaml_to_json(struct str text, struct err *e);

#endif
