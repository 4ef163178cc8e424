/* SPDX-License-Identifier: MIT */
/* Platform file: exit hooks that learn the exit status. glibc has on_exit; elsewhere atexit does
 * not tell, and 0 is taken. The library is linked so that it cannot be unloaded before. */
#include "client/setup.h"

#include <stdlib.h>

static void (*the_hook)(int status);

#ifdef __GLIBC__
static void on_exit_hook(int status, void *arg)
{
    (void)arg;
    the_hook(status);
}

int exit_hook_register(void (*hook)(int status))
{
    the_hook = hook;
    return on_exit(on_exit_hook, NULL) == 0 ? 0 : TARE_ENOMEM;
}
#else
static void at_exit_hook(void)
{
    the_hook(0);
}

int exit_hook_register(void (*hook)(int status))
{
    the_hook = hook;
    return atexit(at_exit_hook) == 0 ? 0 : TARE_ENOMEM;
}
#endif
