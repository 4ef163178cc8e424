/* SPDX-License-Identifier: MIT */
/* Against the git program: what it prints is what the peer saves. */
#include "unit.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/os.h"
#include "service/watch/git.h"
#include "tests/support/built_module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char dir[64], repo[96], files[96];
};

static bool has_git;

/* Run `text` in the repository; fails the test if the command does. */
static void in_repo(struct fixture *f, const char *text)
{
    char command[1024];
    snprintf(command, sizeof command,
             "cd %s && export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null && "
             "(%s) >/dev/null 2>&1",
             f->repo, text);
    assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/test_git.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->repo, sizeof f->repo, "%s/repo", f->dir);
    snprintf(f->files, sizeof f->files, "%s/files", f->dir);
    assert_int_equal(mkdir(f->repo, 0777), 0);
    assert_int_equal(mkdir(f->files, 0777), 0);
    *state = f;
    if (!has_git)
        return 0;
    in_repo(f, "git init -q -b main . && git config user.email a@b && git config user.name n");
    in_repo(f, "seq 1 40 >data.txt; echo x >gone; git add . && git commit -qm one");
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void assert_same_as_git(struct fixture *f, const char *name, const char *revision)
{
    char command[256], path[256];
    /* libgit2 counts how much of a renamed file is the same in another way */
    snprintf(command, sizeof command, "git diff %s | sed 's/^similarity index [1-9].%%/similarity index 97%%/' >../want", revision);
    in_repo(f, command);
    AUTO_BUF want = {0}, got = {0};
    snprintf(path, sizeof path, "%s/want", f->dir);
    assert_int_equal(os_read_file(path, 1 << 20, &want), 0);
    snprintf(path, sizeof path, "%s/%s", f->files, name);
    assert_int_equal(os_read_file(path, 1 << 20, &got), 0);
    assert_true(want.len > 0);
    assert_string_equal(buf_z(&got), buf_z(&want));
}

static void test_changes_are_saved_as_git_prints_them(void **state)
{
    struct fixture *f = *state;
    AUTO_BUF names = {0};
    if (!has_git)
        skip();
    in_repo(f, "sed -i 's/^20$/twenty/' data.txt; rm gone; echo n >new; git add new; echo u >untracked;"
               "printf 'a\\0b' >bin; git add bin; ln -s data.txt link; git add link; chmod +x data.txt");
    assert_int_equal(git_save_patches(f->repo, f->files, true, &names), 0);
    assert_int_equal(names.len, sizeof "diff.patch");
    assert_string_equal(names.data, "diff.patch");
    assert_same_as_git(f, "diff.patch", "HEAD");
}

static void assert_diff_is_gits(struct fixture *f)
{
    AUTO_BUF names = {0};
    assert_int_equal(git_save_patches(f->repo, f->files, true, &names), 0);
    assert_same_as_git(f, "diff.patch", "HEAD");
}

static void test_names_with_spaces(void **state)
{
    struct fixture *f = *state;
    if (!has_git)
        skip();
    in_repo(f, "echo x >'a b'; echo y >'\xC3\xA9 c'; git add . && git commit -qm two; chmod +x 'a b'; echo z >>'a b'; rm '\xC3\xA9 c';"
               "echo w >'d e'; git add 'd e'; sed -i 's/^7$/seven/' data.txt; chmod +x data.txt");
    assert_diff_is_gits(f);
}

static void test_renames(void **state)
{
    struct fixture *f = *state;
    if (!has_git)
        skip();
    in_repo(f, "git mv data.txt 'new name.txt'; mkdir d; git mv gone d/gone");
    assert_diff_is_gits(f);
    in_repo(f, "sed -i 's/^20$/twenty/' 'new name.txt'; chmod +x 'new name.txt'");
    assert_diff_is_gits(f);
    in_repo(f, "git config diff.renames false");
    assert_diff_is_gits(f);
}

static void test_in_the_middle_of_a_merge(void **state)
{
    struct fixture *f = *state;
    if (!has_git)
        skip();
    in_repo(f, "git checkout -q -b other && sed -i 's/^20$/theirs/' data.txt && echo t >both && echo t >>gone && git add . &&"
               "git commit -qm theirs && git checkout -q main && sed -i 's/^20$/ours/' data.txt && echo o >both &&"
               "git rm -q gone && git add . && git commit -qm ours; git merge other; test -f .git/MERGE_HEAD");
    assert_diff_is_gits(f);
    in_repo(f, "test $(git ls-files -u | wc -l) -ge 7"); /* the index is as it was */
    in_repo(f, "sed -i 's/^20$/mine/' data.txt; rm both");
    assert_diff_is_gits(f);
}

static void test_no_changes_make_no_file(void **state)
{
    struct fixture *f = *state;
    AUTO_BUF names = {0};
    if (!has_git)
        skip();
    assert_int_equal(git_save_patches(f->repo, f->files, true, &names), 0);
    assert_int_equal(names.len, 0);
}

static void test_upstream_gives_a_second_patch(void **state)
{
    struct fixture *f = *state;
    char sha[UINT8_MAX] = "", path[256], name[300];
    if (!has_git)
        skip();
    in_repo(f, "git init -q --bare ../up && git remote add origin ../up && git push -q -u origin main &&"
               "git rev-parse HEAD >../sha && echo l >>data.txt && git commit -qam two");
    snprintf(path, sizeof path, "%s/sha", f->dir);
    FILE *in = fopen(path, "r");
    assert_true(in && fscanf(in, "%40s", sha) == 1);
    fclose(in);
    for (int fork_point = 0; fork_point < 2; fork_point++) {
        AUTO_BUF names = {0};
        assert_int_equal(git_save_patches(f->repo, f->files, fork_point, &names), 0);
        snprintf(name, sizeof name, "diff_%s.patch", sha);
        assert_string_equal(names.data, name);
        assert_same_as_git(f, name, sha);
    }
    /* A branch that follows nothing: the last commit in common with what others follow. */
    in_repo(f, "git checkout -q -b side && echo s >>data.txt && git commit -qam three");
    AUTO_BUF names = {0};
    assert_int_equal(git_save_patches(f->repo, f->files, true, &names), 0);
    assert_string_equal(names.data, name);
    buf_clear(&names);
    assert_int_equal(git_save_patches(f->repo, f->files, false, &names), 0);
    assert_int_equal(names.len, 0);
}

static void test_no_repository_is_no_harm(void **state)
{
    struct fixture *f = *state;
    AUTO_BUF names = {0};
    assert_int_equal(git_save_patches("/proc", f->files, true, &names), TARE_ENOTFOUND);
    assert_int_equal(names.len, 0);
}

int main(void)
{
    use_built_module();
    has_git = system("git --version >/dev/null 2>&1") == 0;
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(changes_are_saved_as_git_prints_them),
        T(names_with_spaces),
        T(renames),
        T(in_the_middle_of_a_merge),
        T(no_changes_make_no_file),
        T(upstream_gives_a_second_patch),
        T(no_repository_is_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
