/* SPDX-License-Identifier: MIT */
/* Storing lines once, whatever comes twice; rewinding, forking, clearing. */
#include "server/store/history.h"

#include "base/alloc.h"

enum { LEVEL_1_LINES = 4096 };

/* ---- batches ---- */

void history_batch_fini(struct history_batch *b)
{
    for (uint32_t i = 0; i < b->n_segments; i++)
        segment_fini(&b->segments[i]);
    mem_free(b->segments);
    memset(b, 0, sizeof *b);
}

int history_batch_encode(const struct rowset *rs, int64_t first_line, int level, struct history_batch *to)
{
    uint32_t n = (rs->n_rows + SEGMENT_ROWS - 1) / SEGMENT_ROWS;
    memset(to, 0, sizeof *to);
    AUTO_CODEC *k = codec_take();
    to->segments = mem_calloc(n, sizeof *to->segments);
    if (!k || !to->segments) {
        history_batch_fini(to);
        return TARE_ENOMEM;
    }
    to->first_line = first_line;
    to->n_lines = rs->n_rows;
    to->max_step = INT64_MIN;
    int rc = 0;
    for (uint32_t i = 0; i < n && !rc; i++) {
        uint32_t from = i * SEGMENT_ROWS;
        uint32_t end = rs->n_rows - from > SEGMENT_ROWS ? from + SEGMENT_ROWS : rs->n_rows;
        struct segment *s = &to->segments[to->n_segments++];
        rc = segment_encode(k, rs, from, end, first_line + from, level, s);
        to->max_step = !rc && s->max_step > to->max_step ? s->max_step : to->max_step;
        to->n_bytes += s->directory.len;
        for (uint32_t g = 0; g < s->n_groups; g++)
            to->n_bytes += s->groups[g].len;
    }
    if (rc)
        history_batch_fini(to);
    return rc;
}

/* Rows [from, to) of a segment in memory as a segment of its own. */
static int slice(const struct segment *s, uint32_t from, uint32_t to, struct segment *out)
{
    AUTO_CODEC *k = codec_take();
    struct segment_keys keys = {0};
    struct rowset rs;
    struct column column = {0};
    rowset_init(&rs);
    int rc = k ? segment_keys_read(k, buf_str(&s->directory), &keys) : TARE_ENOMEM;
    for (uint32_t i = 0; i < keys.n && !rc; i++) {
        const struct segment_key *key = &keys.keys[i];
        column_clear(&column);
        rc = codec_get_column(k, str_make(s->groups[key->group].data + key->offset, key->length),
                              s->n_lines, &column);
        struct column *into = rc ? NULL : rowset_column(&rs, key->path);
        if (into)
            column_append(into, &column, column_find(&column, from), column_find(&column, to),
                          -(int64_t)from);
        else if (!rc)
            rc = TARE_ENOMEM;
    }
    rs.n_rows = to - from;
    memset(out, 0, sizeof *out);
    if (!rc)
        rc = segment_encode(k, &rs, 0, to - from, s->first_line + from, 1, out);
    column_fini(&column);
    rowset_fini(&rs);
    segment_keys_fini(&keys);
    return rc;
}

/* ---- appending ---- */

struct append {
    struct db_conn *c;
    int64_t run, writer;
    enum history_stream stream;
    struct history_change *change;
};

static int store(struct append *a, const struct segment *s, struct err *e)
{
    int64_t level = s->n_lines >= LEVEL_1_LINES;
    int rc = history_insert(a->c, a->run, a->stream, a->writer, level, s, e);
    if (rc)
        return rc;
    if (!level) {
        a->change->tail_segments++;
        a->change->tail_lines += s->n_lines;
    }
    a->change->n_bytes += (int64_t)s->directory.len;
    for (uint32_t g = 0; g < s->n_groups; g++)
        a->change->n_bytes += (int64_t)s->groups[g].len;
    return 0;
}

struct range {
    int64_t from, to;
};

