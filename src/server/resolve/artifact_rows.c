/* SPDX-License-Identifier: MIT */
#include "server/resolve/artifact_rows.h"

#include "base/json.h"
#include "server/artifact/artifact.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- collections ---- */

static int take_collection(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    struct collection_row *out = to;
    *out = (struct collection_row){
        .id = db_int(rows, 0), .type_id = db_int(rows, 1), .name = access_keep(a, db_str(rows, 2)),
        .kind = access_keep(a, db_str(rows, 3)), .description = access_keep(a, db_str(rows, 4)), .state = access_keep(a, db_str(rows, 5)),
        .type = access_keep(a, db_str(rows, 6)), .digest_algorithm = access_keep(a, db_str(rows, 7)), .ttl_s = db_int(rows, 8),
        .created_us = db_int(rows, 9), .updated_us = db_int(rows, 10), .project_id = db_int(rows, 11), .project = of};
    return 0;
}

const struct list_shape collection_list = {TYPE_ArtifactCollectionConnection, TYPE_ArtifactCollectionEdge, -1,
                                           sizeof(struct collection_row), take_collection};

int load_collection(const struct accessor *a, int64_t id, enum access need, struct collection_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    struct project_row *p = arena_calloc(a->arena, sizeof *p);
    int rc = db_first(a->db, a->e, &rows, COLLECTION_SQL "s.id = $1", DB_ARGS(db_i(id)));
    if (rc <= 0 || !p)
        return rc < 0 ? rc : err_set(a->e, TARE_ENOTFOUND, "there is no such artifact collection");
    take_collection(a, rows, p, out);
    rc = access_project_id(a, out->project_id, need, p);
    return rc == TARE_ENOTFOUND ? err_set(a->e, rc, "there is no such artifact collection") : rc;
}

int load_collection_named(const struct accessor *a, const struct project_row *p, struct str name,
                          struct str type, struct collection_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(a->db, a->e, &rows,
                      COLLECTION_SQL "s.project_id = $1 AND s.name = $2 AND s.state <> 'DELETED' "
                                     "AND (CAST($3 AS TEXT) IS NULL OR t.name = $3 OR EXISTS (SELECT 1 FROM artifact_memberships m "
                                     "JOIN artifacts v ON v.id = m.artifact_id JOIN artifact_types vt ON vt.id = v.type_id "
                                     "WHERE m.collection_id = s.id AND vt.name = $3))",
                      DB_ARGS(db_i(p->id), db_s(name), db_s(type)));
    if (rc <= 0)
        return rc < 0 ? rc : err_set(a->e, TARE_ENOTFOUND, "there is no artifact collection '%.*s'", STR_ARG(name));
    return take_collection(a, rows, p, out);
}

void answer_collection(struct gql_call *c, const struct collection_row *row)
{
    gql_object(c, str_eqz(row->kind, "portfolio") ? TYPE_ArtifactPortfolio : TYPE_ArtifactSequence, row);
}

/* ---- versions ---- */

void version_sql(char to[VERSION_SQL], const char *where)
{
    int n = snprintf(to, VERSION_SQL,
                     "SELECT a.id, m.id, m.version_index, a.version_index, a.state, a.digest, a.digest_algorithm, "
                     "t.name, a.description, a.metadata, a.git_commit, a.size_bytes, a.file_count, a.ttl_s, "
                     "a.history_step, a.run_id, a.user_id, a.sequence_id, a.created_at, a.updated_at, m.created_at, m.collection_id "
                     "FROM artifacts a JOIN artifact_types t ON t.id = a.type_id "
                     "LEFT JOIN artifact_memberships m ON m.artifact_id = a.id WHERE %s",
                     where);
    assert(n > 0 && n < VERSION_SQL);
}

