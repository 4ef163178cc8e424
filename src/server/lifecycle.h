/* SPDX-License-Identifier: MIT */
/* Making and ending a struct server: directory, lock, secret, database, blobs, keys, HTTP. */
#ifndef TARE_SERVER_LIFECYCLE_H
#define TARE_SERVER_LIFECYCLE_H

#include "server/server.h"

/* Make everything in order and start to answer; `options` are taken. On the first start an
 * administrator is made, whose key goes to DIR/admin.key and *new_key (heap; NULL otherwise).
 * Expected: TARE_EEXIST another server has the directory; TARE_EPERM a listening address that is not
 * local, without TLS; errors of files, sockets and the database. */
int server_open(struct server_options *options, struct server **out, char **new_key, struct err *e);

/* Finish what is under way, cancel it after `grace_ms`, close, free. */
void server_close(struct server *s, int grace_ms);

/* End what still runs: statements, requests to other servers. What they were for fails, and changes nothing. Any thread, for
 * a server that ends; to be called again until all have noticed. */
void server_cancel(struct server *s);

/* Is the folder that it has locked still where it was? False: removed, or replaced by another. */
bool server_has_its_folder(struct server *s);

/* Open the database of `options` alone, for commands that run beside a server. */
int server_open_db(const struct server_options *options, struct db **out, struct err *e);

#endif
