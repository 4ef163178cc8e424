/* SPDX-License-Identifier: MIT */
#ifndef TARE_BASE_THREAD_H
#define TARE_BASE_THREAD_H

#include <stddef.h>

/* Start a thread that nobody joins and that takes no signals: they are the main thread's. `stack_bytes`: 0 for the
 * system's default. 0 or a negative errno value. Any thread. */
int thread_start(void *(*run)(void *), void *arg, size_t stack_bytes);

#endif
