/* SPDX-License-Identifier: MIT */
#include "service/watch/tfevents.h"

#include "base/err.h"

#include <pthread.h>

static uint32_t table[256];

static void make_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? 0x82f63b78 : 0); /* Castagnoli, reflected */
        table[i] = c;
    }
}

uint32_t tfevents_checksum(struct str bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_table);
    uint32_t c = 0xffffffff;
    for (size_t i = 0; i < bytes.n; i++)
        c = c >> 8 ^ table[(c ^ (unsigned char)bytes.p[i]) & 0xff];
    c = ~c;
    return (c >> 15 | c << 17) + 0xa282ead8;
}

static uint64_t read_le(const char *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v |= (uint64_t)(unsigned char)p[i] << 8 * i;
    return v;
}

int tfevents_next(struct str bytes, struct str *event, size_t *taken)
{
    if (bytes.n < 12)
        return 0;
    if (tfevents_checksum((struct str){bytes.p, 8}) != read_le(bytes.p + 8, 4))
        return TARE_EFORMAT;
    uint64_t n = read_le(bytes.p, 8);
    if (n > TFEVENTS_MAX_BYTES)
        return TARE_EFORMAT;
    if (bytes.n - 12 < n + 4)
        return 0;
    struct str data = {bytes.p + 12, (size_t)n};
    if (tfevents_checksum(data) != read_le(bytes.p + 12 + n, 4))
        return TARE_EFORMAT;
    *event = data;
    *taken = (size_t)n + 16;
    return 1;
}

/* What follows "tfevents." at `s`: digits, then the host. */
static bool time_and_host_fit(struct str s, int64_t start_s, struct str host)
{
    int64_t time_s = 0;
    size_t i = 0;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && i < 18; i++)
        time_s = time_s * 10 + (s.p[i] - '0');
    if (i == 0)
        return false;
    if (host.n > 0) {
        struct str rest = {s.p + i, s.n - i};
        if (rest.n < 1 + host.n || rest.p[0] != '.' || memcmp(rest.p + 1, host.p, host.n) != 0)
            return false;
    }
    return start_s == 0 || time_s >= start_s;
}

bool tfevents_name_fits(struct str name, int64_t start_s, struct str host)
{
    static const char mark[] = "tfevents.";
    if (str_ends(name, STR(".profile-empty")) || str_ends(name, STR(".sagemaker-uploaded")))
        return false;
    for (size_t i = 0; i + sizeof mark - 1 <= name.n; i++) {
        struct str rest = {name.p + i, name.n - i};
        if (!str_starts(rest, str_of(mark)))
            continue;
        rest.p += sizeof mark - 1;
        rest.n -= sizeof mark - 1;
        if (time_and_host_fit(rest, start_s, host))
            return true;
    }
    return false;
}
