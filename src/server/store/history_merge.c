/* SPDX-License-Identifier: MIT */
/* Merging the tail: many small segments become one large.
 *
 * Segments of level 0 that follow each other without a gap are merged from the newest backwards, as long as the
 * next older one is not more than twice as large as what was gathered: each row is rewritten a
 * logarithmic number of times. A result of LEVEL_1_LINES or more is level 1 and left alone from then on.
 *
 * The old segments are read and the new one encoded outside the writer; the job only deletes and inserts,
 * after a look that the old ones are still there as they were read. */
#include "server/store/history.h"

#include "base/alloc.h"

enum { LEVEL_1_LINES = 4096, MERGE_AT = 32, MAX_INPUTS = 4096, MAX_RUNS = 64 };

struct input {
    int64_t id, first_line, writer;
    uint32_t n_lines;
};

struct merge {
    int64_t run;
    enum history_stream stream;
    const struct input *inputs; /* rising */
    size_t n;
    struct history_batch batch;
    bool last_level; /* what comes out is level 1 whatever its size */
};

/* ---- choosing ---- */

static int list_tail(struct db_conn *c, int64_t run, enum history_stream stream, struct input **list,
                     size_t *n, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    *n = 0;
    *list = mem_alloc(MAX_INPUTS * sizeof **list);
    if (!*list)
        return err_set(e, TARE_ENOMEM, "out of memory");
    int rc = db_query(c, e, &rows,
                      "SELECT id, first_line, writer, n_lines FROM history_segments "
                      "WHERE run_id = $1 AND stream = $2 AND level = 0 ORDER BY run_id, stream, writer, first_line",
                      DB_ARGS(db_i(run), db_i(stream)));
    while (rc >= 0 && *n < MAX_INPUTS && (rc = db_next(rows, e)) == 1)
        (*list)[(*n)++] = (struct input){db_int(rows, 0), db_int(rows, 1), db_int(rows, 2),
                                         (uint32_t)db_int(rows, 3)};
    return rc < 0 ? rc : 0;
}

static bool follows(const struct input *a, const struct input *b)
{
    return a->writer == b->writer && a->first_line + a->n_lines == b->first_line;
}

/* Where the segments to merge begin, in list[from, to) that follow each other. */
static size_t choose_start(const struct input *list, size_t from, size_t to, bool finish)
{
    size_t start = to;
    uint64_t lines = 0;
    while (start > from) {
        uint32_t n = list[start - 1].n_lines;
        if (!finish && lines && n > 2 * lines)
            break;
        lines += n;
        start--;
    }
    return start;
}

/* ---- merging ---- */

static bool is_input(const struct merge *m, int64_t id, size_t *at)
{
    while (*at < m->n && m->inputs[*at].id != id)
        ++*at;
    return *at < m->n;
}

static int gather(struct db_conn *c, const struct merge *m, struct rowset *rs, struct err *e)
{
    struct history_cursor hc;
    size_t at = 0, found = 0;
    int rc = history_cursor_open(&hc, c, m->run, m->stream, INT64_MIN, INT64_MAX, e);
    while (rc >= 0 && found < m->n && (rc = history_cursor_next(&hc, e)) == 1) {
        size_t try = at;
        if (!is_input(m, hc.id, &try))
            continue;
        at = try + 1;
        found++;
        rc = history_cursor_rows(&hc, 0, hc.n_lines, rs, e);
    }
    history_cursor_close(&hc);
    return rc < 0 ? rc : found == m->n ? 0 : TARE_ECONFLICT;
}

