/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"

#include "base/os.h"
#include "server/blob/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* SHA-256 and MD5 of "hello\n", by sha256sum and md5sum. */
static const char hello_name[] = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
static const char hello_md5[] = "sZRqySSS0jR8YjW00mERhA==";

struct fixture {
    char dir[64];
    struct blobs *store;
};

static int open_store(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/tare-test-blob-XXXXXX");
    struct err e = {0};
    if (!mkdtemp(f->dir) || blobs_open(&f->store, f->dir, &e) < 0)
        return -1;
    *state = f;
    return 0;
}

static int close_store(void **state)
{
    struct fixture *f = *state;
    char command[96];
    blobs_close(f->store);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    int rc = system(command);
    free(f);
    return rc;
}

static int count_one(void *arg, const char *name, int64_t size_bytes)
{
    ++*(int *)arg;
    return 0;
}

static int count_blobs(struct fixture *f)
{
    int n = 0;
    assert_int_equal(blobs_each(f->store, count_one, &n, NULL), 0);
    return n;
}

static int count_tmp(struct fixture *f)
{
    char command[128];
    snprintf(command, sizeof command, "test -z \"$(ls %s/tmp)\"", f->dir);
    return system(command) != 0;
}

static void test_a_blob_is_named_by_its_bytes_and_kept_once(void **state)
{
    struct fixture *f = *state;
    struct blob_info info;
    assert_int_equal(blob_put_bytes(f->store, "hello\n", 6, &info, NULL), 0);
    assert_string_equal(info.name, hello_name);
    assert_string_equal(info.md5, hello_md5);
    assert_true(info.fresh);
    assert_int_equal(blob_put_bytes(f->store, "hello\n", 6, &info, NULL), 0);
    assert_false(info.fresh);
    assert_int_equal(count_blobs(f), 1);
    assert_int_equal(count_tmp(f), 0);

    int fd;
    int64_t size;
    char back[16];
    assert_int_equal(blob_open(f->store, hello_name, &fd, &size, NULL), 0);
    assert_int_equal(size, 6);
    assert_int_equal(read(fd, back, sizeof back), 6);
    assert_memory_equal(back, "hello\n", 6);
    close(fd);
}

static void test_a_wrong_digest_keeps_nothing(void **state)
{
    struct fixture *f = *state;
    struct blob_put *p;
    struct blob_info info = {0};
    struct err e = {0};
    assert_int_equal(blob_put_begin(f->store, &p, 100, &e), 0);
    assert_int_equal(blob_put_write(p, "hellO\n", 6, &e), 0);
    assert_int_equal(blob_put_end(p, hello_md5, &info, &e), TARE_ECONFLICT);
    assert_non_null(strstr(e.text, hello_md5));
    assert_int_equal(count_blobs(f), 0);
    assert_int_equal(count_tmp(f), 0);
    assert_int_equal(info.size_bytes, 0);
}

static void test_limits_of_size_and_quota(void **state)
{
    struct fixture *f = *state;
    struct blob_put *p;
    struct err e = {0};
    struct blob_info info;
    assert_int_equal(blob_put_begin(f->store, &p, 5, &e), 0);
    assert_int_equal(blob_put_write(p, "hello\n", 6, &e), TARE_ELIMIT);
    blob_put_abort(p);
    blobs_limit(f->store, 0, 10, 0);
    assert_int_equal(blob_put_bytes(f->store, "hello\n", 6, &info, &e), 0);
    assert_int_equal(blob_put_bytes(f->store, "world\n", 6, &info, &e), -EDQUOT);
    assert_int_equal(blob_delete(f->store, hello_name, &e), 0);
    assert_int_equal(blob_put_bytes(f->store, "world\n", 6, &info, &e), 0);
    assert_int_equal(count_tmp(f), 0);
}

