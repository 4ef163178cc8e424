/* SPDX-License-Identifier: MIT */
/* Regular expressions of the settings, in the syntax of Rust's regex-lite, which the peer hands them
 * to (peer: symon/src/scrape.rs): a match anywhere in the text counts, nothing is captured.
 *
 *   . [a-z] [^...] [[:digit:]] \d \s \w \D \S \W   ^ $ \A \z \b \B \< \>   | ( ) (?: ) (?P<name> )
 *   * + ? {n} {n,} {n,m}, each also with a ? behind it   (?imsxU-imsxU) and (?i: )
 *   \n \t \r \a \f \v \x7F \x{10FFFF} \u007F \U0000007F, and \ before punctuation
 *
 * Classes are those of ASCII, characters those of Unicode. Time grows with text times pattern, never
 * faster. One thread at a time for each pattern. */
#ifndef TARE_SERVICE_WATCH_PATTERN_H
#define TARE_SERVICE_WATCH_PATTERN_H

#include "base/str.h"

struct pattern;

/* NULL if it is no pattern, or one too large (PATTERN_MAX steps) or too deep. */
struct pattern *pattern_new(struct str text);
void pattern_free(struct pattern *p);

bool pattern_matches(struct pattern *p, struct str text);

enum { PATTERN_MAX = 8000, PATTERN_DEPTH = 50 };

#endif
