/* SPDX-License-Identifier: MIT */
#include "server/auth.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/digest.h"
#include "base/hash.h"
#include "base/random.h"
#include "server/request.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>

enum { SLOTS = 256, MAX_KEY = 4096 };
static const int64_t fresh_ns = AUTH_FRESH_MS * INT64_C(1000000);

/* Keys seen lately, by their hash: a slot is overwritten by whoever falls on it next. */
struct auth {
    struct db *db;
    uint64_t seed;
    pthread_mutex_t lock;
    uint64_t epoch; /* of auth_forget */
    struct seen {
        char hash[AUTH_HASH];
        struct http_user user; /* id 0: empty */
        int64_t at_ns;
    } slots[SLOTS];
};

struct auth *auth_new(struct db *db)
{
    struct auth *a = xmem_calloc(1, sizeof *a);
    a->db = db;
    random_bytes(&a->seed, sizeof a->seed);
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

void auth_free(struct auth *a)
{
    if (!a)
        return;
    pthread_mutex_destroy(&a->lock);
    mem_free(a);
}

void auth_new_key(char to[AUTH_KEY])
{
    unsigned char bytes[20];
    random_bytes(bytes, sizeof bytes);
    memcpy(to, "local-", 6);
    digest_hex(to + 6, bytes, sizeof bytes);
}

void auth_hash(struct str key, char to[AUTH_HASH])
{
    sha256_hex(to, key.p, key.n); /* our own: OpenSSL's loads providers, 2 MB for good */
}

static bool same_hash(const char *a, const char *b)
{
    return CRYPTO_memcmp(a, b, AUTH_HASH - 1) == 0;
}

/* The password of "Basic …": what follows the first colon. False: malformed. */
static bool basic_password(const char *text, char *to, size_t size, struct str *out)
{
    size_t n;
    if (!base64_get(str_of(text), BASE64_STANDARD, to, size, &n))
        return false;
    const char *colon = memchr(to, ':', n);
    if (!colon)
        return false;
    *out = str_make(colon + 1, n - (size_t)(colon + 1 - to));
    return out->n > 0;
}

static bool take_key(const struct http_request *r, char *space, struct str *key)
{
    const char *h = http_header(r, "Authorization");
    if (!h || strlen(h) > MAX_KEY)
        return false;
    if (strncasecmp(h, "Basic ", 6) == 0)
        return basic_password(h + 6, space, MAX_KEY, key);
    if (strncasecmp(h, "Bearer ", 7) != 0 || !h[7])
        return false;
    *key = str_of(h + 7);
    return true;
}

static int lookup(struct auth *a, const char *hash, struct http_user *user)
{
    struct db_conn *c;
    struct err e = {0};
    int rc = db_read_begin(a->db, &c, &e);
    if (rc) {
        diag_error("checking a key: %s", e.text);
        return rc;
    }
    struct db_rows *rows = NULL;
    rc = db_first(c, &e, &rows,
                      "SELECT k.hash, u.id, u.admin, u.username FROM api_keys k JOIN users u ON u.id = k.user_id"
                      " WHERE k.hash = $1 AND k.revoked_at IS NULL AND u.deleted_at IS NULL",
                      DB_ARGS(db_t(hash)));
    if (rc == 1 && !same_hash(db_text(rows, 0), hash))
        rc = 0;
    if (rc == 1) {
        user->id = db_int(rows, 1);
        user->admin = db_int(rows, 2) != 0;
        snprintf(user->name, sizeof user->name, "%s", db_text(rows, 3));
    }
    if (rc < 0)
        diag_error("checking a key: %s", e.text);
    db_rows_end(rows);
    db_read_end(c);
    return rc;
}

int auth_request(struct auth *a, struct http_request *r)
{
    char space[MAX_KEY], hash[AUTH_HASH];
    struct str key;
    if (!take_key(r, space, &key))
        return 0;
    auth_hash(key, hash);
    struct seen *slot = &a->slots[hash_bytes(hash, sizeof hash, a->seed) % SLOTS];
    int64_t now_ns = clock_mono_ns();
    pthread_mutex_lock(&a->lock);
    uint64_t epoch = a->epoch;
    bool hit = slot->user.id && now_ns - slot->at_ns < fresh_ns && same_hash(slot->hash, hash);
    if (hit)
        r->user = slot->user;
    pthread_mutex_unlock(&a->lock);
    int rc = hit ? 1 : lookup(a, hash, &r->user);
    if (hit || rc != 1)
        return rc;
    pthread_mutex_lock(&a->lock);
    if (a->epoch == epoch) { /* else it may have been revoked since it was read */
        memcpy(slot->hash, hash, sizeof hash);
        slot->user = r->user;
        slot->at_ns = now_ns;
    }
    pthread_mutex_unlock(&a->lock);
    return 1;
}

void auth_forget(struct auth *a)
{
    pthread_mutex_lock(&a->lock);
    a->epoch++;
    for (int i = 0; i < SLOTS; i++)
        a->slots[i].user.id = 0;
    pthread_mutex_unlock(&a->lock);
}

/* ---- users ----------------------------------------------------------------------------- */

bool auth_name_ok(struct str name)
{
    if (!name.n || name.n > 120 || name.p[0] == '.' || name.p[0] == '-')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
              c == '_' || c == '.'))
            return false;
    }
    return true;
}

