/* SPDX-License-Identifier: MIT */
/* The console output of a run. */
#include "base/number.h"
#include "server/resolve/fields.h"
#include "server/store/console.h"

struct log_page {
    const struct run_row *run;
    int64_t from, n; /* lines [from, from + n) */
    bool done;
    int64_t last; /* number of the last line that came; from - 1: none */
};

struct log_line {
    int64_t number;
    struct console_parts parts;
};

struct put {
    struct gql_call *call;
    struct log_page *page;
    struct buf scratch;
};

static int put_line(void *arg, int64_t number, struct str line)
{
    struct put *p = arg;
    struct log_line l = {.number = number};
    buf_clear(&p->scratch);
    console_split(line, &p->scratch, &l.parts);
    p->page->last = number;
    if (number >= p->page->from + p->page->n)
        return TARE_ECANCELLED;
    gql_object(p->call, TYPE_LogLineEdge, &l);
    return gql_failed(p->call) ? TARE_ECANCELLED : 0;
}

/* `last` lines, or `first` after the line `after`. */
void resolve_Run_logLines(struct gql_call *c, const void *obj)
{
    const struct run_row *r = obj;
    struct log_page p = {.run = r, .from = page_offset(c, "after")};
    int64_t last = gql_arg_int(c, "last", -1);
    p.n = page_size(c, "first", 1000, 100000);
    if (last >= 0) {
        p.n = last < 100000 ? last : 100000;
        p.from = r->log_lines > p.n ? r->log_lines - p.n : 0;
    }
    p.last = p.from - 1;
    gql_object(c, TYPE_LogLineConnection, &p);
}

void resolve_LogLineConnection_edges(struct gql_call *c, const void *obj)
{
    struct put put = {c, (struct log_page *)(uintptr_t)obj, {0}};
    struct err e;
    struct accessor a;
    if (!accessor_of(c, &e, &a))
        return;
    gql_list_begin(c);
    int rc = console_read(a.db, put.page->run->id, put.page->from, put.page->n, put_line, &put, &e);
    gql_list_end(c);
    buf_fini(&put.scratch);
    if (rc < 0 && rc != TARE_ECANCELLED)
        fail_with(c, rc, &e);
}

void resolve_LogLineConnection_pageInfo(struct gql_call *c, const void *obj)
{
    const struct log_page *p = obj;
    int64_t end = p->from + p->n < p->run->log_lines ? p->from + p->n : p->run->log_lines;
    char text[NUMBER_MAX + 1];
    text[number_format_i64(text, end - 1)] = 0;
    struct page_info i = {end < p->run->log_lines, p->from > 0, NULL, end > p->from ? text : NULL};
    gql_object(c, TYPE_PageInfo, &i);
}

FIELD_(LogLineEdge, node, gql_object(c, TYPE_LogLine, obj))

void resolve_LogLineEdge_cursor(struct gql_call *c, const void *obj)
{
    char text[NUMBER_MAX];
    size_t n = number_format_i64(text, ((const struct log_line *)obj)->number);
    gql_str(c, str_make(text, n));
}

FIELD_INT(LogLine, number, log_line, number)
FIELD_STR(LogLine, timestamp, log_line, parts.timestamp)
FIELD_STR(LogLine, level, log_line, parts.level)
FIELD_STR(LogLine, label, log_line, parts.label)
FIELD_(LogLine, line, gql_str(c, ROW_(log_line)->parts.text.p ? ROW_(log_line)->parts.text : STR("")))
