/* SPDX-License-Identifier: MIT */
/* With libgit2. A detached HEAD has no upstream; an unborn one has no tree to compare with. */
#include "uplink/git.h"

#include <git2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BRANCHES = 256 };

static int failed(int rc, char *why, size_t why_size)
{
    const git_error *e = git_error_last();
    snprintf(why, why_size, "%s", e && e->message ? e->message : "unknown error");
    return rc == GIT_ENOTFOUND || rc == GIT_EUNBORNBRANCH ? UPLINK_NONE : UPLINK_FAILED;
}

static int open_repository(git_repository **repo, const char *root)
{
    int rc = git_libgit2_init();
    return rc < 0 ? rc : git_repository_open_ext(repo, root, 0, NULL);
}

static void close_repository(git_repository *repo)
{
    git_repository_free(repo);
    git_libgit2_shutdown();
}

/* ---- diff ---- */

struct writer {
    int (*write)(void *ctx, const char *bytes, size_t n);
    void *ctx;
};

static bool starts(const char *p, size_t n, const char *with)
{
    return n >= strlen(with) && memcmp(p, with, strlen(with)) == 0;
}

/* Those lines of a file's header that are about modes, or the others. */
static int write_header_lines(struct writer *w, const char *p, const char *end, bool modes)
{
    for (const char *next; p < end; p = next) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((eol ? eol : end) - p);
        bool is_name = starts(p, n, "--- ") || starts(p, n, "+++ ");
        next = p + n + (eol != NULL);
        if ((starts(p, n, "old mode ") || starts(p, n, "new mode ")) != modes)
            continue;
        if (w->write(w->ctx, p, n) != 0)
            return GIT_EUSER;
        if (is_name && memchr(p + 4, ' ', n - 4) && w->write(w->ctx, "\t", 1) != 0)
            return GIT_EUSER;
        if (eol && w->write(w->ctx, "\n", 1) != 0)
            return GIT_EUSER;
    }
    return 0;
}

/* As git itself writes it: modes before a rename, a tab behind names with spaces. */
static int write_header(struct writer *w, const char *p, size_t n)
{
    const char *eol = memchr(p, '\n', n), *rest = eol ? eol + 1 : p + n;
    if (w->write(w->ctx, p, (size_t)(rest - p)) != 0)
        return GIT_EUSER;
    int rc = write_header_lines(w, rest, p + n, true);
    return rc ? rc : write_header_lines(w, rest, p + n, false);
}

static int on_line(const git_diff_delta *delta, const git_diff_hunk *hunk, const git_diff_line *line,
                   void *payload)
{
    (void)delta;
    (void)hunk;
    struct writer *w = payload;
    if (line->origin == GIT_DIFF_LINE_FILE_HDR)
        return write_header(w, line->content, line->content_len);
    bool has_mark = line->origin == GIT_DIFF_LINE_CONTEXT || line->origin == GIT_DIFF_LINE_ADDITION ||
                    line->origin == GIT_DIFF_LINE_DELETION;
    if (has_mark && w->write(w->ctx, &line->origin, 1) != 0)
        return GIT_EUSER;
    return w->write(w->ctx, line->content, line->content_len) != 0 ? GIT_EUSER : 0;
}

/* In the middle of a merge a path has several entries: one of them instead, so that its file is compared, as by
 * `git diff`. In memory only. */
static int settle_conflicts(git_index *index)
{
    int rc = 0;
    for (size_t left = git_index_entrycount(index); rc == 0 && left > 0 && git_index_has_conflicts(index); left--) {
        const git_index_entry *base = NULL, *ours = NULL, *theirs = NULL;
        git_index_conflict_iterator *it = NULL;
        rc = git_index_conflict_iterator_new(&it, index);
        if (rc == 0)
            rc = git_index_conflict_next(&base, &ours, &theirs, it);
        git_index_conflict_iterator_free(it);
        if (rc != 0)
            break;
        const git_index_entry *kept = ours ? ours : theirs ? theirs : base;
        char *path = strdup(kept->path);
        git_index_entry entry = {.mode = kept->mode, .id = kept->id, .path = path};
        rc = path ? git_index_conflict_remove(index, path) : GIT_ERROR;
        if (rc == 0)
            rc = git_index_add(index, &entry);
        free(path);
    }
    return rc == GIT_ITEROVER ? 0 : rc;
}

