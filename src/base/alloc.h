/* SPDX-License-Identifier: MIT */
/* The seam to malloc, where tests make the nth allocation fail.
 *
 * `mem_*` may fail (NULL): for lengths that come from outside, and in base/, journal/ and
 * client/. `xmem_*` abort: for the service's small fixed-size objects. Both are freed with
 * mem_free. Any thread. */
#ifndef TARE_BASE_ALLOC_H
#define TARE_BASE_ALLOC_H

#include <stddef.h>

void *mem_alloc(size_t size_bytes);
void *mem_calloc(size_t n, size_t size_bytes); /* zeroed; NULL on overflow */
void *mem_realloc(void *p, size_t size_bytes);
char *mem_strndup(const char *s, size_t len); /* NUL-terminated copy of `len` bytes */
void mem_free(void *p);

void *xmem_alloc(size_t size_bytes);
void *xmem_calloc(size_t n, size_t size_bytes);
void *xmem_realloc(void *p, size_t size_bytes);
char *xmem_strdup(const char *s);
char *xmem_strndup(const char *s, size_t len);

/* How many arenas threads share, from which size on an allocation is a mapping of its own, and how
 * much may be free at the end of the heap. Call once, first. May do nothing. */
void mem_tune(int n_arenas, size_t map_bytes, size_t trim_bytes);
/* Give what is free back to the system, but for `keep_bytes`. May do nothing. */
void mem_trim(size_t keep_bytes);

/* Let the `countdown`-th mem_* call from now (1 = the next) and all `repeat - 1` after it fail.
 * 0 switches faults off. Tests only; not thread-safe. */
void mem_fault_set(int countdown, int repeat);
/* How many calls have failed since mem_fault_set. */
int mem_fault_fired(void);

/* Cleanup attributes for synchronous code: `AUTO_FREE char *s = mem_strndup(...)`. */
void mem_free_ptr(void *pp);
#define AUTO_FREE __attribute__((cleanup(mem_free_ptr)))

#endif