static int store_merged(struct db_conn *c, void *arg, struct err *e)
{
    struct merge *m = arg;
    int64_t gone_bytes = 0, gone_lines = 0, tail = 0, tail_lines = 0, n_bytes = 0;
    int rc = 0;
    for (size_t i = 0; i < m->n && rc >= 0; i++) {
        AUTO_ROWS struct db_rows *rows = NULL;
        rc = db_first(c, e, &rows,
                      "SELECT first_line, n_lines, LENGTH(directory) + COALESCE(LENGTH(data), 0) "
                      "FROM history_segments WHERE id = $1 AND run_id = $2 AND level = 0",
                      DB_ARGS(db_i(m->inputs[i].id), db_i(m->run)));
        if (rc < 0)
            return rc;
        if (rc == 0 || db_int(rows, 0) != m->inputs[i].first_line || db_int(rows, 1) != m->inputs[i].n_lines)
            return err_set(e, TARE_ECONFLICT, "the run has changed");
        gone_lines += db_int(rows, 1);
        gone_bytes += db_int(rows, 2);
        rc = history_delete(c, m->inputs[i].id, e);
    }
    for (uint32_t i = 0; i < m->batch.n_segments && rc >= 0; i++) {
        const struct segment *s = &m->batch.segments[i];
        int64_t level = m->last_level || s->n_lines >= LEVEL_1_LINES;
        rc = history_insert(c, m->run, m->stream, m->inputs[0].writer, level, s, e);
        tail += !level;
        tail_lines += level ? 0 : s->n_lines;
        n_bytes += (int64_t)s->directory.len;
        for (uint32_t g = 0; g < s->n_groups; g++)
            n_bytes += (int64_t)s->groups[g].len;
    }
    if (rc < 0)
        return rc;
    return db_exec(c, e,
                   "UPDATE runs SET tail_segments = tail_segments + $2, tail_lines = tail_lines + $3, "
                   "stored_bytes = stored_bytes + $4 WHERE id = $1",
                   DB_ARGS(db_i(m->run), db_i(tail - (int64_t)m->n), db_i(tail_lines - gone_lines),
                           db_i(n_bytes - gone_bytes)));
}

static int merge_range(struct db *db, struct merge *m, struct err *e)
{
    struct db_conn *c;
    struct rowset rs;
    int rc = db_read_begin(db, &c, e);
    if (rc)
        return rc;
    rowset_init(&rs);
    rc = gather(c, m, &rs, e);
    db_read_end(c);
    if (!rc)
        rc = history_batch_encode(&rs, m->inputs[0].first_line, 3, &m->batch);
    rowset_fini(&rs);
    if (!rc)
        rc = db_write(db, store_merged, m, e);
    history_batch_fini(&m->batch);
    return rc == TARE_ECONFLICT ? 0 : rc;
}

/* A segment alone is left as it is, but counts as merged. */
static int mark_level_1(struct db_conn *c, void *arg, struct err *e)
{
    struct merge *m = arg;
    int rc = db_exec(c, e, "UPDATE history_segments SET level = 1 WHERE id = $1 AND level = 0",
                     DB_ARGS(db_i(m->inputs[0].id)));
    if (rc < 1)
        return rc;
    return db_exec(c, e,
                   "UPDATE runs SET tail_segments = tail_segments - 1, tail_lines = tail_lines - $2 WHERE id = $1",
                   DB_ARGS(db_i(m->run), db_i(m->inputs[0].n_lines)));
}

static int merge_stream(struct db *db, int64_t run, enum history_stream stream, bool finish, struct err *e)
{
    struct db_conn *c;
    struct input *list = NULL;
    size_t n = 0;
    int merged = 0, rc = db_read_begin(db, &c, e);
    if (rc)
        return rc;
    rc = list_tail(c, run, stream, &list, &n, e);
    db_read_end(c);
    for (size_t from = 0, to; from < n && rc >= 0; from = to) {
        uint64_t lines = 0;
        for (to = from + 1; to < n && follows(&list[to - 1], &list[to]) && lines < 4 * SEGMENT_ROWS; to++)
            lines += list[to].n_lines;
        size_t start = choose_start(list, from, to, finish);
        struct merge m = {.run = run, .stream = stream, .inputs = list + start, .n = to - start,
                          .last_level = finish};
        if (m.n < 2 && !finish)
            continue;
        rc = m.n < 2 ? db_write(db, mark_level_1, &m, e) : merge_range(db, &m, e);
        merged += (int)m.n;
    }
    mem_free(list);
    return rc < 0 ? rc : merged;
}

