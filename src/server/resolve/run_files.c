/* SPDX-License-Identifier: MIT */
/* A run's files: names and upload URLs out, listing, deleting. The bytes go through storage.c. */
#include "base/path.h"
#include "server/resolve/fields.h"
#include "server/storage.h"

enum { MAX_FILES = 100000 };

/* "./a/b" and "a//b" are "a/b"; {NULL, 0} for a name that must not be. */
static struct str clean_name(struct gql_call *c, struct str name)
{
    char *to = arena_alloc(gql_arena(c), name.n + 1), *w = to;
    if (!to || !name.n || name.n > 1024)
        return (struct str){0};
    for (size_t i = 0; i < name.n;) {
        size_t n = 0;
        while (i + n < name.n && name.p[i + n] != '/')
            n++;
        bool dot = n == 1 && name.p[i] == '.';
        if (n && !dot) {
            if (w > to)
                *w++ = '/';
            memcpy(w, name.p + i, n);
            w += n;
        } else if (!i && !n) {
            return (struct str){0}; /* absolute */
        }
        i += n + 1;
    }
    struct str out = str_make(to, (size_t)(w - to));
    return path_is_safe(out) ? out : (struct str){0};
}

/* ---- createRunFiles -------------------------------------------------------------------- */

struct new_file {
    struct str asked, name;
    const struct new_files *in;
};

struct new_files {
    const struct http_user *user;
    struct arena *arena;
    const struct gql_value *in;
    struct new_file *files;
    size_t n;
    struct run_row run;
    struct project_row project;
};

static int find_run(const struct accessor *a, const struct gql_value *in, struct project_row *p, struct run_row *r)
{
    int rc = access_project(a, gql_in_str(in, "entityName"), gql_in_str(in, "projectName"), ACCESS_WRITE, p);
    return rc ? rc : access_run(a, p, gql_in_str(in, "runName"), 0, r);
}

void resolve_Mutation_createRunFiles(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct err e;
    struct accessor a;
    struct new_files nf = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    const struct gql_value *names = gql_in(nf.in, "files");
    if (names->n > MAX_FILES || !(nf.files = arena_calloc(q->arena, sizeof *nf.files * (names->n + 1u)))) {
        gql_fail(c, 422, "too many files at once");
        return;
    }
    for (const struct gql_value *v = names->first; v; v = v->next) {
        nf.files[nf.n] = (struct new_file){v->s, clean_name(c, v->s), &nf};
        if (!nf.files[nf.n++].name.n) {
            gql_fail(c, 400, "invalid file name: %.*s", STR_ARG(v->s));
            return;
        }
    }
    if (!accessor_of(c, &e, &a))
        return;
    int rc = find_run(&a, nf.in, &nf.project, &nf.run);
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_CreateRunFilesPayload, &nf);
}

FIELD_ID(CreateRunFilesPayload, runID, new_files, "Run", run.id)
FIELD_(CreateRunFilesPayload, uploadHeaders, (void)obj; gql_list_begin(c); gql_strz(c, STORAGE_RESUMABLE); gql_list_end(c))

void resolve_CreateRunFilesPayload_files(struct gql_call *c, const void *obj)
{
    const struct new_files *nf = obj;
    gql_list_begin(c);
    for (size_t i = 0; i < nf->n; i++)
        gql_object(c, TYPE_RunFileUpload, &nf->files[i]);
    gql_list_end(c);
}

FIELD_STR(RunFileUpload, name, new_file, asked)
/* The row is made when the bytes are there. */
static void answer_upload_url(struct gql_call *c, int64_t run, struct str name)
{
    AUTO_BUF b = {0};
    if (storage_put_url(request_of(c), &b, STORAGE_RUN_FILE, run, name, (struct str){0}))
        gql_fail(c, 503, "out of memory");
    else
        gql_str(c, buf_str(&b));
}

void resolve_RunFileUpload_uploadUrl(struct gql_call *c, const void *obj)
{
    const struct new_file *f = obj;
    answer_upload_url(c, f->in->run.id, f->name);
}

/* Putting a file is enough; nothing waits for this word. */
void resolve_Mutation_markRunFilesUploaded(struct gql_call *c, const void *obj)
{
    gql_object(c, TYPE_SuccessPayload, &(struct success){true});
}

