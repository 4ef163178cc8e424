/* SPDX-License-Identifier: MIT */
#include "tests/unit/postgres.h"

#include "server/artifact/artifact.h"
#include "server/artifact/manifest.h"
#include "server/id_text.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROJECT = 1, OTHER_PROJECT = 2 };
static const int64_t now = 1795000000000000;

struct fixture {
    char dir[64], url[256];
    struct db *db;
    struct blobs *blobs;
    struct err e;
};

static int make_rows(struct db_conn *c, void *arg, struct err *e)
{
    return db_script(c, e,
                     "INSERT INTO entities (id, name, created_at) VALUES (1, 'ann', 1), (2, 'bob', 1);"
                     "INSERT INTO projects (id, entity_id, name, created_at, updated_at) VALUES "
                     "(1, 1, 'p', 1, 1), (2, 2, 'q', 1, 1);");
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/tare-test-artifact-XXXXXX");
    char path[128];
    if (!mkdtemp(f->dir))
        return -1;
    const char *postgres = getenv("TARE_TEST_POSTGRES");
    if (postgres)
        empty_postgres(postgres);
    snprintf(f->url, sizeof f->url, postgres ? "%s" : "%s/db", postgres ? postgres : f->dir);
    if (db_open(&(struct db_options){.url = f->url}, &f->db, &f->e) < 0)
        return -1;
    snprintf(path, sizeof path, "%s/blobs", f->dir);
    if (blobs_open(&f->blobs, path, &f->e) < 0 || db_write(f->db, make_rows, NULL, &f->e) < 0)
        return -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[96];
    db_close(f->db);
    blobs_close(f->blobs);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    int rc = system(command);
    free(f);
    return rc;
}

/* ---- one step of a save each, as a job ---- */

struct save {
    struct fixture *f;
    struct artifact_spec spec;
    struct artifact_made made;
    const char *path, *digest, *bytes; /* of the file at hand */
    struct artifact_file_place place;
    const char *manifest;
    enum artifact_manifest_kind kind;
    int64_t base, manifest_id;
    const char *writer;
};

static int job_create(struct db_conn *c, void *arg, struct err *e)
{
    struct save *s = arg;
    return artifact_create(c, &s->spec, now, &s->made, e);
}

static int job_file(struct db_conn *c, void *arg, struct err *e)
{
    struct save *s = arg;
    return artifact_file_put(c, s->made.id, str_of(s->path), str_of(s->digest), (struct str){0}, now, &s->place, e);
}

static int job_bytes(struct db_conn *c, void *arg, struct err *e)
{
    struct save *s = arg;
    struct blob_info info;
    int rc = blob_put_bytes(s->f->blobs, s->bytes, strlen(s->bytes), &info, e);
    return rc < 0 ? rc : artifact_file_stored(c, s->made.id, str_of(s->path), &info, now, e);
}

static int job_fill_manifest(struct db_conn *c, void *arg, struct err *e)
{
    struct save *s = arg;
    struct blob_info info;
    int rc = blob_put_bytes(s->f->blobs, s->manifest, strlen(s->manifest), &info, e);
    return rc < 0 ? rc : artifact_manifest_stored(c, s->manifest_id, &info, now, e);
}

static int job_manifest(struct db_conn *c, void *arg, struct err *e)
{
    struct save *s = arg;
    int rc = artifact_manifest_put(c, s->made.id, STR("wandb_manifest.json"), s->kind, s->base,
                                   str_of(s->writer), STR("d"), now, &s->manifest_id, e);
    return rc < 0 ? rc : job_fill_manifest(c, s, e);
}

static int64_t number(struct fixture *f, const char *sql, int64_t a)
{
    struct db_conn *c;
    int64_t v = -1;
    assert_int_equal(db_read_begin(f->db, &c, &f->e), 0);
    int rc = db_get_int(c, &f->e, &v, sql, DB_ARGS(db_i(a)));
    assert_true(rc >= 0);
    db_read_end(c);
    return rc == 1 ? v : -1;
}

static void begin(struct save *s, const char *name, const char *digest)
{
    s->spec.type = STR("dataset");
    s->spec.collection = str_of(name);
    s->spec.digest = str_of(digest);
    s->spec.ttl_s = ARTIFACT_TTL_INHERIT;
    s->spec.history_step = -1;
    s->spec.dedup = true;
    if (!s->spec.project_id)
        s->spec.project_id = PROJECT;
    if (!s->writer)
        s->writer = "";
    assert_int_equal(db_write(s->f->db, job_create, s, &s->f->e), 0);
}

static void add_file(struct save *s, const char *path, const char *digest, const char *bytes)
{
    s->path = path, s->digest = digest, s->bytes = bytes;
    assert_int_equal(db_write(s->f->db, job_file, s, &s->f->e), 0);
    if (!s->place.have)
        assert_int_equal(db_write(s->f->db, job_bytes, s, &s->f->e), 0);
}

static void add_manifest(struct save *s, const char *text)
{
    s->manifest = text;
    assert_int_equal(db_write(s->f->db, job_manifest, s, &s->f->e), 0);
}

#define MANIFEST(contents)                                                                      \
    "{\"version\":1,\"storagePolicy\":\"wandb-storage-policy-v1\",\"storagePolicyConfig\":{},"  \
    "\"contents\":{" contents "}}"
#define ENTRY(path, digest) "\"" path "\":{\"digest\":\"" digest "\",\"size\":3}"

