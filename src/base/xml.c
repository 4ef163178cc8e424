/* SPDX-License-Identifier: MIT */
#include "base/xml.h"

#include <stdio.h>
#include <string.h>

bool xml_next(struct str *at, const char *tag, struct str *text)
{
    char open[48], close[48];
    size_t n = (size_t)snprintf(open, sizeof open, "<%s>", tag);
    snprintf(close, sizeof close, "</%s>", tag);
    const char *from = at->n ? memmem(at->p, at->n, open, n) : NULL;
    const char *to = from ? memmem(from + n, (size_t)(at->p + at->n - from) - n, close, n + 1) : NULL;
    if (!to)
        return false;
    *text = str_make(from + n, (size_t)(to - from) - n);
    *at = str_make(to, (size_t)(at->p + at->n - to));
    return true;
}