static void test_parts_join(void **state)
{
    struct fixture *f = *state;
    struct blob_info a, b, whole;
    assert_int_equal(blob_put_bytes(f->store, "hel", 3, &a, NULL), 0);
    assert_int_equal(blob_put_bytes(f->store, "lo\n", 3, &b, NULL), 0);
    struct blob_put *p;
    assert_int_equal(blob_put_begin(f->store, &p, 100, NULL), 0);
    assert_int_equal(blob_put_blob(p, a.name, NULL), 0);
    assert_int_equal(blob_put_blob(p, b.name, NULL), 0);
    assert_int_equal(blob_put_end(p, hello_md5, &whole, NULL), 0);
    assert_string_equal(whole.name, hello_name);
}

static void test_names_from_outside_are_checked(void **state)
{
    struct fixture *f = *state;
    int fd;
    int64_t size;
    assert_int_equal(blob_open(f->store, "../../etc/passwd", &fd, &size, NULL), TARE_EINVAL);
    assert_int_equal(blob_open(f->store, hello_name, &fd, &size, NULL), TARE_ENOTFOUND);
    assert_int_equal(blob_delete(f->store, "", NULL), TARE_EINVAL);
    assert_int_equal(blob_delete(f->store, hello_name, NULL), 0);
    struct blobs *other = NULL;
    assert_int_equal(blobs_open(&other, "gs://bucket", NULL), TARE_EUNSUPPORTED);
    unsetenv("AWS_ACCESS_KEY_ID");
    assert_int_equal(blobs_open(&other, "s3://bucket", NULL), TARE_EINVAL);
    setenv("AWS_ACCESS_KEY_ID", "id", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    static const char *const wrong[] = {"s3://", "s3:///x", "s3://b?endpoint=ftp://h", "s3://b?endpoint=http://h/x",
                                        "s3://b/a b", "s3://b?part=1", "s3://b?colour=red", "s3://b?timeout=x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(blobs_open(&other, wrong[i], NULL), TARE_EINVAL);
}

static void test_damage_is_found(void **state)
{
    struct fixture *f = *state;
    struct blob_info info;
    char path[192];
    assert_int_equal(blob_put_bytes(f->store, "hello\n", 6, &info, NULL), 0);
    assert_int_equal(blob_verify(f->store, info.name, NULL), 0);
    snprintf(path, sizeof path, "%s/58/%s", f->dir, info.name);
    FILE *file = fopen(path, "w");
    fputs("jello\n", file);
    fclose(file);
    struct err e = {0};
    assert_int_equal(blob_verify(f->store, info.name, &e), TARE_EFORMAT);
    assert_non_null(strstr(e.text, "damaged"));
}

/* Every call to the disk fails in turn: afterwards there is no blob, or a whole one, and no rest. */
static int countdown;
static bool fired;

static bool must_fail(void)
{
    if (countdown <= 0 || --countdown > 0)
        return false;
    fired = true;
    return true;
}

static int fault_open(const char *p, int flags, mode_t m)
{
    return must_fail() ? -EMFILE : os_real.open(p, flags, m);
}

static ssize_t fault_write(int fd, const void *p, size_t n)
{
    return must_fail() ? -ENOSPC : os_real.write(fd, p, n);
}

static int fault_fsync(int fd)
{
    return must_fail() ? -EIO : os_real.fsync(fd);
}

static int fault_rename(const char *a, const char *b)
{
    return must_fail() ? -EIO : os_real.rename(a, b);
}

static int fault_mkdir(const char *p, mode_t m)
{
    return must_fail() ? -ENOSPC : os_real.mkdir(p, m);
}

static void test_a_failing_disk_leaves_nothing_half_done(void **state)
{
    struct fixture *f = *state;
    struct os_ops faulty = os_real;
    faulty.open = fault_open, faulty.write = fault_write, faulty.fsync = fault_fsync;
    faulty.rename = fault_rename, faulty.mkdir = fault_mkdir;
    int nth = 1;
    for (;; nth++) {
        struct blob_info info = {0};
        struct err e = {0};
        countdown = nth, fired = false;
        os = &faulty;
        int rc = blob_put_bytes(f->store, "hello\n", 6, &info, &e);
        os = &os_real;
        assert_int_equal(count_tmp(f), 0);
        if (!fired) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_true(rc < 0);
        assert_true(e.text[0]);
        if (count_blobs(f))
            assert_int_equal(blob_verify(f->store, hello_name, NULL), 0);
        blob_delete(f->store, hello_name, NULL);
    }
    assert_true(nth > 5);
}

/* Directories that were waited for, and whether that fails. */
static struct {
    ino_t inodes[8];
    int n;
    bool fail;
} synced;

static int note_fsync(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode))
        return os_real.fsync(fd);
    if (synced.fail)
        return -EIO;
    assert_true(synced.n < 8);
    synced.inodes[synced.n++] = st.st_ino;
    return os_real.fsync(fd);
}