/* A version with one file, committed. */
static int64_t commit_one(struct fixture *f, const char *name, const char *digest, const char *bytes)
{
    struct save s = {.f = f};
    char manifest[256];
    begin(&s, name, digest);
    add_file(&s, "a.txt", digest, bytes);
    snprintf(manifest, sizeof manifest, MANIFEST("\"a.txt\":{\"digest\":\"%s\"}"), digest);
    add_manifest(&s, manifest);
    assert_int_equal(artifact_commit(f->db, f->blobs, s.made.id, now, &f->e), 0);
    return s.made.id;
}

static void test_a_version_is_committed_with_its_files(void **state)
{
    struct fixture *f = *state;
    struct save s = {.f = f};
    struct str aliases[] = {STR("best"), STR("latest")};
    s.spec.aliases = aliases, s.spec.n_aliases = 2;
    begin(&s, "ds", "digest-1");
    assert_false(s.made.committed);
    assert_int_equal(s.made.latest_id, 0);
    add_file(&s, "a.txt", "AAA=", "one");
    assert_false(s.place.have);
    add_file(&s, "stray.txt", "SSS=", "stray");
    add_manifest(&s, MANIFEST(ENTRY("a.txt", "AAA=") ",\"r\":{\"digest\":\"etag\",\"ref\":\"s3://b/k\",\"size\":7}"));
    assert_int_equal(artifact_commit(f->db, f->blobs, s.made.id, now, &f->e), 0);
    assert_int_equal(artifact_commit(f->db, f->blobs, s.made.id, now, &f->e), 0); /* again: no change */
    assert_int_equal(number(f, "SELECT version_index FROM artifacts WHERE id = $1", s.made.id), 0);
    assert_int_equal(number(f, "SELECT file_count FROM artifacts WHERE id = $1", s.made.id), 2);
    assert_int_equal(number(f, "SELECT size_bytes FROM artifacts WHERE id = $1", s.made.id), 3 + 7);
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifact_aliases WHERE artifact_id = $1", s.made.id), 2);
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifact_files WHERE artifact_id = $1", s.made.id), 2);
}

/* A row that the upload left as it should be is not written again: only such a one. */
static void test_commit_writes_what_the_manifest_says_of_uploaded_files(void **state)
{
    struct fixture *f = *state;
    int64_t other = commit_one(f, "other", "OOO=", "other");
    struct save s = {.f = f};
    char id[ID_TEXT], manifest[512];
    begin(&s, "ds", "digest-1");
    add_file(&s, "plain", "AAA=", "one");
    add_file(&s, "more", "BBB=", "two");
    add_file(&s, "born", "CCC=", "three");
    add_file(&s, "refers", "DDD=", "four");
    id_make(id, "Artifact", other);
    snprintf(manifest, sizeof manifest,
             MANIFEST(ENTRY("plain", "AAA=") ",\"more\":{\"digest\":\"BBB=\",\"extra\":{\"k\":1}},"
                      "\"born\":{\"digest\":\"CCC=\",\"birthArtifactID\":\"%s\"},"
                      "\"refers\":{\"digest\":\"DDD=\",\"ref\":\"s3://b/k\",\"size\":9}"),
             id);
    add_manifest(&s, manifest);
    assert_int_equal(artifact_commit(f->db, f->blobs, s.made.id, now, &f->e), 0);
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifact_files WHERE artifact_id = $1 AND name = 'plain' "
                               "AND blob IS NOT NULL AND extra IS NULL AND size_bytes = 3", s.made.id), 1);
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifact_files WHERE artifact_id = $1 AND name = 'more' "
                               "AND blob IS NOT NULL AND extra = '{\"k\":1}'", s.made.id), 1);
    assert_int_equal(number(f, "SELECT birth_artifact_id FROM artifact_files WHERE artifact_id = $1 AND name = 'born'",
                            s.made.id), other);
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifact_files WHERE artifact_id = $1 AND name = 'refers' "
                               "AND blob IS NULL AND ref = 's3://b/k' AND size_bytes = 9", s.made.id), 1);
    assert_int_equal(number(f, "SELECT size_bytes FROM artifacts WHERE id = $1", s.made.id), 3 + 3 + 5 + 9);
}

static void test_the_same_digest_is_the_same_version(void **state)
{
    struct fixture *f = *state;
    int64_t first = commit_one(f, "ds", "digest-1", "one");
    struct save again = {.f = f};
    struct str alias = STR("again");
    again.spec.aliases = &alias, again.spec.n_aliases = 1;
    begin(&again, "ds", "digest-1");
    assert_true(again.made.committed);
    assert_int_equal(again.made.id, first);
    assert_int_equal(number(f, "SELECT artifact_id FROM artifact_aliases WHERE alias = 'again' AND $1 = $1", 0), first);
    int64_t second = commit_one(f, "ds", "digest-2", "two");
    assert_int_equal(number(f, "SELECT version_index FROM artifacts WHERE id = $1", second), 1);
    assert_int_equal(number(f, "SELECT artifact_id FROM artifact_aliases WHERE alias = 'latest' AND $1 = $1", 0),
                     second);
}

/* Two clients fill it at the same time; `s` is one of them. */
static void fill_same(struct save *s, struct str *alias, const char *digest)
{
    s->spec.aliases = alias, s->spec.n_aliases = 1;
    begin(s, "ds", digest);
    assert_false(s->made.committed);
    add_file(s, "a.txt", "AAA=", "one");
    add_manifest(s, MANIFEST(ENTRY("a.txt", "AAA=")));
}

