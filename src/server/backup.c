/* SPDX-License-Identifier: MIT */
/* The order makes it consistent: first a copy of the database, then the files that the copy names. Files are
 * named by their content and never change; one that was deleted after the copy was made is noticed, and
 * the whole is made again from a newer copy.
 *
 * A file's name says whether its bytes are whole. Of database and secret the entry `sums` says it, a line
 * "SHA-256  NAME" each as `sha256sum` writes them; archives of before have none. */
#include "server/backup.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/os.h"
#include "base/path.h"
#include "server/blob/blob.h"
#include "server/lifecycle.h"
#include "server/store/history.h"
#include "server/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { ATTEMPTS = 5 };
#define ABOUT "tare-backup/about.json"
#define DATABASE "tare-backup/tare.db"
#define SECRET "tare-backup/secret"
#define SUMS "tare-backup/sums"
#define BLOBS "tare-backup/blobs/"

enum { SUM = 2 * SHA256_BYTES + 1 };

/* Every blob that a row refers to. */
static const char blob_names[] =
    "SELECT blob FROM files WHERE blob IS NOT NULL UNION SELECT blob FROM artifact_files WHERE blob IS NOT NULL "
    "UNION SELECT blob FROM artifact_manifests WHERE blob IS NOT NULL";

/* Beside the server that may be running. */
static int open_blobs(const struct server_options *o, struct blobs **out, struct err *e)
{
    AUTO_FREE char *dir = path_join(o->dir, "blobs");
    return blobs_open_beside(out, o->blobs_url ? o->blobs_url : dir, e);
}

/* ---- writing ---- */

struct writing {
    const struct server_options *options;
    struct backup_counts *counts;
    struct blobs *blobs;
    char *copy; /* file name of the database's copy */
    int fd;
};

static int put_named(struct writing *w, const char *path, const char *name, struct err *e)
{
    struct stat st;
    int from = os->open(path, O_RDONLY, 0);
    if (from < 0)
        return err_set(e, from, "opening %s: %s", path, err_text(from));
    int rc = os->fstat(from, &st);
    if (!rc)
        rc = tar_put_file(w->fd, name, from, st.st_size, e);
    os->close(from);
    return rc;
}

static EVP_MD_CTX *sum_begin(void)
{
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    if (!sha || !EVP_DigestInit_ex(sha, EVP_sha256(), NULL))
        abort(); /* out of memory */
    return sha;
}

static void sum_end(EVP_MD_CTX *sha, char to[SUM])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_DigestFinal_ex(sha, digest, NULL);
    EVP_MD_CTX_free(sha);
    digest_hex(to, digest, SHA256_BYTES);
}

static int sum_of(const char *path, char to[SUM], struct err *e)
{
    AUTO_FREE char *block = xmem_alloc(1 << 16);
    ssize_t n;
    int from = os->open(path, O_RDONLY, 0);
    if (from < 0)
        return err_set(e, from, "opening %s: %s", path, err_text(from));
    EVP_MD_CTX *sha = sum_begin();
    while ((n = os->read(from, block, 1 << 16)) > 0)
        EVP_DigestUpdate(sha, block, (size_t)n);
    os->close(from);
    sum_end(sha, to);
    return n < 0 ? err_set(e, (int)n, "reading %s: %s", path, err_text((int)n)) : 0;
}

static int put_sums(struct writing *w, const char *secret, struct err *e)
{
    char database_sum[SUM], secret_sum[SUM];
    AUTO_BUF text = {0};
    int rc = sum_of(w->copy, database_sum, e);
    if (!rc)
        rc = sum_of(secret, secret_sum, e);
    if (rc)
        return rc;
    buf_printf(&text, "%s  " DATABASE "\n%s  " SECRET "\n", database_sum, secret_sum);
    if (text.failed)
        return err_set(e, TARE_ENOMEM, "out of memory");
    return tar_put_bytes(w->fd, SUMS, text.data, text.len, e);
}

