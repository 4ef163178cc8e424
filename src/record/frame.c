/* SPDX-License-Identifier: MIT */
#include "record/frame.h"

#include "base/err.h"

int frame_peek(const char *p, size_t n, uint32_t max, uint32_t *len)
{
    if (n && p[0] != FRAME_MAGIC)
        return TARE_EPROTO;
    if (n < FRAME_HEADER)
        return 0;
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v |= (uint32_t)(unsigned char)p[1 + i] << 8 * i;
    if (v > max)
        return TARE_ELIMIT;
    *len = v;
    return 1;
}
