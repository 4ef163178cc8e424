/* SPDX-License-Identifier: MIT */
/* The end of a journal that its disk does not take (full, quota, broken), in memory: where an online
 * run's cursors read on meanwhile, at the same offsets. The stage appends on the loop; worker threads
 * of cursors read. Counted: a cursor may still hold one that the stage has let go of. */
#ifndef TARE_SERVICE_STREAM_SPILL_H
#define TARE_SERVICE_STREAM_SPILL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct spill;

struct spill *spill_new(uint64_t start); /* the journal's offset of its first byte */
struct spill *spill_ref(struct spill *s);
void spill_unref(struct spill *s); /* NULL is fine */

uint64_t spill_start(const struct spill *s); /* stays the same */
uint64_t spill_end(struct spill *s);
size_t spill_memory(struct spill *s); /* bytes that it takes */

/* Behind all that is there. 0 or TARE_ENOMEM, and then nothing is appended. Loop thread. */
int spill_append(struct spill *s, const void *p, size_t n);
/* What lies before `below` is not asked for any more. Loop thread. */
void spill_forget(struct spill *s, uint64_t below);
/* As pread(2): at most `n` bytes from `at`, 0 at the end; -EIO for what is forgotten. Any thread. */
ssize_t spill_read(void *spill, void *to, size_t n, uint64_t at);

#endif
