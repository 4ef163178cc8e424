/* SPDX-License-Identifier: MIT */
/* What a backend and a client send that the public API reads: the first byte says what the rest is.
 *
 *   'g' a GraphQL document to rewrite: what comes out is a document that is rewritten to itself
 *   'p' rows as the library for Parquet gives them    'r' a row as JSON    'e' an answer with errors */
#include "base/json.h"
#include "record/wire.h"
#include "service/api/gqlcompat.h"
#include "service/api/parquet.h"
#include "service/upload/gql_words.h"

#include <assert.h>
#include <stdlib.h>

static void rewrite(struct str document)
{
    AUTO_BUF request = {0}, once = {0}, twice = {0};
    wire_buf_bytes(&request, GQL_OMIT_VARIABLES, STR("v"));
    wire_buf_bytes(&request, GQL_OMIT_FIELDS, STR("f"));
    wire_buf_bytes(&request, GQL_OMIT_FRAGMENTS, STR("F"));
    if (gqlcompat_rewrite(&once, document, buf_str(&request), NULL) != 0 || once.len == 0)
        return;
    int rc = gqlcompat_rewrite(&twice, buf_str(&once), buf_str(&request), NULL);
    /* fields whose selections have become empty in a fragment make the second one stop */
    assert(rc == TARE_EFORMAT || rc == 0);
}

/* What goes out are well-formed messages with JSON in them. */
static void check_rows(struct api_rows *rows)
{
    AUTO_BUF out = {0};
    struct wire_field row, item;
    api_rows_put(&out, rows);
    struct wire_reader r = wire_open(buf_str(&out));
    int rc;
    while ((rc = wire_next(&r, &row)) > 0) {
        struct wire_reader items = wire_open(row.bytes);
        while ((rc = wire_next(&items, &item)) > 0)
            assert(json_valid(wire_find_bytes(item.bytes, 16)));
        assert(rc == 0);
    }
    assert(rc == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct api_rows rows = {0};
    AUTO_BUF words = {0};
    if (size == 0)
        return 0;
    struct str rest = str_make(data + 1, size - 1);
    switch (data[0]) {
    case 'g':
        rewrite(rest);
        break;
    case 'p':
        if (parquet_decode(rest, &rows) == 0)
            check_rows(&rows);
        break;
    case 'r':
        if (api_rows_add_json(&rows, rest))
            check_rows(&rows);
        break;
    default:
        gql_put_messages(&words, rest);
        gql_put_list(&words, rest);
        gql_put_http_error(&words, 500, rest);
    }
    api_rows_fini(&rows);
    return 0;
}
