/* SPDX-License-Identifier: MIT */
/* Doubles to the shortest text that reads back as themselves, and back.
 *
 * Printing is Schubfach (Raffaello Giulietti, "The Schubfach way to render doubles", 2020): with
 * g = 10^-k to 128 bits, the double is scaled by one multiplication, and as the borders of its rounding
 * interval are a power of two away, their scaled values lie g times that power below and above: 192 bits
 * give the same as a multiplication for each. Rounding the three "to odd" keeps the comparisons exact, and
 * the interval then holds one or two integers of k's scale, the right answer among them.
 *
 * Reading is Clinger's exact case, then Eisel-Lemire (Daniel Lemire, "Number parsing at a
 * gigabyte per second", 2021): one or two multiplications with the same table, and where they do
 * not decide (or a number has more than 19 digits) the C library, in the C locale whatever the
 * program has set.
 *
 * The form is what the SDK sends (measured: its encoder writes 1.0, 0.00001, 1e-6, 1e+16, not
 * quite Python's repr): plain from 1e-5 to below 1e16, else an exponent with sign and no padding.
 *
 * Both agree with printf and strtod on millions of random and border values: test_number.c. */
#include "base/number.h"

#include "base/pow10_table.h" /* made at build time by tools/gen_pow10.py */

#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

enum { FRACTION_BITS = 52, EXPONENT_MAX = 0x7ff, EXPONENT_BIAS = 1023 };
static const uint64_t hidden_bit = UINT64_C(1) << FRACTION_BITS;

static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324"
                                  "25262728293031323334353637383940414243444546474849"
                                  "50515253545556575859606162636465666768697071727374"
                                  "75767778798081828384858687888990919293949596979899";

static const uint64_t powers_of_10[] = {
    1,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
    10000000000000,
    100000000000000,
    1000000000000000,
    10000000000000000,
    100000000000000000,
    1000000000000000000,
    UINT64_C(10000000000000000000),
};

static int n_digits(uint64_t v)
{
    int n = (64 - __builtin_clzll(v | 1)) * 1233 >> 12; /* log10(2), rounded down: right or one too few */
    return n + (v >= powers_of_10[n]) + (v == 0);
}

/* Eight digits as a word, the first in the lowest byte: cut into fours, pairs and single digits, each time in
 * parallel. */
static inline __attribute__((always_inline)) uint64_t eight_digits(uint32_t v)
{
    uint64_t w = v / 10000 | (uint64_t)(v % 10000) << 32;
    uint64_t upper = (w * 10486 >> 20) & 0x0000007f0000007f; /* hundreds */
    w = upper | (w - upper * 100) << 16;
    upper = (w * 103 >> 10) & 0x000f000f000f000f; /* tens */
    return upper | (w - upper * 10) << 8;
}

static const uint64_t ascii_zeros = 0x3030303030303030;

/* Eight bytes, the lowest first. */
static inline __attribute__((always_inline)) void store_8(char *to, uint64_t w)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    memcpy(to, &w, sizeof w);
}

/* The decimal digits of `v`, ending before `end`. */
static void put_digits(char *end, uint64_t v)
{
    while (v >= 100000000) {
        end -= 8;
        store_8(end, eight_digits((uint32_t)(v % 100000000)) + ascii_zeros);
        v /= 100000000;
    }
    while (v >= 100) {
        end -= 2;
        memcpy(end, digit_pairs + 2 * (v % 100), 2);
        v /= 100;
    }
    if (v >= 10)
        memcpy(end - 2, digit_pairs + 2 * v, 2);
    else
        end[-1] = (char)('0' + v);
}

size_t number_format_u64(char *to, uint64_t v)
{
    int n = n_digits(v);
    put_digits(to + n, v);
    return (size_t)n;
}

size_t number_format_i64(char *to, int64_t v)
{
    if (v >= 0)
        return number_format_u64(to, (uint64_t)v);
    to[0] = '-';
    return 1 + number_format_u64(to + 1, 0 - (uint64_t)v);
}

/* digits * 10^exponent */
struct decimal {
    uint64_t digits;
    int exponent;
};

static int floor_log10_pow2(int e)
{
    return (e * 1262611) >> 22;
}

static int floor_log10_three_quarters_pow2(int e)
{
    return (e * 1262611 - 524031) >> 22;
}

