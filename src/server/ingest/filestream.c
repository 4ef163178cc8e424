/* SPDX-License-Identifier: MIT */
/* Reading a body goes over its bytes once: objects are walked as they come, and each history line is
 * taken apart where it stands as long as it looks like the one before (store/rowset.h), and freed of its
 * string escapes into one scratch buffer from there on. */
#include "server/ingest/filestream.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/number.h"
#include "base/spare.h"
#include "server/store/shared.h"

#include <string.h>

enum file { F_HISTORY, F_EVENTS, F_SUMMARY, F_CONSOLE, F_OTHER };

static const char *const file_names[] = {"wandb-history.jsonl", "wandb-events.jsonl",
                                         "wandb-summary.json", "output.log"};

struct reader {
    const char *p, *end;
    struct filestream *fs;
    struct rowset rows[HISTORY_STREAMS];
    int64_t offset[HISTORY_STREAMS];
    struct buf line; /* the content string in hand, unescaped */
    struct buf key;
    int rc; /* why reading stopped */
};

static bool stop(struct reader *r, int rc)
{
    if (!r->rc)
        r->rc = rc;
    return false;
}

static bool expect(struct reader *r, char c)
{
    r->p = json_skip_space(r->p, r->end);
    if (r->p >= r->end || *r->p != c)
        return stop(r, TARE_EFORMAT);
    r->p++;
    return true;
}

static bool peek(struct reader *r, char c)
{
    r->p = json_skip_space(r->p, r->end);
    return r->p < r->end && *r->p == c;
}

static bool skip_value(struct reader *r)
{
    const char *q = json_skip(r->p, r->end);
    if (!q)
        return stop(r, TARE_EFORMAT);
    r->p = q;
    return true;
}

/* ---- strings ---- */

/* What stands behind a backslash, 0 for \u (and for what is no escape). */
static const char escape_of[256] = {
    ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['n'] = '\n', ['t'] = '\t', ['r'] = '\r', ['b'] = '\b', ['f'] = '\f',
};

/* A high bit for each byte of `w` that is a quote, a backslash or below 0x20. */
static uint64_t special_bytes(uint64_t w)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
    uint64_t quote = w ^ (ones * '"'), backslash = w ^ (ones * '\\');
    return (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((w - ones * 0x20) & ~w)) & high;
}

enum { WORD = 8 };

/* Copy what is in the string from *p on to *w, a word at a time and the usual escapes at once, while
 * there are bytes and room for that. Stops at what it leaves to others: the closing quote, another
 * escape, a byte that may not be there, the last few bytes. */
static void copy_words(const char **p, const char *end, char **w, const char *w_end)
{
    const char *from = *p;
    char *to = *w;
    while (end - from >= WORD + 2 && w_end - to >= WORD) {
        uint64_t word;
        memcpy(&word, from, WORD);
        memcpy(to, &word, WORD);
        uint64_t special = special_bytes(word);
        size_t n = special ? (size_t)__builtin_ctzll(special) / 8 : WORD;
        from += n;
        to += n;
        if (!special)
            continue;
        char c = *from == '\\' ? escape_of[(unsigned char)from[1]] : 0;
        if (!c)
            break;
        *to++ = c;
        from += 2;
    }
    *p = from;
    *w = to;
}

/* Copy the string from *p on, its usual escapes undone, up to what is something else. */
static bool copy_plain(const char **p, const char *end, struct buf *to)
{
    enum { PIECE = 4096 };
    for (;;) {
        if (to->cap - to->len < 2 * WORD && !buf_reserve(to, PIECE))
            return false;
        char *w = to->data + to->len;
        copy_words(p, end, &w, to->data + to->cap);
        to->len = (size_t)(w - to->data);
        if (to->cap - to->len >= 2 * WORD)
            break;
    }
    for (int i = 0; i < WORD + 2 && *p < end && **p != '"' && **p != '\\' && (unsigned char)**p >= 0x20; i++)
        to->data[to->len++] = *(*p)++;
    return true;
}

/* A string with \u escapes: find its end, then let base do it. `start` may be in the middle of the string,
 * behind members that were taken as they stood, so no quote needs to be before it. */
