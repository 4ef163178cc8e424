/* SPDX-License-Identifier: MIT */
/* JSON text as YAML, laid out as Go's yaml.v3 does it (which writes the peer's config.yaml): four
 * blanks a level, keys in natural order, strings quoted only where they must be. Any thread. */
#ifndef TARE_RECORD_YAML_H
#define TARE_RECORD_YAML_H

#include "base/buf.h"
#include "base/str.h"

/* Append `json` (one valid value; NaN and infinities allowed). 0, TARE_EFORMAT or TARE_ENOMEM. */
int yaml_put_json(struct str json, struct buf *to);

#endif