static int floor_log2_pow10(int e)
{
    return (e * 1741647) >> 19;
}

/* A number of 192 bits. */
struct wide {
    u128 upper;
    uint64_t low;
};

static inline struct wide wide_product(u128 g, uint64_t c)
{
    u128 low = (u128)(uint64_t)g * c;
    return (struct wide){(u128)(uint64_t)(g >> 64) * c + (uint64_t)(low >> 64), (uint64_t)low};
}

/* g * 2^bits, 1 <= bits <= 63 */
static inline struct wide wide_shifted(u128 g, int bits)
{
    u128 low = g << bits;
    return (struct wide){(u128)(uint64_t)(g >> 64 >> (64 - bits)) << 64 | (uint64_t)(low >> 64), (uint64_t)low};
}

static inline struct wide wide_sum(struct wide a, struct wide b)
{
    uint64_t low = a.low + b.low;
    return (struct wide){a.upper + b.upper + (low < b.low), low};
}

static inline struct wide wide_difference(struct wide a, struct wide b)
{
    return (struct wide){a.upper - b.upper - (a.low < b.low), a.low - b.low};
}

/* The upper 64 bits; the last bit is also set if anything below was cut off (but for a 1 in the 64 below,
 * which the table's rounding may have put there). */
static inline uint64_t round_to_odd(struct wide w)
{
    return (uint64_t)(w.upper >> 64) | ((uint64_t)w.upper > 1);
}

/* yes ? a : b, without a branch: which it is cannot be guessed. */
static inline uint64_t either(bool yes, uint64_t a, uint64_t b)
{
    return b ^ ((a ^ b) & (0 - (uint64_t)yes));
}

/* The interval of c * 2^q, c's lower neighbour being only half as far if `closer_below`. What is shorter by
 * a digit ends with a zero here. */
static inline __attribute__((always_inline)) struct decimal schubfach(uint64_t c, int q, bool closer_below)
{
    int k = closer_below ? floor_log10_three_quarters_pow2(q) : floor_log10_pow2(q);
    int h = q + floor_log2_pow10(-k) + 1;
    u128 g = (u128)pow10_bits[-k - POW10_FIRST].hi << 64 | pow10_bits[-k - POW10_FIRST].lo;
    uint64_t odd = c & 1; /* the borders themselves round to even, so belong to an even c */
    struct wide scaled = wide_product(g, (4 * c) << h), above = wide_shifted(g, h + 1);
    struct wide below = closer_below ? wide_shifted(g, h) : above;
    uint64_t lower = round_to_odd(wide_difference(scaled, below)) + odd;
    uint64_t upper = round_to_odd(wide_sum(scaled, above)) - odd;
    uint64_t middle = round_to_odd(scaled), s = middle / 4, tens = s / 10 * 10;

    bool down_in = lower <= 4 * tens, up_in = 4 * tens + 40 <= upper;
    bool near_down_in = lower <= 4 * s, near_up_in = 4 * s + 4 <= upper;
    bool nearer_up = (middle + (s & 1)) > 4 * s + 2;
    bool near_up = either(near_down_in ^ near_up_in, near_up_in, nearer_up);
    return (struct decimal){either(down_in ^ up_in, tens + 10 * (uint64_t)up_in, s + near_up), k};
}

static __attribute__((noinline)) struct decimal shortest_exactly(uint64_t c, int q, bool closer_below)
{
    return closer_below ? schubfach(c, q, true) : schubfach(c, q, false);
}

/* The same by the 60 bits behind the point alone, where they decide (nearly always) and both neighbours are as far:
 * what is cut off makes less than CLOSE of their units. */
