/* SPDX-License-Identifier: MIT */
/* The journal reader on arbitrary bytes: as a file that is done, as one that grows, and as the
 * payload of a journal written and read back. */
#include "base/buf.h"
#include "journal/encoder.h"
#include "journal/reader.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Items stand in order and inside the file; records are appended to `again` as a new journal. */
static uint64_t read_all(struct journal_reader *r, size_t size, struct buf *again)
{
    struct journal_encoder enc;
    struct journal_item item;
    uint64_t end = 0;
    journal_encoder_init(&enc, JOURNAL_HEADER_BYTES);
    for (int rc; (rc = journal_reader_next(r, &item)) != JOURNAL_END;) {
        assert(rc > 0 && item.offset >= end);
        end = rc == JOURNAL_GAP ? item.gap.offset + item.gap.bytes : item.offset + item.bytes.n + 7;
        assert(end <= size);
        if (rc == JOURNAL_RECORD && again)
            assert(journal_encode(&enc, again, item.bytes.p, item.bytes.n) == 0);
    }
    return r->n_records;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct journal_reader r;
    AUTO_BUF again = {0};
    uint8_t header[JOURNAL_HEADER_BYTES];
    journal_put_header(header);
    buf_append(&again, header, sizeof header);

    struct str bytes = str_make(data, size);
    journal_reader_init_bytes(&r, bytes);
    r.record_max = 1 << 20;
    uint64_t n = read_all(&r, size, &again);
    journal_reader_close(&r);

    journal_reader_init_bytes(&r, buf_str(&again));
    assert(read_all(&r, again.len, NULL) == n && r.n_gaps == 0);
    journal_reader_close(&r);

    /* seen in two parts, what is found before the end is known is found afterwards, too */
    journal_reader_init_bytes(&r, str_make(data, size / 2));
    r.live = true;
    r.record_max = 1 << 20;
    read_all(&r, size, NULL);
    r.memory = bytes;
    read_all(&r, size, NULL);
    r.live = false;
    read_all(&r, size, NULL);
    assert(r.n_records == n);
    journal_reader_close(&r);
    return 0;
}
