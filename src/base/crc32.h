/* SPDX-License-Identifier: MIT */
/* CRC-32 (IEEE 802.3, reflected polynomial 0xEDB88320), the checksum of .wandb files.
 *
 * Two implementations behind one name, chosen at link time: crc32_deflate.c (libdeflate, for the
 * service and the commands) and crc32_table.c (libc only, for the client library). */
#ifndef TARE_BASE_CRC32_H
#define TARE_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Checksum of `n` bytes, going on from `crc` (0 to start): as zlib's crc32(). Any thread. */
uint32_t crc32_ieee(uint32_t crc, const void *p, size_t n);

#endif