static int put_blob(struct writing *w, const char *name, struct err *e)
{
    char entry[TAR_NAME];
    int from;
    int64_t size;
    int rc = blob_open(w->blobs, name, &from, &size, e);
    if (rc)
        return rc == TARE_ENOTFOUND ? err_set(e, TARE_ECONFLICT, "the file %s was deleted meanwhile", name) : rc;
    snprintf(entry, sizeof entry, BLOBS "%.2s/%s", name, name);
    rc = tar_put_file(w->fd, entry, from, size, e);
    os->close(from);
    w->counts->n_blobs += !rc;
    return rc;
}

static int put_blobs(struct writing *w, struct db *copy, struct err *e)
{
    struct db_conn *c;
    int rc = db_read_begin(copy, &c, e);
    if (rc)
        return rc;
    struct db_rows *rows = NULL;
    rc = db_query(c, e, &rows, blob_names, DB_NONE);
    while (rc >= 0 && (rc = db_next(rows, e)) == 1)
        rc = put_blob(w, db_text(rows, 0), e);
    db_rows_end(rows);
    db_read_end(c);
    return rc;
}

static int put_all(struct writing *w, struct err *e)
{
    char about[200];
    struct db *copy;
    AUTO_FREE char *secret = path_join(w->options->dir, "secret");
    struct db_options o = {.url = w->copy, .no_migrate = true};
    int n = snprintf(about, sizeof about, "{\"program\":\"tare " TARE_VERSION "\",\"made_at\":%lld}\n",
                     (long long)(clock_wall_ns() / 1000000000));
    w->counts->n_blobs = 0;
    int rc = tar_put_bytes(w->fd, ABOUT, about, (size_t)n, e);
    if (!rc)
        rc = put_named(w, w->copy, DATABASE, e);
    if (!rc)
        rc = put_named(w, secret, SECRET, e);
    if (!rc)
        rc = put_sums(w, secret, e);
    if (!rc)
        rc = db_open(&o, &copy, e);
    if (rc)
        return rc;
    rc = put_blobs(w, copy, e);
    db_close(copy);
    return rc ? rc : tar_put_end(w->fd, e);
}

static void remove_copy(const char *copy)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        AUTO_BUF b = {0};
        buf_printf(&b, "%s%s", copy, endings[i]);
        if (buf_z(&b))
            os->unlink(buf_z(&b));
    }
}

static int attempt(struct writing *w, struct db *db, struct err *e)
{
    remove_copy(w->copy);
    int rc = db_copy(db, w->copy, e);
    if (!rc)
        rc = os->ftruncate(w->fd, 0);
    if (!rc && lseek(w->fd, 0, SEEK_SET) == 0)
        rc = put_all(w, e);
    remove_copy(w->copy);
    return rc;
}

static int make_archive(struct writing *w, struct err *e)
{
    struct db *db = NULL;
    struct stat st;
    int rc = server_open_db(w->options, &db, e);
    for (int i = 0; i < ATTEMPTS && !rc; i++) {
        rc = attempt(w, db, e);
        if (rc != TARE_ECONFLICT)
            break;
        rc = i + 1 < ATTEMPTS ? 0 : rc;
    }
    if (!rc)
        rc = os->fsync(w->fd);
    if (!rc && !(rc = os->fstat(w->fd, &st)))
        w->counts->n_bytes = st.st_size;
    db_close(db);
    return rc;
}

