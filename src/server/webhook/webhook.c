/* SPDX-License-Identifier: MIT */
/* The rows: webhooks, and what waits for them. And how a message is signed. */
#include "server/webhook/webhook.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/random.h"

#include <stdio.h>
#include <string.h>

#define PREFIX "whsec_"

/* ---- the list ---- */

static int find(struct db_conn *c, const char *what, const char *sql, int64_t parent, const char *name, int64_t *id,
                struct err *e)
{
    int rc = db_get_int(c, e, id, sql, DB_ARGS(db_t(name), db_i(parent)));
    return rc < 0 ? rc : rc ? 0 : err_set(e, TARE_ENOTFOUND, "there is no %s called %s", what, name);
}

static bool has_scheme(const char *url, const char *scheme)
{
    size_t n = strlen(scheme);
    return strncmp(url, scheme, n) == 0 && url[n] && url[n] != '/';
}

/* The bytes that a secret of the form of the Standard Webhooks stands for. False: it is of another form. */
static bool decode(const char *secret, uint8_t key[WEBHOOK_MAX_SECRET], size_t *n)
{
    struct str text = str_of(secret);
    return str_starts(text, STR(PREFIX)) &&
           base64_get(str_of(secret + strlen(PREFIX)), BASE64_STANDARD, key, WEBHOOK_MAX_SECRET, n);
}

static int check(const struct webhook_add *w, struct err *e)
{
    if (!has_scheme(w->url, "http://") && !has_scheme(w->url, "https://"))
        return err_set(e, TARE_EINVAL, "'%s' is no URL: it must begin with https:// or http://", w->url);
    if (strlen(w->url) > WEBHOOK_MAX_URL)
        return err_set(e, TARE_EINVAL, "the URL is longer than %d characters", WEBHOOK_MAX_URL);
    for (const char *p = w->url; *p; p++)
        if (*p <= ' ' || *p >= 127)
            return err_set(e, TARE_EINVAL, "the URL has characters that must be escaped");
    if (!*w->secret || strlen(w->secret) > WEBHOOK_MAX_SECRET)
        return err_set(e, TARE_EINVAL, "a secret has 1 to %d characters", WEBHOOK_MAX_SECRET);
    uint8_t key[WEBHOOK_MAX_SECRET];
    size_t n;
    if (str_starts(str_of(w->secret), STR(PREFIX)) && !decode(w->secret, key, &n))
        return err_set(e, TARE_EINVAL, "behind " PREFIX " a secret is base64: leave it out to get a new one");
    return 0;
}

int webhook_add_job(struct db_conn *c, void *arg, struct err *e)
{
    struct webhook_add *w = arg;
    int64_t entity = 0, project = 0;
    int rc = check(w, e);
    if (!rc && w->entity)
        rc = find(c, "entity", "SELECT id FROM entities WHERE name = $1 AND deleted_at IS NULL AND $2 = 0", 0,
                  w->entity, &entity, e);
    if (!rc && w->project)
        rc = find(c, "project",
                  "SELECT id FROM projects WHERE name = $1 AND entity_id = $2 AND deleted_at IS NULL", entity,
                  w->project, &project, e);
    if (rc)
        return rc;
    rc = db_get_int(c, e, &w->id,
                    "INSERT INTO webhooks (entity_id, project_id, url, secret, created_at)"
                    " VALUES ($1, $2, $3, $4, $5) RETURNING id",
                    DB_ARGS(db_i_if(entity != 0, entity), db_i_if(project != 0, project), db_t(w->url),
                            db_t(w->secret), db_i(clock_wall_ns() / 1000)));
    return rc < 0 ? rc : 0;
}

int webhook_remove_job(struct db_conn *c, void *arg, struct err *e)
{
    int64_t id = *(int64_t *)arg;
    int rc = db_exec(c, e, "DELETE FROM webhook_deliveries WHERE webhook_id = $1", DB_ARGS(db_i(id)));
    if (rc >= 0)
        rc = db_exec(c, e, "DELETE FROM webhooks WHERE id = $1", DB_ARGS(db_i(id)));
    return rc == 0 ? err_set(e, TARE_ENOTFOUND, "there is no webhook %lld", (long long)id) : rc < 0 ? rc : 0;
}

void webhook_new_secret(char to[WEBHOOK_SECRET])
{
    uint8_t raw[32];
    random_bytes(raw, sizeof raw);
    memcpy(to, PREFIX, sizeof PREFIX);
    base64_text(to + strlen(PREFIX), raw, sizeof raw);
}

/* ---- events ---- */

int webhook_enqueue(struct db_conn *c, int64_t entity_id, int64_t project_id, struct str body, int64_t now_us,
                    struct err *e)
{
    char id[40] = "msg_";
    random_id(id + 4, 24);
    int rc = db_exec(c, e,
                     "INSERT INTO webhook_deliveries (webhook_id, message_id, body, next_try_at, created_at)"
                     " SELECT id, CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS BIGINT), CAST($5 AS BIGINT) FROM webhooks"
                     " WHERE (entity_id IS NULL OR entity_id = $1) AND (project_id IS NULL OR project_id = $2)",
                     DB_ARGS(db_i(entity_id), db_i(project_id), db_t(id), db_s(body), db_i(now_us)));
    return rc < 0 ? rc : 0;
}

/* ---- signing ---- */

/* The bytes that `secret` stands for; how many. */
static size_t key_of(const char *secret, uint8_t key[WEBHOOK_MAX_SECRET])
{
    size_t n;
    if (decode(secret, key, &n))
        return n;
    n = strnlen(secret, WEBHOOK_MAX_SECRET);
    memcpy(key, secret, n);
    return n;
}

int webhook_sign(struct buf *to, const char *secret, const char *id, int64_t unix_s, struct str body)
{
    AUTO_BUF text = {0};
    uint8_t key[WEBHOOK_MAX_SECRET], mac[SHA256_BYTES];
    char base64[(SHA256_BYTES + 2) / 3 * 4 + 1];
    buf_printf(&text, "%s.%lld.", id, (long long)unix_s);
    if (buf_put_str(&text, body) < 0)
        return TARE_ENOMEM;
    hmac_sha256(mac, key, key_of(secret, key), text.data, text.len);
    base64_text(base64, mac, sizeof mac);
    return buf_printf(to, "v1,%s", base64);
}
