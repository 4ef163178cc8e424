/* SPDX-License-Identifier: MIT */
#include "server/lifecycle.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/digest.h"
#include "base/os.h"
#include "base/path.h"
#include "base/random.h"
#include "schema_tables.h"
#include "server/access_log.h"
#include "server/auth.h"
#include "server/blob/blob.h"
#include "server/graphql/document.h"
#include "server/janitor.h"
#include "server/metrics.h"
#include "server/partial.h"
#include "server/quota.h"
#include "server/remote/remote.h"
#include "server/routes.h"
#include "server/webhook/webhook.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_WORKERS = 16, HTTP_THREADS = 4, MAX_CONNECTIONS = 4096, RESERVED_FILES = 300, MIN_FILES = 64 };

/* ---- the directory --------------------------------------------------------------------- */

static int take_lock(struct server *s, struct err *e)
{
    AUTO_FREE char *path = path_join(s->options.dir, "lock");
    char pid[32], other[32] = "";
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return err_set(e, -errno, "opening %s: %s", path, strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t n = read(s->lock_fd, other, sizeof other - 1);
        other[n > 0 ? strcspn(other, "\n") : 0] = 0;
        return err_set(e, TARE_EEXIST, "another server (process %s) is using %s", other[0] ? other : "unknown",
                       s->options.dir);
    }
    AUTO_FREE char *address = path_join(s->options.dir, "address");
    unlink(address); /* of a server that was killed */
    int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(s->lock_fd, 0) < 0 || write(s->lock_fd, pid, (size_t)n) != n)
        return err_set(e, -errno, "writing %s: %s", path, strerror(errno));
    return 0;
}

bool server_has_its_folder(struct server *s)
{
    AUTO_FREE char *path = path_join(s->options.dir, "lock");
    struct stat here, ours;
    int rc = stat(path, &here);
    if (rc < 0 || fstat(s->lock_fd, &ours) < 0)
        return rc == 0 || errno != ENOENT;
    return here.st_dev == ours.st_dev && here.st_ino == ours.st_ino;
}

/* Several servers may share a PostgreSQL database: they share the secret too. */
static int shared_secret_job(struct db_conn *c, void *arg, struct err *e)
{
    struct server *s = arg;
    unsigned char fresh[sizeof s->secret];
    char hex[2 * sizeof s->secret + 1];
    AUTO_ROWS struct db_rows *rows = NULL;
    random_bytes(fresh, sizeof fresh);
    digest_hex(hex, fresh, sizeof fresh);
    int rc = db_exec(c, e, "INSERT INTO settings (name, value, updated_at) VALUES ('secret', $1, $2) ON CONFLICT (name) DO NOTHING",
                     DB_ARGS(db_t(hex), db_i(clock_wall_ns() / 1000)));
    if (rc >= 0)
        rc = db_first(c, e, &rows, "SELECT value FROM settings WHERE name = 'secret'", DB_NONE);
    if (rc < 0)
        return rc;
    struct str value = db_str(rows, 0);
    for (size_t i = 0; i < sizeof s->secret; i++)
        if (value.n != 2 * sizeof s->secret || sscanf(value.p + 2 * i, "%2hhx", &s->secret[i]) != 1)
            return err_set(e, TARE_EFORMAT, "the database's setting 'secret' is damaged");
    return 0;
}

/* The secret that signs URLs lasts as long as the data: tokens survive a restart. */
static int load_secret(struct server *s, struct err *e)
{
    if (db_engine(s->db) == DB_POSTGRES)
        return db_write(s->db, shared_secret_job, s, e);
    AUTO_FREE char *path = path_join(s->options.dir, "secret");
    AUTO_BUF b = {0};
    int rc = os_read_file(path, 64, &b);
    if (!rc && b.len == sizeof s->secret) {
        memcpy(s->secret, b.data, sizeof s->secret);
        return 0;
    }
    if (rc && rc != -ENOENT)
        return err_set(e, rc, "reading %s: %s", path, err_text(rc));
    random_bytes(s->secret, sizeof s->secret);
    rc = os_write_file(path, s->secret, sizeof s->secret, 0600);
    return rc ? err_set(e, rc, "writing %s: %s", path, err_text(rc)) : 0;
}

static int open_dir(struct server *s, struct err *e)
{
    int rc = os_mkdirs(s->options.dir, 0700);
    if (rc)
        return err_set(e, rc, "making %s: %s", s->options.dir, err_text(rc));
    return take_lock(s, e);
}

/* ---- database and blobs ---------------------------------------------------------------- */