static inline struct decimal shortest_normal(uint64_t c, int q)
{
    enum { CLOSE = 4 };
    const uint64_t ten = UINT64_C(10) << 60;
    int k = floor_log10_pow2(q), h = q + floor_log2_pow10(-k) + 1;
    uint64_t hi = pow10_bits[-k - POW10_FIRST].hi, lo = pow10_bits[-k - POW10_FIRST].lo;
    u128 scaled = (u128)hi * (c << h) + (uint64_t)((u128)lo * (c << h) >> 64);
    uint64_t s = (uint64_t)(scaled >> 64), fraction = (uint64_t)scaled, tens = s / 10 * 10;
    uint64_t above_tens = (s - tens) << 60 | fraction >> 4, half_width = hi >> (5 - h);
    uint64_t below_next = ten - above_tens;
    bool unclear = (above_tens - half_width + CLOSE <= 2 * CLOSE) | (below_next - half_width + CLOSE <= 2 * CLOSE) |
                   (fraction - (UINT64_C(1) << 63) + CLOSE <= 2 * CLOSE);
    if (__builtin_expect(unclear, 0))
        return shortest_exactly(c, q, false);
    bool down_in = above_tens < half_width, up_in = below_next < half_width;
    return (struct decimal){either(down_in | up_in, tens + 10 * (uint64_t)up_in, s + (fraction >> 63)), k};
}

static inline struct decimal shortest(uint64_t bits)
{
    uint64_t fraction = bits & (hidden_bit - 1);
    int exponent = (int)(bits >> FRACTION_BITS);
    uint64_t c = exponent ? fraction | hidden_bit : fraction;
    int q = (exponent ? exponent : 1) - EXPONENT_BIAS - FRACTION_BITS;
    if (q <= 0 && q > -53 && (c & ((UINT64_C(1) << -q) - 1)) == 0)
        return (struct decimal){c >> -q, 0}; /* a small integer: exact */
    return fraction && exponent ? shortest_normal(c, q) : shortest_exactly(c, q, exponent > 1);
}

/* ---- digits as text ---- */

#ifdef __SSE2__
struct sixteen {
    __m128i text;
};

/* The text of 8 and 8 digits, cut as in eight_digits; returns how many of the 16 are left without the zeros at the
 * end. */
static inline int sixteen_digits(uint32_t a, uint32_t b, struct sixteen *to)
{
    __m128i v = _mm_set_epi64x(b, a);
    __m128i upper = _mm_srli_epi64(_mm_mul_epu32(v, _mm_set1_epi32((int)0xd1b71759)), 45); /* / 10000 */
    v = _mm_or_si128(upper, _mm_slli_epi64(_mm_sub_epi64(v, _mm_mul_epu32(upper, _mm_set1_epi32(10000))), 32));
    upper = _mm_srli_epi16(_mm_mulhi_epu16(v, _mm_set1_epi16(5243)), 3); /* / 100 */
    v = _mm_or_si128(upper, _mm_slli_epi32(_mm_sub_epi16(v, _mm_mullo_epi16(upper, _mm_set1_epi16(100))), 16));
    upper = _mm_mulhi_epu16(v, _mm_set1_epi16(6554)); /* / 10 */
    v = _mm_or_si128(upper, _mm_slli_epi16(_mm_sub_epi16(v, _mm_mullo_epi16(upper, _mm_set1_epi16(10))), 8));
    unsigned zeros = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128()));
    to->text = _mm_or_si128(v, _mm_set1_epi8('0'));
    return 31 - __builtin_clz(2 * (zeros ^ 0xffff) + 1);
}

static inline void store_16(char *to, struct sixteen d)
{
    _mm_storeu_si128((__m128i *)(void *)to, d.text);
}

static inline uint64_t first_8_of(struct sixteen d)
{
    return (uint64_t)_mm_cvtsi128_si64(d.text);
}

static inline uint64_t last_8_of(struct sixteen d)
{
    return (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(d.text, d.text));
}
#else
struct sixteen {
    uint64_t first_8, last_8;
};

static inline int sixteen_digits(uint32_t a, uint32_t b, struct sixteen *to)
{
    uint64_t first_8 = eight_digits(a), last_8 = eight_digits(b);
    *to = (struct sixteen){first_8 + ascii_zeros, last_8 + ascii_zeros};
    return last_8 ? 16 - __builtin_clzll(last_8) / 8 : first_8 ? 8 - __builtin_clzll(first_8) / 8 : 0;
}

static inline void store_16(char *to, struct sixteen d)
{
    store_8(to, d.first_8);
    store_8(to + 8, d.last_8);
}

static inline uint64_t first_8_of(struct sixteen d)
{
    return d.first_8;
}

static inline uint64_t last_8_of(struct sixteen d)
{
    return d.last_8;
}
#endif