/* ---- listing --------------------------------------------------------------------------- */

static void take_file(struct gql_call *c, const struct run_row *r, struct db_rows *rows, struct file_row *f)
{
    struct request *q = request_of(c);
    const struct project_row *p = r->project;
    AUTO_BUF url = {0};
    *f = (struct file_row){.kind = "File", .id = db_int(rows, 0), .name = str_of(zstr(c, db_str(rows, 1))),
                           .size_bytes = db_int(rows, 2), .md5 = str_of(zstr(c, db_str(rows, 3))),
                           .mimetype = str_of(zstr(c, db_str(rows, 4))), .updated_us = db_int(rows, 5),
                           .blob = str_of(zstr(c, db_str(rows, 6))), .run_id = r->id};
    buf_printf(&url, "%s/files/", request_base_url(q));
    const struct str parts[] = {p->entity.name, p->name, r->name};
    for (int i = 0; i < 3; i++) {
        http_url_encode(&url, parts[i], false);
        buf_putc(&url, '/');
    }
    http_url_encode(&url, f->name, true);
    f->url = str_of(zstr(c, buf_str(&url)));
}

/* A pattern that ends in the middle of an escape means the backslash: PostgreSQL refuses it otherwise. */
static struct str whole_pattern(struct gql_call *c, struct str pattern)
{
    size_t n = 0;
    while (n < pattern.n && pattern.p[pattern.n - 1 - n] == '\\')
        n++;
    AUTO_BUF b = {0};
    if (n % 2 == 0 || buf_put_str(&b, pattern) || buf_putc(&b, '\\'))
        return pattern;
    return str_of(zstr(c, buf_str(&b)));
}

/* Which files: by name, by pattern, or all. */
static int open_files(struct gql_call *c, const struct accessor *a, int64_t run, int64_t limit, int64_t offset,
                      struct db_rows **rows)
{
#define FILES_SQL                                                                                       \
    "SELECT id, name, size_bytes, md5, mimetype, updated_at, blob FROM files WHERE run_id = $1 AND uploaded = 1"
    struct str pattern = whole_pattern(c, gql_arg_str(c, "pattern"));
    if (pattern.n)
        return db_query(a->db, a->e, rows, FILES_SQL " AND name LIKE $4 ESCAPE '\\' ORDER BY name LIMIT $2 OFFSET $3",
                        DB_ARGS(db_i(run), db_i(limit), db_i(offset), db_s(pattern)));
    return db_query(a->db, a->e, rows, FILES_SQL " ORDER BY name LIMIT $2 OFFSET $3",
                    DB_ARGS(db_i(run), db_i(limit), db_i(offset)));
}

static int files_by_name(struct gql_call *c, const struct accessor *a, const struct run_row *r,
                         const struct gql_value *names, struct file_row *all, size_t *n)
{
    int rc = 0;
    for (const struct gql_value *v = names->first; v && rc >= 0; v = v->next) {
        AUTO_ROWS struct db_rows *rows = NULL;
        rc = db_first(a->db, a->e, &rows, FILES_SQL " AND name = $2",
                      DB_ARGS(db_i(r->id), db_s(v->kind == GQL_STRING ? clean_name(c, v->s) : (struct str){0})));
        if (rc == 1)
            take_file(c, r, rows, &all[(*n)++]);
    }
    return rc < 0 ? rc : 0;
}

void resolve_Run_files(struct gql_call *c, const void *obj)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    const struct run_row *r = obj;
    const struct gql_value *names = gql_arg(c, "names");
    struct err e;
    struct accessor a;
    int64_t limit = page_size(c, "first", 50, MAX_FILES);
    struct connection page = {TYPE_FileEdge, TYPE_File, .stride = sizeof(struct file_row), .total = -1};
    size_t room = names && names->n ? names->n : (size_t)limit + 1;
    struct file_row *all = arena_calloc(gql_arena(c), sizeof *all * (room + 1));
    if (!accessor_of(c, &e, &a) || !all)
        return;
    page.nodes = all;
    page.offset = page_offset(c, "after");
    int rc;
    if (names && names->n) {
        rc = files_by_name(c, &a, r, names, all, &page.n);
        page.total = (int64_t)page.n;
    } else {
        rc = open_files(c, &a, r->id, limit + 1, page.offset, &rows);
        while (rc >= 0 && (rc = db_next(rows, &e)) == 1 && page.n < room)
            take_file(c, r, rows, &all[page.n++]);
        page.has_next = page.n > (size_t)limit;
        page.n -= page.has_next;
        if (rc >= 0 && gql_wants(c, "totalCount"))
            rc = db_get_int(a.db, &e, &page.total, "SELECT count(*) FROM files WHERE run_id = $1 AND uploaded = 1",
                            DB_ARGS(db_i(r->id)));
    }
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_FileConnection, &page);
}