/* Of the tree to what is in the folder, with what `git add` has told of. */
static int diff_to_folder(git_diff **diff, git_repository *repo, git_tree *tree)
{
    git_diff_options options = GIT_DIFF_OPTIONS_INIT;
    git_diff_find_options find = GIT_DIFF_FIND_OPTIONS_INIT; /* renames, as the configuration says */
    git_diff *rest = NULL;
    git_index *index = NULL;
    find.rename_limit = 1000; /* git's own */
    int rc = git_repository_index(&index, repo);
    if (rc == 0)
        rc = git_index_read(index, false);
    if (rc == 0)
        rc = settle_conflicts(index);
    if (rc == 0)
        rc = git_diff_tree_to_index(diff, repo, tree, index, &options);
    if (rc == 0)
        rc = git_diff_index_to_workdir(&rest, repo, index, &options);
    if (rc == 0)
        rc = git_diff_merge(*diff, rest);
    if (rc == 0)
        rc = git_diff_find_similar(*diff, &find);
    git_diff_free(rest);
    git_index_free(index);
    return rc;
}

static int print_diff(git_repository *repo, const char *revision, struct writer *w)
{
    git_object *tree = NULL;
    git_diff *diff = NULL;
    char spec[128];
    snprintf(spec, sizeof spec, "%s^{tree}", revision);
    int rc = git_revparse_single(&tree, repo, spec);
    if (rc == 0)
        rc = diff_to_folder(&diff, repo, (git_tree *)tree);
    if (rc == 0)
        rc = git_diff_print(diff, GIT_DIFF_FORMAT_PATCH, on_line, w);
    git_diff_free(diff);
    git_object_free(tree);
    return rc;
}

int uplink_git_diff(const char *root, const char *revision,
                    int (*write)(void *ctx, const char *bytes, size_t n), void *ctx, char *why,
                    size_t why_size)
{
    git_repository *repo = NULL;
    struct writer w = {write, ctx};
    int rc = open_repository(&repo, root);
    if (rc == 0)
        rc = print_diff(repo, revision, &w);
    if (rc != 0)
        rc = failed(rc, why, why_size);
    close_repository(repo);
    return rc;
}

/* ---- upstream ---- */

/* A setting of the branch, "branch.NAME.KEY", into `to`. */
static int branch_setting(git_config *config, const char *branch, const char *key, git_buf *to)
{
    char name[512];
    int n = snprintf(name, sizeof name, "branch.%s.%s", branch, key);
    return n < (int)sizeof name ? git_config_get_string_buf(to, config, name) : GIT_ENOTFOUND;
}

struct mapping {
    const char *from; /* name of a reference at the remote */
    git_buf *to;      /* its name here; empty while none is found */
};

/* One "remote.NAME.fetch". */
static int on_refspec(const git_config_entry *entry, void *payload)
{
    struct mapping *m = payload;
    git_refspec *spec = NULL;
    if (m->to->size == 0 && git_refspec_parse(&spec, entry->value, 1) == 0 &&
        git_refspec_src_matches(spec, m->from) && git_refspec_transform(m->to, spec, m->from) < 0)
        git_buf_dispose(m->to);
    git_refspec_free(spec);
    return 0;
}

/* The reference that `branch` follows. By hand: git_branch_upstream of libgit2 1.5 leaks 20 KB in
 * each of the regular expressions that it looks a remote up with. */