/* Digits `from` (0 to 15) to the last; zero bytes behind them. */
static inline void put_16_from(char *to, struct sixteen d, int from)
{
    u128 text = ((u128)last_8_of(d) << 64 | first_8_of(d)) >> 8 * from;
    store_8(to, (uint64_t)text);
    store_8(to + 8, (uint64_t)(text >> 64));
}

enum { SIGNIFICANT = 17 }; /* digits of a double at most */

/* All 17 digits, those behind the last one that counts are zeros. */
struct digits {
    char first;
    struct sixteen rest;
    int n;     /* how many count */
    int point; /* how many stand before the point */
};

static inline struct digits digits_of(struct decimal d)
{
    const uint64_t most = UINT64_C(10000000000000000);
    struct digits to;
    uint64_t v = d.digits;
    to.point = d.exponent + SIGNIFICANT;
    if (v < most / 10) { /* a small integer or a subnormal number */
        int n = n_digits(v);
        v *= powers_of_10[SIGNIFICANT - n];
        to.point -= SIGNIFICANT - n;
    } else {
        bool is_short = v < most;
        v = either(is_short, 10 * v, v);
        to.point -= is_short;
    }
    uint64_t first_9 = v / 100000000, first = v / most;
    to.first = (char)('0' + first);
    to.n = 1 + sixteen_digits((uint32_t)(first_9 - first * 100000000), (uint32_t)(v - first_9 * 100000000), &to.rest);
    return to;
}

static inline void put_significant(char *to, const struct digits *d)
{
    to[0] = d->first;
    store_16(to + 1, d->rest);
}

/* 0.00123, 12.3 or 12300.0 */
static inline size_t put_plain(char *to, const struct digits *d)
{
    int n = d->n, point = d->point;
    if (point <= 0) {
        memcpy(to, "0.000000", 8);
        put_significant(to + 2 - point, d);
        return (size_t)(2 - point + n);
    }
    put_significant(to, d);
    if (point >= n) {
        memcpy(to + point, ".0", 2);
        return (size_t)point + 2;
    }
    to[point] = '.'; /* what is behind it once more, one further */
    put_16_from(to + point + 1, d->rest, point - 1);
    return (size_t)n + 1;
}

static size_t put_exponent(char *to, const struct digits *d)
{
    char *at = to + d->n + (d->n > 1);
    int exponent = d->point - 1;
    put_significant(to + 1, d);
    to[0] = d->first;
    to[1] = '.';
    *at++ = 'e';
    *at++ = exponent < 0 ? '-' : '+';
    at += number_format_u64(at, (uint64_t)(exponent < 0 ? -exponent : exponent));
    return (size_t)(at - to);
}

static size_t put_literal(char *to, const char *z)
{
    size_t n = strlen(z);
    memcpy(to, z, n);
    return n;
}

