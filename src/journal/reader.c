/* SPDX-License-Identifier: MIT */
/* Reading a journal that may be damaged.
 *
 * In an intact file the reader steps from chunk to chunk and does nothing else. What differs from
 * that is damage, and there is one way out of all of it: `search` goes forward byte by byte until
 * an intact chunk is found (type 1 to 4, a length that can be, the checksum right). LevelDB's own
 * readers go to the next block instead, and lose what is left of the block, and everything
 * behind a place where bytes were lost or added, because all later blocks are shifted. So:
 *
 * - while nothing is wrong, blocks start at multiples of 32 KiB and a chunk that would cross the
 *   end of a block is damage;
 * - after a search the reader is `floating`: it does not know where blocks start, takes any intact
 *   chunk, and skips up to 6 zero bytes before one as padding. A first or middle chunk ends at
 *   the end of a block, and padding does, too: then it knows again (`base`).
 *
 * A chunk that is intact but does not belong to a record that is whole (a middle without its
 * first, a first without its last) is skipped with the damage. One gap covers all that lies between
 * two whole records; its reason is the first that was met.
 *
 * What cannot be seen: a run of whole records cut out exactly at chunk borders, or a chunk whose
 * checksum is right by chance (1 in 2^32 per place looked at). A search looks at 1 to 3 % of the
 * bytes of usual data in earnest; on data made to look like chunks everywhere it stops after
 * SEARCH_BUDGET bytes of checksums per block and goes on in the next, so that hostile files
 * cannot make it slow.
 *
 * A live file (someone still appends) is not judged at its end: what is not intact there is waited
 * for until a block more has been written (some network file systems show the size before the
 * bytes). */
#include "journal/reader.h"

#include "base/alloc.h"
#include "base/crc32.h"
#include "base/os.h"
#include "journal/format.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum {
    WINDOW_BYTES = 256 * 1024,
    SEARCH_BUDGET = 64 * 1024 * 1024, /* bytes of checksums in one block's search */
};

struct chunk {
    uint64_t at;
    uint8_t type;
    struct str data;
};

enum verdict { INTACT, BAD, CUT /* the file ends inside it */ };

/* ---- bytes of the file ---- */

static void drop_window(struct journal_reader *r)
{
    r->window_len = 0;
    r->window_is_last = false;
}

/* Read the file from `at` into the window, as much as there is room for. */
static int fill_window(struct journal_reader *r, uint64_t at)
{
    if (!r->window && !(r->window = mem_alloc(r->window_bytes)))
        return TARE_ENOMEM;
    drop_window(r);
    r->window_at = at;
    uint64_t left = r->limit > at ? r->limit - at : 0;
    size_t want = left < r->window_bytes ? (size_t)left : r->window_bytes;
    r->window_is_last = want < r->window_bytes;
    while (r->window_len < want) {
        uint64_t from = at + r->window_len;
        uint8_t *to = r->window + r->window_len;
        ssize_t n = r->read ? r->read(r->read_ctx, to, want - r->window_len, from)
                            : os->pread(r->fd, to, want - r->window_len, (off_t)from);
        if (n < 0) {
            drop_window(r);
            return (int)n;
        }
        if (n == 0) {
            r->window_is_last = true;
            break;
        }
        r->window_len += (size_t)n;
    }
    return 0;
}

/* Point *p at the file's bytes from `at`: at least `want` of them, fewer only at the end of the
 * file. Returns how many, or a negative code. */
static ssize_t view(struct journal_reader *r, uint64_t at, size_t want, const uint8_t **p)
{
    if (r->fd < 0 && !r->read) {
        size_t off = at < r->memory.n ? (size_t)at : r->memory.n;
        *p = (const uint8_t *)r->memory.p + off;
        return (ssize_t)(r->memory.n - off);
    }
    uint64_t end = r->window_at + r->window_len;
    if (at < r->window_at || at > end || (at + want > end && !r->window_is_last)) {
        int rc = fill_window(r, at);
        if (rc < 0)
            return rc;
        end = at + r->window_len;
    }
    *p = r->window + (at - r->window_at);
    return (ssize_t)(end - at);
}