int backup_write(const struct server_options *options, const char *file, struct backup_counts *counts,
                 struct err *e)
{
    AUTO_BUF partial = {0};
    AUTO_BUF copy = {0};
    AUTO_FREE char *db_path = path_join(options->dir, "tare.db");
    buf_printf(&partial, "%s.partial", file);
    buf_printf(&copy, "%s.db", file);
    if (!db_path || !buf_z(&partial) || !buf_z(&copy))
        return err_set(e, TARE_ENOMEM, "out of memory");
    if (access(file, F_OK) == 0)
        return err_set(e, TARE_EEXIST, "%s exists already", file);
    if (!options->db_url && access(db_path, F_OK) != 0)
        return err_set(e, TARE_ENOTFOUND, "there is no server's data in %s", options->dir);
    struct writing w = {.options = options, .counts = counts, .copy = copy.data};
    w.fd = os->open(partial.data, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (w.fd < 0)
        return err_set(e, w.fd, "making %s: %s", partial.data, err_text(w.fd));
    memset(counts, 0, sizeof *counts);
    int rc = open_blobs(options, &w.blobs, e);
    if (!rc)
        rc = make_archive(&w, e);
    blobs_close(w.blobs);
    os->close(w.fd);
    if (!rc)
        rc = os->rename(partial.data, file);
    if (rc)
        os->unlink(partial.data);
    return rc && e && !e->code ? err_set(e, rc, "writing %s: %s", file, err_text(rc)) : rc;
}

/* ---- restoring ---- */

struct restoring {
    const struct server_options *options;
    struct backup_counts *counts;
    struct blobs *blobs;
    int fd, out;
    bool has_database;
    char database_sum[SUM], secret_sum[SUM]; /* of what came */
    struct buf sums;                         /* the entry */
};

struct taking {
    int fd;
    EVP_MD_CTX *sha;
};

static int take_to_file(void *arg, const void *p, size_t n, struct err *e)
{
    struct taking *t = arg;
    int rc = os_write_all(t->fd, p, n, NULL);
    EVP_DigestUpdate(t->sha, p, n);
    return rc ? err_set(e, rc, "writing: %s", err_text(rc)) : 0;
}

static int take_to_buf(void *arg, const void *p, size_t n, struct err *e)
{
    return buf_append(arg, p, n) < 0 ? err_set(e, TARE_ENOMEM, "out of memory") : 0;
}

static int take_to_blob(void *arg, const void *p, size_t n, struct err *e)
{
    return blob_put_write(arg, p, n, e);
}

static int take_nowhere(void *arg, const void *p, size_t n, struct err *e)
{
    (void)arg;
    (void)p;
    (void)n;
    (void)e;
    return 0;
}

static int restore_file(struct restoring *r, const char *name, int64_t size, char sum[SUM], struct err *e)
{
    AUTO_FREE char *path = path_join(r->options->dir, name);
    struct taking t = {.fd = os->open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600)};
    if (t.fd < 0)
        return err_set(e, t.fd, "making %s: %s", path, err_text(t.fd));
    t.sha = sum_begin();
    int rc = tar_get_bytes(r->fd, size, take_to_file, &t, e);
    if (!rc && (rc = os->fsync(t.fd)) != 0)
        err_set(e, rc, "writing %s: %s", path, err_text(rc));
    os->close(t.fd);
    sum_end(t.sha, sum);
    return rc;
}

static int check_sums(struct restoring *r, struct err *e)
{
    AUTO_BUF want = {0};
    if (!r->sums.len)
        return 0;
    buf_printf(&want, "%s  " DATABASE "\n%s  " SECRET "\n", r->database_sum, r->secret_sum);
    return str_eq(buf_str(&want), buf_str(&r->sums))
               ? 0
               : err_set(e, TARE_EFORMAT, "the database or the secret is damaged in the backup");
}

static int restore_blob(struct restoring *r, const char *name, int64_t size, struct err *e)
{
    struct blob_put *put;
    struct blob_info info;
    int rc = blob_put_begin(r->blobs, &put, size, e);
    if (rc)
        return rc;
    rc = tar_get_bytes(r->fd, size, take_to_blob, put, e);
    if (rc) {
        blob_put_abort(put);
        return rc;
    }
    rc = blob_put_end(put, NULL, &info, e);
    if (!rc && strcmp(info.name, name) != 0)
        rc = err_set(e, TARE_EFORMAT, "the file %s is damaged in the backup", name);
    r->counts->n_blobs += !rc;
    return rc;
}