/* The stored ranges that overlap [from, to), rising: heap, NULL if there are none. */
static int find_stored(const struct append *a, int64_t from, int64_t to, struct range **ranges,
                       size_t *n, struct err *e)
{
    *ranges = NULL;
    *n = 0;
    int64_t end = 0;
    struct db_value args[] = {db_i(a->run), db_i(a->stream), db_i(a->writer), db_i(to), db_i(from)};
    int rc = db_get_int(a->c, e, &end,
                        "SELECT first_line + n_lines FROM history_segments WHERE run_id = $1 AND stream = $2 "
                        "AND writer = $3 AND first_line < $4 ORDER BY first_line DESC LIMIT 1",
                        args, 4);
    if (rc < 1 || end <= from)
        return rc < 0 ? rc : 0;
    AUTO_ROWS struct db_rows *rows = NULL;
    rc = db_query(a->c, e, &rows,
                  "SELECT first_line, n_lines FROM history_segments WHERE run_id = $1 AND stream = $2 "
                  "AND writer = $3 AND first_line < $4 AND first_line + n_lines > $5 ORDER BY first_line",
                  args, 5);
    while (rc >= 0 && (rc = db_next(rows, e)) == 1) {
        struct range *more = mem_realloc(*ranges, (*n + 1) * sizeof *more);
        if (!more)
            return err_set(e, TARE_ENOMEM, "out of memory");
        *ranges = more;
        more[*n].from = db_int(rows, 0);
        more[(*n)++].to = db_int(rows, 0) + db_int(rows, 1);
    }
    return rc;
}

static int store_part(struct append *a, const struct segment *s, int64_t from, int64_t to, struct err *e)
{
    if (from >= to)
        return 0;
    if (from == s->first_line && to == s->first_line + s->n_lines)
        return store(a, s, e);
    struct segment part;
    int rc = slice(s, (uint32_t)(from - s->first_line), (uint32_t)(to - s->first_line), &part);
    if (rc)
        return err_set(e, rc, "cutting a batch: %s", err_text(rc));
    rc = store(a, &part, e);
    segment_fini(&part);
    return rc;
}

/* Store what of `s` the ranges do not hold. */
static int store_missing(struct append *a, const struct segment *s, const struct range *ranges, size_t n,
                         struct err *e)
{
    int64_t at = s->first_line, end = at + s->n_lines;
    int rc = 0;
    for (size_t i = 0; i < n && !rc && at < end; i++) {
        if (ranges[i].to <= at)
            continue;
        rc = store_part(a, s, at, ranges[i].from < end ? ranges[i].from : end, e);
        at = ranges[i].to;
    }
    return rc ? rc : store_part(a, s, at, end, e);
}

int history_append(struct db_conn *c, int64_t run, enum history_stream stream, int64_t writer,
                   const struct history_batch *b, struct history_change *change, struct err *e)
{
    struct append a = {c, run, writer, stream, change};
    struct range *ranges;
    size_t n;
    int64_t end = b->first_line + b->n_lines;
    int rc = find_stored(&a, b->first_line, end, &ranges, &n, e);
    for (uint32_t i = 0; i < b->n_segments && !rc; i++)
        rc = store_missing(&a, &b->segments[i], ranges, n, e);
    mem_free(ranges);
    if (rc)
        return rc;
    if (end > change->end_line[stream])
        change->end_line[stream] = end;
    if (stream == HISTORY_METRICS && b->max_step > change->last_step)
        change->last_step = b->max_step;
    return 0;
}

int history_apply(struct db_conn *c, int64_t run, const struct history_change *change, struct err *e)
{
    int rc = db_exec(c, e,
                     "UPDATE runs SET "
                     "history_lines = CASE WHEN history_lines < $2 THEN $2 ELSE history_lines END, "
                     "events_lines = CASE WHEN events_lines < $3 THEN $3 ELSE events_lines END, "
                     "last_step = CASE WHEN $2 > 0 AND last_step < $4 THEN $4 ELSE last_step END, "
                     "tail_segments = tail_segments + $5, tail_lines = tail_lines + $6, "
                     "stored_bytes = stored_bytes + $7 WHERE id = $1",
                     DB_ARGS(db_i(run), db_i(change->end_line[HISTORY_METRICS]),
                             db_i(change->end_line[HISTORY_EVENTS]), db_i(change->last_step),
                             db_i(change->tail_segments), db_i(change->tail_lines),
                             db_i(change->n_bytes)));
    return rc < 0 ? rc : 0;
}

/* ---- rewinding and copying ---- */