static bool read_string_slowly(struct reader *r, const char *start, struct buf *to, size_t old_len)
{
    const char *q = start;
    while (q < r->end && *q != '"' && (unsigned char)*q >= 0x20)
        q += *q == '\\' ? 2 : 1;
    if (q >= r->end || *q != '"')
        return stop(r, TARE_EFORMAT);
    to->len = old_len;
    int rc = json_unescape(to, str_make(start, (size_t)(q - start)));
    r->p = q + 1;
    return rc ? stop(r, rc) : true;
}

/* The string from r->p on, which is behind its opening quote, appended to `to`. */
static bool read_inside(struct reader *r, struct buf *to)
{
    const char *start = r->p;
    size_t old_len = to->len;
    for (;;) {
        if (!copy_plain(&r->p, r->end, to))
            return stop(r, TARE_ENOMEM);
        if (r->p >= r->end || (unsigned char)*r->p < 0x20)
            return stop(r, TARE_EFORMAT);
        if (*r->p == '"') {
            r->p++;
            return true;
        }
        if (*r->p != '\\')
            continue;
        char c = r->end - r->p > 1 ? escape_of[(unsigned char)r->p[1]] : 0;
        if (!c)
            return read_string_slowly(r, start, to, old_len);
        to->data[to->len++] = c;
        r->p += 2;
    }
}

/* A string at r->p, appended to `to`. */
static bool read_string(struct reader *r, struct buf *to)
{
    return expect(r, '"') && read_inside(r, to);
}

/* ---- walking objects ---- */

/* After '{': the next key into r->key, its colon eaten. False at the end (r->rc 0) or if malformed. */
static bool next_key(struct reader *r, bool *first)
{
    if (peek(r, '}')) {
        r->p++;
        return false;
    }
    if (!*first && !expect(r, ','))
        return false;
    *first = false;
    buf_clear(&r->key);
    return peek(r, '"') ? read_string(r, &r->key) && expect(r, ':') : stop(r, TARE_EFORMAT);
}

static bool key_is(const struct reader *r, const char *name)
{
    return str_eqz(buf_str(&r->key), name);
}

static bool read_int(struct reader *r, int64_t *to)
{
    double d;
    r->p = json_skip_space(r->p, r->end);
    size_t left = (size_t)(r->end - r->p), n = number_parse_i64(r->p, left, to);
    if (!n && (n = number_parse_double(r->p, left, &d)) != 0) {
        if (!(d > -0x1p53 && d < 0x1p53))
            return stop(r, TARE_EFORMAT);
        *to = (int64_t)d;
    }
    r->p += n;
    return n ? true : stop(r, TARE_EFORMAT);
}

static bool read_bool(struct reader *r, bool *to)
{
    const char *at = json_skip_space(r->p, r->end);
    if (!skip_value(r))
        return false;
    *to = *at == 't';
    return true;
}

/* ---- files ---- */

static bool add_console_line(struct reader *r)
{
    struct filestream *fs = r->fs;
    if (fs->console.n == fs->console.cap) {
        size_t cap = fs->console.cap ? fs->console.cap * 2 : 64;
        struct str *lines = mem_realloc(fs->console.lines, cap * sizeof *lines);
        if (!lines)
            return stop(r, TARE_ENOMEM);
        fs->console.lines = lines;
        fs->console.cap = cap;
    }
    /* an offset until the text stands still */
    fs->console.lines[fs->console.n++] = (struct str){(const char *)fs->text.len, r->line.len};
    return buf_put_str(&fs->text, buf_str(&r->line)) == 0 ? true : stop(r, TARE_ENOMEM);
}

static bool add_summary(struct reader *r)
{
    struct str text = buf_str(&r->line);
    const char *first = text.n ? json_skip_space(text.p, text.p + text.n) : "";
    if (!json_valid(text) || *first != '{')
        return stop(r, TARE_EFORMAT);
    buf_clear(&r->fs->summary);
    return buf_put_str(&r->fs->summary, text) == 0 ? true : stop(r, TARE_ENOMEM);
}

