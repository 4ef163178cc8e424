/* SPDX-License-Identifier: MIT */
/* Any bytes as a file-stream body: read, and if it is one, its history must come back as JSON. */
#include "server/ingest/filestream.h"
#include "base/json.h"

#include <stdlib.h>

static void check_segment(const struct segment *s)
{
    AUTO_CODEC *k = codec_take();
    struct segment_keys keys;
    if (segment_keys_read(k, buf_str(&s->directory), &keys) != 0)
        abort();
    struct column *columns = calloc(keys.n + 1, sizeof *columns);
    struct row_field *fields = calloc(keys.n + 1, sizeof *fields);
    for (uint32_t i = 0; i < keys.n; i++) {
        const struct segment_key *key = &keys.keys[i];
        struct str block = str_make(s->groups[key->group].data + key->offset, key->length);
        if (codec_get_column(k, block, s->n_lines, &columns[i]) != 0)
            abort();
        fields[i] = (struct row_field){.path = key->path, .column = &columns[i]};
    }
    struct row_writer *w = row_writer_new(fields, keys.n, true);
    AUTO_BUF line = {0};
    for (uint32_t row = 0; row < s->n_lines; row++) {
        buf_clear(&line);
        if (row_writer_put(w, row, &line) < 0 || !json_valid(buf_str(&line)))
            abort();
    }
    row_writer_free(w);
    for (uint32_t i = 0; i < keys.n; i++)
        column_fini(&columns[i]);
    free(columns);
    free(fields);
    segment_keys_fini(&keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct filestream fs;
    if (filestream_read(str_make(data, size), &fs, NULL) != 0)
        return 0;
    for (int stream = 0; stream < HISTORY_STREAMS; stream++)
        for (uint32_t i = 0; i < fs.batches[stream].n_segments; i++)
            check_segment(&fs.batches[stream].segments[i]);
    filestream_fini(&fs);
    return 0;
}
