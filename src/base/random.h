/* SPDX-License-Identifier: MIT */
/* Random bytes from the kernel. Any thread. */
#ifndef TARE_BASE_RANDOM_H
#define TARE_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *to, size_t n);
uint32_t random_u32(void);

/* `n` characters of [a-z0-9] and a NUL, each equally likely; run ids have 8. */
void random_id(char *to, size_t n);

#endif
