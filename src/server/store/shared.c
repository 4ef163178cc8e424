/* SPDX-License-Identifier: MIT */
#include "server/store/shared.h"

#include "base/alloc.h"
#include "base/json.h"
#include "server/store/console.h"

#include <stdlib.h>

/* ---- console ---- */

/* Lines of one client that lie together. */
struct place {
    int64_t first_line, number, n_lines; /* n_lines 0: none */
};

struct shared_write {
    struct db_conn *c;
    int64_t run, writer;
    int64_t end; /* of the run's lines */
};

/* The place that holds `line`, or else the last one before it. */
static int find_place(const struct shared_write *w, int64_t line, struct place *to, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(w->c, e, &rows,
                      "SELECT first_line, number, n_lines FROM console_places WHERE run_id = $1 AND writer = $2 "
                      "AND first_line <= $3 ORDER BY first_line DESC LIMIT 1",
                      DB_ARGS(db_i(w->run), db_i(w->writer), db_i(line)));
    *to = rc == 1 ? (struct place){db_int(rows, 0), db_int(rows, 1), db_int(rows, 2)} : (struct place){0};
    return rc < 0 ? rc : 0;
}

/* Room for [line, stop), as far as it has none yet, behind the run's lines. *p is the place before; then the new one. */
static int make_place(struct shared_write *w, int64_t line, int64_t stop, struct place *p, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(w->c, e, &rows,
                      "SELECT first_line FROM console_places WHERE run_id = $1 AND writer = $2 AND first_line > $3 "
                      "ORDER BY first_line LIMIT 1",
                      DB_ARGS(db_i(w->run), db_i(w->writer), db_i(line)));
    if (rc < 0)
        return rc;
    if (rc == 1 && db_int(rows, 0) < stop)
        stop = db_int(rows, 0);
    if (p->n_lines && p->first_line + p->n_lines == line && p->number + p->n_lines == w->end) {
        p->n_lines += stop - line;
        rc = db_exec(w->c, e,
                     "UPDATE console_places SET n_lines = $4 WHERE run_id = $1 AND writer = $2 AND first_line = $3",
                     DB_ARGS(db_i(w->run), db_i(w->writer), db_i(p->first_line), db_i(p->n_lines)));
    } else {
        *p = (struct place){line, w->end, stop - line};
        rc = db_exec(w->c, e,
                     "INSERT INTO console_places (run_id, writer, first_line, number, n_lines) "
                     "VALUES ($1, $2, $3, $4, $5)",
                     DB_ARGS(db_i(w->run), db_i(w->writer), db_i(line), db_i(w->end), db_i(p->n_lines)));
    }
    w->end += stop - line;
    return rc < 0 ? rc : 0;
}

int shared_console_write(struct db_conn *c, int64_t run, int64_t writer, int64_t first_line, const struct str *lines,
                         size_t n, int64_t *end, struct err *e)
{
    struct shared_write w = {.c = c, .run = run, .writer = writer};
    int64_t stop = first_line + (int64_t)n;
    /* an UPDATE, so that another server's job on this run waits */
    int rc = db_exec(c, e, "UPDATE runs SET log_lines = log_lines WHERE id = $1", DB_ARGS(db_i(run)));
    if (rc >= 0)
        rc = db_get_int(c, e, &w.end, "SELECT log_lines FROM runs WHERE id = $1", DB_ARGS(db_i(run)));
    for (int64_t line = first_line; line < stop && rc >= 0;) {
        struct place p;
        rc = find_place(&w, line, &p, e);
        if (!rc && line >= p.first_line + p.n_lines)
            rc = make_place(&w, line, stop, &p, e);
        if (rc)
            break;
        int64_t to = p.first_line + p.n_lines < stop ? p.first_line + p.n_lines : stop;
        rc = console_write(c, run, p.number + line - p.first_line, lines + (line - first_line), (size_t)(to - line), e);
        line = to;
    }
    *end = w.end;
    return rc < 0 ? rc : 0;
}

/* ---- objects ---- */

static int by_name(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* The bytes behind the '{', or NULL. */
static const char *members_of(struct str object)
{
    const char *end = object.p + object.n, *at = object.n ? json_skip_space(object.p, end) : end;
    return at < end && *at == '{' ? at + 1 : NULL;
}

static int put_members(struct str object, const struct str *but, size_t n_but, struct buf *to, bool *first)
{
    const char *at = members_of(object), *end = object.p + object.n;
    struct json_item item;
    int rc;
    while ((rc = json_next_member(&at, end, &item)) == 1) {
        if (n_but && bsearch(&item.key, but, n_but, sizeof *but, by_name))
            continue;
        buf_puts(to, *first ? "\"" : ",\"");
        buf_put_str(to, item.key);
        buf_puts(to, "\":");
        buf_put_str(to, item.value);
        *first = false;
    }
    return rc;
}

/* The names of an object's members, sorted; NULL if there are none or no memory. */
static struct str *sorted_names(struct str object, size_t *n)
{
    struct str *names = NULL;
    struct json_item item;
    for (int pass = 0; pass < 2; pass++) {
        const char *at = members_of(object), *end = object.p + object.n;
        for (*n = 0; json_next_member(&at, end, &item) == 1; ++*n)
            if (pass)
                names[*n] = item.key;
        if (!pass && (!*n || !(names = mem_alloc(*n * sizeof *names))))
            return NULL;
    }
    qsort(names, *n, sizeof *names, by_name);
    return names;
}

int shared_merge(struct str others, struct str mine, struct buf *to)
{
    size_t n = 0;
    bool first = true;
    if (!members_of(mine) || !json_valid(mine) || (others.n && (!members_of(others) || !json_valid(others))))
        return TARE_EFORMAT;
    struct str *names = sorted_names(mine, &n);
    if (n && !names)
        return TARE_ENOMEM;
    buf_putc(to, '{');
    int rc = others.n ? put_members(others, names, n, to, &first) : 0;
    if (!rc)
        rc = put_members(mine, NULL, 0, to, &first);
    buf_putc(to, '}');
    mem_free(names);
    return rc ? rc : to->failed ? TARE_ENOMEM : 0;
}
