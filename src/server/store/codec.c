/* SPDX-License-Identifier: MIT */
/* The formats of blocks.
 *
 *   block   := crc32 of the rest, u32le | body
 *   body    := varint n_raw | varint n_packed | varint n_stored | n_raw bytes | stored bytes
 *              n_stored 0: the n_packed bytes stand as they are, else they are one zstd frame.
 *   column  := u8 flags | u8 kind | varint n | [rows] | [kinds] | [integers] | [doubles] | [texts]
 *   numbers := u8 transform | parameters | u8 width | u8 which planes are raw | planes
 *
 * Numbers are 64-bit words. A transform makes them small or alike (difference to the one before, to the
 * least, XOR with the one before); then they are cut into byte planes: all lowest bytes, all second
 * bytes ... A plane that looks like noise goes into the raw part and zstd never sees it, the others
 * stand one after the other in the packed part, where it finds them alike. So 1,000 random doubles cost
 * a few microseconds and no more than their entropy, and a counter costs nothing.
 *
 * Doubles that are decimals (7 digits of a loss, milliseconds) become integers: m such that
 * m / 10^e is the very same double for each of them. Doubles that are floats are cut to 32 bits. */
#include "server/store/codec.h"

#include "base/alloc.h"
#include "base/crc32.h"
#include "server/store/planes.h"

#include <math.h>
#include <pthread.h>
#include <zstd.h>

/* What is left as it stands: setting zstd up costs more than a few hundred bytes of a tail that is merged soon. */
enum { MAX_POOL = 8, MIN_ZSTD = 256, MIN_ZSTD_QUICK = 1024 };
enum { HAS_ROWS = 1, HAS_KINDS = 2 };
enum { T_STEADY, T_LEAST, T_DELTA, T_XOR, T_PLAIN };      /* of words */
enum { D_BITS, D_FLOAT, D_DECIMAL };                      /* of doubles */
#define MAX_BLOCK ((size_t)512 << 20)

struct words {
    uint64_t *p;
    size_t cap;
};

struct codec {
    struct codec *next;
    ZSTD_CCtx *cctx;
    ZSTD_DCtx *dctx;
    struct buf raw, packed; /* the parts of the block in hand, when writing */
    struct buf unpacked;    /* the packed part, when reading */
    struct words a, b;
    bool failed;
};

/* ---- pool ---- */

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct codec *pool;
static int n_pool;

struct codec *codec_take(void)
{
    pthread_mutex_lock(&pool_lock);
    struct codec *k = pool;
    if (k) {
        pool = k->next;
        n_pool--;
    }
    pthread_mutex_unlock(&pool_lock);
    return k ? k : mem_calloc(1, sizeof *k);
}

static void codec_free(struct codec *k)
{
    ZSTD_freeCCtx(k->cctx);
    ZSTD_freeDCtx(k->dctx);
    buf_fini(&k->raw);
    buf_fini(&k->packed);
    buf_fini(&k->unpacked);
    mem_free(k->a.p);
    mem_free(k->b.p);
    mem_free(k);
}

static void trim(struct buf *b)
{
    if (b->cap > 1 << 18)
        buf_fini(b);
}

void codec_give(struct codec *k)
{
    if (!k)
        return;
    k->failed = false;
    trim(&k->raw);
    trim(&k->packed);
    trim(&k->unpacked);
    pthread_mutex_lock(&pool_lock);
    bool keep = n_pool < MAX_POOL;
    if (keep) {
        k->next = pool;
        pool = k;
        n_pool++;
    }
    pthread_mutex_unlock(&pool_lock);
    if (!keep)
        codec_free(k);
}

void codec_give_ptr(struct codec **k)
{
    codec_give(*k);
}

void codec_pool_clear(void)
{
    pthread_mutex_lock(&pool_lock);
    while (pool) {
        struct codec *k = pool;
        pool = k->next;
        n_pool--;
        codec_free(k);
    }
    pthread_mutex_unlock(&pool_lock);
}

static uint64_t *words_of(struct words *w, size_t n)
{
    if (n > w->cap) {
        uint64_t *p = mem_realloc(w->p, n * sizeof *p);
        if (!p)
            return NULL;
        w->p = p;
        w->cap = n;
    }
    return w->p;
}

/* ---- varints ---- */

void put_varint(struct buf *to, uint64_t v)
{
    char bytes[10];
    size_t n = 0;
    while (v >= 0x80) {
        bytes[n++] = (char)(v | 0x80);
        v >>= 7;
    }
    bytes[n++] = (char)v;
    buf_append(to, bytes, n);
}

