/* SPDX-License-Identifier: MIT */
#include "base/crc32.h"

#include <libdeflate.h>

uint32_t crc32_ieee(uint32_t crc, const void *p, size_t n)
{
    return n ? libdeflate_crc32(crc, p, n) : crc;
}
