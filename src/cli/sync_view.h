/* SPDX-License-Identifier: MIT */
/* What a person sees of a sync: messages, and on a terminal a bar for each run under way, redrawn in
 * place. One thread. */
#ifndef TARE_CLI_SYNC_VIEW_H
#define TARE_CLI_SYNC_VIEW_H

#include "cli/term.h"
#include "service/sync.h"

struct sync_view {
    struct term term;
    bool quiet; /* no bars and no words but errors */
    int height; /* lines of bars on the screen now */
};

void sync_view_init(struct sync_view *v, bool quiet);
void sync_view_say(struct sync_view *v, enum sync_severity severity, const char *run,
                   const char *text);
void sync_view_draw(struct sync_view *v, const struct sync *s);
void sync_view_clear(struct sync_view *v);

/* After all is done: how many of several arrived, and which did not, where those were said far above. */
void sync_view_total(struct sync_view *v, const struct sync *s);

/* All journals and how they fared, one JSON object each. */
void sync_view_json(const struct sync *s);

#endif
