/* SPDX-License-Identifier: MIT */
#include "cli/sync_view.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>

enum { BAR_COLUMNS = 24, BARS_MOST = 12, FAILED_MOST = 20 };

void sync_view_init(struct sync_view *v, bool quiet)
{
    *v = (struct sync_view){.quiet = quiet};
    term_init(&v->term);
}

void sync_view_clear(struct sync_view *v)
{
    AUTO_BUF b = {0};
    if (!v->height)
        return;
    buf_printf(&b, "\033[%dA\r\033[J", v->height);
    v->height = 0;
    term_flush(&b);
    fflush(stdout);
}

void sync_view_say(struct sync_view *v, enum sync_severity severity, const char *run,
                   const char *text)
{
    AUTO_BUF b = {0};
    if (v->quiet && severity < SYNC_ERROR)
        return;
    sync_view_clear(v);
    if (*run)
        buf_printf(&b, "[%s] ", run);
    if (severity == SYNC_WARNING)
        buf_puts(&b, "warning: ");
    buf_puts(&b, text);
    AUTO_BUF line = {0};
    term_text(&v->term, &line, buf_str(&b), 1 << 16);
    buf_putc(&line, '\n');
    if (severity < SYNC_ERROR) {
        term_flush(&line);
        fflush(stdout);
    } else {
        fwrite("tare sync: ", 1, 11, stderr);
        fwrite(line.data, 1, line.len, stderr);
    }
}

static void put_size(struct buf *b, uint64_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double v = (double)bytes;
    int u = 0;
    while (v >= 1000 && u < 4)
        v /= 1000, u++;
    buf_printf(b, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static void put_bar(const struct sync_view *v, struct buf *b, double part)
{
    int full = (int)(part * BAR_COLUMNS);
    term_repeat(b, v->term.utf8 ? "\u2588" : "#", full);
    term_repeat(b, v->term.utf8 ? "\u2591" : "-", BAR_COLUMNS - full);
    buf_printf(b, " %3d %%  ", (int)(part * 100)); /* 100 only when all is there */
}

static double part_of(uint64_t reached, uint64_t bytes)
{
    return !bytes ? 0 : reached >= bytes ? 1 : (double)reached / (double)bytes;
}

static void put_line(struct sync_view *v, struct buf *b, struct buf *text)
{
    term_text(&v->term, b, buf_str(text), v->term.width - BAR_COLUMNS - 10);
    buf_putc(b, '\n');
    v->height++;
}

void sync_view_draw(struct sync_view *v, const struct sync *s)
{
    AUTO_BUF b = {0};
    uint64_t bytes = 0, reached = 0;
    size_t n_over = 0;
    if (v->quiet || !v->term.tty)
        return;
    sync_view_clear(v);
    for (size_t i = 0; i < sync_n_files(s); i++) {
        struct sync_file f = sync_file(s, i);
        AUTO_BUF text = {0};
        bytes += f.bytes;
        reached += f.reached;
        n_over += f.state == SYNC_DONE || f.state == SYNC_FAILED;
        if (f.state != SYNC_SENDING || v->height >= BARS_MOST)
            continue;
        put_bar(v, &b, part_of(f.reached, f.bytes));
        put_size(&text, f.bytes);
        buf_printf(&text, "  %s", *f.run ? f.run : f.shown);
        put_line(v, &b, &text);
    }
    AUTO_BUF text = {0};
    put_bar(v, &b, part_of(reached, bytes));
    put_size(&text, reached);
    buf_puts(&text, " of ");
    put_size(&text, bytes);
    buf_printf(&text, ", %zu of %zu", n_over, sync_n_files(s));
    put_line(v, &b, &text);
    term_flush(&b);
    fflush(stdout);
}

void sync_view_total(struct sync_view *v, const struct sync *s)
{
    size_t n = sync_n_files(s), n_failed = 0;
    AUTO_BUF failed = {0}, text = {0};
    for (size_t i = 0; i < n; i++) {
        struct sync_file f = sync_file(s, i);
        if (f.state == SYNC_DONE)
            continue;
        if (n_failed++ < FAILED_MOST)
            buf_printf(&failed, "%s%s", n_failed > 1 ? ", " : "", f.shown);
    }
    if (n < 2)
        return;
    buf_printf(&text, "%zu of %zu runs synced.", n - n_failed, n);
    sync_view_say(v, SYNC_INFO, "", buf_z(&text));
    if (!n_failed)
        return;
    buf_clear(&text);
    buf_printf(&text, "%zu not: %s%s", n_failed, buf_z(&failed), n_failed > FAILED_MOST ? ", ..." : "");
    sync_view_say(v, SYNC_ERROR, "", buf_z(&text));
}

static const char *state_name(enum sync_state state)
{
    return state == SYNC_DONE ? "synced" : "failed";
}

void sync_view_json(const struct sync *s)
{
    for (size_t i = 0; i < sync_n_files(s); i++) {
        struct sync_file f = sync_file(s, i);
        AUTO_BUF b = {0};
        buf_puts(&b, "{\"file\":");
        json_put_string(&b, str_of(f.path));
        buf_puts(&b, ",\"run\":");
        json_put_string(&b, str_of(f.run));
        buf_puts(&b, ",\"url\":");
        json_put_string(&b, str_of(f.url));
        buf_printf(&b, ",\"state\":\"%s\",\"bytes\":%" PRIu64 ",\"why\":", state_name(f.state),
                   f.bytes);
        json_put_string(&b, str_of(f.state == SYNC_FAILED ? f.why : ""));
        buf_puts(&b, "}\n");
        term_flush(&b);
    }
}
