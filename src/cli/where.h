/* SPDX-License-Identifier: MIT */
/* Which backend the user means, and the key for it. In this order:
 *
 *   1. what the call says (--to)
 *   2. WANDB_BASE_URL; `base_url` of wandb's settings files (./wandb/settings, then
 *      ~/.config/wandb/settings or $WANDB_CONFIG_DIR/settings)
 *   3. the W&B cloud for who has logged in there: WANDB_API_KEY, or api.wandb.ai in ~/.netrc
 *   4. the user's own `tare server`
 *
 * The key: WANDB_API_KEY, the netrc entry of the host, or the administrator's of the own server.
 * (peer: wandb/sdk/wandb_settings.py, lib/wbauth) One thread. */
#ifndef TARE_CLI_WHERE_H
#define TARE_CLI_WHERE_H

#include "base/err.h"

#include <stdbool.h>

struct where {
    char url[512]; /* no slash at its end */
    char key[512]; /* "" if none is known */
    bool own;      /* it is the user's own server, */
    bool started;  /* which was not up before */
    char dir[4096]; /* and keeps its things here */
};

/* `url` as given by the user, NULL if not. The own server is started if need be.
 * Expected: TARE_ESERVICE (it does not start), TARE_EINVAL (no http:// or https://) */
int where_backend(struct where *to, const char *url, struct err *e);

/* What `key` of the settings files is ("mode", "base_url", ...): heap, or NULL. */
char *where_setting(const char *key);

/* The user has said what runs log to, or that they log nowhere (mode offline or disabled). */
bool where_is_said(void);

#endif