/* Most rows look as the one before and are taken as they stand; the others are unescaped first. */
static bool add_row(struct reader *r, struct rowset *rs)
{
    bool whole;
    if (!expect(r, '"'))
        return false;
    const char *start = r->p;
    r->p = rowset_begin_quoted(rs, start, r->end, &whole);
    if (whole)
        return true;
    bool begun = r->p != start;
    if (!read_inside(r, &r->line))
        return false;
    int rc = begun ? rowset_add_rest(rs, buf_str(&r->line)) : rowset_add_line(rs, buf_str(&r->line));
    return rc ? stop(r, rc) : true;
}

static bool add_line(struct reader *r, enum file file)
{
    buf_clear(&r->line);
    if (file == F_HISTORY || file == F_EVENTS)
        return add_row(r, &r->rows[file]);
    if (!read_string(r, &r->line))
        return false;
    switch (file) {
    case F_SUMMARY:
        return add_summary(r);
    case F_CONSOLE:
        return add_console_line(r);
    default:
        return true;
    }
}

static bool read_content(struct reader *r, enum file file)
{
    bool first = true;
    if (!expect(r, '['))
        return false;
    while (!peek(r, ']')) {
        if (!first && !expect(r, ','))
            return false;
        first = false;
        if (!add_line(r, file))
            return false;
    }
    r->p++;
    return true;
}

static bool read_file(struct reader *r, enum file file)
{
    bool first = true;
    int64_t offset = 0;
    if (file == F_OTHER)
        return skip_value(r);
    if (!expect(r, '{'))
        return false;
    while (next_key(r, &first)) {
        bool ok = key_is(r, "offset")    ? read_int(r, &offset)
                  : key_is(r, "content") ? read_content(r, file)
                                         : skip_value(r);
        if (!ok)
            return false;
    }
    if (r->rc)
        return false;
    if (offset < 0 || offset > INT64_MAX / 4)
        return stop(r, TARE_EFORMAT);
    if (file == F_HISTORY || file == F_EVENTS)
        r->offset[file] = offset;
    else if (file == F_CONSOLE)
        r->fs->console.first_line = offset;
    return true;
}

static bool read_files(struct reader *r)
{
    bool first = true, seen[F_OTHER] = {false};
    if (!expect(r, '{'))
        return false;
    while (next_key(r, &first)) {
        int file = 0;
        while (file < F_OTHER && !key_is(r, file_names[file]))
            file++;
        if (file < F_OTHER && seen[file])
            return stop(r, TARE_EFORMAT); /* one range a file */
        if (file < F_OTHER)
            seen[file] = true;
        if (!read_file(r, (enum file)file))
            return false;
    }
    return r->rc == 0;
}

static bool read_body(struct reader *r)
{
    bool first = true;
    if (!expect(r, '{'))
        return false;
    while (next_key(r, &first)) {
        bool null = peek(r, 'n');
        bool ok = null                      ? skip_value(r)
                  : key_is(r, "files")      ? read_files(r)
                  : key_is(r, "complete")   ? read_bool(r, &r->fs->complete)
                  : key_is(r, "preempting") ? read_bool(r, &r->fs->preempting)
                  : key_is(r, "exitcode")   ? read_int(r, &r->fs->exitcode)
                                            : skip_value(r);
        if (!ok)
            return false;
    }
    if (r->rc)
        return false;
    r->p = json_skip_space(r->p, r->end);
    return r->p == r->end ? true : stop(r, TARE_EFORMAT);
}

/* ---- reading ---- */

static int encode(struct reader *r)
{
    struct filestream *fs = r->fs;
    int rc = 0;
    for (int i = 0; i < HISTORY_STREAMS && !rc; i++) {
        const struct rowset *rs = &r->rows[i];
        for (uint32_t k = 0; i == F_HISTORY && k < rs->n_columns; k++)
            fs->n_values += rs->columns[k].n;
        if (rs->n_rows)
            rc = history_batch_encode(rs, r->offset[i], 1, &fs->batches[i]);
        fs->n_bytes += fs->batches[i].n_bytes;
    }
    for (size_t i = 0; i < fs->console.n; i++)
        fs->console.lines[i].p = fs->text.data + (size_t)fs->console.lines[i].p;
    fs->n_bytes += fs->text.len + fs->summary.len + fs->console.cap * sizeof *fs->console.lines;
    return rc;
}