size_t number_format_double(char *to, double v)
{
    if (isnan(v))
        return put_literal(to, "NaN");
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    size_t sign = bits >> 63;
    bits &= ~(UINT64_C(1) << 63);
    if (sign)
        *to++ = '-';
    if (bits == (uint64_t)EXPONENT_MAX << FRACTION_BITS)
        return sign + put_literal(to, "Infinity");
    if (bits == 0)
        return sign + put_literal(to, "0.0");
    struct digits d = digits_of(shortest(bits));
    bool plain = d.point > -5 && d.point <= 16;
    return sign + (plain ? put_plain(to, &d) : put_exponent(to, &d));
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t skip_digits(const char *p, size_t at, size_t n)
{
    while (at < n && is_digit(p[at]))
        at++;
    return at;
}

/* End of the integer part, 0 if there is none. */
static size_t scan_int(const char *p, size_t n)
{
    size_t at = n && p[0] == '-';
    if (at >= n || !is_digit(p[at]))
        return 0;
    return p[at] == '0' ? at + 1 : skip_digits(p, at, n);
}

static size_t literal(const char *p, size_t n, const char *z, double value, double *v)
{
    size_t k = strlen(z);
    if (n < k || memcmp(p, z, k) != 0)
        return 0;
    *v = value;
    return k;
}

/* A number as it stands in the text: up to 19 significant digits, and where the point is. */
struct scanned {
    uint64_t digits;
    int exponent;
    int n_digits; /* significant ones in the text, also if more than fit */
};

static void scan_digits(struct scanned *s, const char *p, size_t from, size_t to)
{
    for (; from < to; from++) {
        if (s->digits == 0 && p[from] == '0')
            continue;
        s->n_digits++;
        if (s->n_digits <= 19)
            s->digits = s->digits * 10 + (uint64_t)(p[from] - '0');
    }
}

/* The exponent at p[at], if one is well-formed; returns where it ends. */
static size_t scan_exponent(const char *p, size_t at, size_t n, int *exponent)
{
    *exponent = 0;
    if (at >= n || (p[at] != 'e' && p[at] != 'E'))
        return at;
    size_t e = at + 1;
    bool neg = e < n && p[e] == '-';
    if (e < n && (p[e] == '+' || p[e] == '-'))
        e++;
    size_t end = skip_digits(p, e, n);
    if (end == e)
        return at;
    int value = 0;
    for (; e < end; e++)
        if (value < 100000)
            value = value * 10 + (p[e] - '0');
    *exponent = neg ? -value : value;
    return end;
}

/* mantissa * 2^(power - 1075), rounded, as bits; see the paper's section 5. */
static uint64_t assemble(uint64_t mantissa, int power)
{
    if (power <= 0) {
        if (power <= -63)
            return 0;
        mantissa >>= 1 - power;
        mantissa = (mantissa + (mantissa & 1)) >> 1;
        return mantissa; /* with the hidden bit set it is the smallest normal, as it should be */
    }
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa >= hidden_bit << 1) {
        mantissa = hidden_bit;
        power++;
    }
    if (power >= EXPONENT_MAX)
        return (uint64_t)EXPONENT_MAX << FRACTION_BITS;
    return (mantissa & (hidden_bit - 1)) | (uint64_t)power << FRACTION_BITS;
}

/* digits * 10^q; false where 128 bits do not decide. */
static bool eisel_lemire(uint64_t digits, int q, double *v)
{
    if (digits == 0 || q < POW10_FIRST || q > 308) {
        *v = digits == 0 || q < 0 ? 0 : (double)INFINITY;
        return true;
    }
    bool exact = q >= -27 && q <= 55;
    int lz = __builtin_clzll(digits);
    uint64_t w = digits << lz;
    uint64_t hi = pow10_bits[q - POW10_FIRST].hi;
    uint64_t lo = pow10_bits[q - POW10_FIRST].lo;
    if (!exact) /* the table rounds up; the method wants the bits cut off */
        hi -= lo-- == 0;
    u128 product = (u128)w * hi;
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    if ((high & 0x1ff) == 0x1ff) {
        uint64_t more = (uint64_t)((u128)w * lo >> 64);
        low += more;
        high += low < more;
    }
    if (low == UINT64_MAX && !exact)
        return false;
    int upper = (int)(high >> 63);
    uint64_t mantissa = high >> (upper + 9);
    int power = ((217706 * q) >> 16) + 63 + upper - lz + EXPONENT_BIAS;
    bool tie = low <= 1 && q >= -4 && q <= 23 && (mantissa & 3) == 1;
    if (tie && power > 0 && mantissa << (upper + 9) == high)
        mantissa &= ~UINT64_C(1);
    uint64_t bits = assemble(mantissa, power);
    memcpy(v, &bits, sizeof bits);
    return true;
}

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* The C library's answer, whatever locale the program has set. */
static bool slow_parse(const char *p, size_t n, double *v)
{
    char small[64];
    char *text = n < sizeof small ? small : malloc(n + 1);
    if (!text)
        return false;
    memcpy(text, p, n);
    text[n] = 0;
    pthread_once(&c_locale_once, make_c_locale);
    *v = c_locale ? strtod_l(text, NULL, c_locale) : strtod(text, NULL);
    if (text != small)
        free(text);
    return true;
}

static bool fast_parse(const struct scanned *s, double *v)
{
    static const double pow10_exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                         1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                         1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (s->n_digits > 19)
        return false;
    if (s->digits <= hidden_bit << 1 && s->exponent >= -22 && s->exponent <= 22) {
        double d = (double)s->digits;
        *v = s->exponent < 0 ? d / pow10_exact[-s->exponent] : d * pow10_exact[s->exponent];
        return true;
    }
    return eisel_lemire(s->digits, s->exponent, v);
}

