/* SPDX-License-Identifier: MIT */
/* What glibc's malloc can be told; others look after themselves. */
#include "base/alloc.h"

#include <stdlib.h> /* says whether this is glibc: without it none is */

#ifdef __GLIBC__
#include <malloc.h>

void mem_tune(int n_arenas, size_t map_bytes, size_t trim_bytes)
{
    mallopt(M_ARENA_MAX, n_arenas);
    mallopt(M_MMAP_THRESHOLD, (int)map_bytes);
    mallopt(M_TRIM_THRESHOLD, (int)trim_bytes);
}

void mem_trim(size_t keep_bytes)
{
    malloc_trim(keep_bytes);
}
#else
void mem_tune(int n_arenas, size_t map_bytes, size_t trim_bytes)
{
    (void)n_arenas, (void)map_bytes, (void)trim_bytes;
}

void mem_trim(size_t keep_bytes)
{
    (void)keep_bytes;
}
#endif
