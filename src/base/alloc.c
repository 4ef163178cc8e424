/* SPDX-License-Identifier: MIT */
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fault_countdown, fault_repeat, fault_fired;

void mem_fault_set(int countdown, int repeat)
{
    fault_countdown = countdown;
    fault_repeat = repeat;
    fault_fired = 0;
}

int mem_fault_fired(void)
{
    return fault_fired;
}

static int must_fail(void)
{
    if (__builtin_expect(fault_countdown == 0, 1))
        return 0;
    if (fault_countdown > 1) {
        fault_countdown--;
        return 0;
    }
    fault_fired++;
    if (--fault_repeat <= 0)
        fault_countdown = 0;
    return 1;
}

void *mem_alloc(size_t size_bytes)
{
    return must_fail() ? NULL : malloc(size_bytes ? size_bytes : 1);
}

void *mem_calloc(size_t n, size_t size_bytes)
{
    return must_fail() ? NULL : calloc(n ? n : 1, size_bytes ? size_bytes : 1);
}

void *mem_realloc(void *p, size_t size_bytes)
{
    return must_fail() ? NULL : realloc(p, size_bytes ? size_bytes : 1);
}

char *mem_strndup(const char *s, size_t len)
{
    char *copy = len + 1 ? mem_alloc(len + 1) : NULL;
    if (copy) {
        if (len)
            memcpy(copy, s, len);
        copy[len] = 0;
    }
    return copy;
}

void mem_free(void *p)
{
    free(p);
}

void mem_free_ptr(void *pp)
{
    free(*(void **)pp);
}

static void *or_abort(void *p)
{
    if (!p) {
        fputs("tare: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *xmem_alloc(size_t size_bytes)
{
    return or_abort(malloc(size_bytes ? size_bytes : 1));
}

void *xmem_calloc(size_t n, size_t size_bytes)
{
    return or_abort(calloc(n ? n : 1, size_bytes ? size_bytes : 1));
}

void *xmem_realloc(void *p, size_t size_bytes)
{
    return or_abort(realloc(p, size_bytes ? size_bytes : 1));
}

char *xmem_strndup(const char *s, size_t len)
{
    char *copy = xmem_alloc(len + 1);
    if (len)
        memcpy(copy, s, len);
    copy[len] = 0;
    return copy;
}

char *xmem_strdup(const char *s)
{
    return xmem_strndup(s, strlen(s));
}