static size_t parse_any(const char *p, size_t n, double *v)
{
    size_t at = scan_int(p, n);
    if (!at) {
        size_t k = literal(p, n, "NaN", (double)NAN, v);
        k = k ? k : literal(p, n, "Infinity", (double)INFINITY, v);
        return k ? k : literal(p, n, "-Infinity", (double)-INFINITY, v);
    }
    bool neg = p[0] == '-';
    struct scanned s = {0};
    scan_digits(&s, p, neg, at);
    int exponent, n_decimals = 0;
    if (at + 1 < n && p[at] == '.' && is_digit(p[at + 1])) {
        size_t from = at + 1;
        at = skip_digits(p, from, n);
        scan_digits(&s, p, from, at);
        n_decimals = at - from < 100000 ? (int)(at - from) : 100000;
    }
    at = scan_exponent(p, at, n, &exponent);
    s.exponent = exponent - n_decimals;
    double value;
    if (fast_parse(&s, &value))
        *v = neg ? -value : value;
    else if (!slow_parse(p, at, v))
        return 0;
    return at;
}

/* -- the common shape: -?digits[.digits], at most 19 of them -- */

enum { PLAIN_DIGITS = 19 };

/* Eight characters as a word, the first in the lowest byte. */
static uint64_t load_8(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    return w;
}

static bool are_digits(uint64_t w)
{
    const uint64_t high = 0xf0f0f0f0f0f0f0f0, six = 0x0606060606060606;
    return ((w & high) | (((w + six) & high) >> 4)) == 0x3333333333333333;
}

/* Pairs, then fours, then all eight are put together in parallel. */
static uint64_t value_of_8(uint64_t w)
{
    w -= 0x3030303030303030;
    w = w * 10 + (w >> 8);
    const uint64_t mask = 0x000000ff000000ff;
    return ((w & mask) * 0x000f424000000064 + (w >> 16 & mask) * 0x0000271000000001) >> 32;
}

/* Digits from p on, added to *digits; returns the first character that is none. */
static const char *scan_run(const char *p, const char *end, uint64_t *digits)
{
    uint64_t w, v = *digits;
    while (end - p >= 8 && are_digits(w = load_8(p))) {
        v = v * 100000000 + value_of_8(w);
        p += 8;
    }
    for (; p < end && is_digit(*p); p++)
        v = v * 10 + (uint64_t)(*p - '0');
    *digits = v;
    return p;
}

/* How many bytes a number of the common shape takes, 0 for any other. */
static size_t scan_plain(const char *p, size_t n, struct scanned *s)
{
    const char *end = p + n, *at = p + (n && *p == '-'), *first = at;
    s->digits = 0;
    at = at < end && *at == '0' ? at + 1 : scan_run(at, end, &s->digits);
    size_t n_digits = (size_t)(at - first);
    if (n_digits == 0)
        return 0;
    s->exponent = 0;
    if (at < end && *at == '.') {
        first = ++at;
        at = scan_run(at, end, &s->digits);
        if (at == first)
            return 0;
        s->exponent = -(int)(at - first);
        n_digits += (size_t)(at - first);
    }
    s->n_digits = (int)n_digits;
    if (n_digits > PLAIN_DIGITS || (at < end && (*at == 'e' || *at == 'E')))
        return 0;
    return (size_t)(at - p);
}

size_t number_parse_double(const char *p, size_t n, double *v)
{
    struct scanned plain;
    double value;
    size_t took = scan_plain(p, n, &plain);
    if (took && fast_parse(&plain, &value)) {
        *v = *p == '-' ? -value : value;
        return took;
    }
    return parse_any(p, n, v);
}

size_t number_parse_i64(const char *p, size_t n, int64_t *v)
{
    size_t end = scan_int(p, n);
    if (!end || (end < n && (p[end] == '.' || p[end] == 'e' || p[end] == 'E')))
        return 0;
    bool neg = p[0] == '-';
    uint64_t u = 0, limit = neg ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    for (size_t i = neg; i < end; i++) {
        uint64_t d = (uint64_t)(p[i] - '0');
        if (u > (limit - d) / 10)
            return 0;
        u = u * 10 + d;
    }
    *v = neg ? (int64_t)(0 - u) : (int64_t)u;
    return end;
}
