/* SPDX-License-Identifier: MIT */
/* Captured output on its way to the file stream: lines as a terminal shows them, with the time they
 * were begun. A line is given when it settles, and before that whenever it has changed and nothing
 * more is to be read for now. (peer: core/internal/runconsolelogs)
 *
 * How a line is written depends on the backend, which is asked when the first output comes; until it
 * has answered nothing more is read. */
#include "service/stream/sender_impl.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "record/setting_wire.h"
#include "record/wire.h"
#include "service/stream/console.h"

#include <time.h>

enum { SET_CONSOLE = 60, SET_CONSOLE_MULTIPART = 166, SET_LABEL = 181 };

/* As Go's json package writes strings: what means something in HTML is escaped. */
static void put_string(struct buf *to, struct str text)
{
    AUTO_BUF json = {0};
    json_put_string(&json, text);
    for (size_t i = 0; i < json.len; i++) {
        unsigned char c = (unsigned char)json.data[i];
        if (c == '<' || c == '>' || c == '&')
            buf_printf(to, "\\u%04x", c);
        else
            buf_putc(to, (char)c);
    }
}

static void put_time(struct buf *to, int64_t ns)
{
    time_t s = (time_t)(ns / 1000000000);
    struct tm tm;
    char text[32] = "";
    if (gmtime_r(&s, &tm))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(to, "%s.%06d", text, (int)(ns % 1000000000 / 1000));
}

static void put_structured(const struct sender_console *c, const struct console_line *line,
                           struct str content, struct buf *to)
{
    buf_puts(to, line->is_error ? "{\"level\":\"error\",\"ts\":\"" : "{\"ts\":\"");
    put_time(to, line->time_ns);
    buf_putc(to, '"');
    if (*c->label) {
        buf_puts(to, ",\"label\":");
        put_string(to, str_of(c->label));
    }
    buf_puts(to, ",\"content\":");
    put_string(to, content);
    buf_putc(to, '}');
}

static void put_plain(const struct sender_console *c, const struct console_line *line,
                      struct str content, struct buf *to)
{
    if (line->is_error)
        buf_puts(to, "ERROR ");
    put_time(to, line->time_ns);
    buf_putc(to, ' ');
    if (*c->label)
        buf_printf(to, "[%s] ", c->label);
    buf_put_str(to, content);
}

/* Give a line unless it is as it was last given. */
static void give(struct sender *s, uint64_t number, const struct console_line *line)
{
    struct sender_console *c = s->console;
    AUTO_BUF content = {0};
    console_line_write(line, &content);
    uint64_t hash = hash_bytes(content.data ? content.data : "", content.len, number + 1);
    if (c->given[number % CONSOLE_WINDOW] == hash)
        return;
    c->given[number % CONSOLE_WINDOW] = hash;
    buf_clear(&c->line);
    if (c->structured == STRUCTURED)
        put_structured(c, line, buf_str(&content), &c->line);
    else
        put_plain(c, line, buf_str(&content), &c->line);
    filestream_console(s->filestream, number, buf_str(&c->line));
}

static void on_settled(void *owner, const struct console_line *line)
{
    struct sender *s = owner;
    give(s, s->console->lines.first, line);
}

void console_flush(struct sender *s)
{
    struct sender_console *c = s->console;
    if (!c || !c->dirty || console_waits(s))
        return;
    for (uint64_t i = c->lines.first; i < c->lines.next; i++)
        give(s, i, console_lines_get(&c->lines, i));
    c->dirty = false;
}

/* -- records ----------------------------------------------------------------------------------------- */