int filestream_read(struct str body, struct filestream *to, struct err *e)
{
    struct reader r = {.p = body.p, .end = body.p + body.n, .fs = to};
    memset(to, 0, sizeof *to);
    for (int i = 0; i < HISTORY_STREAMS; i++)
        rowset_init(&r.rows[i]);
    if (body.n && json_skip_space(r.p, r.end) != r.end)
        read_body(&r);
    if (!r.rc)
        r.rc = encode(&r);
    for (int i = 0; i < HISTORY_STREAMS; i++)
        rowset_fini(&r.rows[i]);
    buf_fini(&r.line);
    buf_fini(&r.key);
    if (!r.rc)
        return 0;
    filestream_fini(to);
    return err_set(e, r.rc, "file stream: %s at byte %zu", err_text(r.rc), (size_t)(r.p - body.p));
}

void filestream_fini(struct filestream *fs)
{
    for (int i = 0; i < HISTORY_STREAMS; i++)
        history_batch_fini(&fs->batches[i]);
    mem_free(fs->console.lines);
    buf_fini(&fs->text);
    buf_fini(&fs->summary);
    memset(fs, 0, sizeof *fs);
}

/* ---- storing ---- */

/* Counters, summary, heartbeat and state. (One statement with RETURNING would take SQLite half as long again:
 * it is then prepared to undo it alone.) A run that has ended stays so, whatever late
 * retry arrives; asked to stop and ended badly is "killed", suspended and ended badly "preempted". */
static int update_run(struct db_conn *c, int64_t run, const struct filestream *fs, int64_t log_end, struct str summary,
                      const struct history_change *ch, struct filestream_answer *answer, struct err *e)
{
    int64_t now_us = clock_wall_ns() / 1000;
    AUTO_ROWS struct db_rows *rows = NULL;
    int rc = db_exec(
        c, e,
        "UPDATE runs SET "
        "history_lines = CASE WHEN history_lines < $2 THEN $2 ELSE history_lines END, "
        "events_lines = CASE WHEN events_lines < $3 THEN $3 ELSE events_lines END, "
        "log_lines = CASE WHEN log_lines < $4 THEN $4 ELSE log_lines END, "
        "last_step = CASE WHEN $2 > 0 AND last_step < $5 THEN $5 ELSE last_step END, "
        "tail_segments = tail_segments + $6, tail_lines = tail_lines + $7, stored_bytes = stored_bytes + $8, "
        "summary = COALESCE($9, summary), heartbeat_at = $10, updated_at = $10, "
        "exitcode = CASE WHEN $11 = 1 THEN $12 ELSE exitcode END, "
        "finished_at = CASE WHEN $11 = 1 THEN $10 ELSE finished_at END, "
        "state = CASE WHEN $11 = 1 THEN CASE WHEN $12 = 0 THEN 'finished' WHEN stop_requested = 1 THEN 'killed' "
        "WHEN state = 'preempting' THEN 'preempted' ELSE 'failed' END "
        "WHEN $13 = 1 THEN 'preempting' WHEN state IN ('pending', 'crashed') THEN 'running' ELSE state END "
        "WHERE id = $1 AND deleted_at IS NULL",
        DB_ARGS(db_i(run), db_i(ch->end_line[HISTORY_METRICS]), db_i(ch->end_line[HISTORY_EVENTS]),
                db_i(log_end), db_i(ch->last_step), db_i(ch->tail_segments), db_i(ch->tail_lines),
                db_i(ch->n_bytes), db_s(summary),
                db_i(now_us), db_i(fs->complete), db_i(fs->exitcode), db_i(fs->preempting)));
    if (rc == 1)
        rc = db_first(c, e, &rows, "SELECT stop_requested, tail_segments FROM runs WHERE id = $1", DB_ARGS(db_i(run)));
    if (rc == 1) {
        answer->stopped = db_int(rows, 0);
        answer->tail_segments = db_int(rows, 1);
        return 0;
    }
    return rc < 0 ? rc : err_set(e, TARE_ENOTFOUND, "no such run");
}