static void test_the_same_content_committed_second_becomes_the_first(void **state)
{
    struct fixture *f = *state;
    struct save a = {.f = f}, b = {.f = f}, c = {.f = f};
    struct str names[] = {STR("of-a"), STR("of-b"), STR("of-c")};
    b.spec.tags = &names[1], b.spec.n_tags = 1;
    fill_same(&a, &names[0], "digest-1");
    fill_same(&b, &names[1], "digest-1");
    fill_same(&c, &names[2], "digest-2"); /* other content all the same */
    assert_int_not_equal(a.made.id, b.made.id);
    assert_int_equal(artifact_commit(f->db, f->blobs, a.made.id, now, &f->e), 0);
    assert_int_equal(artifact_commit(f->db, f->blobs, b.made.id, now, &f->e), 0);
    assert_int_equal(artifact_commit(f->db, f->blobs, b.made.id, now, &f->e), 0); /* asked again */
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifacts WHERE state = 'COMMITTED' AND $1 = $1", 0), 1);
    assert_int_equal(number(f, "SELECT artifact_id FROM artifact_aliases WHERE alias = 'of-b' AND $1 = $1", 0), a.made.id);
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifact_aliases WHERE artifact_id = $1", a.made.id), 3);
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifact_tags WHERE artifact_id = $1", a.made.id), 1);
    assert_int_equal(number(f, "SELECT merged_into FROM artifacts WHERE id = $1", b.made.id), a.made.id);
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifact_files WHERE artifact_id = $1", b.made.id), 0);
    assert_int_equal(artifact_commit(f->db, f->blobs, c.made.id, now, &f->e), 0);
    assert_int_equal(number(f, "SELECT version_index FROM artifacts WHERE id = $1", c.made.id), 1); /* none was skipped */
}

static void test_who_wants_the_same_content_twice_gets_it(void **state)
{
    struct fixture *f = *state;
    struct save a = {.f = f}, b = {.f = f};
    fill_same(&a, &(struct str){"x", 1}, "digest-1");
    fill_same(&b, &(struct str){"y", 1}, "digest-1");
    b.spec.dedup = false;
    assert_int_equal(artifact_commit(f->db, f->blobs, a.made.id, now, &f->e), 0);
    assert_true(db_write(f->db, job_create, &b, &f->e) >= 0);
    add_file(&b, "a.txt", "AAA=", "one");
    add_manifest(&b, MANIFEST(ENTRY("a.txt", "AAA=")));
    assert_int_equal(artifact_commit(f->db, f->blobs, b.made.id, now, &f->e), 0);
    assert_int_equal(number(f, "SELECT version_index FROM artifacts WHERE id = $1", b.made.id), 1);
}

/* As another server on f's database and directory. */
static int open_beside(struct fixture *g, const struct fixture *f)
{
    char path[128];
    snprintf(path, sizeof path, "%s/blobs", f->dir);
    int rc = db_open(&(struct db_options){.url = f->url}, &g->db, &g->e);
    return rc < 0 ? rc : blobs_open_shared(&g->blobs, path, &g->e);
}

struct committer {
    const struct fixture *f;
    pthread_barrier_t *start;
    int64_t id;
    int rc;
};

/* On a server of its own. */
static void *commit_beside(void *arg)
{
    struct committer *o = arg;
    struct fixture g = {0};
    o->rc = open_beside(&g, o->f);
    pthread_barrier_wait(o->start);
    if (o->rc >= 0)
        o->rc = artifact_commit(g.db, g.blobs, o->id, now, &g.e);
    db_close(g.db);
    blobs_close(g.blobs);
    return NULL;
}

static void test_of_many_commits_of_one_content_at_once_one_makes_a_version(void **state)
{
    enum { ROUNDS = 8, CLIENTS = 4 };
    struct fixture *f = *state;
    for (int round = 0; round < ROUNDS; round++) {
        struct committer all[CLIENTS];
        pthread_t threads[CLIENTS];
        pthread_barrier_t start;
        char digest[32];
        snprintf(digest, sizeof digest, "digest-%d", round);
        pthread_barrier_init(&start, NULL, CLIENTS);
        for (int i = 0; i < CLIENTS; i++) {
            struct save s = {.f = f};
            char name[8];
            snprintf(name, sizeof name, "by-%d", i);
            fill_same(&s, &(struct str){name, 4}, digest);
            all[i] = (struct committer){.f = f, .start = &start, .id = s.made.id};
        }
        for (int i = 0; i < CLIENTS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, commit_beside, &all[i]), 0);
        for (int i = 0; i < CLIENTS; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(all[i].rc, 0);
        }
        pthread_barrier_destroy(&start);
        assert_int_equal(number(f, "SELECT COUNT(*) FROM artifacts WHERE state = 'COMMITTED' AND $1 = $1", 0), round + 1);
        assert_int_equal(number(f, "SELECT COUNT(DISTINCT artifact_id) FROM artifact_aliases WHERE alias LIKE 'by-%' AND $1 = $1", 0), 1);
    }
}