/* Set the run's counters from what is stored. */
static int recount(struct db_conn *c, int64_t run, struct err *e)
{
    int rc = db_exec(
        c, e,
        "UPDATE runs SET "
        "history_lines = (SELECT COALESCE(MAX(first_line + n_lines), 0) FROM history_segments "
        "WHERE run_id = $1 AND stream = 0), "
        "events_lines = (SELECT COALESCE(MAX(first_line + n_lines), 0) FROM history_segments "
        "WHERE run_id = $1 AND stream = 1), "
        "last_step = (SELECT COALESCE(MAX(max_step), -1) FROM history_segments "
        "WHERE run_id = $1 AND stream = 0), "
        "tail_segments = (SELECT COUNT(*) FROM history_segments WHERE run_id = $1 AND level = 0), "
        "tail_lines = (SELECT COALESCE(SUM(n_lines), 0) FROM history_segments WHERE run_id = $1 AND level = 0), "
        "stored_bytes = (SELECT COALESCE(SUM(LENGTH(directory) + COALESCE(LENGTH(data), 0)), 0) "
        "FROM history_segments WHERE run_id = $1) + (SELECT COALESCE(SUM(LENGTH(g.data)), 0) "
        "FROM history_groups g JOIN history_segments s ON g.segment_id = s.id WHERE s.run_id = $1) "
        "WHERE id = $1",
        DB_ARGS(db_i(run)));
    return rc < 0 ? rc : 0;
}

struct kept { /* a segment of the source, and what becomes of it */
    int64_t id, first_line, writer;
    int64_t min_step, max_step;
    uint32_t n_lines;
};

/* Rows of the cursor's segment with step <= max_step, encoded with the lines from `first_line` on. An empty
 * result has no lines. */
static int cut_segment(struct history_cursor *hc, int64_t max_step, int64_t first_line,
                       struct segment *out, struct err *e)
{
    int64_t *steps = mem_alloc(hc->n_lines * sizeof *steps);
    if (!steps)
        return err_set(e, TARE_ENOMEM, "out of memory");
    struct rowset rs;
    rowset_init(&rs);
    int rc = history_cursor_steps(hc, steps, e);
    for (uint32_t from = 0; from < hc->n_lines && !rc;) {
        uint32_t to = from;
        while (to < hc->n_lines && steps[to] <= max_step)
            to++;
        if (to > from)
            rc = history_cursor_rows(hc, from, to, &rs, e);
        from = to + 1;
    }
    memset(out, 0, sizeof *out);
    if (!rc && rs.n_rows) {
        rc = segment_encode(hc->codec, &rs, 0, rs.n_rows, first_line, 3, out);
        if (rc)
            err_set(e, rc, "encoding: %s", err_text(rc));
    }
    rowset_fini(&rs);
    mem_free(steps);
    return rc;
}

/* The segments of `run` with any row at or below max_step, in order. Heap. */
static int list_segments(struct db_conn *c, int64_t run, struct kept **list, size_t *n, struct err *e)
{
    *list = NULL;
    *n = 0;
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_query(c, e, &rows,
                      "SELECT id, first_line, writer, min_step, max_step, n_lines FROM history_segments "
                      "WHERE run_id = $1 AND stream = 0 ORDER BY run_id, stream, writer, first_line",
                      DB_ARGS(db_i(run)));
    while (rc >= 0 && (rc = db_next(rows, e)) == 1) {
        struct kept *more = mem_realloc(*list, (*n + 1) * sizeof *more);
        if (!more)
            return err_set(e, TARE_ENOMEM, "out of memory");
        *list = more;
        more[(*n)++] = (struct kept){db_int(rows, 0), db_int(rows, 1), db_int(rows, 2),
                                     db_int(rows, 3), db_int(rows, 4), (uint32_t)db_int(rows, 5)};
    }
    return rc;
}

/* Open a cursor on exactly one segment. */
static int open_one(struct history_cursor *hc, struct db_conn *c, int64_t id, struct err *e)
{
    memset(hc, 0, sizeof *hc);
    hc->c = c;
    hc->codec = codec_take();
    if (!hc->codec)
        return err_set(e, TARE_ENOMEM, "out of memory");
    int rc = db_query(c, e, &hc->rows,
                      "SELECT id, first_line, n_lines, min_step, max_step, sorted, writer, level, n_groups, "
                      "directory, data FROM history_segments WHERE id = $1",
                      DB_ARGS(db_i(id)));
    if (!rc)
        rc = history_cursor_next(hc, e);
    return rc == 1 ? 0 : rc == 0 ? err_set(e, TARE_ENOTFOUND, "segment is gone") : rc;
}

static int cut_stored(struct db_conn *c, int64_t id, int64_t max_step, int64_t first_line,
                      struct segment *out, struct err *e)
{
    struct history_cursor hc;
    int rc = open_one(&hc, c, id, e);
    if (!rc)
        rc = cut_segment(&hc, max_step, first_line, out, e);
    history_cursor_close(&hc);
    return rc;
}

