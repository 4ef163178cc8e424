/* SPDX-License-Identifier: MIT */
/* API keys: who carries which. Keys have at least 160 bits from the kernel, so a plain SHA-256 is
 * kept of them (a guess costs more than the hash could add); a key is compared as that digest, in
 * constant time. */
#ifndef TARE_SERVER_AUTH_H
#define TARE_SERVER_AUTH_H

#include "base/err.h"
#include "base/str.h"
#include "server/http/http.h"
#include "server/store/db.h"

enum {
    AUTH_KEY = 47,  /* "local-", 40 hex digits, NUL */
    AUTH_HINT = 10, /* characters of a key that are kept to tell it by, four of them random */
    AUTH_FRESH_MS = 2000, /* a key that was looked up is not looked up again for so long */
    AUTH_HASH = 65, /* SHA-256 in lower-case hex, NUL */
};

struct auth;

/* `db` is borrowed. */
struct auth *auth_new(struct db *db);
void auth_free(struct auth *a);

/* Does the request carry a valid key (Basic with any user name, or Bearer)? 1, with r->user filled; 0; negative:
 * the database cannot tell. A key that was revoked by another process stops to work within AUTH_FRESH_MS. Any thread. */
int auth_request(struct auth *a, struct http_request *r);

/* After a change of users or keys by this process: all are looked up anew. Any thread. */
void auth_forget(struct auth *a);

void auth_new_key(char to[AUTH_KEY]);
void auth_hash(struct str key, char to[AUTH_HASH]);

/* ---- users; run inside a db_write job, or by auth_* callers on their own connection ----- */

struct auth_user_add {
    const char *name; /* letters, digits, - _ . */
    const char *key;  /* its API key; NULL: none is made */
    const char *email;
    bool admin;
    int64_t user_id; /* out */
};

/* A db job (`arg` is a struct auth_user_add): makes the user with an entity of the same name, or,
 * where the user exists, adds the key.
 * Expected: TARE_EINVAL a bad name; TARE_EEXIST the key belongs to someone already. */
int auth_user_add_job(struct db_conn *c, void *arg, struct err *e);

/* A db job (`arg` is a const char * name): revokes all keys of a user. TARE_ENOTFOUND. */
int auth_user_revoke_job(struct db_conn *c, void *arg, struct err *e);

/* True for a name that a user, team or entity may have. */
bool auth_name_ok(struct str name);

#endif
