/* SPDX-License-Identifier: MIT */
#include "client/last_error.h"

#include "tare/tare.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local struct err last;

int last_error_set(int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    last.code = code;
    vsnprintf(last.text, sizeof last.text, fmt, ap);
    va_end(ap);
    return code;
}

int last_error_take(const struct err *e)
{
    last = *e;
    return e->code;
}

int tare_last_error(void)
{
    return last.code;
}

const char *tare_last_error_text(void)
{
    return last.text;
}

const char *tare_error_text(int code)
{
    return err_text(code);
}

const char *tare_version(void)
{
    return TARE_VERSION;
}