static int replace(struct db_conn *c, int64_t run, const struct kept *s, int64_t max_step,
                   int64_t *next_line, struct err *e)
{
    struct segment cut = {0};
    int rc = cut_stored(c, s->id, max_step, *next_line, &cut, e);
    if (!rc)
        rc = history_delete(c, s->id, e);
    if (!rc && cut.n_lines)
        rc = history_insert(c, run, HISTORY_METRICS, s->writer, 0, &cut, e);
    *next_line += cut.n_lines;
    segment_fini(&cut);
    return rc;
}

int history_rewind(struct db_conn *c, int64_t run, int64_t max_step, int64_t *lines, struct err *e)
{
    struct kept *list;
    size_t n;
    int64_t next = 0;
    int rc = list_segments(c, run, &list, &n, e);
    for (size_t i = 0; i < n && rc >= 0; i++) {
        if (i && list[i].writer != list[i - 1].writer)
            next = 0;
        if (list[i].min_step > max_step) {
            rc = history_delete(c, list[i].id, e);
        } else if (list[i].max_step > max_step) {
            rc = replace(c, run, &list[i], max_step, &next, e);
        } else {
            if (list[i].first_line != next)
                rc = db_exec(c, e, "UPDATE history_segments SET first_line = $2 WHERE id = $1",
                             DB_ARGS(db_i(list[i].id), db_i(next)));
            next += list[i].n_lines;
        }
    }
    mem_free(list);
    if (rc >= 0)
        rc = recount(c, run, e);
    if (rc >= 0)
        *lines = next;
    return rc < 0 ? rc : 0;
}

static int copy_segment(struct db_conn *c, int64_t to, const struct kept *s, int64_t line, struct err *e)
{
    struct db_rows *rows = NULL;
    int64_t id = 0;
    int rc = db_first(c, e, &rows,
                      "INSERT INTO history_segments (run_id, stream, writer, first_line, n_lines, level, "
                      "min_step, max_step, sorted, n_groups, directory, data) SELECT CAST($1 AS BIGINT), stream, 0, "
                      "CAST($2 AS BIGINT), n_lines, level, min_step, max_step, sorted, n_groups, directory, data "
                      "FROM history_segments WHERE id = $3 RETURNING id",
                      DB_ARGS(db_i(to), db_i(line), db_i(s->id)));
    if (rc == 1) {
        id = db_int(rows, 0);
        rc = db_next(rows, e);
    }
    db_rows_end(rows);
    if (rc >= 0)
        rc = db_exec(c, e,
                     "INSERT INTO history_groups (segment_id, group_no, data) "
                     "SELECT CAST($1 AS BIGINT), group_no, data FROM history_groups WHERE segment_id = $2",
                     DB_ARGS(db_i(id), db_i(s->id)));
    return rc < 0 ? rc : 0;
}

int history_copy(struct db_conn *c, int64_t from, int64_t to, int64_t max_step, int64_t *lines,
                 struct err *e)
{
    struct kept *list;
    size_t n;
    int64_t next = 0;
    int rc = list_segments(c, from, &list, &n, e);
    for (size_t i = 0; i < n && rc >= 0; i++) {
        if (list[i].min_step > max_step)
            continue;
        if (list[i].max_step <= max_step) {
            rc = copy_segment(c, to, &list[i], next, e);
            next += list[i].n_lines;
            continue;
        }
        struct segment cut = {0};
        rc = cut_stored(c, list[i].id, max_step, next, &cut, e);
        if (!rc && cut.n_lines)
            rc = history_insert(c, to, HISTORY_METRICS, 0, 0, &cut, e);
        next += cut.n_lines;
        segment_fini(&cut);
    }
    mem_free(list);
    if (rc >= 0)
        rc = recount(c, to, e);
    if (rc >= 0)
        *lines = next;
    return rc < 0 ? rc : 0;
}

int history_clear(struct db_conn *c, int64_t run, enum history_stream stream, struct err *e)
{
    int rc = db_exec(c, e,
                     "DELETE FROM history_groups WHERE segment_id IN "
                     "(SELECT id FROM history_segments WHERE run_id = $1 AND stream = $2)",
                     DB_ARGS(db_i(run), db_i(stream)));
    if (rc >= 0)
        rc = db_exec(c, e, "DELETE FROM history_segments WHERE run_id = $1 AND stream = $2",
                     DB_ARGS(db_i(run), db_i(stream)));
    return rc < 0 ? rc : recount(c, run, e);
}