static bool is_synced(const char *dir)
{
    struct stat st;
    assert_int_equal(stat(dir, &st), 0);
    for (int i = 0; i < synced.n; i++)
        if (synced.inodes[i] == st.st_ino)
            return true;
    return false;
}

static int put_noting(struct fixture *f, bool fail, struct blob_info *info)
{
    struct os_ops noting = os_real;
    struct err e = {0};
    memset(&synced, 0, sizeof synced);
    synced.fail = fail;
    noting.fsync = note_fsync;
    os = &noting;
    int rc = blob_put_bytes(f->store, "hello\n", 6, info, &e);
    os = &os_real;
    return rc;
}

/* Whoever made the name, or the folder, may have ended, or failed, before it was on the disk. */
static void test_a_blob_that_is_kept_has_a_durable_name(void **state)
{
    struct fixture *f = *state;
    struct blob_info info;
    struct err e = {0};
    char folder[80];
    snprintf(folder, sizeof folder, "%s/%.2s", f->dir, hello_name);
    assert_int_equal(put_noting(f, true, &info), -EIO); /* the file has its name now */
    assert_int_equal(count_blobs(f), 1);
    assert_int_equal(put_noting(f, true, &info), -EIO);
    assert_int_equal(count_tmp(f), 0);
    assert_int_equal(put_noting(f, false, &info), 0);
    assert_false(info.fresh);
    assert_true(is_synced(folder));
    assert_true(is_synced(f->dir));
    assert_int_equal(put_noting(f, false, &info), 0);
    assert_true(is_synced(folder));
    assert_false(is_synced(f->dir)); /* once is enough */
    blobs_close(f->store); /* a later process */
    assert_int_equal(blobs_open(&f->store, f->dir, &e), 0);
    assert_int_equal(blob_delete(f->store, hello_name, &e), 0);
    assert_int_equal(put_noting(f, false, &info), 0);
    assert_true(info.fresh);
    assert_true(is_synced(folder));
    assert_true(is_synced(f->dir));
}

static void test_a_kept_upload_goes_on_with_its_digests(void **state)
{
    struct fixture *f = *state;
    static const char key[] = "0123456789abcdef0123456789abcdef";
    struct blob_put *p;
    struct blob_info info;
    struct err e = {0};
    assert_int_equal(blob_put_resume(f->store, key, &p, 10, &e), TARE_ENOTFOUND);
    assert_int_equal(blob_put_begin_kept(f->store, key, &p, 10, &e), 0);
    assert_int_equal(blob_put_write(p, "hel", 3, &e), 0);
    blob_put_keep(p);
    blobs_close(f->store); /* a later process */
    assert_int_equal(blobs_open(&f->store, f->dir, &e), 0);
    assert_int_equal(blob_put_resume(f->store, key, &p, 2, &e), TARE_ELIMIT);
    assert_int_equal(blob_put_resume(f->store, key, &p, 10, &e), 0);
    assert_int_equal(blob_put_size(p), 3);
    assert_int_equal(blob_put_write(p, "lo\n", 3, &e), 0);
    assert_int_equal(blob_put_end(p, hello_md5, &info, &e), 0);
    assert_string_equal(info.name, hello_name);
    assert_int_equal(blob_put_resume(f->store, key, &p, 10, &e), TARE_ENOTFOUND);
}