/* Bytes from `at` to the end of its block, as far as that is known. */
static size_t left_in_block(const struct journal_reader *r, uint64_t at)
{
    return r->floating ? JOURNAL_BLOCK_BYTES
                       : journal_block_left(at + JOURNAL_BLOCK_BYTES - r->base);
}

/* Judge the chunk at `p` (file offset `at`, `n` bytes up to the end of the file or more). */
static enum verdict judge(struct chunk *c, const uint8_t *p, size_t n, uint64_t at, size_t left)
{
    if (n < JOURNAL_CHUNK_HEADER_BYTES)
        return CUT;
    uint32_t crc = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    size_t len = (size_t)(p[4] | p[5] << 8);
    c->at = at;
    c->type = p[6];
    c->data = str_make(p + JOURNAL_CHUNK_HEADER_BYTES, len);
    if (c->type < JOURNAL_FULL || c->type > JOURNAL_LAST || len + JOURNAL_CHUNK_HEADER_BYTES > left)
        return BAD;
    if (len + JOURNAL_CHUNK_HEADER_BYTES > n)
        return CUT;
    return crc32_ieee(0, p + 6, len + 1) == crc ? INTACT : BAD;
}

/* ---- gaps ---- */

/* From `at` on, or from where the unfinished record began, nothing whole was read. */
static void open_gap(struct journal_reader *r, uint64_t at, const char *reason)
{
    if (r->assembling && r->record_at < at)
        at = r->record_at;
    r->assembling = false;
    if (r->gap_open)
        return;
    r->gap_open = true;
    r->gap_at = at;
    r->gap_reason = reason;
}

static int close_gap(struct journal_reader *r, uint64_t end, struct journal_item *to)
{
    r->gap_open = false;
    r->n_gaps++;
    r->gap_bytes += end - r->gap_at;
    if (end == r->gap_at)
        r->gap_reason = "bytes are missing or were added before this place";
    to->offset = r->gap_at;
    to->gap = (struct journal_gap){r->gap_at, end - r->gap_at, r->gap_reason};
    to->bytes = (struct str){0};
    return JOURNAL_GAP;
}

/* ---- from damage to the next intact chunk ---- */

static void start_search(struct journal_reader *r, uint64_t from, const char *reason)
{
    open_gap(r, from, reason);
    r->pos = from;
    r->searching = true;
    r->floating = true;
}

/* Look for an intact chunk in the `n` bytes at `p`, which are the file's from r->pos, at the first
 * `n_starts` of them. 1: found, r->pos is there. 0: not there, r->pos is behind them. CUT is
 * undecided: 2, r->pos is there (live files only). */
static int search_piece(struct journal_reader *r, const uint8_t *p, size_t n, size_t n_starts)
{
    size_t budget = SEARCH_BUDGET;
    for (size_t i = 0; i < n_starts; i++) {
        if (n - i >= JOURNAL_CHUNK_HEADER_BYTES && (uint8_t)(p[i + 6] - 1) >= JOURNAL_LAST)
            continue;
        struct chunk c;
        switch (judge(&c, p + i, n - i, r->pos + i, JOURNAL_BLOCK_BYTES)) {
        case INTACT:
            r->pos += i;
            return 1;
        case CUT:
            if (r->live) {
                r->pos += i;
                return 2;
            }
            break;
        case BAD:
            if (budget < c.data.n)
                i = n_starts; /* give the rest of this piece up */
            else
                budget -= c.data.n;
            break;
        }
    }
    r->pos += n_starts;
    return 0;
}

/* Move r->pos to the next intact chunk. 1: there. 0: the file ends first (r->pos is at the end,
 * or, in a live file, where to go on). Negative: a code. */
static int search(struct journal_reader *r)
{
    for (;;) {
        const uint8_t *p;
        ssize_t got = view(r, r->pos, 2 * JOURNAL_BLOCK_BYTES, &p);
        if (got <= 0)
            return (int)got;
        size_t n = (size_t)got < 2 * JOURNAL_BLOCK_BYTES ? (size_t)got : 2 * JOURNAL_BLOCK_BYTES;
        size_t n_starts = n == 2 * JOURNAL_BLOCK_BYTES ? JOURNAL_BLOCK_BYTES : n;
        int found = search_piece(r, p, n, n_starts);
        if (found == 2)
            return 0;
        if (found == 1) {
            r->searching = false;
            return 1;
        }
    }
}

