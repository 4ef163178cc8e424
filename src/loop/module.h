/* SPDX-License-Identifier: MIT */
/* Loads tare-uplink.so (uplink/uplink.h) when it is first needed: $TARE_UPLINK if set, else the one
 * beside the program, else the installed one. */
#ifndef TARE_LOOP_MODULE_H
#define TARE_LOOP_MODULE_H

#include "uplink/uplink.h"

/* The module, or NULL if it cannot be loaded (said to diag once). Blocks while it is being loaded:
 * call it first on a worker thread. Any thread. */
const struct uplink *module_uplink(void);

#endif
