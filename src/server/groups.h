/* SPDX-License-Identifier: MIT */
/* Organizations, teams and who is in them. Jobs for db_write; rights are the caller's business. */
#ifndef TARE_SERVER_GROUPS_H
#define TARE_SERVER_GROUPS_H

#include "server/store/db.h"

struct group_change {
    const char *organization, *team, *user;
    const char *role;   /* admin, member, viewer */
    int64_t entity_id;  /* out: of the new team or of the organization's registries */
};

/* Make an organization, with an entity for its registries; `user` becomes its admin.
 * Expected: TARE_EEXIST, TARE_EINVAL (name), TARE_ENOTFOUND (user). */
int group_organization_add_job(struct db_conn *c, void *arg, struct err *e);
/* Put `user` into the organization, or change the role there. */
int group_organization_member_job(struct db_conn *c, void *arg, struct err *e);
/* The organization and its teams go; their names become free. */
int group_organization_remove_job(struct db_conn *c, void *arg, struct err *e);

/* Make a team (in `organization`, unless NULL); `user` becomes its admin. */
int group_team_add_job(struct db_conn *c, void *arg, struct err *e);
/* Put `user` into the team, or change the role there; a NULL role takes the user out. */
int group_team_member_job(struct db_conn *c, void *arg, struct err *e);

#endif
