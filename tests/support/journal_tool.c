/* SPDX-License-Identifier: MIT */
/* The journal's writer and reader for tests in Python:
 *   journal_tool write FILE < frames     journal_tool read FILE > frames
 * A frame is a length (u32, little endian) and as many bytes. `read` says gaps on standard error,
 * one a line: offset, bytes, reason. */
#include "base/os.h"
#include "journal/encoder.h"
#include "journal/reader.h"
#include "journal/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int write_journal(const char *path)
{
    struct journal_writer w;
    struct journal_encoder enc;
    struct err e = {0};
    if (journal_writer_create(&w, path, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    journal_encoder_init(&enc, w.size);
    AUTO_BUF in = {0};
    AUTO_BUF out = {0};
    uint32_t n;
    size_t kept;
    while (fread(&n, sizeof n, 1, stdin) == 1) {
        buf_clear(&in);
        char *p = buf_reserve(&in, n);
        if (!p || fread(p, 1, n, stdin) != n || journal_encode(&enc, &out, p, n) < 0)
            return 1;
        if (out.len < 50000)
            continue; /* gather some, as the service does */
        if (journal_writer_append(&w, out.data, out.len, &kept) < 0)
            return 1;
        buf_clear(&out);
    }
    return journal_writer_append(&w, out.data, out.len, &kept) < 0 || journal_writer_close(&w) < 0;
}

static int read_journal(const char *path)
{
    struct journal_reader r;
    struct journal_item item;
    struct err e = {0};
    if (journal_reader_open(&r, path, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    int rc;
    while ((rc = journal_reader_next(&r, &item)) > 0) {
        uint32_t n = (uint32_t)item.bytes.n;
        if (rc == JOURNAL_RECORD &&
            (fwrite(&n, sizeof n, 1, stdout) != 1 || fwrite(item.bytes.p, 1, n, stdout) != n))
            return 1;
        if (rc == JOURNAL_GAP)
            fprintf(stderr, "%llu %llu %s\n", (unsigned long long)item.gap.offset,
                    (unsigned long long)item.gap.bytes, item.gap.reason);
    }
    journal_reader_close(&r);
    return rc < 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "write") == 0)
        return write_journal(argv[2]);
    if (argc == 3 && strcmp(argv[1], "read") == 0)
        return read_journal(argv[2]);
    fprintf(stderr, "usage: journal_tool write|read FILE\n");
    return 2;
}