int version_take(const struct accessor *a, struct db_rows *rows, struct version_row *out)
{
    struct str *const texts[] = {&out->state, &out->digest, &out->digest_algorithm, &out->type,
                                 &out->description, &out->metadata, &out->commit};
    int64_t *const numbers[] = {&out->size_bytes, &out->file_count, &out->ttl_s, &out->history_step, &out->run_id,
                                &out->user_id, &out->sequence_id, &out->created_us, &out->updated_us, &out->member_us,
                                &out->collection_id};
    *out = (struct version_row){.id = db_int(rows, 0), .membership_id = db_int(rows, 1)};
    out->version_index = db_is_null(rows, 2) ? -1 : db_int(rows, 2);
    out->own_index = db_is_null(rows, 3) ? -1 : db_int(rows, 3);
    int col = 4;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++, col++) {
        *texts[i] = access_keep(a, db_str(rows, col));
        if (texts[i]->n && !texts[i]->p)
            return TARE_ENOMEM;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++, col++)
        *numbers[i] = db_is_null(rows, col) && numbers[i] == &out->history_step ? -1 : db_int(rows, col);
    return 0;
}

static int take_version(const struct accessor *a, struct db_rows *rows, const void *of, void *to)
{
    struct version_row *v = to;
    int rc = version_take(a, rows, v);
    v->collection = (struct collection_row *)(uintptr_t)of;
    return rc;
}

const struct list_shape version_list = {TYPE_VersionedArtifactConnection, TYPE_VersionedArtifactEdge, TYPE_Artifact,
                                        sizeof(struct version_row), take_version};
const struct list_shape membership_list = {TYPE_ArtifactCollectionMembershipConnection,
                                           TYPE_ArtifactCollectionMembershipEdge, TYPE_ArtifactCollectionMembership,
                                           sizeof(struct version_row), take_version};

/* The one version that `where` finds. */
static int load_where(const struct accessor *a, const char *where, const struct db_value *args, int n,
                      struct version_row *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    char sql[VERSION_SQL];
    version_sql(sql, where);
    int rc = db_first(a->db, a->e, &rows, sql, args, n);
    if (rc <= 0)
        return rc < 0 ? rc : err_set(a->e, TARE_ENOTFOUND, "there is no such artifact");
    return version_take(a, rows, out);
}

int load_version(const struct accessor *a, int64_t artifact_id, enum access need, struct version_row *out)
{
    static const char by_id[] = "a.id = $1 AND (m.id IS NULL OR m.collection_id = a.sequence_id)";
    int64_t other = 0;
    int rc = load_where(a, by_id, DB_ARGS(db_i(artifact_id)), out);
    if (rc == 0 && str_eqz(out->state, "DELETED")) /* or the same as another (artifact/commit.c) */
        rc = db_get_int(a->db, a->e, &other, "SELECT merged_into FROM artifacts WHERE id = $1 AND merged_into > 0",
                        DB_ARGS(db_i(artifact_id)));
    if (rc == 1)
        rc = load_where(a, by_id, DB_ARGS(db_i(other)), out);
    struct collection_row *s = arena_calloc(a->arena, sizeof *s);
    if (rc == TARE_ENOTFOUND) /* a deleted version has no membership left in its sequence but may have had others */
        return rc;
    if (rc < 0 || !s)
        return rc < 0 ? rc : TARE_ENOMEM;
    rc = load_collection(a, out->sequence_id, need, s);
    out->collection = out->sequence = s;
    return rc == TARE_ENOTFOUND ? err_set(a->e, rc, "there is no such artifact") : rc;
}

int version_sequence(const struct accessor *a, struct version_row *v)
{
    if (v->sequence)
        return 0;
    if (v->collection && v->collection->id == v->sequence_id) {
        v->sequence = v->collection;
        return 0;
    }
    struct collection_row *s = arena_calloc(a->arena, sizeof *s);
    if (!s)
        return TARE_ENOMEM;
    /* who sees the link sees the name of where it comes from; its project only with a right to it */
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(a->db, a->e, &rows, COLLECTION_SQL "s.id = $1", DB_ARGS(db_i(v->sequence_id)));
    if (rc <= 0)
        return rc < 0 ? rc : TARE_ENOTFOUND;
    take_collection(a, rows, NULL, s);
    struct project_row *p = arena_calloc(a->arena, sizeof *p);
    if (!p)
        return TARE_ENOMEM;
    rc = access_project_id(a, s->project_id, ACCESS_READ, p);
    s->project = rc == 0 ? p : NULL;
    v->sequence = s;
    return 0;
}