/* Console and summary of a run's only client: they stand as it says. */
static int store_own(struct db_conn *c, int64_t run, const struct filestream *fs, const struct history_change *ch,
                     struct filestream_answer *answer, struct err *e)
{
    int64_t log_end = fs->console.n ? fs->console.first_line + (int64_t)fs->console.n : 0;
    struct str summary = fs->summary.len ? buf_str(&fs->summary) : (struct str){NULL, 0};
    int rc = console_write(c, run, fs->console.first_line, fs->console.lines, fs->console.n, e);
    return rc ? rc : update_run(c, run, fs, log_end, summary, ch, answer, e);
}

/* The same of one of several: beside what the others have. */
static int store_shared(struct db_conn *c, int64_t run, int64_t writer, const struct filestream *fs,
                        const struct history_change *ch, struct filestream_answer *answer, struct err *e)
{
    AUTO_ROWS struct db_rows *rows = NULL;
    AUTO_BUF summary = {0};
    int64_t log_end = 0;
    int rc = fs->console.n ? shared_console_write(c, run, writer, fs->console.first_line, fs->console.lines,
                                                  fs->console.n, &log_end, e)
                           : 0;
    if (!rc && fs->summary.len) {
        rc = db_first(c, e, &rows, "SELECT summary FROM runs WHERE id = $1", DB_ARGS(db_i(run)));
        if (rc >= 0)
            rc = shared_merge(rc == 1 ? db_str(rows, 0) : (struct str){0}, buf_str(&fs->summary), &summary);
    }
    if (rc < 0)
        return rc;
    return update_run(c, run, fs, log_end, summary.len ? buf_str(&summary) : (struct str){NULL, 0}, ch, answer, e);
}

int filestream_store(struct db_conn *c, int64_t run, int64_t writer, const struct filestream *fs,
                     struct filestream_answer *answer, struct err *e)
{
    struct history_change change = {0};
    int rc = 0;
    for (int i = 0; i < HISTORY_STREAMS && !rc; i++)
        if (fs->batches[i].n_lines)
            rc = history_append(c, run, (enum history_stream)i, writer, &fs->batches[i], &change, e);
    return rc ? rc : writer ? store_shared(c, run, writer, fs, &change, answer, e) : store_own(c, run, fs, &change, answer, e);
}

struct post {
    struct filestream fs;
    int64_t run, writer;
    struct filestream_answer answer;
    filestream_done_fn done;
    void *arg;
};

static int post_job(struct db_conn *c, void *arg, struct err *e)
{
    struct post *p = arg;
    return filestream_store(c, p->run, p->writer, &p->fs, &p->answer, e);
}

static void post_done(int rc, const struct err *e, void *arg)
{
    struct post *p = arg;
    filestream_fini(&p->fs);
    p->done(rc, &p->answer, e, p->arg);
    mem_free(p);
}

int filestream_post(struct db *db, int64_t run, int64_t writer, struct buf *body,
                    filestream_done_fn done, void *arg, struct err *e)
{
    struct post *p = mem_calloc(1, sizeof *p);
    if (!p) {
        spare_give(body);
        return err_set(e, TARE_ENOMEM, "out of memory");
    }
    p->run = run;
    p->writer = writer;
    p->done = done;
    p->arg = arg;
    int rc = filestream_read(buf_str(body), &p->fs, e);
    spare_give(body);
    if (!rc) {
        rc = db_submit(db, p->fs.n_bytes, post_job, post_done, p);
        if (!rc)
            return 0;
        filestream_fini(&p->fs);
        err_set(e, rc, "%s", err_text(rc));
    }
    mem_free(p);
    return rc;
}

int filestream_put_answer(struct buf *to, const struct filestream_answer *answer)
{
    return buf_printf(to, "{\"exitcode\":null,\"limits\":{},\"stopped\":%s}", answer->stopped ? "true" : "false");
}
