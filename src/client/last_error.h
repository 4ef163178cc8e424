/* SPDX-License-Identifier: MIT */
/* What tare_last_error and tare_last_error_text answer: the last failure of each thread. */
#ifndef TARE_CLIENT_LAST_ERROR_H
#define TARE_CLIENT_LAST_ERROR_H

#include "base/err.h"

/* Note the failure and return `code`. */
int last_error_set(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int last_error_take(const struct err *e);

#endif
