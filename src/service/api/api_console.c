/* SPDX-License-Identifier: MIT */
/* Console lines of a run: a page of them, or the last ones.
 *
 * (peer: core/internal/wbapi/runhandler.go) */
#include "service/api/api_impl.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/number.h"
#include "service/upload/gql_words.h"
#include "service/upload/json_path.h"

#include <string.h>

enum { ENTITY = 1, PROJECT = 2, RUN_ID = 3, FIRST = 4, AFTER = 5, LAST = 6 };

#define LINES_OF "edges {\n\t\t\t\t\tnode {\n\t\t\t\t\t\tnumber\n\t\t\t\t\t\ttimestamp\n\t\t\t\t\t\tlevel\n" \
                 "\t\t\t\t\t\tlabel\n\t\t\t\t\t\tline\n\t\t\t\t\t}\n\t\t\t\t}\n"

static const char page_query[] =
    "\nquery RunConsoleLogPage ($entity: String!, $project: String!, $runName: String!, $first: Int, "
    "$after: String) {\n\tproject(name: $project, entityName: $entity) {\n\t\trun(name: $runName) {\n"
    "\t\t\tlogLineCount\n\t\t\tlogLines(first: $first, after: $after, useImprovedPagination: true) {\n"
    "\t\t\t\t" LINES_OF "\t\t\t\tpageInfo {\n\t\t\t\t\tendCursor\n\t\t\t\t\thasNextPage\n\t\t\t\t}\n"
    "\t\t\t}\n\t\t}\n\t}\n}\n";

static const char tail_query[] =
    "\nquery RunConsoleLogTail ($entity: String!, $project: String!, $runName: String!, $last: Int!) {\n"
    "\tproject(name: $project, entityName: $entity) {\n\t\trun(name: $runName) {\n\t\t\tlogLineCount\n"
    "\t\t\tlogLines(last: $last) {\n\t\t\t\t" LINES_OF "\t\t\t}\n\t\t}\n\t}\n}\n";

static int64_t number_at(struct str json, const char *path)
{
    struct str text = json_at(json, path);
    int64_t n = 0;
    if (text.n)
        number_parse_i64(text.p, text.n, &n);
    return n;
}

static void put_line(struct buf *to, struct str node)
{
    int64_t number = number_at(node, "number");
    size_t mark = wire_buf_begin(to, 1);
    if (number)
        wire_buf_varint(to, 1, (uint64_t)number);
    api_put_text_at(to, 2, node, "timestamp");
    api_put_text_at(to, 3, node, "level");
    api_put_text_at(to, 4, node, "label");
    api_put_text_at(to, 5, node, "line");
    wire_buf_end(to, mark);
}

/* All lines; the number of the last one, or -1. */
static int64_t put_lines(struct buf *to, struct str run)
{
    struct str edges = json_at(run, "logLines.edges");
    const char *at = edges.n ? json_skip_space(edges.p, edges.p + edges.n) : NULL, *end = edges.p + edges.n;
    struct json_item item;
    int64_t last = -1;
    if (!at || at == end || *at++ != '[')
        return last;
    while (json_next_element(&at, end, &item) == 1) {
        struct str node = json_at(item.value, "node");
        put_line(to, node);
        last = number_at(node, "number");
    }
    return last;
}

static void on_lines(struct api_task *t)
{
    AUTO_BUF body = {0};
    struct str request = buf_str(&t->request), run = json_at(t->call.data, "project.run");
    if (run.n == 0) {
        struct str e = wire_find_bytes(request, ENTITY), p = wire_find_bytes(request, PROJECT),
                   id = wire_find_bytes(request, RUN_ID);
        api_fail(t, 0, "run %.*s/%.*s/%.*s not found", STR_ARG(e), STR_ARG(p), STR_ARG(id));
        return;
    }
    int64_t total = number_at(run, "logLineCount"), last = put_lines(&body, run);
    AUTO_FREE char *cursor = t->number ? NULL : json_string_at(run, "logLines.pageInfo.endCursor");
    if (cursor && *cursor) { /* a page that can be continued */
        bool more = str_eqz(json_at(run, "logLines.pageInfo.hasNextPage"), "true");
        wire_buf_bytes(&body, 2, str_of(cursor));
        if (more || (last >= 0 && last + 1 < total))
            wire_buf_varint(&body, 3, 1);
    }
    if (total)
        wire_buf_varint(&body, 4, (uint64_t)total);
    api_reply_with(t, API_CONSOLE, buf_str(&body));
}

/* Servers before 0.77 refuse the document of a page. */
static void on_page(struct api_task *t)
{
    AUTO_BUF words = {0};
    if (!t->call.error) {
        on_lines(t);
        return;
    }
    int status = gql_put_failure(&words, &t->call);
    if (strstr(buf_z(&words), "useImprovedPagination"))
        api_fail(t, status,
                 "reading a run's console log from the beginning requires W&B server 0.77 or newer; "
                 "request the last N lines of the log instead (%s)",
                 buf_z(&words));
    else
        api_fail(t, status, "%s", buf_z(&words));
}

static void put_run(struct api_task *t)
{
    struct str request = buf_str(&t->request);
    api_var_text(t, "entity", wire_find_bytes(request, ENTITY));
    api_var_text(t, "project", wire_find_bytes(request, PROJECT));
    api_var_text(t, "runName", wire_find_bytes(request, RUN_ID));
}

static void start(struct api_task *t)
{
    struct str request = buf_str(&t->request);
    struct wire_field first = {0}, after = {0}, last = {0};
    bool has_first = api_find(request, FIRST, &first), has_after = api_find(request, AFTER, &after);
    if (api_find(request, LAST, &last)) {
        if (has_first || has_after) {
            api_fail(t, 0, "cannot combine 'last' with 'first' or 'after'");
        } else if ((int32_t)last.value <= 0) {
            api_fail(t, 0, "'last' must be positive");
        } else {
            put_run(t);
            t->number = LAST; /* whose cursors are of another kind */
            api_var_int(t, "last", (int32_t)last.value);
            api_ask(t, "RunConsoleLogTail", tail_query, on_lines);
        }
        return;
    }
    if (has_first && (int32_t)first.value <= 0) {
        api_fail(t, 0, "'first' must be positive");
        return;
    }
    put_run(t);
    if (has_first)
        api_var_int(t, "first", (int32_t)first.value);
    else
        api_var_raw(t, "first", STR("null"));
    if (has_after)
        api_var_text(t, "after", after.bytes);
    else
        api_var_raw(t, "after", STR("null"));
    t->takes_partial = true;
    api_ask(t, "RunConsoleLogPage", page_query, on_page);
}

const struct api_kind api_console = {13, sizeof(struct api_task), start, NULL, NULL};
