/* SPDX-License-Identifier: MIT */
#include "service/upload/filestream_body.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "base/utf8.h"

#include <stdio.h>

/* Kept free before the lines of a segment, for the longest head of a body. */
enum { HEAD_BYTES = 80 };

struct fs_segment {
    struct fs_segment *next;
    struct buf text; /* HEAD_BYTES, then "line","line" */
    uint64_t n_lines;
    uint32_t born; /* of its first line */
};

void fs_waiting_init(struct fs_waiting *w, size_t max_request_bytes, size_t max_line_bytes)
{
    *w = (struct fs_waiting){.max_request_bytes = max_request_bytes, .max_line_bytes = max_line_bytes};
}

static void free_segments(struct fs_lines *l)
{
    while (l->first) {
        struct fs_segment *next = l->first->next;
        buf_fini(&l->first->text);
        mem_free(l->first);
        l->first = next;
    }
    l->last = NULL;
}

void fs_waiting_fini(struct fs_waiting *w)
{
    free_segments(&w->history);
    free_segments(&w->events);
    for (size_t i = 0; i < w->n_console; i++)
        mem_free(w->console[i].text);
    mem_free(w->console);
    buf_fini(&w->summary);
    buf_fini(&w->uploaded);
    *w = (struct fs_waiting){0};
}

/* ---- adding ---- */

/* Every byte that is not UTF-8 becomes U+FFFD, so that the body is JSON. */
static void put_mended(struct buf *to, struct str text)
{
    AUTO_BUF whole = {0};
    char c[UTF8_MAX];
    for (size_t at = 0; at < text.n;) {
        uint32_t cp;
        at += utf8_decode(text.p + at, text.n - at, &cp);
        buf_append(&whole, c, utf8_encode(c, cp));
    }
    json_put_string(to, buf_str(&whole));
    to->failed |= whole.failed;
}

static void put_line(struct buf *to, struct str text)
{
    if (utf8_valid(text.p, text.n))
        json_put_string(to, text);
    else
        put_mended(to, text);
}

/* The segment that takes a line of about `n` bytes; NULL without memory. */
static struct fs_segment *segment_for(const struct fs_waiting *w, struct fs_lines *l, size_t n)
{
    struct fs_segment *s = l->last;
    if (s && s->text.len - HEAD_BYTES + n <= w->max_request_bytes)
        return s;
    s = mem_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    if (!buf_reserve(&s->text, HEAD_BYTES + n + 3)) {
        mem_free(s);
        return NULL;
    }
    s->text.len = HEAD_BYTES;
    s->born = w->epoch;
    if (l->last)
        l->last->next = s;
    else
        l->first = s;
    return l->last = s;
}

static void add_line(struct fs_waiting *w, struct fs_lines *l, struct str line,
                     void (*put)(struct buf *to, struct str line))
{
    struct fs_segment *s = segment_for(w, l, line.n);
    if (!s) {
        w->failed = true;
        return;
    }
    size_t before = s->text.len;
    if (s->n_lines > 0)
        buf_putc(&s->text, ',');
    put(&s->text, line);
    s->n_lines++;
    w->bytes += s->text.len - before;
    w->failed |= s->text.failed;
}

static void put_as_is(struct buf *to, struct str quoted)
{
    buf_put_str(to, quoted);
}

void fs_add_history(struct fs_waiting *w, struct str quoted)
{
    add_line(w, &w->history, quoted, put_as_is);
}

void fs_add_event(struct fs_waiting *w, struct str line)
{
    add_line(w, &w->events, line, put_line);
}