static int restore_entry(struct restoring *r, const char *name, int64_t size, struct err *e)
{
    if (strcmp(name, DATABASE) == 0) {
        r->has_database = true;
        return restore_file(r, "tare.db", size, r->database_sum, e);
    }
    if (strcmp(name, SECRET) == 0)
        return restore_file(r, "secret", size, r->secret_sum, e);
    if (strcmp(name, SUMS) == 0)
        return size > 4096 ? err_set(e, TARE_EFORMAT, "its sums are damaged")
                           : tar_get_bytes(r->fd, size, take_to_buf, &r->sums, e);
    size_t prefix = sizeof BLOBS - 1;
    if (strncmp(name, BLOBS, prefix) == 0 && strlen(name) > prefix + 3 && blob_is_name(name + prefix + 3))
        return restore_blob(r, name + prefix + 3, size, e);
    return tar_get_bytes(r->fd, size, take_nowhere, NULL, e);
}

static int restore_all(struct restoring *r, struct err *e)
{
    char name[TAR_NAME + 1];
    int64_t size;
    int rc;
    while ((rc = tar_next(r->fd, name, &size, e)) == 1) {
        rc = restore_entry(r, name, size, e);
        if (rc < 0)
            return rc;
    }
    if (!rc && !r->has_database)
        rc = err_set(e, TARE_EFORMAT, "there is no database in it");
    return rc ? rc : check_sums(r, e);
}

/* No server may run on the directory while it is made. */
static int lock_dir(const char *dir, struct err *e)
{
    AUTO_FREE char *path = path_join(dir, "lock");
    int fd = os->open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return err_set(e, fd, "opening %s: %s", path, err_text(fd));
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    os->close(fd);
    return err_set(e, TARE_EEXIST, "a server is using %s", dir);
}

static int check_database(const struct server_options *options, struct err *e)
{
    struct db *db;
    int rc = server_open_db(options, &db, e);
    if (rc)
        return rc;
    rc = db_verify(db, e);
    db_close(db);
    return rc;
}

static int restore_into(struct restoring *r, struct err *e)
{
    int lock = lock_dir(r->options->dir, e);
    if (lock < 0)
        return lock;
    int rc = open_blobs(r->options, &r->blobs, e);
    if (!rc) {
        rc = restore_all(r, e);
        blobs_close(r->blobs);
    }
    if (!rc)
        rc = check_database(r->options, e);
    os->close(lock);
    return rc;
}

int backup_restore(const struct server_options *options, const char *file, struct backup_counts *counts,
                   struct err *e)
{
    AUTO_FREE char *db_path = path_join(options->dir, "tare.db");
    struct stat st;
    memset(counts, 0, sizeof *counts);
    if (options->db_url)
        return err_set(e, TARE_EUNSUPPORTED, "a backup is restored into a directory: leave --db away");
    if (access(db_path, F_OK) == 0)
        return err_set(e, TARE_EEXIST, "there is a server's data in %s already", options->dir);
    int rc = os_mkdirs(options->dir, 0700);
    if (rc)
        return err_set(e, rc, "making %s: %s", options->dir, err_text(rc));
    struct restoring r = {.options = options, .counts = counts};
    r.fd = os->open(file, O_RDONLY, 0);
    if (r.fd < 0)
        return err_set(e, r.fd, "opening %s: %s", file, err_text(r.fd));
    if (os->fstat(r.fd, &st) == 0)
        counts->n_bytes = st.st_size;
    rc = restore_into(&r, e);
    os->close(r.fd);
    buf_fini(&r.sums);
    if (rc)
        os->unlink(db_path); /* so that nothing takes half of it for a server */
    return rc;
}

/* ---- verifying ---- */

struct verifying {
    struct backup_counts *counts;
    verify_fault_fn on_fault;
    void *arg;
    int64_t n_faults;
};

static void fault(struct verifying *v, const char *text)
{
    v->n_faults++;
    v->on_fault(v->arg, text);
}