static void test_bytes_are_shared_within_an_entity_only(void **state)
{
    struct fixture *f = *state;
    int64_t first = commit_one(f, "ds", "shared=", "one");
    struct save mine = {.f = f}, foreign = {.f = f};
    begin(&mine, "other", "x");
    add_file(&mine, "b.txt", "shared=", "one");
    assert_true(mine.place.have);
    assert_int_equal(mine.place.birth_id, first);
    foreign.spec.project_id = OTHER_PROJECT;
    begin(&foreign, "ds", "shared=");
    assert_false(foreign.made.committed);
    foreign.path = "b.txt", foreign.digest = "shared=";
    assert_int_equal(db_write(f->db, job_file, &foreign, &f->e), 0);
    assert_false(foreign.place.have);
    /* and naming the owner's artifact as birth place in the manifest helps nothing */
    char birth[64], manifest[256];
    id_make(birth, "Artifact", first);
    snprintf(manifest, sizeof manifest,
             MANIFEST("\"b.txt\":{\"digest\":\"shared=\",\"birthArtifactID\":\"%s\"}"), birth);
    add_manifest(&foreign, manifest);
    assert_int_equal(artifact_commit(f->db, f->blobs, foreign.made.id, now, &f->e), TARE_EINVAL);
    assert_non_null(strstr(f->e.text, "b.txt"));
}

static void test_commit_without_bytes_or_manifest_is_refused(void **state)
{
    struct fixture *f = *state;
    struct save s = {.f = f};
    begin(&s, "ds", "d");
    assert_int_equal(artifact_commit(f->db, f->blobs, s.made.id, now, &f->e), TARE_EINVAL);
    add_manifest(&s, MANIFEST(ENTRY("missing.bin", "MMM=")));
    assert_int_equal(artifact_commit(f->db, f->blobs, s.made.id, now, &f->e), TARE_EINVAL);
    assert_non_null(strstr(f->e.text, "missing.bin"));
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifacts WHERE id = $1 AND state = 'PENDING'", s.made.id), 1);
    assert_int_equal(artifact_commit(f->db, f->blobs, 999, now, &f->e), TARE_ENOTFOUND);
}

static void test_incremental_is_laid_over_its_base(void **state)
{
    struct fixture *f = *state;
    int64_t base = commit_one(f, "ds", "one=", "one");
    struct save s = {.f = f, .kind = MANIFEST_INCREMENTAL, .base = base};
    s.spec.dedup = false;
    begin(&s, "ds", "new");
    assert_int_equal(s.made.latest_id, base);
    add_file(&s, "b.txt", "two=", "two");
    add_manifest(&s, MANIFEST(ENTRY("b.txt", "two=")));
    assert_int_equal(artifact_commit(f->db, f->blobs, s.made.id, now, &f->e), 0);
    assert_int_equal(number(f, "SELECT file_count FROM artifacts WHERE id = $1", s.made.id), 2);
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifact_manifests WHERE artifact_id = $1 AND kind = 'FULL'",
                            s.made.id), 1);
}

static void expect_digest(struct fixture *f, int64_t id, const char *want)
{
    char sql[160];
    snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM artifacts WHERE id = $1 AND digest = '%s'", want);
    assert_int_equal(number(f, sql, id), 1);
}

/* The digest that a client sends with a part is the part's: a version of the part alone has it too. */
static void test_the_digest_of_a_merged_version_is_of_the_whole(void **state)
{
    struct fixture *f = *state;
    int64_t base = commit_one(f, "ds", "one=", "one");
    struct save s = {.f = f, .kind = MANIFEST_INCREMENTAL, .base = base};
    s.spec.client_id = STR("client");
    begin(&s, "ds", "part");
    add_file(&s, "0.txt", "two=", "two");
    add_manifest(&s, MANIFEST(ENTRY("0.txt", "two=")));
    assert_int_equal(artifact_commit(f->db, f->blobs, s.made.id, now, &f->e), 0);
    /* printf 'wandb-artifact-manifest-v1\n0.txt:two=\na.txt:one=\n' | md5sum */
    expect_digest(f, s.made.id, "5f9035484d65b1047d103a8328c01a12");
    struct save again = s, alone = {.f = f};
    begin(&again, "ds", "part");
    assert_true(again.made.committed);
    assert_int_equal(again.made.id, s.made.id);
    begin(&alone, "ds", "part");
    assert_false(alone.made.committed);
    assert_int_not_equal(alone.made.id, s.made.id);
}

static void test_patches_of_a_distributed_save_are_joined(void **state)
{
    struct fixture *f = *state;
    struct save a = {.f = f, .kind = MANIFEST_PATCH, .writer = "run-a"};
    struct save b = {.f = f, .kind = MANIFEST_PATCH, .writer = "run-b"};
    a.spec.distributed_id = b.spec.distributed_id = STR("group");
    begin(&a, "ds", "da");
    begin(&b, "ds", "db");
    assert_int_equal(a.made.id, b.made.id);
    add_file(&a, "a", "aaa=", "aaa");
    add_manifest(&a, MANIFEST(ENTRY("a", "aaa=")));
    add_file(&b, "b", "bbb=", "bbb");
    add_manifest(&b, MANIFEST(ENTRY("b", "bbb=")));
    assert_int_equal(artifact_commit(f->db, f->blobs, a.made.id, now, &f->e), 0);
    assert_int_equal(number(f, "SELECT file_count FROM artifacts WHERE id = $1", a.made.id), 2);
}

static int job_begin_manifest(struct db_conn *c, void *arg, struct err *e)
{
    struct save *s = arg;
    return artifact_manifest_put(c, s->made.id, STR("wandb_manifest.json"), s->kind, s->base, str_of(s->writer), STR(""),
                                 now, &s->manifest_id, e);
}

static int job_shorten(struct db_conn *c, void *arg, struct err *e)
{
    return db_exec(c, e, "UPDATE artifact_manifests SET name = 'p' || CAST(id AS TEXT)", DB_NONE);
}

