/* SPDX-License-Identifier: MIT */
/* Tests lie two folders below tare-uplink.so in the build folder: let loop/module.h find it there. */
#ifndef TARE_TESTS_BUILT_MODULE_H
#define TARE_TESTS_BUILT_MODULE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void use_built_module(void)
{
    char exe[512], module[600];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    char *slash = strrchr(exe, '/');
    if (slash)
        *slash = 0;
    snprintf(module, sizeof module, "%s/../../tare-uplink.so", exe);
    setenv("TARE_UPLINK", module, 0);
}

#endif