static int upstream_name(git_repository *repo, const char *branch, git_buf *to)
{
    git_config *config = NULL;
    git_buf remote = GIT_BUF_INIT, merge = GIT_BUF_INIT;
    char name[512];
    int rc = git_repository_config_snapshot(&config, repo);
    if (rc == 0)
        rc = branch_setting(config, branch, "remote", &remote);
    if (rc == 0)
        rc = branch_setting(config, branch, "merge", &merge);
    if (rc == 0 && strcmp(remote.ptr, ".") == 0) {
        *to = merge; /* a branch of the same repository */
        merge = (git_buf)GIT_BUF_INIT;
    } else if (rc == 0) {
        struct mapping m = {merge.ptr, to};
        int n = snprintf(name, sizeof name, "remote.%s.fetch", remote.ptr);
        rc = n < (int)sizeof name ? git_config_get_multivar_foreach(config, name, NULL, on_refspec, &m)
                                  : GIT_ENOTFOUND;
    }
    if (rc == 0 && to->size == 0)
        rc = GIT_ENOTFOUND;
    git_buf_dispose(&remote);
    git_buf_dispose(&merge);
    git_config_free(config);
    return rc;
}

/* The commit of the branch that `branch` follows. */
static int upstream_of(git_oid *id, git_reference *branch)
{
    git_repository *repo = git_reference_owner(branch);
    git_object *commit = NULL;
    git_buf name = GIT_BUF_INIT;
    char spec[600];
    int rc = git_reference_is_branch(branch)
                 ? upstream_name(repo, git_reference_shorthand(branch), &name)
                 : GIT_ENOTFOUND;
    if (rc == 0) {
        int n = snprintf(spec, sizeof spec, "%s^{commit}", name.ptr);
        rc = n < (int)sizeof spec ? git_revparse_single(&commit, repo, spec) : GIT_ENOTFOUND;
    }
    if (rc == 0)
        *id = *git_object_id(commit);
    git_object_free(commit);
    git_buf_dispose(&name);
    return rc;
}

/* Append the upstreams of all local branches to `ids`. */
static int all_upstreams(git_repository *repo, git_oid *ids, size_t *n)
{
    git_branch_iterator *it = NULL;
    git_reference *branch = NULL;
    git_branch_t type;
    int rc = git_branch_iterator_new(&it, repo, GIT_BRANCH_LOCAL);
    while (rc == 0 && *n < MAX_BRANCHES && git_branch_next(&branch, &type, it) == 0) {
        if (upstream_of(&ids[*n], branch) == 0)
            (*n)++;
        git_reference_free(branch);
    }
    git_branch_iterator_free(it);
    return rc;
}

static int find_upstream(git_repository *repo, bool fork_point, git_oid *id)
{
    git_reference *head = NULL;
    git_oid ids[MAX_BRANCHES + 1];
    size_t n = 1;
    if (git_repository_head_detached(repo) == 1)
        return GIT_ENOTFOUND;
    int rc = git_repository_head(&head, repo);
    if (rc == 0 && !fork_point) {
        rc = upstream_of(id, head);
    } else if (rc == 0) {
        rc = git_reference_name_to_id(&ids[0], repo, "HEAD");
        if (rc == 0 && upstream_of(&ids[1], head) == 0)
            n = 2;
        else if (rc == 0)
            rc = all_upstreams(repo, ids, &n);
        if (rc == 0)
            rc = n > 1 ? git_merge_base_many(id, repo, n, ids) : GIT_ENOTFOUND;
    }
    git_reference_free(head);
    return rc;
}

int uplink_git_upstream(const char *root, bool fork_point, char sha[UPLINK_SHA_LEN + 1], char *why,
                        size_t why_size)
{
    git_repository *repo = NULL;
    git_oid id;
    int rc = open_repository(&repo, root);
    if (rc == 0)
        rc = find_upstream(repo, fork_point, &id);
    if (rc == 0)
        git_oid_tostr(sha, UPLINK_SHA_LEN + 1, &id);
    else
        rc = failed(rc, why, why_size);
    close_repository(repo);
    return rc;
}