/* Files, but no database to say whose they are: a new one would have them removed as nobody's. */
static int check_database_is_there(const struct server_options *o, struct err *e)
{
    AUTO_FREE char *secret = path_join(o->dir, "secret"), *path = path_join(o->dir, "tare.db");
    struct stat st;
    if (o->db_url || stat(secret, &st) < 0 || (stat(path, &st) == 0 && st.st_size > 0))
        return 0;
    return err_set(e, TARE_ENOTFOUND, "%s is gone or empty, but there was one: restore a backup, or begin anew in another folder", path);
}

int server_open_db(const struct server_options *options, struct db **out, struct err *e)
{
    AUTO_FREE char *path = path_join(options->dir, "tare.db");
    int workers = options->max_workers ? options->max_workers : MAX_WORKERS;
    struct db_options o = {.url = options->db_url ? options->db_url : path,
                           .max_readers = workers + HTTP_THREADS + 8};
    int rc = os_mkdirs(options->dir, 0700);
    if (rc)
        return err_set(e, rc, "making %s: %s", options->dir, err_text(rc));
    return db_open(&o, out, e);
}

static int open_blobs(struct server *s, struct err *e)
{
    AUTO_FREE char *path = path_join(s->options.dir, "blobs");
    const char *url = s->options.blobs_url ? s->options.blobs_url : path;
    int rc = db_engine(s->db) == DB_SQLITE ? blobs_open(&s->blobs, url, e) : blobs_open_shared(&s->blobs, url, e);
    return rc ? rc : quota_open(s, e);
}

/* The first start: somebody must be able to log in. */
static int make_administrator(struct server *s, char **new_key, struct err *e)
{
    AUTO_FREE char *path = path_join(s->options.dir, "admin.key");
    char key[AUTH_KEY], line[AUTH_KEY + 1];
    struct db_conn *c;
    int64_t n = 0;
    int rc = db_read_begin(s->db, &c, e);
    if (rc)
        return rc;
    rc = db_get_int(c, e, &n, "SELECT count(*) FROM users WHERE admin = 1", DB_NONE);
    db_read_end(c);
    if (rc < 0 || n)
        return rc < 0 ? rc : 0;
    auth_new_key(key);
    struct auth_user_add u = {.name = "local", .key = key, .admin = true};
    snprintf(line, sizeof line, "%s\n", key);
    rc = os_write_file(path, line, strlen(line), 0600);
    if (rc)
        return err_set(e, rc, "writing %s: %s", path, err_text(rc));
    rc = db_write(s->db, auth_user_add_job, &u, e);
    if (rc < 0)
        return rc;
    *new_key = xmem_strdup(key);
    return 0;
}

/* ---- HTTP ------------------------------------------------------------------------------ */

static int authorize(struct http_request *r)
{
    struct server *s = r->app;
    return auth_request(s->auth, r);
}

static void on_done(struct http_request *r, int status, int64_t bytes)
{
    struct server *s = r->app;
    metrics_request(s->metrics, r, status, bytes);
    access_log_put(s->access_log, r, status, bytes);
}

void server_cancel(struct server *s)
{
    if (!atomic_exchange(&s->is_ending, true))
        diag_warn("ending what still runs");
    db_cancel(s->db);
    remote_cancel();
}

static void on_cancel(void *app)
{
    server_cancel(app);
}

static int read_pem(const char *path, struct buf *to, struct err *e)
{
    int rc = path ? os_read_file(path, 1 << 20, to) : 0;
    if (rc)
        return err_set(e, rc, "reading %s: %s", path, err_text(rc));
    return 0;
}