/* ---- chunk to chunk ---- */

/* While floating: the chunk may stand behind up to 6 zero bytes of padding, and then a block
 * starts where it does. */
static enum verdict judge_floating(struct journal_reader *r, struct chunk *c, const uint8_t *p,
                                   size_t n)
{
    for (size_t pad = 0; pad < JOURNAL_CHUNK_HEADER_BYTES && pad < n; pad++) {
        enum verdict v = judge(c, p + pad, n - pad, r->pos + pad, JOURNAL_BLOCK_BYTES);
        if (v == INTACT && pad) {
            r->floating = false;
            r->base = c->at % JOURNAL_BLOCK_BYTES;
        }
        if (v != BAD || p[pad] != 0)
            return v;
    }
    return BAD;
}

/* The next intact chunk. 1, 0 at the end (for now, if live), or a negative code. */
static int next_chunk(struct journal_reader *r, struct chunk *c)
{
    for (;;) {
        if (r->searching) {
            int rc = search(r);
            if (rc <= 0)
                return rc;
        }
        uint64_t from = r->pos;
        size_t left = left_in_block(r, r->pos);
        size_t pad = left < JOURNAL_CHUNK_HEADER_BYTES ? left : 0;
        const uint8_t *p;
        ssize_t got = view(r, from + pad, JOURNAL_BLOCK_BYTES + JOURNAL_CHUNK_HEADER_BYTES, &p);
        if (got <= 0)
            return (int)got;
        size_t n = (size_t)got;
        enum verdict v = r->floating ? judge_floating(r, c, p, n)
                                     : judge(c, p, n, from + pad, pad ? JOURNAL_BLOCK_BYTES : left);
        if (v == INTACT) {
            r->pos = c->at + JOURNAL_CHUNK_HEADER_BYTES + c->data.n;
            return 1;
        }
        if (r->live && n < JOURNAL_BLOCK_BYTES)
            return 0;
        start_search(r, from, v == CUT ? "cut short" : "damaged");
    }
}

/* Read and judge the file header. 1, 0 at the end (for now, if live), or a negative code. */
static int read_header(struct journal_reader *r)
{
    const uint8_t *p;
    ssize_t got = view(r, 0, JOURNAL_HEADER_BYTES, &p);
    if (got < 0)
        return (int)got;
    if (got < JOURNAL_HEADER_BYTES && r->live)
        return 0;
    r->header_done = true;
    r->pos = JOURNAL_HEADER_BYTES;
    bool intact = got >= JOURNAL_HEADER_BYTES && memcmp(p, JOURNAL_IDENT, 4) == 0 &&
                  p[4] == (JOURNAL_MAGIC & 0xff) && p[5] == JOURNAL_MAGIC >> 8;
    if (intact && p[6] == JOURNAL_VERSION)
        r->version = p[6];
    else if (intact)
        start_search(r, 0, "file header of an unknown version");
    else
        start_search(r, 0, got == 0 ? "empty file" : "damaged file header");
    return 1;
}

/* ---- chunks to records ---- */

/* Add a chunk to the record being read. 1: the record is whole, *bytes are its. 0: not yet, or it
 * was skipped. TARE_ENOMEM: as if the chunk had not been read. */
static int take_chunk(struct journal_reader *r, const struct chunk *c, struct str *bytes)
{
    bool starts = c->type == JOURNAL_FULL || c->type == JOURNAL_FIRST;
    if (starts && r->assembling)
        open_gap(r, c->at, "a record without its end");
    if (!starts && !r->assembling) {
        open_gap(r, c->at, "the end of a record without its start");
        return 0;
    }
    if (starts)
        r->record_at = c->at;
    if (c->type == JOURNAL_FULL) {
        *bytes = c->data;
        return 1;
    }
    if (starts) {
        buf_clear(&r->record);
        r->assembling = true;
    }
    if (r->record.len + c->data.n > r->record_max) {
        open_gap(r, c->at, "a record over the size limit");
        return 0;
    }
    int rc = buf_append(&r->record, c->data.p, c->data.n);
    if (rc < 0) {
        r->record.failed = false;
        r->assembling = !starts;
        r->pos = c->at;
        return rc;
    }
    if (c->type != JOURNAL_LAST) {
        r->floating = false;
        r->base = r->pos % JOURNAL_BLOCK_BYTES;
        return 0;
    }
    r->assembling = false;
    *bytes = buf_str(&r->record);
    return 1;
}

