/* SPDX-License-Identifier: MIT */
/* Numbers as text, without locale. Any thread. */
#ifndef TARE_BASE_NUMBER_H
#define TARE_BASE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

enum { NUMBER_MAX = 40 }; /* enough for any number below: bytes behind its end may be written, too */

/* The shortest text that reads back as exactly `v`, in the form the SDK sends: 1.0, 0.1, 0.00001,
 * 1e-6, 1e+16, NaN, Infinity, -Infinity. Returns the length; not NUL-terminated. */
size_t number_format_double(char *to, double v);
size_t number_format_i64(char *to, int64_t v);
size_t number_format_u64(char *to, uint64_t v);

/* Read the longest number (JSON grammar, or NaN, Infinity, -Infinity) at the start of the `n`
 * bytes at `p`. Returns how many bytes it took, 0 if there is none. The result is correctly
 * rounded; out of range gives infinity or zero. */
size_t number_parse_double(const char *p, size_t n, double *v);

/* The same for an integer of JSON grammar; 0 also if it does not fit, or a fraction or an
 * exponent follows. */
size_t number_parse_i64(const char *p, size_t n, int64_t *v);

#endif
