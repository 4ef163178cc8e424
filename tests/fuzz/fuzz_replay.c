/* SPDX-License-Identifier: MIT */
/* Replay on arbitrary records: the input is a sequence of them, each behind a u16 length. What
 * comes out must be valid JSON, whatever went in. */
#include "base/json.h"
#include "journal/replay.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t n_bytes;

static void on_row(void *ctx, struct replay *r)
{
    (void)ctx;
    AUTO_BUF name = {0};
    for (uint32_t i = 0; i < r->row.n; i++) {
        const struct row_entry *e = &r->row.at[i];
        if (e->slot == SUMMARY_NO_SLOT)
            continue;
        summary_dotted(&name, &r->summary.slots[e->slot]);
        assert(json_valid(str_make(e->text, e->text_len)));
    }
    n_bytes += name.len;
}

static void on_output(void *ctx, struct str text, bool raw, bool is_stderr, int64_t time_ns)
{
    (void)ctx, (void)raw, (void)is_stderr, (void)time_ns;
    for (size_t i = 0; i < text.n; i++)
        n_bytes += (uint8_t)text.p[i];
}

static void on_stat(void *ctx, struct str key, struct str value, int64_t time_ns)
{
    (void)ctx, (void)time_ns;
    n_bytes += key.n + value.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct replay_events on = {on_row, on_output, on_stat};
    struct replay r;
    AUTO_BUF summary = {0};
    AUTO_BUF config = {0};
    replay_init(&r, &on, NULL);
    while (size >= 2) {
        size_t n = (size_t)(data[0] | data[1] << 8);
        n = n > size - 2 ? size - 2 : n;
        replay_record(&r, str_make(data + 2, n));
        data += 2 + n;
        size -= 2 + n;
    }
    replay_settle(&r);
    summary_put_json(&r.summary, &summary);
    config_put_json(&r.config, &config);
    assert(json_valid(buf_str(&summary)) && json_valid(buf_str(&config)));
    replay_fini(&r);
    return 0;
}
