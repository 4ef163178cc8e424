/* SPDX-License-Identifier: MIT */
/* XML, as far as the answers of object stores need it: elements without attributes. Any thread. */
#ifndef TARE_BASE_XML_H
#define TARE_BASE_XML_H

#include "base/str.h"

#include <stdbool.h>

/* The text between the next <tag> and </tag> of *at, as it stands there; *at then begins at </tag>. False, and nothing is
 * changed, if there is none, or it is torn. `tag` has at most 40 bytes. */
bool xml_next(struct str *at, const char *tag, struct str *text);

#endif