/* As databases of early versions have them. */
static void test_patches_may_have_short_names(void **state)
{
    struct fixture *f = *state;
    struct save a = {.f = f, .kind = MANIFEST_PATCH, .writer = "run-a"}, b = {.f = f, .kind = MANIFEST_PATCH};
    a.spec.distributed_id = b.spec.distributed_id = STR("group");
    begin(&a, "ds", "da");
    begin(&b, "ds", "db");
    assert_int_equal(db_write(f->db, job_begin_manifest, &b, &f->e), 0); /* not filled yet */
    add_file(&a, "a", "aaa=", "aaa");
    add_manifest(&a, MANIFEST(ENTRY("a", "aaa=")));
    add_file(&b, "b", "bbb=", "bbb");
    assert_true(db_write(f->db, job_shorten, NULL, &f->e) > 0);
    assert_int_equal(artifact_commit(f->db, f->blobs, a.made.id, now, &f->e), TARE_EINVAL);
    assert_non_null(strstr(f->e.text, "has not been uploaded"));
    b.manifest = MANIFEST(ENTRY("b", "bbb="));
    assert_int_equal(db_write(f->db, job_fill_manifest, &b, &f->e), 0);
    assert_int_equal(artifact_commit(f->db, f->blobs, a.made.id, now, &f->e), 0);
    assert_int_equal(number(f, "SELECT file_count FROM artifacts WHERE id = $1", a.made.id), 2);
}

static void test_one_writer_brings_several_patches(void **state)
{
    struct fixture *f = *state;
    struct save a = {.f = f, .kind = MANIFEST_PATCH, .writer = "run-a"};
    struct save b = {.f = f, .kind = MANIFEST_PATCH, .writer = "run-b"};
    a.spec.distributed_id = b.spec.distributed_id = STR("group");
    begin(&a, "ds", "da");
    begin(&b, "ds", "db");
    add_file(&a, "a", "aaa=", "aaa");
    add_manifest(&a, MANIFEST(ENTRY("a", "aaa=")));
    assert_int_equal(db_write(f->db, job_begin_manifest, &a, &f->e), 0); /* its answer was lost: asked again */
    add_file(&a, "b", "bbb=", "bbb");
    add_manifest(&a, MANIFEST(ENTRY("b", "bbb=")));
    assert_int_equal(db_write(f->db, job_begin_manifest, &b, &f->e), 0); /* on its way */
    assert_int_equal(artifact_commit(f->db, f->blobs, a.made.id, now, &f->e), TARE_EINVAL);
    add_file(&b, "c", "ccc=", "ccc");
    add_manifest(&b, MANIFEST(ENTRY("c", "ccc=")));
    assert_int_equal(artifact_commit(f->db, f->blobs, a.made.id, now, &f->e), 0);
    assert_int_equal(number(f, "SELECT file_count FROM artifacts WHERE id = $1", a.made.id), 3);
}

struct link {
    int64_t artifact, project, collection, index;
    const char *name;
    bool with_aliases;
};

static int job_link(struct db_conn *c, void *arg, struct err *e)
{
    struct link *l = arg;
    struct str alias = STR("prod");
    return artifact_link(c, l->artifact, l->project, str_of(l->name), &alias, 1, 0, now, &l->collection, &l->index, e);
}

static int job_unlink(struct db_conn *c, void *arg, struct err *e)
{
    struct link *l = arg;
    return artifact_unlink(c, l->artifact, l->collection, e);
}

static int job_sql(struct db_conn *c, void *arg, struct err *e)
{
    return db_exec(c, e, arg, DB_NONE);
}

struct alias {
    int64_t artifact;
    const char *name;
};

static int job_alias(struct db_conn *c, void *arg, struct err *e)
{
    struct alias *l = arg;
    int64_t sequence;
    int rc = db_get_int(c, e, &sequence, "SELECT sequence_id FROM artifacts WHERE id = $1", DB_ARGS(db_i(l->artifact)));
    return rc < 0 ? rc : artifact_alias_set(c, sequence, str_of(l->name), l->artifact, now, e);
}

static int job_delete(struct db_conn *c, void *arg, struct err *e)
{
    struct link *l = arg;
    return artifact_delete(c, l->artifact, l->with_aliases, now, e);
}

static void test_links_have_their_own_versions_and_leave_again(void **state)
{
    struct fixture *f = *state;
    struct link one = {.artifact = commit_one(f, "ds", "1=", "one"), .project = PROJECT, .name = "models"};
    struct link two = {.artifact = commit_one(f, "ds", "2=", "two"), .project = PROJECT, .name = "models"};
    assert_int_equal(db_write(f->db, job_link, &two, &f->e), 0);
    assert_int_equal(db_write(f->db, job_link, &one, &f->e), 0);
    assert_int_equal(two.index, 0);
    assert_int_equal(one.index, 1);
    assert_int_equal(db_write(f->db, job_link, &one, &f->e), 0);
    assert_int_equal(one.index, 1);
    one.name = "ds";
    assert_int_equal(db_write(f->db, job_link, &one, &f->e), TARE_ECONFLICT);
    assert_int_equal(db_write(f->db, job_unlink, &one, &f->e), 0);
    /* `latest` of the portfolio falls back to the version that stays */
    assert_int_equal(number(f, "SELECT artifact_id FROM artifact_aliases WHERE alias = 'latest' AND collection_id = $1",
                            two.collection), two.artifact);
}

static int job_find(struct db_conn *c, void *arg, struct err *e)
{
    struct link *l = arg;
    return artifact_find(c, l->collection, str_of(l->name), &l->artifact, &l->index, e);
}