/* The first waiting line whose number is not below `number`. Most lines come at the end. */
static size_t console_find(const struct fs_waiting *w, uint64_t number)
{
    size_t low = 0, high = w->n_console;
    if (high > 0 && w->console[high - 1].number < number)
        return high;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (w->console[mid].number < number)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Make place for a line at `i`. */
static bool console_insert(struct fs_waiting *w, size_t i, uint64_t number)
{
    if (w->n_console == w->cap_console) {
        size_t cap = w->cap_console ? w->cap_console * 2 : 16;
        void *grown = mem_realloc(w->console, cap * sizeof *w->console);
        if (!grown)
            return false;
        w->console = grown;
        w->cap_console = cap;
    }
    memmove(&w->console[i + 1], &w->console[i], (w->n_console - i) * sizeof *w->console);
    w->n_console++;
    w->console[i] = (struct fs_console_line){.number = number, .born = w->epoch};
    w->bytes += sizeof *w->console;
    return true;
}

void fs_add_console(struct fs_waiting *w, uint64_t number, struct str line)
{
    AUTO_BUF quoted = {0};
    put_line(&quoted, line);
    char *text = quoted.failed || quoted.len > UINT32_MAX ? NULL : mem_strndup(quoted.data, quoted.len);
    size_t i = console_find(w, number);
    bool is_new = i == w->n_console || w->console[i].number != number;
    if (!text || (is_new && !console_insert(w, i, number))) {
        mem_free(text);
        w->failed = true;
        return;
    }
    w->bytes += quoted.len - w->console[i].n;
    mem_free(w->console[i].text);
    w->console[i].text = text;
    w->console[i].n = (uint32_t)quoted.len;
}

/* A live file that goes up again and again should stand there once; among the many names of a
 * burst of media files, which are all new, it is not looked for. */
static bool stands_already(const struct buf *list, struct str quoted)
{
    enum { LOOK_BYTES = 4096 };
    return list->len < LOOK_BYTES && memmem(list->data, list->len, quoted.p, quoted.n);
}

void fs_add_uploaded(struct fs_waiting *w, struct str path)
{
    AUTO_BUF quoted = {0};
    put_line(&quoted, path);
    if (w->uploaded.len > 0 && stands_already(&w->uploaded, buf_str(&quoted)))
        return;
    if (w->uploaded.len == 0)
        w->uploaded_born = w->epoch;
    else
        buf_putc(&w->uploaded, ',');
    buf_put_str(&w->uploaded, buf_str(&quoted));
    w->bytes += quoted.len + 1;
    w->failed |= quoted.failed || w->uploaded.failed;
}

void fs_add_preempting(struct fs_waiting *w)
{
    if (!w->preempting)
        w->preempting_born = w->epoch;
    w->preempting = true;
}

void fs_change_summary(struct fs_waiting *w)
{
    if (!w->summary_changed && w->summary.len == 0)
        w->summary_born = w->epoch;
    w->summary_changed = true;
}

bool fs_set_summary(struct fs_waiting *w, struct str json)
{
    w->summary_changed = false;
    w->bytes -= w->summary.len;
    buf_clear(&w->summary);
    if (json.n > w->max_line_bytes)
        return false;
    put_line(&w->summary, json);
    w->bytes += w->summary.len;
    w->failed |= w->summary.failed;
    return true;
}

/* ---- what waits ---- */

bool fs_is_empty(const struct fs_waiting *w)
{
    return !w->history.first && !w->events.first && w->n_console == 0 && !w->summary_changed &&
           w->summary.len == 0 && w->uploaded.len == 0 && !w->preempting;
}

static uint32_t older(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t fs_oldest(const struct fs_waiting *w)
{
    uint32_t oldest = UINT32_MAX;
    if (w->history.first)
        oldest = older(oldest, w->history.first->born);
    if (w->events.first)
        oldest = older(oldest, w->events.first->born);
    if (w->summary_changed || w->summary.len > 0)
        oldest = older(oldest, w->summary_born);
    if (w->uploaded.len > 0)
        oldest = older(oldest, w->uploaded_born);
    if (w->preempting)
        oldest = older(oldest, w->preempting_born);
    for (size_t i = 0; i < w->n_console; i++)
        oldest = older(oldest, w->console[i].born);
    return oldest;
}

/* ---- taking ---- */

/* A body while it is made. The first file with many lines gives it its buffer: its head is then
 * written into the bytes that were kept free before the lines. */
struct maker {
    struct fs_request *to;
    size_t n_bytes; /* of lines so far */
    size_t max_bytes;
    bool has_file;
};

static bool fits(const struct maker *m, size_t n)
{
    return m->n_bytes == 0 || m->n_bytes + n <= m->max_bytes;
}

static int file_head(char *to, size_t room, const struct maker *m, const char *name, uint64_t offset)
{
    return snprintf(to, room, "%s\"%s\":{\"offset\":%llu,\"content\":[",
                    m->has_file ? "," : "{\"files\":{", name, (unsigned long long)offset);
}

/* Begin a file in the body; its lines and "]}" follow. */
static void begin_file(struct maker *m, const char *name, uint64_t offset)
{
    char head[2 * HEAD_BYTES];
    file_head(head, sizeof head, m, name, offset);
    buf_puts(&m->to->text, head);
    m->has_file = true;
}

/* The body begins with this segment: it becomes the body. */
static void begin_with(struct maker *m, const char *name, uint64_t offset, struct fs_segment *s)
{
    char head[2 * HEAD_BYTES];
    size_t n = (size_t)file_head(head, sizeof head, m, name, offset);
    m->to->text = s->text;
    m->to->at = HEAD_BYTES - n;
    memcpy(m->to->text.data + m->to->at, head, n);
    s->text = (struct buf){0};
    m->has_file = true;
}

static void take_lines(struct maker *m, struct fs_waiting *w, struct fs_lines *l, const char *name,
                       uint64_t *at, uint64_t *n)
{
    struct fs_segment *s = l->first;
    *at = l->at;
    if (!s)
        return;
    size_t n_bytes = s->text.len - HEAD_BYTES;
    if (!fits(m, n_bytes))
        return;
    if (m->has_file) {
        begin_file(m, name, l->at);
        buf_append(&m->to->text, s->text.data + HEAD_BYTES, n_bytes);
    } else {
        begin_with(m, name, l->at, s);
    }
    buf_puts(&m->to->text, "]}");
    m->n_bytes += n_bytes;
    w->bytes -= n_bytes;
    *n = s->n_lines;
    l->at += s->n_lines;
    l->first = s->next;
    if (!l->first)
        l->last = NULL;
    buf_fini(&s->text);
    mem_free(s);
}

static void take_summary(struct maker *m, struct fs_waiting *w)
{
    if (w->summary.len == 0 || !fits(m, w->summary.len))
        return;
    begin_file(m, "wandb-summary.json", 0);
    buf_put_str(&m->to->text, buf_str(&w->summary));
    buf_puts(&m->to->text, "]}");
    m->n_bytes += w->summary.len;
    m->to->has_summary = true;
    w->bytes -= w->summary.len;
    buf_fini(&w->summary);
}

/* One run of consecutive lines, the first behind where the last request ended. */
static void take_console(struct maker *m, struct fs_waiting *w)
{
    size_t first = console_find(w, w->console_next);
    if (first == w->n_console)
        first = 0;
    size_t i = first;
    for (; i < w->n_console; i++) {
        struct fs_console_line *line = &w->console[i];
        if ((i > first && line->number != line[-1].number + 1) || !fits(m, line->n))
            break;
        if (i == first)
            begin_file(m, "output.log", m->to->console_at = w->console_offset + line->number);
        else
            buf_putc(&m->to->text, ',');
        buf_append(&m->to->text, line->text, line->n);
        m->n_bytes += line->n;
        w->bytes -= line->n + sizeof *line;
        w->console_next = line->number + 1;
        mem_free(line->text);
    }
    if (i == first)
        return;
    buf_puts(&m->to->text, "]}");
    m->to->n_console = i - first;
    memmove(&w->console[first], &w->console[i], (w->n_console - i) * sizeof *w->console);
    w->n_console -= i - first;
    if (w->n_console == 0) {
        mem_free(w->console);
        w->console = NULL;
        w->cap_console = 0;
    }
}

/* What follows "files". `sep` is what separates it. */
static void take_rest(struct fs_waiting *w, struct fs_request *to, const int32_t *exit_code,
                      const char *sep)
{
    if (w->uploaded.len > 0) {
        buf_printf(&to->text, "%s\"uploaded\":[", sep);
        buf_put_str(&to->text, buf_str(&w->uploaded));
        buf_putc(&to->text, ']');
        w->bytes -= w->uploaded.len + 1;
        buf_fini(&w->uploaded);
        sep = ",";
    }
    if (w->preempting) {
        buf_printf(&to->text, "%s\"preempting\":true", sep);
        w->preempting = false;
        sep = ",";
    }
    if (exit_code && !to->more) {
        buf_printf(&to->text, "%s\"complete\":true,\"exitcode\":%d", sep, (int)*exit_code);
        to->has_complete = true;
    }
    buf_putc(&to->text, '}');
}

int fs_take(struct fs_waiting *w, const int32_t *exit_code, struct fs_request *to)
{
    struct maker m = {.to = to, .max_bytes = w->max_request_bytes};
    to->is_heartbeat = fs_is_empty(w) && !exit_code;
    take_lines(&m, w, &w->history, "wandb-history.jsonl", &to->history_at, &to->n_history);
    take_lines(&m, w, &w->events, "wandb-events.jsonl", &to->events_at, &to->n_events);
    take_summary(&m, w);
    take_console(&m, w);
    to->more = w->history.first || w->events.first || w->n_console > 0 || w->summary_changed ||
               w->summary.len > 0;
    if (m.has_file)
        buf_putc(&to->text, '}');
    else
        buf_putc(&to->text, '{');
    take_rest(w, to, exit_code, m.has_file ? "," : "");
    w->epoch++;
    w->failed |= to->text.failed;
    return w->failed ? TARE_ENOMEM : 0;
}
