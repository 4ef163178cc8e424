/* SPDX-License-Identifier: MIT */
/* What `tare show` does with texts from outside: JSON values, tables, console output. Whatever they
 * are, no control character reaches the terminal and no line is too wide. */
#include "base/buf.h"
#include "base/json.h"
#include "base/utf8.h"
#include "cli/lines.h"
#include "cli/table.h"
#include "cli/value.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct term t = {.width = 60};

static void check_safe(struct str text)
{
    int columns = 0;
    for (size_t i = 0; i < text.n;) {
        uint32_t cp;
        i += utf8_decode(text.p + i, text.n - i, &cp);
        assert(cp == '\n' || (cp >= 0x20 && cp != 0x7f && !(cp >= 0x80 && cp < 0xa0)));
        assert(t.utf8 || cp < 0x7f);
        columns = cp == '\n' ? 0 : columns + utf8_width(cp);
        assert(columns <= t.width);
    }
}

static void on_line(void *ctx, struct str line, bool is_stderr)
{
    (void)ctx, (void)is_stderr;
    AUTO_BUF out = {0};
    int columns = term_text(&t, &out, line, t.width);
    assert(columns <= t.width);
    check_safe(buf_str(&out));
}

static void on_value(void *ctx, struct str name, struct str value)
{
    (void)ctx;
    AUTO_BUF text = {0};
    AUTO_BUF out = {0};
    value_put(&text, value, true, t.utf8);
    term_cell(&t, &out, name, t.width / 2);
    term_text(&t, &out, buf_str(&text), t.width / 2);
    check_safe(buf_str(&out));
    value_is_type(value, "table-file");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_make(data, size);
    for (int utf8 = 0; utf8 < 2; utf8++) {
        struct lines lines = {.on_line = on_line};
        t.utf8 = utf8;
        lines_put(&lines, bytes, false);
        lines_end(&lines);
        lines_fini(&lines);
        if (!json_valid(bytes))
            continue;
        AUTO_BUF out = {0};
        value_each(bytes, true, on_value, NULL);
        if (table_put(&t, &out, bytes) == 0)
            check_safe(buf_str(&out));
    }
    return 0;
}