static void test_kept_bytes_count_for_the_quota_until_they_go(void **state)
{
    struct fixture *f = *state;
    static const char key[] = "0123456789abcdef0123456789abcdef", other[] = "1123456789abcdef0123456789abcdef";
    struct blob_put *p;
    struct err e = {0};
    blobs_limit(f->store, 0, 10, 0);
    assert_int_equal(blob_put_begin_kept(f->store, key, &p, 10, &e), 0);
    assert_int_equal(blob_put_write(p, "seven..", 7, &e), 0);
    blob_put_keep(p);
    blobs_close(f->store);
    assert_int_equal(blobs_open(&f->store, f->dir, &e), 0);
    blobs_limit(f->store, 0, 10, 0);
    assert_int_equal(blob_put_begin_kept(f->store, other, &p, 10, &e), 0);
    assert_int_equal(blob_put_write(p, "four", 4, &e), TARE_ENOSPACE); /* the seven may go */
    assert_int_equal(blobs_check_room(f->store, 10, &e), TARE_ENOSPACE);
    assert_int_equal(blobs_check_room(f->store, 11, &e), -EDQUOT);
    blob_put_abort(p);
    assert_int_equal(blobs_drop_kept(f->store, 3600), 0); /* not so old */
    assert_int_equal(blob_put_begin_kept(f->store, key, &p, 10, &e), 0); /* anew: the seven are gone */
    assert_int_equal(blob_put_write(p, "ten bytes.", 10, &e), 0);
    blob_put_keep(p);
    char command[160];
    snprintf(command, sizeof command, "touch -d '2 hours ago' %s/tmp/kept-%s", f->dir, key);
    assert_int_equal(system(command), 0);
    assert_int_equal(blobs_drop_kept(f->store, 3600), 1);
    assert_int_equal(count_tmp(f), 0);
    assert_int_equal(blob_put_begin(f->store, &p, 10, &e), 0);
    assert_int_equal(blob_put_write(p, "ten bytes.", 10, &e), 0);
    blob_put_abort(p);
}

static void name_staged(const struct fixture *f, const char *name, char path[200])
{
    snprintf(path, 200, "%.*s/%s", STR_ARG(blobs_staging(f->store)), name);
}