bool get_varint(struct str *from, uint64_t *v)
{
    uint64_t u = 0;
    for (size_t i = 0; i < from->n && i < 10; i++) {
        uint64_t byte = (unsigned char)from->p[i];
        u |= (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *v = u;
            *from = str_make(from->p + i + 1, from->n - i - 1);
            return true;
        }
    }
    return false;
}

static bool get_byte(struct str *from, unsigned *v)
{
    if (!from->n)
        return false;
    *v = (unsigned char)from->p[0];
    *from = str_make(from->p + 1, from->n - 1);
    return true;
}

static bool get_slice(struct str *from, size_t n, struct str *to)
{
    if (from->n < n)
        return false;
    *to = str_make(from->p, n);
    *from = str_make(from->p + n, from->n - n);
    return true;
}

/* The parts of a block that is being read; what is taken from them is cut off. */
struct parts {
    struct str raw, packed;
};

/* ---- transforms ---- */

static unsigned n_bits(uint64_t v)
{
    return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

/* The cheapest transform; `plain_bits` is what a word costs as it stands. */
static int choose(const uint64_t *v, size_t n, unsigned plain_bits)
{
    uint64_t least = v[0], most = v[0], delta_bits = 64, xor_bits = 64;
    uint64_t first_delta = n > 1 ? v[1] - v[0] : 0;
    bool steady = true;
    for (size_t i = 1; i < n; i++) {
        uint64_t delta = v[i] - v[i - 1];
        steady &= delta == first_delta;
        delta_bits += n_bits(zigzag((int64_t)delta));
        xor_bits += n_bits(v[i] ^ v[i - 1]);
        least = (int64_t)v[i] < (int64_t)least ? v[i] : least;
        most = (int64_t)v[i] > (int64_t)most ? v[i] : most;
    }
    if (steady)
        return T_STEADY;
    uint64_t best = (uint64_t)plain_bits * n, least_bits = n_bits(most - least) * (uint64_t)n;
    int t = T_PLAIN;
    if (least_bits <= best) {
        best = least_bits;
        t = T_LEAST;
    }
    if (xor_bits + 2 * n < best) {
        best = xor_bits + 2 * n;
        t = T_XOR;
    }
    return delta_bits + n < best ? T_DELTA : t;
}

static void put_words(struct codec *k, const uint64_t *v, size_t n, unsigned plain_bits)
{
    if (!n)
        return;
    uint64_t *to = words_of(&k->b, n);
    if (!to) {
        k->failed = true;
        return;
    }
    int t = choose(v, n, plain_bits);
    buf_putc(&k->packed, (char)t);
    uint64_t base = v[0];
    switch (t) {
    case T_STEADY:
        put_varint(&k->packed, v[0]);
        put_varint(&k->packed, n > 1 ? zigzag((int64_t)(v[1] - v[0])) : 0);
        return;
    case T_LEAST:
        for (size_t i = 1; i < n; i++)
            base = (int64_t)v[i] < (int64_t)base ? v[i] : base;
        put_varint(&k->packed, base);
        for (size_t i = 0; i < n; i++)
            to[i] = v[i] - base;
        break;
    case T_DELTA:
        put_varint(&k->packed, base);
        for (size_t i = 1; i < n; i++)
            to[i - 1] = zigzag((int64_t)(v[i] - v[i - 1]));
        n--;
        break;
    case T_XOR:
        put_varint(&k->packed, base);
        for (size_t i = 1; i < n; i++)
            to[i - 1] = v[i] ^ v[i - 1];
        n--;
        break;
    default:
        to = (uint64_t *)v;
    }
    planes_put(&k->packed, &k->raw, to, n);
}

static bool get_words(struct parts *from, uint64_t *v, size_t n)
{
    unsigned t;
    uint64_t base, step;
    if (!n)
        return true;
    if (!get_byte(&from->packed, &t))
        return false;
    if (t == T_PLAIN)
        return planes_get(&from->packed, &from->raw, v, n);
    if (!get_varint(&from->packed, &base))
        return false;
    switch (t) {
    case T_STEADY:
        if (!get_varint(&from->packed, &step))
            return false;
        step = (uint64_t)unzigzag(step);
        for (size_t i = 0; i < n; i++)
            v[i] = base + i * step;
        return true;
    case T_LEAST:
        if (!planes_get(&from->packed, &from->raw, v, n))
            return false;
        for (size_t i = 0; i < n; i++)
            v[i] += base;
        return true;
    case T_DELTA:
    case T_XOR:
        v[0] = base;
        if (!planes_get(&from->packed, &from->raw, v + 1, n - 1))
            return false;
        if (t == T_DELTA)
            for (size_t i = 1; i < n; i++)
                v[i] = v[i - 1] + (uint64_t)unzigzag(v[i]);
        else
            for (size_t i = 1; i < n; i++)
                v[i] ^= v[i - 1];
        return true;
    default:
        return false;
    }
}

/* ---- doubles ---- */

static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12};
enum { MAX_EXPONENT = 12 };