/* The user and the entity that is theirs. */
static int make_user(struct db_conn *c, struct auth_user_add *u, struct err *e)
{
    int64_t entity = 0;
    int rc = db_get_int(c, e, &entity, "SELECT id FROM entities WHERE name = $1", DB_ARGS(db_t(u->name)));
    if (rc)
        return rc < 0 ? rc : err_set(e, TARE_EEXIST, "there is already an entity called %s", u->name);
    rc = db_get_int(c, e, &u->user_id,
                    "INSERT INTO users (username, name, email, admin, created_at) VALUES ($1, $1, $2, $3, $4)"
                    " RETURNING id",
                    DB_ARGS(db_t(u->name), db_t(u->email), db_i(u->admin), db_i(now_us())));
    if (rc < 0)
        return rc;
    rc = db_get_int(c, e, &entity,
                    "INSERT INTO entities (name, kind, user_id, created_at) VALUES ($1, 'user', $2, $3) RETURNING id",
                    DB_ARGS(db_t(u->name), db_i(u->user_id), db_i(now_us())));
    if (rc < 0)
        return rc;
    return db_exec(c, e, "UPDATE users SET entity_id = $2 WHERE id = $1",
                   DB_ARGS(db_i(u->user_id), db_i(entity)));
}

static int add_key(struct db_conn *c, struct auth_user_add *u, struct err *e)
{
    char hash[AUTH_HASH];
    struct str key = str_of(u->key);
    int64_t owner = 0;
    auth_hash(key, hash);
    int rc = db_get_int(c, e, &owner, "SELECT user_id FROM api_keys WHERE hash = $1", DB_ARGS(db_t(hash)));
    if (rc < 0)
        return rc;
    if (rc && owner != u->user_id)
        return err_set(e, TARE_EEXIST, "the key belongs to someone already");
    if (rc)
        return db_exec(c, e, "UPDATE api_keys SET revoked_at = NULL WHERE hash = $1", DB_ARGS(db_t(hash)));
    return db_exec(c, e,
                   "INSERT INTO api_keys (user_id, hash, hint, name, created_at) VALUES ($1, $2, $3, $4, $5)",
                   DB_ARGS(db_i(u->user_id), db_t(hash),
                           db_s(str_make(key.p, key.n >= 40 ? AUTH_HINT : 0)),
                           db_t(u->name), db_i(now_us())));
}

int auth_user_add_job(struct db_conn *c, void *arg, struct err *e)
{
    struct auth_user_add *u = arg;
    if (!auth_name_ok(str_of(u->name)))
        return err_set(e, TARE_EINVAL, "'%s' cannot be a user name: use letters, digits, '-', '_' and '.'",
                       u->name);
    int rc = db_get_int(c, e, &u->user_id, "SELECT id FROM users WHERE username = $1", DB_ARGS(db_t(u->name)));
    if (rc == 0)
        rc = make_user(c, u, e);
    else if (rc > 0)
        rc = db_exec(c, e, "UPDATE users SET deleted_at = NULL WHERE id = $1", DB_ARGS(db_i(u->user_id)));
    return rc < 0 || !u->key ? rc : add_key(c, u, e);
}

int auth_user_revoke_job(struct db_conn *c, void *arg, struct err *e)
{
    const char *name = arg;
    int64_t id = 0;
    int rc = db_get_int(c, e, &id, "SELECT id FROM users WHERE username = $1", DB_ARGS(db_t(name)));
    if (rc <= 0)
        return rc < 0 ? rc : err_set(e, TARE_ENOTFOUND, "there is no user called %s", name);
    return db_exec(c, e, "UPDATE api_keys SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL",
                   DB_ARGS(db_i(id), db_i(now_us())));
}