static void test_versions_are_found_by_alias_and_index(void **state)
{
    struct fixture *f = *state;
    int64_t first = commit_one(f, "ds", "1=", "one"), second = commit_one(f, "ds", "2=", "two");
    struct link l = {.collection = number(f, "SELECT sequence_id FROM artifacts WHERE id = $1", first)};
    l.name = "v0";
    assert_int_equal(db_write(f->db, job_find, &l, &f->e), 0);
    assert_int_equal(l.artifact, first);
    l.name = "latest";
    assert_int_equal(db_write(f->db, job_find, &l, &f->e), 0);
    assert_int_equal(l.artifact, second);
    assert_int_equal(l.index, 1);
    l.name = "v7";
    assert_int_equal(db_write(f->db, job_find, &l, &f->e), 0);
    assert_int_equal(l.artifact, 0);
}

static int count_one(void *arg, const char *name, int64_t size_bytes)
{
    ++*(int *)arg;
    return 0;
}

static void test_collection_keeps_what_is_referenced(void **state)
{
    struct fixture *f = *state;
    struct link keep = {.artifact = commit_one(f, "ds", "shared=", "same"), .with_aliases = true};
    struct link gone = {.artifact = commit_one(f, "other", "shared2=", "other"), .with_aliases = true};
    struct save copy = {.f = f};
    begin(&copy, "third", "t");
    add_file(&copy, "x", "shared=", "same"); /* pending, but refers to the same bytes */
    assert_int_equal(db_write(f->db, job_delete, &gone, &f->e), 0);
    int64_t freed = 0;
    assert_int_equal(artifact_collect(f->db, f->blobs, now, &freed, &f->e), 0);
    assert_true(freed > (int64_t)strlen("other"));
    int before = 0, after = 0;
    assert_int_equal(blobs_each(f->blobs, count_one, &before, NULL), 0);
    assert_int_equal(before, 2); /* "same" and the manifest of ds */
    assert_int_equal(db_write(f->db, job_delete, &keep, &f->e), 0);
    assert_int_equal(artifact_collect(f->db, f->blobs, now, &freed, &f->e), 0);
    assert_int_equal(blobs_each(f->blobs, count_one, &after, NULL), 0);
    assert_int_equal(after, 1); /* the pending copy still refers to "same" */
}

static int64_t commit_with_ttl(struct fixture *f, const char *name, const char *bytes, int64_t ttl_s)
{
    int64_t id = commit_one(f, name, bytes, bytes);
    char sql[96];
    snprintf(sql, sizeof sql, "UPDATE artifacts SET ttl_s = %lld WHERE id = %lld", (long long)ttl_s, (long long)id);
    assert_true(db_write(f->db, job_sql, sql, &f->e) >= 0);
    return id;
}

static bool is_there(struct fixture *f, int64_t id)
{
    return number(f, "SELECT COUNT(*) FROM artifacts WHERE id = $1 AND state = 'COMMITTED'", id) == 1;
}

static void test_a_version_ends_with_its_time_but_for_named_and_linked_ones(void **state)
{
    struct fixture *f = *state;
    int64_t second = 1000000, plain = commit_with_ttl(f, "a", "1=", 10), longest = commit_with_ttl(f, "b", "2=", INT64_MAX);
    int64_t none = commit_with_ttl(f, "c", "3=", ARTIFACT_TTL_NONE), old = commit_with_ttl(f, "d", "4=", 10);
    int64_t newer = commit_one(f, "d", "5=", "5=");
    struct alias alias = {.artifact = commit_with_ttl(f, "e", "6=", 10), .name = "best"};
    struct link link = {.artifact = commit_with_ttl(f, "f", "7=", 10), .project = PROJECT, .name = "models"};
    assert_int_equal(db_write(f->db, job_alias, &alias, &f->e), 0);
    assert_int_equal(db_write(f->db, job_link, &link, &f->e), 0);
    assert_true(db_write(f->db, job_sql, "DELETE FROM artifact_aliases WHERE alias = 'prod'", &f->e) >= 0);
    assert_int_equal(artifact_collect(f->db, f->blobs, now + 9 * second, NULL, &f->e), 0);
    assert_true(is_there(f, plain) && is_there(f, old));
    assert_int_equal(artifact_collect(f->db, f->blobs, now + 10 * second, NULL, &f->e), 0);
    assert_true(!is_there(f, plain) && !is_there(f, old) && is_there(f, newer) && is_there(f, longest) && is_there(f, none));
    assert_true(is_there(f, alias.artifact) && is_there(f, link.artifact));
    assert_int_equal(db_write(f->db, job_unlink, &link, &f->e), 0);
    assert_true(db_write(f->db, job_sql, "DELETE FROM artifact_aliases WHERE alias = 'best'", &f->e) >= 0);
    assert_int_equal(artifact_collect(f->db, f->blobs, now + 11 * second, NULL, &f->e), 0);
    assert_true(!is_there(f, alias.artifact) && !is_there(f, link.artifact));
}

static void test_a_save_that_was_given_up_is_forgotten_in_a_week(void **state)
{
    struct fixture *f = *state;
    int64_t day = INT64_C(86400) * 1000000, freed = 0;
    struct save s = {.f = f};
    begin(&s, "ds", "d");
    add_file(&s, "a", "a=", "leftover");
    assert_int_equal(artifact_collect(f->db, f->blobs, now + 6 * day, &freed, &f->e), 0);
    assert_int_equal(freed, 0);
    assert_int_equal(artifact_collect(f->db, f->blobs, now + 8 * day, &freed, &f->e), 0);
    assert_int_equal(freed, strlen("leftover"));
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifacts WHERE id = $1 AND state = 'DELETED'", s.made.id), 1);
}

