/* SPDX-License-Identifier: MIT */
/* One backend as a run reaches it: its address, who we are, which headers go along, what it can do.
 * Made from the run's settings (base_url, api_key or identity_token_file and credentials_file,
 * proxies, x_extra_http_headers, ... as the peer takes them), or for another URL (TARE_MIRROR,
 * `tare sync --to`). Loop thread only. */
#ifndef TARE_SERVICE_UPLOAD_BACKEND_H
#define TARE_SERVICE_UPLOAD_BACKEND_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "loop/http.h"

#include <stdbool.h>
#include <stdint.h>

struct backend;
struct retry_policy;

/* Settings of the peer that say how a kind of request is retried; see retry.h. */
enum backend_use { BACKEND_GRAPHQL, BACKEND_FILESTREAM, BACKEND_FILE, BACKEND_N_USES };

/* `settings` is a serialized wandb_internal.Settings (read before return). `url` and `key` replace those
 * of the settings if not NULL. NULL and the reason in `e`: no usable URL. */
struct backend *backend_new(struct http *http, uv_loop_t *loop, struct str settings, const char *url,
                            const char *key, struct err *e);
/* All its calls are cancelled: their `done` runs first. Frees it when the last has ended, and no
 * request has its route any more. */
void backend_close(struct backend *b);

const char *backend_url(const struct backend *b); /* without a slash at the end */
const char *backend_app_url(const struct backend *b); /* where people look: for links */
/* Which writer of a shared run this is, said in its headers; a backend for no run has none. */
void backend_set_writer(struct backend *b, const char *writer_id);
struct http *backend_http(struct backend *b); /* to send with */
uv_loop_t *backend_loop(struct backend *b);
struct http_route *backend_route(struct backend *b);
const struct retry_policy *backend_policy(const struct backend *b, enum backend_use use);

/* The headers of a request of that use to `url` ("Name: value\n..."): extra headers of the settings
 * and, if `url` lies below the backend's own address, the credentials; but files get none unless
 * backend_files_with_credentials. An identity token may have to be fetched first: then `ready` is
 * called later, else before return. Errors: TARE_EPERM: the token was refused, trying again is
 * useless. */
struct backend_headers {
    void (*ready)(struct backend_headers *h, int error, const char *why);
    struct buf text; /* freed by the caller */
    struct backend_headers *next;
    enum backend_use use; /* backend's own */
    bool has_credentials; /* likewise */
};
void backend_headers(struct backend *b, enum backend_use use, const char *url, struct backend_headers *h);
void backend_files_with_credentials(struct backend *b);

/* An answered request: was it refused, and may it go again with others (a new access token)? */
bool backend_renews(struct backend *b, const struct http_request *r);

/* The access token of an identity federation in `text`, or nothing in it for other credentials. */
void backend_token(struct backend *b, struct backend_headers *h);

/* Which features of enum ServerFeature (proto/) the backend has; asked once, lazily. Answers false
 * for all if it cannot be asked. `ready` is called before return if known already. */
void backend_feature(struct backend *b, const char *feature_name, void (*ready)(void *ctx, bool has),
                     void *ctx);

/* The last answers that a person may want to know of (network_status): status, text. */
void backend_note_answer(struct backend *b, int status, struct str body);
/* Append them as fields of a wandb_internal.NetworkStatusResponse, and forget them. */
void backend_take_answers(struct backend *b, struct buf *to);

#endif
