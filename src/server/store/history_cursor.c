/* SPDX-License-Identifier: MIT */
/* Segments in the database, one after the other. */
#include "server/store/history.h"

#include "base/alloc.h"

static int damaged(struct history_cursor *hc, int rc, struct err *e)
{
    return err_set(e, rc, "history segment %lld: %s", (long long)hc->id,
                   rc == TARE_EFORMAT ? "damaged" : err_text(rc));
}

int history_cursor_open(struct history_cursor *hc, struct db_conn *c, int64_t run,
                        enum history_stream stream, int64_t min_step, int64_t max_step, struct err *e)
{
    memset(hc, 0, sizeof *hc);
    hc->c = c;
    hc->in_parts = db_can_read_parts(c);
    hc->codec = codec_take();
    if (!hc->codec)
        return err_set(e, TARE_ENOMEM, "out of memory");
#define COLUMNS "SELECT id, first_line, n_lines, min_step, max_step, sorted, writer, level, n_groups, directory"
#define FROM_SEGMENTS \
    " FROM history_segments WHERE run_id = $1 AND stream = $2 AND max_step >= $3 AND min_step < $4 " \
    "ORDER BY run_id, stream, writer, first_line"
    return db_query(c, e, &hc->rows, hc->in_parts ? COLUMNS FROM_SEGMENTS : COLUMNS ", data" FROM_SEGMENTS,
                    DB_ARGS(db_i(run), db_i(stream), db_i(min_step), db_i(max_step)));
}

void history_cursor_close(struct history_cursor *hc)
{
    db_rows_end(hc->rows);
    segment_keys_fini(&hc->keys);
    for (int i = 0; i < 4; i++)
        buf_fini(&hc->group[i]);
    buf_fini(&hc->part);
    codec_give(hc->codec);
    memset(hc, 0, sizeof *hc);
}

int history_cursor_next(struct history_cursor *hc, struct err *e)
{
    segment_keys_fini(&hc->keys);
    for (int i = 0; i < 4; i++)
        hc->group_no[i] = UINT32_MAX;
    int rc = db_next(hc->rows, e);
    if (rc != 1)
        return rc;
    hc->id = db_int(hc->rows, 0);
    hc->first_line = db_int(hc->rows, 1);
    hc->n_lines = (uint32_t)db_int(hc->rows, 2);
    hc->min_step = db_int(hc->rows, 3);
    hc->max_step = db_int(hc->rows, 4);
    hc->sorted = db_int(hc->rows, 5);
    hc->writer = db_int(hc->rows, 6);
    hc->level = db_int(hc->rows, 7);
    hc->n_groups = (uint32_t)db_int(hc->rows, 8);
    struct str directory = db_blob(hc->rows, 9);
    if (hc->n_lines == 0 || hc->n_lines > SEGMENT_ROWS)
        return damaged(hc, TARE_EFORMAT, e);
    rc = segment_keys_read(hc->codec, directory, &hc->keys);
    return rc ? damaged(hc, rc, e) : 1;
}

static int load_group(struct history_cursor *hc, uint32_t no, struct str *to, struct err *e)
{
    if (hc->n_groups == 1 && no == 0) {
        *to = db_blob(hc->rows, 10);
        return 0;
    }
    for (int i = 0; i < 4; i++)
        if (hc->group_no[i] == no) {
            *to = buf_str(&hc->group[i]);
            return 0;
        }
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(hc->c, e, &rows,
                      "SELECT data FROM history_groups WHERE segment_id = $1 AND group_no = $2",
                      DB_ARGS(db_i(hc->id), db_i(no)));
    if (rc < 0)
        return rc;
    if (rc == 0)
        return damaged(hc, TARE_EFORMAT, e);
    unsigned slot = hc->next_slot++ % 4;
    struct str blob = db_blob(rows, 0);
    hc->group_no[slot] = UINT32_MAX;
    buf_clear(&hc->group[slot]);
    if (buf_put_str(&hc->group[slot], blob) != 0)
        return damaged(hc, TARE_ENOMEM, e);
    hc->group_no[slot] = no;
    *to = buf_str(&hc->group[slot]);
    return 0;
}

static int load_part(struct history_cursor *hc, uint32_t offset, uint32_t length, struct str *to, struct err *e)
{
    const struct db_place at = {"history_segments", "data", hc->id};
    size_t n;
    int rc = db_part_open(hc->c, &at, &n, e);
    if (rc)
        return rc;
    if (offset > n || length > n - offset)
        return damaged(hc, TARE_EFORMAT, e);
    buf_clear(&hc->part);
    char *bytes = buf_reserve(&hc->part, length);
    if (!bytes)
        return damaged(hc, TARE_ENOMEM, e);
    *to = str_make(bytes, length);
    return db_part_read(hc->c, offset, length, bytes, e);
}

