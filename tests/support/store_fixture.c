/* SPDX-License-Identifier: MIT */
#include "tests/support/store_fixture.h"

#include "base/alloc.h"
#include "server/store/codec.h"
#include "tests/unit/postgres.h"

#include <string.h>

struct fixture *store_fixture_new(const char *parent, const char *name)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "%s/%s.XXXXXX", parent, name);
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/tare.db", f->dir);
    f->url = f->path;
    return f;
}

int store_fixture_setup(void **state, const char *name)
{
    struct fixture *f = store_fixture_new("/tmp", name);
    const char *postgres = getenv("TARE_TEST_POSTGRES");
    if (postgres) {
        empty_postgres(postgres);
        f->url = postgres;
    }
    store_fixture_open(f);
    *state = f;
    return 0;
}

void store_fixture_open(struct fixture *f)
{
    struct db_options options = {.url = f->url};
    if (db_open(&options, &f->db, &f->e) != 0)
        fail_msg("%s", f->e.text);
}

static int make_runs(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    return db_script(c, e,
                     "INSERT INTO users (id, username, created_at) VALUES (1, 'ann', 1);"
                     "INSERT INTO entities (id, name, created_at) VALUES (1, 'ann', 1);"
                     "INSERT INTO projects (id, entity_id, name, created_at, updated_at) VALUES (1, 1, 'p', 1, 1);"
                     "INSERT INTO runs (id, project_id, name, created_at, updated_at, heartbeat_at) VALUES "
                     "(1, 1, 'one', 1, 1, 1), (2, 1, 'two', 1, 1, 1)");
}

void store_fixture_make_runs(struct fixture *f)
{
    if (db_write(f->db, make_runs, NULL, &f->e) != 0)
        fail_msg("%s", f->e.text);
}

/* What migrations from 5 on have made, undone. */
static int forget_last_migrations(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    int rc = db_script(c, e, "DROP TABLE console_places; ALTER TABLE artifacts DROP COLUMN merged_into; ALTER TABLE artifacts DROP COLUMN dedup; "
                             "ALTER TABLE blobs DROP COLUMN xxh128; DROP TABLE artifact_references; DROP INDEX artifact_files_digest; DROP TABLE triggers; DROP TABLE integrations; DROP TABLE launch_agents; DROP TABLE run_queue_items;"
                             "DROP TABLE run_queues; DROP TABLE resource_configs; DROP TABLE webhook_deliveries; DROP TABLE webhooks; CREATE TABLE webhooks (id BIGINT);"
                             "ALTER TABLE alerts ADD tries BIGINT; ALTER TABLE alerts ADD delivered_at BIGINT;"
                             "CREATE INDEX alerts_due ON alerts (id)");
    if (rc >= 0)
        rc = db_exec(c, e, "DELETE FROM schema_versions WHERE version >= 5", DB_NONE);
    return rc < 0 ? rc : 1;
}

void store_fixture_close_as_version_4(struct fixture *f)
{
    assert_int_equal(db_write(f->db, forget_last_migrations, NULL, &f->e), 1);
    db_close(f->db);
    f->db = NULL;
}

int store_fixture_teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    db_close(f->db);
    buf_fini(&f->text);
    codec_pool_clear();
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    int rc = system(command);
    free(f);
    return rc;
}