static void take_raw(struct sender *s, struct str record)
{
    enum { TYPE = 1, TIMESTAMP = 2, LINE = 3, STDOUT = 1 };
    struct sender_console *c = s->console;
    bool is_error = wire_find_varint(record, TYPE) != STDOUT;
    struct str time = wire_find_bytes(record, TIMESTAMP);
    int64_t seconds = (int64_t)wire_find_varint(time, 1), now_ns = clock_wall_ns();
    if (seconds > 0 && seconds < INT64_MAX / 1000000000 - 1)
        now_ns = seconds * 1000000000 + (int64_t)(wire_find_varint(time, 2) % 1000000000);
    console_term_write(&c->terms[is_error], wire_find_bytes(record, LINE), now_ns);
}

static void take_logger(struct sender *s, struct str record)
{
    struct sender_console *c = s->console;
    struct str text = wire_find_bytes(record, 1);
    if (str_ends(text, STR("\n")))
        text.n--;
    for (;;) {
        const char *end = text.n ? memchr(text.p, '\n', text.n) : NULL;
        struct str one = {text.p, end ? (size_t)(end - text.p) : text.n};
        uint64_t number = console_lines_add(&c->lines, false, clock_wall_ns());
        console_line_append(console_lines_get(&c->lines, number), one, true);
        if (!end)
            break;
        text.n -= one.n + 1;
        text.p = end + 1;
    }
}

static void take(struct sender *s, struct str record, bool is_raw)
{
    (is_raw ? take_raw : take_logger)(s, record);
    s->console->dirty = true;
}

static void on_feature(void *ctx, bool has)
{
    struct sender *s = ctx;
    struct sender_console *c = s->console;
    c->structured = has ? STRUCTURED : PLAIN;
    if (!s->freed && c->held.len) {
        take(s, buf_str(&c->held), c->held_is_raw);
        buf_fini(&c->held);
        sender_go_on(s);
    }
    sender_release(s);
}

bool console_waits(const struct sender *s)
{
    return s->console && s->console->structured == ASKED;
}

static void open_console(struct sender *s)
{
    struct sender_console *c = s->console = xmem_calloc(1, sizeof *c);
    struct str label = setting_wire_text(s->o.settings, SET_LABEL);
    c->label = xmem_strndup(label.p ? label.p : "", label.n);
    c->capture = !str_eqz(setting_wire_text(s->o.settings, SET_CONSOLE), "off");
    c->lines.on_settled = on_settled;
    c->lines.owner = s;
    console_term_init(&c->terms[0], &c->lines, false);
    console_term_init(&c->terms[1], &c->lines, true);
}

static void send_output(struct sender *s, struct str record, bool is_raw)
{
    if (!s->console)
        open_console(s);
    struct sender_console *c = s->console;
    if (is_raw && !c->capture)
        return;
    if (c->structured == UNKNOWN) {
        c->structured = ASKED;
        s->n_open++;
        backend_feature(s->backend, "STRUCTURED_CONSOLE_LOGS", on_feature, s);
    }
    if (c->structured == ASKED) {
        buf_put_str(&c->held, record);
        c->held_is_raw = is_raw;
        return;
    }
    take(s, record, is_raw);
}

void send_output_raw(struct sender *s, struct str record)
{
    send_output(s, record, true);
}

void send_output_logger(struct sender *s, struct str record)
{
    send_output(s, record, false);
}

/* -- end ----------------------------------------------------------------------------------------------- */

void console_end(struct sender *s)
{
    struct sender_console *c = s->console;
    AUTO_BUF name = {0};
    if (!c)
        return;
    console_flush(s);
    if (!c->capture || !c->lines.next || setting_wire_bool(s->o.settings, SET_CONSOLE_MULTIPART))
        return;
    console_put_name(&name, c->label);
    files_add(s->files, buf_str(&name), FILE_NOW, FILE_WANDB);
}

void console_fini(struct sender *s)
{
    struct sender_console *c = s->console;
    if (!c)
        return;
    console_term_fini(&c->terms[0]);
    console_term_fini(&c->terms[1]);
    console_lines_fini(&c->lines);
    buf_fini(&c->held);
    buf_fini(&c->line);
    mem_free(c->label);
    mem_free(c);
}