static int load_block(struct history_cursor *hc, uint32_t group, uint32_t offset, uint32_t length,
                      struct str *to, struct err *e)
{
    struct str data = {0};
    if (hc->in_parts && hc->n_groups == 1 && group == 0)
        return load_part(hc, offset, length, to, e);
    int rc = load_group(hc, group, &data, e);
    if (rc)
        return rc;
    if (offset > data.n || length > data.n - offset)
        return damaged(hc, TARE_EFORMAT, e);
    *to = str_make(data.p + offset, length);
    return 0;
}

int history_cursor_column(struct history_cursor *hc, const struct segment_key *key, struct column *to,
                          struct err *e)
{
    struct str block;
    int rc = load_block(hc, key->group, key->offset, key->length, &block, e);
    if (rc)
        return rc;
    column_clear(to);
    rc = codec_get_column(hc->codec, block, hc->n_lines, to);
    if (!rc && to->n != key->n_values)
        rc = TARE_EFORMAT;
    return rc ? damaged(hc, rc, e) : 0;
}

int history_cursor_envelope(struct history_cursor *hc, const struct segment_key *key,
                            struct envelope *to, struct err *e)
{
    struct str block;
    int rc = load_block(hc, key->env_group, key->env_offset, key->env_length, &block, e);
    if (rc)
        return rc;
    rc = envelope_read(hc->codec, block, key->n_numbers, to);
    return rc ? damaged(hc, rc, e) : 0;
}

int history_cursor_steps(struct history_cursor *hc, int64_t *to, struct err *e)
{
    struct column step = {0};
    int rc = 0;
    bool found = false;
    for (uint32_t i = 0; i < hc->keys.n && !found && !rc; i++)
        if (str_eq(hc->keys.keys[i].path, STR("_step"))) {
            rc = history_cursor_column(hc, &hc->keys.keys[i], &step, e);
            found = true;
        }
    if (!rc)
        segment_steps(found ? &step : NULL, hc->n_lines, hc->first_line, to);
    column_fini(&step);
    return rc;
}

int history_cursor_rows(struct history_cursor *hc, uint32_t from, uint32_t to, struct rowset *rs,
                        struct err *e)
{
    struct column column = {0};
    int rc = 0;
    for (uint32_t i = 0; i < hc->keys.n && !rc; i++) {
        rc = history_cursor_column(hc, &hc->keys.keys[i], &column, e);
        if (rc)
            break;
        struct column *into = rowset_column(rs, hc->keys.keys[i].path);
        if (!into) {
            rc = err_set(e, TARE_ENOMEM, "out of memory");
            break;
        }
        column_append(into, &column, column_find(&column, from), column_find(&column, to),
                      (int64_t)rs->n_rows - from);
        if (into->failed)
            rc = err_set(e, TARE_ENOMEM, "out of memory");
    }
    rs->n_rows += to - from;
    column_fini(&column);
    return rc;
}

int history_insert(struct db_conn *c, int64_t run, enum history_stream stream, int64_t writer, int64_t level,
                   const struct segment *s, struct err *e)
{
#define INSERT_SEGMENT                                                                                      \
    "INSERT INTO history_segments (run_id, stream, writer, first_line, n_lines, level, min_step, max_step, " \
    "sorted, n_groups, directory, data) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
    bool inlined = s->n_groups == 1;
    struct str data = buf_str(&s->groups[0]);
    int64_t id = 0;
    const struct db_value args[] = {
        db_i(run), db_i(stream), db_i(writer), db_i(s->first_line), db_i(s->n_lines), db_i(level), db_i(s->min_step),
        db_i(s->max_step), db_i(s->sorted), db_i(s->n_groups), db_b(s->directory.data, s->directory.len),
        inlined && data.n ? db_b(data.p, data.n) : db_n()};
    if (inlined) { /* the usual one; SQLite takes twice as long with RETURNING */
        int rc = db_exec(c, e, INSERT_SEGMENT, args, 12);
        return rc < 0 ? rc : 0;
    }
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_first(c, e, &rows, INSERT_SEGMENT " RETURNING id", args, 12);
    if (rc == 1) {
        id = db_int(rows, 0);
        rc = db_next(rows, e);
    }
    for (uint32_t i = 0; i < s->n_groups && rc >= 0; i++)
        rc = db_exec(c, e, "INSERT INTO history_groups (segment_id, group_no, data) VALUES ($1, $2, $3)",
                     DB_ARGS(db_i(id), db_i(i), db_b(s->groups[i].data, s->groups[i].len)));
    return rc < 0 ? rc : 0;
}

int history_delete(struct db_conn *c, int64_t id, struct err *e)
{
    int rc = db_exec(c, e, "DELETE FROM history_groups WHERE segment_id = $1", DB_ARGS(db_i(id)));
    if (rc >= 0)
        rc = db_exec(c, e, "DELETE FROM history_segments WHERE id = $1", DB_ARGS(db_i(id)));
    return rc < 0 ? rc : 0;
}