static int verify_blobs(struct verifying *v, struct db_conn *c, struct blobs *blobs, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_query(c, e, &rows, blob_names, DB_NONE);
    while (rc >= 0 && (rc = db_next(rows, e)) == 1) {
        struct err why = {0};
        if (blob_verify(blobs, db_text(rows, 0), &why) != 0)
            fault(v, why.text);
        v->counts->n_blobs++;
        v->counts->n_bytes += blob_size(blobs, db_text(rows, 0));
    }
    return rc;
}

int64_t backup_verify(const struct server_options *options, struct backup_counts *counts,
                      verify_fault_fn on_fault, void *arg, struct err *e)
{
    struct verifying v = {counts, on_fault, arg, 0};
    struct blobs *blobs = NULL;
    struct db *db;
    struct db_conn *c;
    struct err why = {0};
    memset(counts, 0, sizeof *counts);
    AUTO_FREE char *db_path = path_join(options->dir, "tare.db");
    if (!db_path)
        return err_set(e, TARE_ENOMEM, "out of memory");
    if (!options->db_url && access(db_path, F_OK) != 0) /* opening would make an empty one, which is in order */
        return err_set(e, TARE_ENOTFOUND, "there is no server's data in %s", options->dir);
    int rc = server_open_db(options, &db, e);
    if (rc)
        return rc;
    if (db_verify(db, &why) != 0)
        fault(&v, why.text);
    counts->n_bytes = db_size_bytes(db);
    rc = open_blobs(options, &blobs, e);
    if (!rc)
        rc = db_read_begin(db, &c, e);
    if (!rc) {
        if (history_verify(c, &why) != 0)
            fault(&v, why.text);
        rc = verify_blobs(&v, c, blobs, e);
        db_read_end(c);
    }
    blobs_close(blobs);
    db_close(db);
    return rc < 0 ? rc : v.n_faults;
}

/* ---- commands ---- */

const char backup_help[] =
    "       tare server backup FILE [--dir DIR]      all of it in one file, while it runs\n"
    "       tare server restore FILE [--dir DIR]     into a directory without a server\n"
    "       tare server verify [--dir DIR]           check database, history and files\n";

static void print_fault(void *arg, const char *text)
{
    (void)arg;
    printf("fault: %s\n", text);
}

static int report(const char *verb, int64_t rc, const struct backup_counts *counts, const struct err *e)
{
    if (rc < 0) {
        fprintf(stderr, "tare server: %s: %s\n", verb, e->text);
        return 1;
    }
    printf("%s: %lld faults, %lld files, %lld bytes\n", verb, (long long)rc, (long long)counts->n_blobs,
           (long long)counts->n_bytes);
    return rc ? 1 : 0;
}

bool backup_knows(const char *verb)
{
    return strcmp(verb, "backup") == 0 || strcmp(verb, "restore") == 0 || strcmp(verb, "verify") == 0;
}

/* argv: the verb, FILE where it takes one, then options. */
int backup_main(int argc, char **argv)
{
    const char *verb = argv[0], *file = NULL;
    struct server_options options;
    struct backup_counts counts;
    struct err e = {0};
    int rest, at = 0;
    bool verify = strcmp(verb, "verify") == 0;
    if (!verify && argc > 1 && argv[1][0] != '-') {
        file = argv[1];
        argv[1] = argv[0];
        at = 1;
    }
    int rc = options_parse(argc - at, argv + at, &options, &rest, &e);
    if (rc) {
        fprintf(stderr, "tare server: %s\n", e.text);
        return 2;
    }
    if (!file && !verify && rest < argc - at)
        file = argv[at + rest++];
    int code = 2;
    if (rest < argc - at || (!verify && !file))
        fprintf(stderr, "usage:\n%s", backup_help);
    else if (verify)
        code = report(verb, backup_verify(&options, &counts, print_fault, NULL, &e), &counts, &e);
    else if (strcmp(verb, "backup") == 0)
        code = report(verb, backup_write(&options, file, &counts, &e), &counts, &e);
    else
        code = report(verb, backup_restore(&options, file, &counts, &e), &counts, &e);
    options_fini(&options);
    return code;
}