/* A client's file in the staging folder. */
static void stage(struct fixture *f, const char *name, const char *text)
{
    char path[200];
    name_staged(f, name, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

#define LOCAL "local-0123456789abcdef0123456789abcdef"

static void test_a_file_that_a_client_staged_is_taken(void **state)
{
    struct fixture *f = *state;
    struct blob_put *put;
    struct blob_info info, same;
    struct err e = {0};
    stage(f, LOCAL, "hello\n");
    assert_int_equal(blob_put_adopt(f->store, LOCAL, 6, true, &put, &e), 0);
    assert_int_equal(blob_put_end(put, hello_md5, &info, &e), 0);
    assert_string_equal(info.name, hello_name);
    assert_string_equal(info.md5, hello_md5);
    assert_int_equal(info.size_bytes, 6);
    assert_true(info.fresh);
    assert_int_equal(blob_put_bytes(f->store, "hello\n", 6, &same, &e), 0);
    assert_false(same.fresh);
    assert_string_equal(same.xxh128, info.xxh128);
    assert_int_equal(blobs_used(f->store), 6);
    assert_int_equal(count_tmp(f), 0);
}

static void test_a_staged_file_that_is_not_right_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct blob_put *put;
    struct blob_info info;
    struct err e = {0};
    assert_int_equal(blob_put_adopt(f->store, LOCAL, 6, true, &put, &e), TARE_ENOTFOUND);
    assert_int_equal(blob_put_adopt(f->store, "local-0123", 6, true, &put, &e), TARE_EINVAL);
    assert_int_equal(blob_put_adopt(f->store, "kept-00123456789abcdef0123456789abcdef", 6, true, &put, &e), TARE_EINVAL);
    stage(f, LOCAL, "hello\n");
    assert_int_equal(blob_put_adopt(f->store, LOCAL, 7, true, &put, &e), TARE_EINVAL);
    assert_int_equal(count_tmp(f), 0);
    stage(f, LOCAL, "hellO\n");
    assert_int_equal(blob_put_adopt(f->store, LOCAL, 6, true, &put, &e), 0);
    assert_int_equal(blob_put_end(put, hello_md5, &info, &e), TARE_ECONFLICT);
    stage(f, LOCAL, "hello\n");
    blobs_limit(f->store, 0, 5, 0);
    assert_int_equal(blob_put_adopt(f->store, LOCAL, 6, true, &put, &e), -EDQUOT);
    assert_int_equal(count_tmp(f), 0);
    assert_int_equal(count_blobs(f), 0);
}

#define LINK "links-0123456789abcdef0123456789abcdef"

static void test_a_file_that_a_client_linked_is_copied(void **state)
{
    struct fixture *f = *state;
    struct blob_put *put;
    struct blob_info info;
    struct err e = {0};
    struct stat st;
    char theirs[200], named[200];
    name_staged(f, "../theirs", theirs);
    name_staged(f, LINK, named);
    stage(f, "../theirs", "hello\n");
    assert_int_equal(chmod(theirs, 0444), 0);
    for (int i = 0; i < 2; i++) { /* the second time it is known */
        assert_int_equal(symlink(theirs, named), 0);
        assert_int_equal(blob_put_adopt(f->store, LINK, 6, true, &put, &e), 0);
        assert_int_equal(blob_put_end(put, hello_md5, &info, &e), 0);
        assert_string_equal(info.name, hello_name);
        assert_int_equal(info.fresh, i == 0);
        assert_int_equal(count_tmp(f), 0);
    }
    assert_int_equal(stat(theirs, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0444);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(blobs_used(f->store), 6);
}

static const char no_such_link[] = "the link leads to no file with the bytes that were announced";

/* Of `n` bytes, each block another. */
static char *make_large(struct fixture *f, const char *path, size_t n)
{
    char *bytes = malloc(n);
    assert_non_null(bytes);
    for (size_t k = 0; k < n; k++)
        bytes[k] = (char)(k * 31 + k / 4096 * 7);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
    return bytes;
}

static void check_large(struct fixture *f, size_t n)
{
    struct blob_put *put;
    struct blob_info info, same;
    struct err e = {0};
    char theirs[200], named[200];
    int fd;
    int64_t size;
    name_staged(f, "../theirs", theirs);
    name_staged(f, LINK, named);
    char *bytes = make_large(f, theirs, n), *back = malloc(n);
    assert_int_equal(symlink(theirs, named), 0);
    assert_int_equal(blob_put_adopt(f->store, LINK, (int64_t)n, true, &put, &e), 0);
    assert_int_equal(blob_put_end(put, NULL, &info, &e), 0);
    assert_true(info.fresh);
    assert_int_equal(blob_put_bytes(f->store, bytes, n, &same, &e), 0);
    assert_string_equal(same.name, info.name);
    assert_string_equal(same.md5, info.md5);
    assert_string_equal(same.xxh128, info.xxh128);
    assert_int_equal(blob_open(f->store, info.name, &fd, &size, NULL), 0);
    assert_int_equal(size, n);
    assert_int_equal(read(fd, back, n), n);
    assert_memory_equal(back, bytes, n);
    close(fd);
    free(bytes);
    free(back);
}

static int n_direct; /* writes past the page cache */

static bool is_direct(int fd)
{
    return (fcntl(fd, F_GETFL) & O_DIRECT) != 0;
}

/* As a file system whose blocks are larger, after it has taken a few. */
static ssize_t write_of_other_blocks(int fd, const void *p, size_t n)
{
    if (is_direct(fd) && ++n_direct > 3)
        return n_direct == 4 ? os_real.write(fd, p, 100 * 4096 > n ? n / 2 : n) : -EINVAL;
    return os_real.write(fd, p, n);
}

static void test_a_large_copy_is_whole_whatever_the_file_system_takes(void **state)
{
    struct os_ops faulty = os_real;
    faulty.write = write_of_other_blocks;
    check_large(*state, 16 << 20);
    check_large(*state, (16 << 20) + 1);
    check_large(*state, (16 << 20) + 3 * 4096 + 77);
    os = &faulty;
    check_large(*state, (17 << 20) + 5);
    os = &os_real;
    assert_int_equal(count_tmp(*state), 0);
}

static void test_a_link_that_is_not_right_is_no_upload(void **state)
{
    struct fixture *f = *state;
    struct blob_put *put;
    struct err e = {0};
    struct blob_info info;
    char theirs[200], named[200];
    name_staged(f, "../theirs", theirs);
    name_staged(f, LINK, named);
    stage(f, "../theirs", "hello\n");
    static const char *const wrong[] = {"/dev/zero",   "/nowhere/at/all",    LINK, ".",
                                        "/dev/null/x", "/proc/self/environ", "/proc/self/mem"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) { /* all of them so that the client sends it */
        assert_int_equal(symlink(wrong[i], named), 0);
        assert_int_equal(blob_put_adopt(f->store, LINK, 6, true, &put, &e), TARE_EINVAL);
        assert_string_equal(e.text, no_such_link);
        assert_int_equal(count_tmp(f), 0);
    }
    for (int64_t size = 5; size <= 7; size += 2) {
        assert_int_equal(symlink(theirs, named), 0);
        assert_int_equal(blob_put_adopt(f->store, LINK, size, true, &put, &e), TARE_EINVAL);
        assert_string_equal(e.text, no_such_link);
        assert_int_equal(count_tmp(f), 0);
    }
    assert_int_equal(symlink(theirs, named), 0); /* who made it may not be allowed to know what is there */
    assert_int_equal(blob_put_adopt(f->store, LINK, 6, true, &put, &e), 0);
    assert_int_equal(blob_put_end(put, "AAAAAAAAAAAAAAAAAAAAAA==", &info, &e), TARE_ECONFLICT);
    assert_string_equal(e.text, no_such_link);
    assert_int_equal(symlink(theirs, named), 0);
    assert_int_equal(blob_put_adopt(f->store, LINK, 6, false, &put, &e), TARE_EINVAL);
    blobs_limit(f->store, 0, 5, 0);
    assert_int_equal(blob_put_adopt(f->store, LINK, 6, true, &put, &e), -EDQUOT);
    assert_int_equal(count_tmp(f), 0);
    assert_int_equal(count_blobs(f), 0);
    assert_int_equal(access(theirs, F_OK), 0);
    stage(f, LOCAL, "hello\n"); /* what is not said to be a link is not followed */
    assert_int_equal(unlink(theirs), 0);
    name_staged(f, LOCAL, named);
    assert_int_equal(rename(named, theirs), 0);
    assert_int_equal(symlink(theirs, named), 0);
    blobs_limit(f->store, 0, 0, 0);
    assert_true(blob_put_adopt(f->store, LOCAL, 6, true, &put, &e) < 0);
    assert_int_equal(count_blobs(f), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)
    const struct CMUnitTest tests[] = {
        TEST(test_a_blob_is_named_by_its_bytes_and_kept_once),
        TEST(test_a_wrong_digest_keeps_nothing),
        TEST(test_limits_of_size_and_quota),
        TEST(test_parts_join),
        TEST(test_names_from_outside_are_checked),
        TEST(test_damage_is_found),
        TEST(test_a_kept_upload_goes_on_with_its_digests),
        TEST(test_kept_bytes_count_for_the_quota_until_they_go),
        TEST(test_a_failing_disk_leaves_nothing_half_done),
        TEST(test_a_blob_that_is_kept_has_a_durable_name),
        TEST(test_a_file_that_a_client_staged_is_taken),
        TEST(test_a_staged_file_that_is_not_right_is_dropped),
        TEST(test_a_file_that_a_client_linked_is_copied),
        TEST(test_a_large_copy_is_whole_whatever_the_file_system_takes),
        TEST(test_a_link_that_is_not_right_is_no_upload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