int history_merge(struct db *db, int64_t run, bool finish, struct err *e)
{
    int merged = 0, rc = 0;
    for (int stream = 0; stream < HISTORY_STREAMS && rc >= 0; stream++) {
        rc = merge_stream(db, run, (enum history_stream)stream, finish, e);
        merged += rc > 0 ? rc : 0;
    }
    return rc < 0 ? rc : merged;
}

static int list_runs(struct db *db, const char *sql, int64_t *runs, int max, struct err *e)
{
    struct db_conn *c;
    int n = 0, rc = db_read_begin(db, &c, e);
    if (rc)
        return rc;
    struct db_rows *rows = NULL;
    rc = db_query(c, e, &rows, sql, DB_ARGS(db_i(MERGE_AT), db_i(max)));
    while (rc >= 0 && (rc = db_next(rows, e)) == 1)
        runs[n++] = db_int(rows, 0);
    db_rows_end(rows);
    db_read_end(c);
    return rc < 0 ? rc : n;
}

static int merge_runs(struct db *db, const char *sql, bool finish, struct err *e)
{
    int64_t runs[MAX_RUNS];
    int merged = 0, n = list_runs(db, sql, runs, MAX_RUNS, e);
    for (int i = 0; i < n; i++) {
        int rc = history_merge(db, runs[i], finish, e);
        if (rc < 0)
            return rc;
        merged += rc;
    }
    return n < 0 ? n : merged;
}

#define ENDED "state IN ('finished', 'failed', 'crashed', 'killed', 'preempted')"
#define SHORT_TAIL "tail_segments BETWEEN 1 AND 2 AND " ENDED

/* Most runs end with one segment a stream, which has nothing to be merged with: all such in one job. */
static int settle_job(struct db_conn *c, void *arg, struct err *e)
{
    (void)arg;
    int rc = db_exec(c, e,
                     "UPDATE history_segments SET level = 1 WHERE level = 0 AND run_id IN "
                     "(SELECT id FROM runs WHERE " SHORT_TAIL ") AND NOT EXISTS (SELECT 1 FROM history_segments o "
                     "WHERE o.run_id = history_segments.run_id AND o.stream = history_segments.stream "
                     "AND o.level = 0 AND o.id <> history_segments.id)",
                     DB_NONE);
    if (rc <= 0)
        return rc;
    return db_exec(c, e,
                   "UPDATE runs SET tail_segments = (SELECT COUNT(*) FROM history_segments s WHERE s.run_id = runs.id "
                   "AND s.level = 0), tail_lines = (SELECT COALESCE(SUM(s.n_lines), 0) FROM history_segments s "
                   "WHERE s.run_id = runs.id AND s.level = 0) WHERE " SHORT_TAIL,
                   DB_NONE);
}

static int settle_ended(struct db *db, struct err *e)
{
    struct db_conn *c;
    int64_t n = 0;
    int rc = db_read_begin(db, &c, e);
    if (rc)
        return rc;
    rc = db_get_int(c, e, &n, "SELECT COUNT(*) FROM runs WHERE " SHORT_TAIL, DB_NONE);
    db_read_end(c);
    return rc < 0 || !n ? rc : db_write(db, settle_job, NULL, e);
}

int history_merge_due(struct db *db, struct err *e)
{
    int much = merge_runs(db,
                          "SELECT id FROM runs WHERE tail_segments > 0 AND tail_segments >= $1 "
                          "ORDER BY tail_segments DESC LIMIT $2",
                          false, e);
    if (much < 0)
        return much;
    int ended = settle_ended(db, e);
    if (ended >= 0)
        ended = merge_runs(db,
                           "SELECT id FROM runs WHERE tail_segments > 0 AND tail_segments < $1 AND " ENDED " LIMIT $2",
                           true, e);
    return ended < 0 ? ended : much + ended;
}