/* As many files as the system lets us have; connections get what database and blobs do not need. */
static int count_connections(int *n, struct err *e)
{
    struct rlimit r;
    *n = MAX_CONNECTIONS;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return 0;
    if (r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
    if (r.rlim_cur < MIN_FILES)
        return err_set(e, TARE_EINVAL, "the limit of open files is %d; at least %d are needed (ulimit -n)", (int)r.rlim_cur, MIN_FILES);
    rlim_t left = r.rlim_cur > 2 * RESERVED_FILES ? r.rlim_cur - RESERVED_FILES : r.rlim_cur / 2;
    if (left < MAX_CONNECTIONS)
        *n = (int)left;
    return 0;
}

/* Clients refuse a certificate out of its time, and their words rarely say why: ours do. */
static void warn_of_times(const char *path, struct buf *pem)
{
    BIO *in = BIO_new_mem_buf(pem->data, (int)pem->len);
    X509 *cert = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    if (cert && X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        diag_warn("the certificate in %s has expired", path);
    else if (cert && X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
        diag_warn("the certificate in %s is not valid yet", path);
    X509_free(cert);
    BIO_free(in);
}

static int open_http(struct server *s, struct err *e)
{
    AUTO_BUF cert = {0}, key = {0};
    int max_connections;
    int rc = count_connections(&max_connections, e);
    if (rc || (rc = read_pem(s->options.tls_cert, &cert, e)) || (rc = read_pem(s->options.tls_key, &key, e)))
        return rc;
    if (s->options.tls_cert && cert.len)
        warn_of_times(s->options.tls_cert, &cert);
    struct http_options o = {
        .listen = s->options.listen, .routes = server_routes, .app = s, .authorize = authorize,
        .on_done = on_done, .cancel = on_cancel, .max_workers = s->options.max_workers ? s->options.max_workers : MAX_WORKERS,
        .tls_cert = s->options.tls_cert ? buf_z(&cert) : NULL,
        .tls_key = s->options.tls_key ? buf_z(&key) : NULL, .base_url = s->options.base_url,
        .max_connections = max_connections,
    };
    return http_open(&o, &s->http, e);
}

static int write_port_file(struct server *s, struct err *e)
{
    char text[256];
    if (!s->options.port_file)
        return 0;
    int n = http_port(s->http) ? snprintf(text, sizeof text, "sock=%d\nEOF\n", http_port(s->http))
                               : snprintf(text, sizeof text, "%s\nEOF\n", http_address(s->http));
    if (!http_port(s->http))
        text[4] = '='; /* unix:PATH -> unix=PATH */
    int rc = os_write_file(s->options.port_file, text, (size_t)n, 0600);
    return rc ? err_set(e, rc, "writing %s: %s", s->options.port_file, err_text(rc)) : 0;
}

/* ---- all of it ------------------------------------------------------------------------- */

/* DIR/address, for `tare run --server`. */
static int write_address(struct server *s, struct err *e)
{
    AUTO_FREE char *path = path_join(s->options.dir, "address");
    char text[300];
    int n = snprintf(text, sizeof text, "%s%s\n",
                     http_port(s->http) ? s->options.tls_cert ? "https://" : "http://" : "", http_address(s->http));
    int rc = os_write_file(path, text, (size_t)n, 0600);
    return rc ? err_set(e, rc, "writing %s: %s", path, err_text(rc)) : 0;
}

static int open_all(struct server *s, char **new_key, struct err *e)
{
    int rc;
    if (!options_is_local(s->options.listen) && !s->options.tls_cert && !s->options.insecure)
        return err_set(e, TARE_EPERM,
                       "%s is reachable from other machines: give --tls-cert and --tls-key, or --insecure",
                       s->options.listen);
    if ((rc = open_dir(s, e)) || (rc = check_database_is_there(&s->options, e)) || (rc = server_open_db(&s->options, &s->db, e)) || (rc = load_secret(s, e)) ||
        (rc = open_blobs(s, e)) || (rc = make_administrator(s, new_key, e)))
        return rc;
    s->partials = partials_new(s->blobs);
    s->auth = auth_new(s->db);
    s->documents = gql_cache_new(&tare_schema);
    s->metrics = metrics_new();
    s->webhooks = webhook_sender_new(s->db);
    if (!s->options.no_access_log) {
        AUTO_FREE char *path = path_join(s->options.dir, "access.log");
        if (!(s->access_log = access_log_open(path, e)))
            return e->code;
    }
    if ((rc = open_http(s, e)) || (rc = janitor_open(s, &s->janitor, e)))
        return rc;
    return (rc = write_address(s, e)) ? rc : write_port_file(s, e);
}

int server_open(struct server_options *options, struct server **out, char **new_key, struct err *e)
{
    struct server *s = xmem_calloc(1, sizeof *s);
    *new_key = NULL;
    s->options = *options;
    *options = (struct server_options){0};
    s->lock_fd = -1;
    s->started_ns = clock_mono_ns();
    int rc = open_all(s, new_key, e);
    if (rc) {
        server_close(s, 0);
        mem_free(*new_key);
        return rc;
    }
    *out = s;
    return 0;
}

void server_close(struct server *s, int grace_ms)
{
    if (!s)
        return;
    s->http_was_open = s->http != NULL;
    janitor_stop(s->janitor);
    http_close(s->http, grace_ms);
    janitor_close(s->janitor);
    webhook_sender_free(s->webhooks);
    access_log_close(s->access_log);
    metrics_free(s->metrics);
    gql_cache_free(s->documents);
    auth_free(s->auth);
    partials_free(s->partials);
    blobs_close(s->blobs);
    db_close(s->db);
    remote_close();
    if (s->http_was_open) {
        AUTO_FREE char *path = path_join(s->options.dir, "address");
        unlink(path);
    }
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    options_fini(&s->options);
    mem_free(s);
}