/* m with m / 10^e equal to the double, bit for bit. */
static bool as_decimal(uint64_t bits, int e, int64_t *m)
{
    double d = double_of_bits(bits), scaled = d * powers[e];
    if (!(scaled < 0x1p53 && scaled > -0x1p53))
        return false;
    *m = (int64_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    return bits_of_double((double)*m / powers[e]) == bits;
}

/* The least exponent with which all words are decimals, or -1. Fills `to`. */
static int all_decimals(const uint64_t *v, size_t n, uint64_t *to)
{
    int e = 0;
    int64_t m;
    for (size_t i = 0; i < n; i += n / 16 + 1)
        while (!as_decimal(v[i], e, &m))
            if (++e > MAX_EXPONENT)
                return -1;
    for (size_t i = 0; i < n; i++) {
        if (as_decimal(v[i], e, &m)) {
            to[i] = (uint64_t)m;
            continue;
        }
        if (++e > MAX_EXPONENT)
            return -1;
        i = (size_t)-1; /* again from the start */
    }
    return e;
}

static bool all_floats(const uint64_t *v, size_t n, uint64_t *to)
{
    for (size_t i = 0; i < n; i++) {
        float f = (float)double_of_bits(v[i]);
        uint32_t u;
        if (bits_of_double((double)f) != v[i] || f != f)
            return false;
        memcpy(&u, &f, sizeof u);
        to[i] = u;
    }
    return true;
}

static void put_doubles(struct codec *k, const uint64_t *v, size_t n)
{
    if (!n)
        return;
    uint64_t *to = words_of(&k->a, n);
    if (!to) {
        k->failed = true;
        return;
    }
    int e = all_decimals(v, n, to);
    if (e >= 0) {
        buf_putc(&k->packed, D_DECIMAL);
        buf_putc(&k->packed, (char)e);
        put_words(k, to, n, 64);
    } else if (all_floats(v, n, to)) {
        buf_putc(&k->packed, D_FLOAT);
        put_words(k, to, n, 28);
    } else {
        buf_putc(&k->packed, D_BITS);
        put_words(k, v, n, 56);
    }
}

static bool get_doubles(struct parts *from, uint64_t *v, size_t n)
{
    unsigned form, e = 0;
    if (!n)
        return true;
    if (!get_byte(&from->packed, &form) || (form == D_DECIMAL && !get_byte(&from->packed, &e)) ||
        e > MAX_EXPONENT || !get_words(from, v, n))
        return false;
    if (form == D_DECIMAL)
        for (size_t i = 0; i < n; i++)
            v[i] = bits_of_double((double)(int64_t)v[i] / powers[e]);
    else if (form == D_FLOAT)
        for (size_t i = 0; i < n; i++) {
            uint32_t u = (uint32_t)v[i];
            float f;
            memcpy(&f, &u, sizeof f);
            v[i] = bits_of_double((double)f);
        }
    return form <= D_DECIMAL;
}

/* ---- blocks ---- */

static void start_block(struct codec *k)
{
    buf_clear(&k->raw);
    buf_clear(&k->packed);
    k->failed = false;
}

/* Compress the packed part behind what `to` holds; 0 if that saves nothing. */
static size_t squeeze(struct codec *k, struct buf *to, int level)
{
    if (k->packed.len < (level > 1 ? MIN_ZSTD : MIN_ZSTD_QUICK))
        return 0;
    if (!k->cctx)
        k->cctx = ZSTD_createCCtx();
    char *at = buf_reserve(to, ZSTD_compressBound(k->packed.len));
    if (!k->cctx || !at)
        return 0;
    size_t n = ZSTD_compressCCtx(k->cctx, at, ZSTD_compressBound(k->packed.len), k->packed.data,
                                 k->packed.len, level);
    return ZSTD_isError(n) || n >= k->packed.len ? 0 : n;
}

static int end_block(struct codec *k, struct buf *to, int level)
{
    struct buf *squeezed = &k->unpacked;
    buf_clear(squeezed);
    size_t stored = squeeze(k, squeezed, level), start = to->len;
    buf_append(to, "\0\0\0\0", 4);
    put_varint(to, k->raw.len);
    put_varint(to, k->packed.len);
    put_varint(to, stored);
    buf_append(to, k->raw.data, k->raw.len);
    if (stored)
        buf_append(to, squeezed->data, stored);
    else
        buf_append(to, k->packed.data, k->packed.len);
    if (to->failed || k->raw.failed || k->packed.failed || k->failed)
        return TARE_ENOMEM;
    uint32_t crc = crc32_ieee(0, to->data + start + 4, to->len - start - 4);
    for (int i = 0; i < 4; i++)
        to->data[start + i] = (char)(crc >> (8 * i));
    return 0;
}

static int open_block(struct codec *k, struct str block, size_t limit, struct parts *parts)
{
    uint32_t crc = 0;
    uint64_t n_raw, n_packed, n_stored;
    if (block.n < 7)
        return TARE_EFORMAT;
    for (int i = 0; i < 4; i++)
        crc |= (uint32_t)(unsigned char)block.p[i] << (8 * i);
    struct str rest = str_make(block.p + 4, block.n - 4);
    if (crc32_ieee(0, rest.p, rest.n) != crc || !get_varint(&rest, &n_raw) ||
        !get_varint(&rest, &n_packed) || !get_varint(&rest, &n_stored) || n_packed > limit ||
        !get_slice(&rest, n_raw, &parts->raw))
        return TARE_EFORMAT;
    if (!n_stored)
        return get_slice(&rest, n_packed, &parts->packed) ? 0 : TARE_EFORMAT;
    if (rest.n != n_stored)
        return TARE_EFORMAT;
    if (!k->dctx)
        k->dctx = ZSTD_createDCtx();
    buf_clear(&k->unpacked);
    char *to = buf_reserve(&k->unpacked, n_packed);
    if (!k->dctx || !to)
        return TARE_ENOMEM;
    if (ZSTD_decompressDCtx(k->dctx, to, n_packed, rest.p, rest.n) != n_packed)
        return TARE_EFORMAT;
    parts->packed = str_make(to, n_packed);
    return 0;
}

int codec_put_bytes(struct codec *k, struct buf *to, struct str bytes, int level)
{
    start_block(k);
    buf_put_str(&k->packed, bytes);
    return end_block(k, to, level);
}

int codec_get_bytes(struct codec *k, struct str block, size_t limit, struct buf *to)
{
    struct parts parts;
    int rc = open_block(k, block, limit, &parts);
    return rc ? rc : buf_put_str(to, parts.packed);
}

/* ---- columns ---- */

/* The bits of all values of `kind`, gathered; the column's own array if there is no other kind. */
static const uint64_t *gather(struct words *w, const struct column *c, enum value_kind kind, size_t *n)
{
    *n = 0;
    if (!c->kinds) {
        *n = c->kind == kind ? c->n : 0;
        return c->bits;
    }
    uint64_t *to = words_of(w, c->n);
    for (uint32_t i = 0; to && i < c->n; i++)
        if (c->kinds[i] == kind)
            to[(*n)++] = c->bits[i];
    return to;
}

static void put_texts(struct codec *k, const struct column *c, const uint64_t *v, size_t n)
{
    uint64_t *lengths = words_of(&k->a, n);
    if (!lengths) {
        k->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        size_t at = v[i] >> 32, len = v[i] & 0xffffffff;
        buf_append(&k->packed, c->text.data + at, len);
        lengths[i] = len;
    }
    put_words(k, lengths, n, 64);
}

int codec_put_column(struct codec *k, struct buf *to, const struct column *c, int level)
{
    struct words gathered = {0};
    start_block(k);
    buf_putc(&k->packed, (char)((c->rows ? HAS_ROWS : 0) | (c->kinds ? HAS_KINDS : 0)));
    buf_putc(&k->packed, (char)c->kind);
    put_varint(&k->packed, c->n);
    if (c->rows) {
        uint64_t *rows = words_of(&k->a, c->n);
        for (uint32_t i = 0; rows && i < c->n; i++)
            rows[i] = c->rows[i];
        if (rows)
            put_words(k, rows, c->n, 32);
        k->failed |= !rows;
    }
    if (c->kinds)
        buf_append(&k->packed, c->kinds, c->n);
    size_t n;
    const uint64_t *v = gather(&gathered, c, V_INT, &n);
    if (v)
        put_words(k, v, n, 64);
    v = gather(&gathered, c, V_DOUBLE, &n);
    if (v)
        put_doubles(k, v, n);
    v = gather(&gathered, c, V_TEXT, &n);
    if (v && n) {
        uint64_t total = 0;
        for (size_t i = 0; i < n; i++)
            total += v[i] & 0xffffffff;
        put_varint(&k->packed, total);
        put_texts(k, c, v, n);
    }
    k->failed |= !v && c->n;
    mem_free(gathered.p);
    return end_block(k, to, level);
}

/* Put decoded words where values of `kind` belong. */
static bool scatter(struct codec *k, struct parts *from, struct column *c, enum value_kind kind,
                    bool (*get)(struct parts *, uint64_t *, size_t))
{
    if (!c->kinds)
        return c->kind != kind || get(from, c->bits, c->n);
    size_t n = 0;
    for (uint32_t i = 0; i < c->n; i++)
        n += c->kinds[i] == kind;
    uint64_t *v = words_of(&k->a, n ? n : 1);
    if (!v || !get(from, v, n))
        return false;
    for (uint32_t i = 0; i < c->n; i++)
        if (c->kinds[i] == kind)
            c->bits[i] = *v++;
    return true;
}

static bool get_texts(struct codec *k, struct parts *from, struct column *c)
{
    uint64_t total, at = 0;
    struct str bytes;
    bool any = !c->kinds && c->kind == V_TEXT && c->n;
    for (uint32_t i = 0; c->kinds && i < c->n; i++)
        any |= c->kinds[i] == V_TEXT;
    if (!any)
        return true;
    if (!get_varint(&from->packed, &total) || total > UINT32_MAX ||
        !get_slice(&from->packed, total, &bytes) || buf_put_str(&c->text, bytes) != 0 ||
        !scatter(k, from, c, V_TEXT, get_words))
        return false;
    for (uint32_t i = 0; i < c->n; i++)
        if (column_kind(c, i) == V_TEXT) {
            uint64_t len = c->bits[i];
            if (len > total - at)
                return false;
            c->bits[i] = at << 32 | len;
            at += len;
        }
    return true;
}

static bool get_rows(struct codec *k, struct parts *from, struct column *c, uint32_t n_rows)
{
    uint64_t *rows = words_of(&k->a, c->n ? c->n : 1), last = 0;
    c->rows = mem_alloc(c->cap * sizeof *c->rows);
    if (!rows || !c->rows || !get_words(from, rows, c->n))
        return false;
    for (uint32_t i = 0; i < c->n; i++) {
        if (rows[i] >= n_rows || (i && rows[i] <= last))
            return false;
        last = rows[i];
        c->rows[i] = (uint32_t)last;
    }
    return true;
}

static bool get_kinds(struct parts *from, struct column *c)
{
    struct str kinds;
    c->kinds = mem_alloc(c->cap);
    if (!c->kinds || !get_slice(&from->packed, c->n, &kinds))
        return false;
    memcpy(c->kinds, kinds.p, c->n);
    for (uint32_t i = 0; i < c->n; i++)
        if (c->kinds[i] >= V_KINDS)
            return false;
    return true;
}

int codec_get_column(struct codec *k, struct str block, uint32_t n_rows, struct column *to)
{
    struct parts parts;
    unsigned flags, kind;
    uint64_t n;
    int rc = open_block(k, block, MAX_BLOCK, &parts);
    if (rc)
        return rc;
    if (!get_byte(&parts.packed, &flags) || !get_byte(&parts.packed, &kind) || kind >= V_KINDS ||
        !get_varint(&parts.packed, &n) || n > n_rows)
        return TARE_EFORMAT;
    if (column_reserve(to, n ? (uint32_t)n : 1) != 0)
        return TARE_ENOMEM;
    to->n = (uint32_t)n;
    to->kind = (uint8_t)kind;
    bool ok = (!(flags & HAS_ROWS) || get_rows(k, &parts, to, n_rows)) &&
              (!(flags & HAS_KINDS) || get_kinds(&parts, to)) &&
              scatter(k, &parts, to, V_INT, get_words) &&
              scatter(k, &parts, to, V_DOUBLE, get_doubles) && get_texts(k, &parts, to);
    if (!ok)
        to->n = 0;
    return ok ? 0 : TARE_EFORMAT;
}