int load_version_in(const struct accessor *a, struct collection_row *in, struct str alias,
                    struct version_row *out)
{
    int64_t id = 0;
    int rc = artifact_find(a->db, in->id, alias, &id, NULL, a->e);
    if (rc >= 0 && !id)
        return err_set(a->e, TARE_ENOTFOUND, "there is no artifact '%.*s:%.*s'", STR_ARG(in->name), STR_ARG(alias));
    if (rc >= 0)
        rc = load_where(a, "a.id = $1 AND m.collection_id = $2", DB_ARGS(db_i(id), db_i(in->id)), out);
    out->collection = in;
    return rc;
}

int load_version_named(const struct accessor *a, const struct project_row *p, struct str name,
                       struct version_row *out)
{
    const char *colon = memchr(name.p ? name.p : "", ':', name.n);
    size_t n = colon ? (size_t)(colon - name.p) : name.n;
    struct collection_row *s = arena_calloc(a->arena, sizeof *s);
    if (!s)
        return TARE_ENOMEM;
    int rc = load_collection_named(a, p, str_make(name.p, n), (struct str){0}, s);
    if (rc)
        return rc;
    return load_version_in(a, s, colon ? str_make(colon + 1, name.n - n - 1) : STR("latest"), out);
}

/* ---- filters ---- */

static int tags_value(const struct accessor *a, const char *sql, int64_t id, struct filter_value *out)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    AUTO_BUF b = {0};
    buf_putc(&b, '[');
    int rc = db_query(a->db, a->e, &rows, sql, DB_ARGS(db_i(id)));
    while (rc >= 0 && (rc = db_next(rows, a->e)) == 1) {
        buf_puts(&b, b.len > 1 ? "," : "");
        json_put_string(&b, db_str(rows, 0));
    }
    buf_putc(&b, ']');
    *out = (struct filter_value){.kind = FILTER_JSON, .s = access_keep(a, buf_str(&b))};
    return rc < 0 ? rc : 0;
}

static void text_value(struct str s, struct filter_value *out)
{
    *out = (struct filter_value){.kind = s.p ? FILTER_STRING : FILTER_MISSING, .s = s};
}

static void number_value(int64_t v, struct filter_value *out)
{
    *out = (struct filter_value){.kind = FILTER_NUMBER, .number = (double)v};
}

static void time_value(int64_t us, struct filter_value *out)
{
    *out = (struct filter_value){.kind = FILTER_TIME, .time_us = us};
}

static bool is_key(struct str key, const char *camel, const char *snake)
{
    return str_eqz(key, camel) || str_eqz(key, snake);
}

int collection_filter_get(void *ctx, struct str key, struct filter_value *out)
{
    const struct filter_ctx *f = ctx;
    const struct collection_row *s = f->row;
    if (is_key(key, "name", "name"))
        text_value(s->name, out);
    else if (is_key(key, "description", "description"))
        text_value(s->description, out);
    else if (is_key(key, "type", "type") || is_key(key, "artifactType", "artifact_type"))
        text_value(s->type, out);
    else if (is_key(key, "createdAt", "created_at"))
        time_value(s->created_us, out);
    else if (is_key(key, "updatedAt", "updated_at"))
        time_value(s->updated_us, out);
    else if (is_key(key, "tag", "tags"))
        return tags_value(f->a, "SELECT name FROM artifact_collection_tags WHERE collection_id = $1 ORDER BY name",
                          s->id, out);
    else if (is_key(key, "id", "id"))
        number_value(s->id, out);
    else
        return TARE_EINVAL;
    return 0;
}