/* A version of one entry that is a file of another. */
static int64_t commit_reference(struct fixture *f, const char *name, int64_t target)
{
    struct save s = {.f = f};
    char manifest[512], hex[64] = "", text[32];
    snprintf(text, sizeof text, "Artifact:%lld", (long long)target);
    for (const char *p = text; *p; p++)
        sprintf(hex + strlen(hex), "%02x", (unsigned)*p);
    begin(&s, name, name);
    snprintf(manifest, sizeof manifest, MANIFEST("\"r\":{\"digest\":\"x\",\"ref\":\"wandb-artifact://%s/a.txt\"},"
             "\"bad\":{\"digest\":\"x\",\"ref\":\"wandb-artifact://4g/a\"},\"odd\":{\"digest\":\"x\",\"ref\":\"wandb-artifact://417\"}"), hex);
    add_manifest(&s, manifest);
    assert_int_equal(artifact_commit(f->db, f->blobs, s.made.id, now, &f->e), 0);
    return s.made.id;
}

/* a <- b <- c: files stay as long as somebody gets to them. */
static void test_files_of_a_deleted_version_stay_while_another_refers_to_them(void **state)
{
    struct fixture *f = *state;
    static const char files[] = "SELECT COUNT(*) FROM artifact_files WHERE artifact_id = $1";
    struct link a = {.artifact = commit_one(f, "a", "1=", "one"), .with_aliases = true};
    struct link b = {.artifact = commit_reference(f, "b", a.artifact), .with_aliases = true};
    struct link c = {.artifact = commit_reference(f, "c", b.artifact), .with_aliases = true};
    assert_int_equal(db_write(f->db, job_delete, &a, &f->e), 0);
    assert_int_equal(db_write(f->db, job_delete, &b, &f->e), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(artifact_collect(f->db, f->blobs, now + i, NULL, &f->e), 0);
    assert_true(!is_there(f, a.artifact) && !is_there(f, b.artifact));
    assert_int_equal(number(f, files, a.artifact), 1);
    assert_int_equal(number(f, files, b.artifact), 3);
    assert_int_equal(db_write(f->db, job_delete, &c, &f->e), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(artifact_collect(f->db, f->blobs, now + i, NULL, &f->e), 0);
    assert_int_equal(number(f, files, a.artifact) + number(f, files, b.artifact), 0);
    int left = 0;
    assert_int_equal(blobs_each(f->blobs, count_one, &left, NULL), 0);
    assert_int_equal(left, 0);
}

struct row {
    struct blob_info blob;
    int64_t run_file; /* 0: no reference */
};

static int job_row(struct db_conn *c, void *arg, struct err *e)
{
    struct row *r = arg;
    int rc = blob_row_put(c, &r->blob, now, e);
    if (rc < 0 || !r->run_file)
        return rc;
    return db_exec(c, e,
                   "INSERT INTO files (run_id, name, blob, created_at, updated_at) VALUES (1, $1, $2, 1, 1) "
                   "ON CONFLICT (run_id, name) DO UPDATE SET blob = excluded.blob",
                   DB_ARGS(db_t("f"), db_t(r->blob.name)));
}

/* The second upload finds the bytes there, and they are removed before its row is written. */
static void test_bytes_that_are_removed_before_their_row_are_sent_again(void **state)
{
    struct fixture *f = *state;
    struct row r = {0};
    assert_int_equal(blob_put_bytes(f->blobs, "same", 4, &r.blob, &f->e), 0);
    assert_true(r.blob.fresh);
    assert_int_equal(db_write(f->db, job_row, &r, &f->e), 0);
    assert_int_equal(blob_put_bytes(f->blobs, "same", 4, &r.blob, &f->e), 0);
    assert_false(r.blob.fresh);
    assert_int_equal(artifact_collect(f->db, f->blobs, now, NULL, &f->e), 0);
    assert_int_equal(db_write(f->db, job_row, &r, &f->e), TARE_EIO);
    assert_int_equal(number(f, "SELECT COUNT(*) FROM blobs WHERE size_bytes >= $1", 0), 0);
    assert_int_equal(blob_put_bytes(f->blobs, "same", 4, &r.blob, &f->e), 0);
    assert_int_equal(db_write(f->db, job_row, &r, &f->e), 0);
}

static int job_unrefer(struct db_conn *c, void *arg, struct err *e)
{
    return db_exec(c, e, "DELETE FROM files WHERE run_id = 1", DB_NONE);
}

static int make_run(struct db_conn *c, void *arg, struct err *e)
{
    return db_exec(c, e,
                   "INSERT INTO runs (id, project_id, name, created_at, updated_at, heartbeat_at) "
                   "VALUES (1, 1, 'r', 1, 1, 1)",
                   DB_NONE);
}

struct other {
    const struct fixture *f;
    atomic_bool stop;
    _Atomic(int64_t) rounds;
    atomic_int rc;
};

/* Another server on the same database and directory, collecting all the time. */
static void *collect_beside(void *arg)
{
    struct other *o = arg;
    struct fixture g = {0};
    o->rc = open_beside(&g, o->f);
    for (; o->rc >= 0 && !o->stop; o->rounds++)
        o->rc = artifact_collect(g.db, g.blobs, now, NULL, &g.e);
    db_close(g.db);
    blobs_close(g.blobs);
    return NULL;
}

static void test_two_servers_never_remove_what_one_of_them_refers_to(void **state)
{
    struct fixture *f = *state;
    struct other o = {.f = f};
    pthread_t thread;
    int kept = 0, tries = 0;
    assert_int_equal(db_write(f->db, make_run, NULL, &f->e), 1);
    assert_int_equal(pthread_create(&thread, NULL, collect_beside, &o), 0);
    while (kept < 150 || (o.rounds < 50 && o.rc >= 0)) {
        struct row r = {.run_file = 1};
        char text[8];
        snprintf(text, sizeof text, "text %d", ++tries % 2);
        assert_int_equal(blob_put_bytes(f->blobs, text, 6, &r.blob, &f->e), 0);
        int rc = db_write(f->db, job_row, &r, &f->e);
        if (rc == TARE_EIO)
            continue; /* as a client does */
        assert_true(rc >= 0);
        assert_int_equal(blob_exists(f->blobs, r.blob.name, &f->e), 1);
        kept++;
        assert_true(db_write(f->db, job_unrefer, NULL, &f->e) >= 0);
    }
    o.stop = true;
    pthread_join(thread, NULL);
    assert_int_equal(o.rc, 0);
}

static void test_a_version_with_aliases_is_kept_unless_told(void **state)
{
    struct fixture *f = *state;
    struct link l = {.artifact = commit_one(f, "ds", "1=", "one"), .project = PROJECT, .name = "models"};
    assert_int_equal(db_write(f->db, job_link, &l, &f->e), 0);
    assert_int_equal(db_write(f->db, job_delete, &l, &f->e), TARE_ECONFLICT);
    l.with_aliases = true;
    assert_int_equal(db_write(f->db, job_delete, &l, &f->e), 0);
    assert_int_equal(number(f, "SELECT COUNT(*) FROM artifact_memberships WHERE artifact_id = $1", l.artifact), 0);
}

static int count_entry(void *arg, const struct manifest_entry *m)
{
    ++*(int *)arg;
    return 0;
}

static void test_manifests_that_are_none_are_refused(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } bad[] = {
        {"", TARE_EFORMAT}, {"[]", TARE_EFORMAT}, {"{\"version\":1}", TARE_EFORMAT},
        {"{\"version\":2,\"contents\":{}}", TARE_EUNSUPPORTED},
        {MANIFEST("\"../x\":{\"digest\":\"d\"}"), TARE_EFORMAT},
        {MANIFEST("\"/x\":{\"digest\":\"d\"}"), TARE_EFORMAT},
        {MANIFEST("\"x\":{}"), TARE_EFORMAT}, {MANIFEST("\"x\":3"), TARE_EFORMAT},
        {MANIFEST("\"x\":{\"digest\":\"d\",\"size\":-1}"), TARE_EFORMAT},
        {MANIFEST("\"x\":{\"digest\":\"d\",\"size\":1.5}"), TARE_EFORMAT},
    };
    struct arena a;
    arena_init(&a, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int n = 0;
        struct err e = {0};
        int rc = manifest_walk(str_of(bad[i].text), &a, count_entry, &n, &e);
        if (rc != bad[i].rc || !e.text[0])
            fail_msg("%s gave %d", bad[i].text, rc);
    }
    int n = 0;
    assert_int_equal(manifest_walk(STR(MANIFEST("\"d\\u00e9/x\":{\"digest\":\"d\",\"new\":[1]}")), &a, count_entry, &n, NULL), 0);
    assert_int_equal(n, 1);
    arena_fini(&a);
}

static void test_ids_survive_and_foreign_ones_do_not(void **state)
{
    char text[ID_TEXT];
    int64_t id = 0;
    id_make(text, "Artifact", 12345);
    assert_true(id_parse(str_of(text), "Artifact", &id) && id == 12345);
    assert_false(id_parse(str_of(text), "Run", &id));
    assert_false(id_parse(STR("!!!!"), "Artifact", &id));
    assert_false(id_parse(STR(""), "Artifact", &id));
    assert_false(id_parse(STR("QXJ0aWZhY3Q6MXg="), "Artifact", &id)); /* Artifact:1x */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_version_is_committed_with_its_files),
        TEST(test_commit_writes_what_the_manifest_says_of_uploaded_files),
        TEST(test_the_same_digest_is_the_same_version),
        TEST(test_the_same_content_committed_second_becomes_the_first),
        TEST(test_who_wants_the_same_content_twice_gets_it),
        TEST(test_of_many_commits_of_one_content_at_once_one_makes_a_version),
        TEST(test_bytes_are_shared_within_an_entity_only),
        TEST(test_commit_without_bytes_or_manifest_is_refused),
        TEST(test_incremental_is_laid_over_its_base),
        TEST(test_the_digest_of_a_merged_version_is_of_the_whole),
        TEST(test_patches_of_a_distributed_save_are_joined),
        TEST(test_patches_may_have_short_names),
        TEST(test_one_writer_brings_several_patches),
        TEST(test_links_have_their_own_versions_and_leave_again),
        TEST(test_versions_are_found_by_alias_and_index),
        TEST(test_collection_keeps_what_is_referenced),
        TEST(test_a_version_ends_with_its_time_but_for_named_and_linked_ones),
        TEST(test_a_save_that_was_given_up_is_forgotten_in_a_week),
        TEST(test_files_of_a_deleted_version_stay_while_another_refers_to_them),
        TEST(test_bytes_that_are_removed_before_their_row_are_sent_again),
        TEST(test_two_servers_never_remove_what_one_of_them_refers_to),
        TEST(test_a_version_with_aliases_is_kept_unless_told),
        cmocka_unit_test(test_manifests_that_are_none_are_refused),
        cmocka_unit_test(test_ids_survive_and_foreign_ones_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
