/* SPDX-License-Identifier: MIT */
/* Alerts to other programs: each alert of a run is POSTed as JSON, signed, to the URLs that the
 * administrator has named (`tare server webhook add`). docs/webhooks.md says it for receivers.
 *
 * An alert and its deliveries (a row for each URL) are committed together. A thread that runs only
 * while something is due takes them in order, tries each a bounded number of times with growing
 * pauses, and marks the row: so nothing is lost by a restart, and a message may come twice when the
 * server dies between the answer and the mark (its id is the same). One URL that hangs delays the
 * others by one time-out a round at most. */
#ifndef TARE_SERVER_WEBHOOK_WEBHOOK_H
#define TARE_SERVER_WEBHOOK_WEBHOOK_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "server/store/db.h"

#include <stdint.h>

enum { WEBHOOK_SECRET = 80, WEBHOOK_MAX_SECRET = 256, WEBHOOK_MAX_URL = 2000 };

/* ---- the administrator's list; in jobs ---- */

struct webhook_add {
    const char *url;
    const char *entity, *project; /* NULL: all (a project wants its entity) */
    const char *secret;
    int64_t id; /* out */
};
/* A struct webhook_add. Expected: TARE_EINVAL (URL, secret), TARE_ENOTFOUND (entity, project). */
int webhook_add_job(struct db_conn *c, void *arg, struct err *e);
/* Remove the webhook *(int64_t *)arg and what waits for it. Expected: TARE_ENOTFOUND. */
int webhook_remove_job(struct db_conn *c, void *arg, struct err *e);

/* A new secret: "whsec_" and 32 random bytes in base64. */
void webhook_new_secret(char to[WEBHOOK_SECRET]);

/* ---- an event ---- */

/* In a job: queue `body` for every webhook of this project. Expected: errors of the store. */
int webhook_enqueue(struct db_conn *c, int64_t entity_id, int64_t project_id, struct str body, int64_t now_us,
                    struct err *e);

/* Append "v1,BASE64": the HMAC-SHA256 of "ID.TIMESTAMP.BODY" as in the Standard Webhooks. The key is what
 * base64 says behind "whsec_", or the bytes of any other secret. 0 or TARE_ENOMEM. */
int webhook_sign(struct buf *to, const char *secret, const char *id, int64_t unix_s, struct str body);

/* ---- sending ---- */

struct webhook_sender;
struct webhook_sender *webhook_sender_new(struct db *db); /* never NULL */
/* Something was queued. Any thread. */
void webhook_sender_wake(struct webhook_sender *s);
/* Start sending if something is due; for the janitor, every second. Does not wait for it. */
int webhook_sender_look(struct webhook_sender *s, struct err *e);
void webhook_sender_free(struct webhook_sender *s); /* gives up the request under way; NULL is fine */

#endif