int version_filter_get(void *ctx, struct str key, struct filter_value *out)
{
    const struct filter_ctx *f = ctx;
    const struct version_row *v = f->row;
    if (is_key(key, "versionIndex", "version_index"))
        number_value(v->version_index, out);
    else if (is_key(key, "createdAt", "created_at"))
        time_value(v->created_us, out);
    else if (is_key(key, "updatedAt", "updated_at"))
        time_value(v->updated_us, out);
    else if (is_key(key, "state", "state"))
        text_value(v->state, out);
    else if (is_key(key, "digest", "digest"))
        text_value(v->digest, out);
    else if (is_key(key, "description", "description"))
        text_value(v->description, out);
    else if (is_key(key, "size", "size_bytes"))
        number_value(v->size_bytes, out);
    else if (is_key(key, "fileCount", "file_count"))
        number_value(v->file_count, out);
    else if (is_key(key, "tag", "tags"))
        return tags_value(f->a, "SELECT name FROM artifact_tags WHERE artifact_id = $1 ORDER BY name", v->id, out);
    else if (is_key(key, "alias", "aliases"))
        return tags_value(f->a, "SELECT alias FROM artifact_aliases WHERE artifact_id = $1 ORDER BY alias", v->id, out);
    else if (str_starts(key, STR("metadata.")))
        return filter_value_at(v->metadata, str_make(key.p + 9, key.n - 9), f->a->arena, out);
    else if (is_key(key, "id", "id"))
        number_value(v->id, out);
    else
        return TARE_EINVAL;
    return 0;
}

struct sort_item {
    const struct order *order;
    struct filter_value *values;
    const void *row;
    size_t at;
};

static int by_order(const void *pa, const void *pb)
{
    const struct sort_item *a = pa, *b = pb;
    int rc = order_compare(a->order, a->values, b->values);
    return rc ? rc : (a->at > b->at) - (a->at < b->at);
}

static int sort_rows(const struct accessor *a, char *rows, size_t n, size_t stride, const struct order *o,
                     filter_get_fn get)
{
    struct sort_item *items = arena_calloc(a->arena, sizeof *items * (n + 1));
    char *sorted = arena_alloc(a->arena, stride * (n + 1));
    if (!items || !sorted)
        return TARE_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        items[i] = (struct sort_item){o, arena_calloc(a->arena, sizeof(struct filter_value) * ORDER_MAX_KEYS),
                                      rows + i * stride, i};
        if (!items[i].values)
            return TARE_ENOMEM;
        struct filter_ctx ctx = {a, items[i].row};
        for (int k = 0; k < o->n; k++)
            if (get(&ctx, o->keys[k].name, &items[i].values[k]) < 0)
                return err_set(a->e, TARE_EINVAL, "this list cannot be ordered by '%.*s'", STR_ARG(o->keys[k].name));
    }
    qsort(items, n, sizeof *items, by_order);
    for (size_t i = 0; i < n; i++)
        memcpy(sorted + i * stride, items[i].row, stride);
    if (n > 0)
        memcpy(rows, sorted, n * stride);
    return 0;
}

int keep_matching(const struct accessor *a, struct str filter, filter_get_fn get, void *rows, size_t *n, size_t stride)
{
    struct filter *f = NULL;
    size_t kept = 0;
    int rc = filter_compile(filter, a->arena, &f, a->e);
    for (size_t i = 0; i < *n && rc >= 0; i++) {
        struct filter_ctx ctx = {a, (char *)rows + i * stride};
        rc = filter_match(f, get, &ctx, a->e);
        if (rc == 1)
            memmove((char *)rows + kept++ * stride, (char *)rows + i * stride, stride);
    }
    filter_fini(f);
    *n = kept;
    return rc < 0 ? rc : 0;
}

void answer_filtered_rows(struct gql_call *c, const struct accessor *a, int rc, const struct list_shape *shape,
                          const struct buf *all, filter_get_fn get, const char *fallback_order)
{
    struct order o;
    size_t n = all->len / shape->stride;
    if (rc >= 0)
        rc = keep_matching(a, gql_arg_str(c, "filters"), get, all->data, &n, shape->stride);
    if (rc >= 0)
        rc = order_compile(gql_arg_str(c, "order"), fallback_order, &o, a->e);
    if (rc >= 0)
        rc = sort_rows(a, all->data, n, shape->stride, &o, get);
    if (rc < 0)
        fail_with(c, rc, a->e);
    else
        answer_rows(c, shape, all->data, n);
}

void answer_filtered_list(struct gql_call *c, const struct list_shape *shape, const void *of, filter_get_fn get,
                          const char *fallback_order, const char *sql, const struct db_value *args, int n)
{
    struct err e;
    struct accessor a;
    AUTO_BUF all = {0};
    if (collect_for_field(c, &a, &e, &all, shape, of, sql, args, n))
        answer_filtered_rows(c, &a, 0, shape, &all, get, fallback_order);
}