void resolve_Run_fileCount(struct gql_call *c, const void *obj)
{
    struct err e;
    struct accessor a;
    int64_t n = 0;
    if (!accessor_of(c, &e, &a))
        return;
    if (db_get_int(a.db, &e, &n, "SELECT count(*) FROM files WHERE run_id = $1 AND uploaded = 1",
                   DB_ARGS(db_i(((const struct run_row *)obj)->id))) < 0)
        fail_with(c, e.code, &e);
    else
        gql_int(c, n);
}

/* ---- one file, of a run or of an artifact ---------------------------------------------- */

FIELD_(File, id, gql_id(c, ROW_(file_row)->kind, ROW_(file_row)->id))
FIELD_STR(File, name, file_row, name)
FIELD_STR(File, displayName, file_row, name)
FIELD_INT(File, sizeBytes, file_row, size_bytes)
FIELD_STR(File, mimetype, file_row, mimetype)
FIELD_TIME(File, updatedAt, file_row, updated_us)
FIELD_STR(File, md5, file_row, md5)
FIELD_(File, digest, gql_str(c, ROW_(file_row)->digest.p ? ROW_(file_row)->digest : ROW_(file_row)->md5))
FIELD_STR(File, storagePath, file_row, storage_path)

void resolve_File_url(struct gql_call *c, const void *obj)
{
    const struct file_row *f = obj;
    if (f->run_id && gql_arg_bool(c, "upload", false))
        answer_upload_url(c, f->run_id, f->name);
    else
        gql_str(c, f->url);
}

void resolve_File_directUrl(struct gql_call *c, const void *obj)
{
    const struct file_row *f = obj;
    AUTO_BUF b = {0};
    if (f->blob.n && !storage_get_url(request_of(c), &b, f->blob, f->storage_path.p ? f->storage_path : f->name, f->mimetype)) {
        if (f->sums.n) /* clients do not send what stands behind # */
            buf_printf(&b, "#%.*s", STR_ARG(f->sums));
        gql_str(c, buf_str(&b));
    } else {
        gql_str(c, f->url);
    }
}

/* ---- deleteFiles ----------------------------------------------------------------------- */

static int delete_job(struct db_conn *db, void *arg, struct err *e)
{
    struct new_files *nf = arg;
    const struct accessor a = {db, nf->user, nf->arena, e};
    const struct gql_value *ids = gql_in(nf->in, "files");
    for (const struct gql_value *v = ids->first; v; v = v->next) {
        int64_t id = 0, run = 0;
        if (!id_parse(v->s, "File", &id))
            return err_set(e, TARE_ENOTFOUND, "file not found");
        int rc = db_get_int(db, e, &run, "SELECT run_id FROM files WHERE id = $1", DB_ARGS(db_i(id)));
        if (rc <= 0)
            return rc < 0 ? rc : err_set(e, TARE_ENOTFOUND, "file not found");
        if ((rc = access_run_id(&a, run, ACCESS_WRITE, 0, &nf->run)) ||
            (rc = db_exec(db, e, "DELETE FROM files WHERE id = $1", DB_ARGS(db_i(id)))) < 0)
            return rc == TARE_ENOTFOUND ? err_set(e, rc, "file not found") : rc;
    }
    return 0;
}

void resolve_Mutation_deleteFiles(struct gql_call *c, const void *obj)
{
    struct request *q = request_of(c);
    struct err e = {0};
    struct new_files nf = {.user = q->user, .arena = q->arena, .in = gql_arg(c, "input")};
    int rc = request_write(q, delete_job, &nf, &e);
    if (rc >= 0)
        q->server->collect_soon = true;
    if (rc < 0)
        fail_with(c, rc, &e);
    else
        gql_object(c, TYPE_SuccessPayload, &(struct success){true});
}
