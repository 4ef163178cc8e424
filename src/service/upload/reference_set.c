/* SPDX-License-Identifier: MIT */
/*   LOADING (environment, files) ─► a token of Google's, of Azure's, if one is needed ─► references */
#include "service/upload/reference_set.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "loop/worker.h"
#include "service/limits.h"
#include "service/upload/cloud.h"
#include "service/upload/download.h"
#include "service/upload/json_path.h"
#include "service/upload/reference.h"

#include <stddef.h>
#include <stdio.h>

#define OF(p, member) ((struct reference_set *)((char *)(p) - offsetof(struct reference_set, member)))

struct reference_set {
    struct reference_set_owner owner;
    struct cloud cloud;
    bool wants_gcs, wants_azure;
    size_t at;
    struct reference *active[REFERENCES];
    int n_active;
    bool is_loading, is_asking, is_ending;
    struct cloud_token *token; /* being fetched */
    struct download ask;
    struct work work;
    struct err load_err, err;
};

static void go_on(struct reference_set *s);

static bool is_wanted(struct reference_set *s)
{
    return s->err.code == 0;
}

static void end_run(struct work *w)
{
}

static void end_done(struct work *w)
{
    struct reference_set *s = OF(w, work);
    struct reference_set_owner owner = s->owner;
    struct err e = s->err;
    cloud_fini(&s->cloud);
    mem_free(s);
    owner.done(owner.ctx, &e);
}

/* Later: this may be inside of a call of the owner's. */
static void end(struct reference_set *s)
{
    s->is_ending = true;
    s->work.run = end_run;
    s->work.done = end_done;
    work_start(backend_loop(s->owner.backend), &s->work);
}

/* ---- references ---- */

static void fail(struct reference_set *s, const struct err *e)
{
    if (!is_wanted(s))
        return;
    s->err = *e;
    if (s->is_asking)
        download_cancel(&s->ask);
    struct reference *all[REFERENCES];
    int n = s->n_active; /* one that is cancelled may be gone at once */
    memcpy(all, s->active, sizeof all);
    for (int i = 0; i < n; i++)
        reference_cancel(all[i]);
}

static void on_done(void *ctx, struct reference *r, const struct err *e, int cache_rc)
{
    struct reference_set *s = ctx;
    int i = 0;
    while (s->active[i] != r)
        i++;
    s->active[i] = s->active[--s->n_active];
    if (cache_rc)
        s->owner.cache_failed(s->owner.ctx, cache_rc);
    if (e->code && is_wanted(s) && s->owner.may_miss)
        s->owner.missed(s->owner.ctx, e->text);
    else if (e->code)
        fail(s, e);
    go_on(s);
}

static void begin_one(struct reference_set *s)
{
    const struct manifest_entry *e = &s->owner.manifest->entries[s->owner.entries[s->at++]];
    struct reference_owner owner = {s, s->owner.backend, &s->cloud, s->owner.cache, on_done};
    AUTO_BUF path = {0};
    buf_printf(&path, "%s/%.*s", s->owner.root, STR_ARG(e->path));
    struct reference *r = reference_start(e, buf_z(&path), &owner);
    if (r)
        s->active[s->n_active++] = r;
}

/* ---- tokens ---- */

static void on_token(struct download *d)
{
    struct reference_set *s = OF(d, ask);
    struct err e = {0};
    s->is_asking = false;
    s->token->bearer = d->error ? NULL : json_string_at(buf_str(&d->http.answer), "access_token");
    bool is_good = s->token->bearer && !s->token->bearer[strcspn(s->token->bearer, "\r\n")];
    if (!is_good)
        err_set(&e, TARE_EPERM, "no access token from %s: %s", s->token->url, d->error ? d->why : "the answer has none");
    mem_free(s->token->url);
    s->token->url = NULL;
    download_fini(d);
    if (!is_good)
        fail(s, &e);
    go_on(s);
}

static void put_form(struct download *d, struct buf *to)
{
    buf_puts(to, "Content-Type: application/x-www-form-urlencoded\n");
}

static bool fetch_token(struct reference_set *s, struct cloud_token *t)
{
    if (!t->url)
        return false;
    s->token = t;
    s->ask = (struct download){.backend = s->owner.backend,
                               .url = t->url,
                               .method = "POST",
                               .body = str_of(t->body),
                               .keep_bytes = TOKEN_ANSWER_BYTES,
                               .is_foreign = true,
                               .put_headers = put_form,
                               .done = on_token};
    s->is_asking = true;
    download_start(&s->ask);
    return true;
}

/* ---- all of them ---- */

static void go_on(struct reference_set *s)
{
    bool is_busy = s->is_loading || s->is_asking || s->is_ending;
    if (!is_busy && is_wanted(s))
        is_busy = (s->wants_gcs && fetch_token(s, &s->cloud.gcs)) || (s->wants_azure && fetch_token(s, &s->cloud.azure));
    while (!is_busy && is_wanted(s) && s->at < s->owner.n && s->n_active < REFERENCES)
        begin_one(s);
    if (!is_busy && s->n_active == 0 && (!is_wanted(s) || s->at == s->owner.n))
        end(s);
}

static void load_run(struct work *w)
{
    struct reference_set *s = OF(w, work);
    cloud_load(&s->cloud, s->wants_gcs, &s->load_err);
}

static void load_done(struct work *w)
{
    struct reference_set *s = OF(w, work);
    s->is_loading = false;
    if (s->load_err.code)
        fail(s, &s->load_err);
    go_on(s);
}

struct reference_set *reference_set_start(const struct reference_set_owner *owner)
{
    bool any = false;
    struct reference_set *s = xmem_calloc(1, sizeof *s);
    s->owner = *owner;
    for (size_t i = 0; i < owner->n; i++) {
        enum cloud_kind kind = cloud_place_of(owner->manifest->entries[owner->entries[i]].ref).kind;
        any |= kind != CLOUD_NONE;
        s->wants_gcs |= kind == CLOUD_GCS;
        s->wants_azure |= kind == CLOUD_AZURE;
    }
    if (!any) {
        mem_free(s);
        return NULL;
    }
    s->is_loading = true;
    s->work.run = load_run;
    s->work.done = load_done;
    work_start(backend_loop(owner->backend), &s->work);
    return s;
}

void reference_set_cancel(struct reference_set *s)
{
    struct err e = {0};
    err_set(&e, TARE_ECANCELLED, "the download was given up");
    fail(s, &e);
}