static int give_record(struct journal_reader *r, struct str bytes, struct journal_item *to)
{
    r->held = false;
    r->n_records++;
    r->record_bytes += bytes.n;
    to->offset = r->record_at;
    to->bytes = bytes;
    to->gap = (struct journal_gap){0};
    return JOURNAL_RECORD;
}

/* The end of the file. What is left of it is judged unless it may still grow. */
static int give_end(struct journal_reader *r, struct journal_item *to)
{
    *to = (struct journal_item){.offset = r->pos};
    if (r->live) {
        drop_window(r); /* what is there now may change */
        return JOURNAL_END;
    }
    if (r->assembling)
        open_gap(r, r->record_at, "a record without its end");
    return r->gap_open ? close_gap(r, r->pos, to) : JOURNAL_END;
}

int journal_reader_next(struct journal_reader *r, struct journal_item *to)
{
    if (r->held)
        return give_record(r, r->held_bytes, to);
    if (!r->header_done) {
        int rc = read_header(r);
        if (rc < 0)
            return rc;
        if (rc == 0)
            return give_end(r, to);
    }
    for (;;) {
        struct chunk c;
        struct str bytes;
        int rc = next_chunk(r, &c);
        if (rc < 0)
            return rc;
        if (rc == 0)
            return give_end(r, to);
        rc = take_chunk(r, &c, &bytes);
        if (rc < 0)
            return rc;
        if (rc == 0)
            continue;
        if (!r->gap_open)
            return give_record(r, bytes, to);
        r->held = true;
        r->held_bytes = bytes;
        return close_gap(r, r->record_at, to);
    }
}

/* ---- open, close, seek ---- */

void journal_reader_init_fd(struct journal_reader *r, int fd_take)
{
    *r = (struct journal_reader){
        .fd = fd_take,
        .record_max = JOURNAL_RECORD_MAX_DEFAULT,
        .limit = UINT64_MAX,
        .window_bytes = WINDOW_BYTES,
        .version = -1,
    };
}

void journal_reader_init_bytes(struct journal_reader *r, struct str bytes_keep)
{
    journal_reader_init_fd(r, -1);
    r->memory = bytes_keep;
}

void journal_reader_init_read(struct journal_reader *r, ssize_t (*read)(void *ctx, void *to, size_t n, uint64_t at),
                              void *ctx)
{
    journal_reader_init_fd(r, -1);
    r->read = read;
    r->read_ctx = ctx;
}

int journal_reader_open(struct journal_reader *r, const char *path, struct err *e)
{
    struct stat st;
    int fd = os->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0); /* do not wait at a pipe */
    if (fd == -ENOENT)
        return err_set(e, TARE_ENOTFOUND, "%s: no such file", path);
    if (fd < 0)
        return err_set(e, fd, "opening %s: %s", path, err_text(fd));
    if (os->fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        os->close(fd);
        return err_set(e, TARE_EINVAL, "%s is no regular file", path);
    }
    journal_reader_init_fd(r, fd);
    return 0;
}

void journal_reader_close(struct journal_reader *r)
{
    if (r->fd >= 0)
        os->close(r->fd);
    r->fd = -1;
    r->read = NULL;
    r->memory = (struct str){0};
    buf_fini(&r->record);
    mem_free(r->window);
    r->window = NULL;
    r->window_len = 0;
}

void journal_reader_rest(struct journal_reader *r)
{
    drop_window(r);
    mem_free(r->window);
    r->window = NULL;
    if (!r->assembling && !r->held)
        buf_fini(&r->record);
}

void journal_reader_seek(struct journal_reader *r, uint64_t offset)
{
    r->header_done = true;
    r->pos = offset;
    r->base = 0;
    r->floating = r->searching = r->assembling = r->gap_open = r->held = false;
}
