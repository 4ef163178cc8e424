/* SPDX-License-Identifier: MIT */
/* A run's history by steps: with all keys as logged (HistoryPage), or with those asked for
 * (SampledHistoryPage, with as many samples as steps). The backend reads what it has exported to
 * Parquet files itself; they are only downloaded (api_export.c).
 *
 * (peer: core/internal/wbapi/readrunhistoryhandler.go, runhistoryreader) */
#include "service/api/api_impl.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/number.h"
#include "service/api/api_export.h"
#include "service/api/api_scan.h"
#include "service/upload/json_path.h"

#include <stdlib.h>
#include <utlist.h>

/* Fields of ReadRunHistoryRequest and ReadRunHistoryResponse. */
enum { SCAN_INIT = 1, SCAN = 2, SCAN_CLEANUP = 3, DOWNLOAD_INIT = 4, DOWNLOAD = 5, DOWNLOAD_STATUS = 6 };
enum { INIT_ENTITY = 1, INIT_PROJECT = 2, INIT_RUN_ID = 3, INIT_KEYS = 4 };
enum { SCAN_MIN_STEP = 1, SCAN_MAX_STEP = 2, SCAN_ID = 3 };

static const char urls_query[] =
    "\nquery RunParquetHistory ($entity: String!, $project: String!, $runName: String!, $liveKeys: [String!]!) "
    "{\n\tproject(name: $project, entityName: $entity) {\n\t\trun(name: $runName) {\n"
    "\t\t\tparquetHistory(liveKeys: $liveKeys) {\n\t\t\t\tparquetUrls\n\t\t\t\tliveData\n\t\t\t}\n\t\t}\n\t}\n}\n";

static const char page_query[] =
    "\nquery HistoryPage ($entity: String!, $project: String!, $run: String!, $minStep: Int64!, "
    "$maxStep: Int64!, $pageSize: Int!) {\n\tproject(name: $project, entityName: $entity) {\n"
    "\t\trun(name: $run) {\n\t\t\thistory(minStep: $minStep, maxStep: $maxStep, samples: $pageSize)\n\t\t}\n"
    "\t}\n}\n";

static const char sampled_query[] =
    "\nquery SampledHistoryPage ($entity: String!, $project: String!, $run: String!, $spec: JSONString!) {\n"
    "\tproject(name: $project, entityName: $entity) {\n\t\trun(name: $run) {\n"
    "\t\t\tsampledHistory(specs: [$spec])\n\t\t}\n\t}\n}\n";

/* ---- scans ---- */

struct api_scan *api_scan_new(struct api *api)
{
    struct api_scan *s = xmem_calloc(1, sizeof *s);
    s->id = ++api->last_scan;
    DL_APPEND(api->scans, s);
    return s;
}

struct api_scan *api_scan_find(struct api *api, int32_t id, bool is_download)
{
    struct api_scan *s;
    DL_FOREACH (api->scans, s)
        if (s->id == id && s->is_download == is_download)
            return s;
    return NULL;
}

void api_scan_free(struct api *api, struct api_scan *s)
{
    DL_DELETE(api->scans, s);
    mem_free(s->entity);
    mem_free(s->project);
    mem_free(s->run_id);
    mem_free(s->dir);
    buf_fini(&s->keys);
    buf_fini(&s->urls);
    mem_free(s);
}

void api_scan_free_all(struct api *api)
{
    while (api->scans)
        api_scan_free(api, api->scans);
}

/* ---- rows ---- */

struct row {
    int64_t step;
    size_t nth;
    struct buf items; /* a HistoryRow */
};

struct rows {
    struct row *v;
    size_t n, cap;
};

static int by_step(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    return x->nth < y->nth ? -1 : x->nth > y->nth;
}

static struct row *add_row(struct rows *rows)
{
    if (rows->n == rows->cap) {
        rows->cap = rows->cap ? rows->cap * 2 : 64;
        rows->v = xmem_realloc(rows->v, rows->cap * sizeof *rows->v);
    }
    struct row *r = &rows->v[rows->n];
    *r = (struct row){.nth = rows->n++};
    return r;
}

static void put_item(struct row *r, struct str key, struct str value)
{
    char text[24];
    AUTO_BUF name = {0};
    double step;
    json_unescape(&name, key);
    /* backends give the step as 3.0 sometimes */
    if (str_eqz(buf_str(&name), "_step") && number_parse_double(value.p, value.n, &step) == value.n) {
        r->step = step > -9e18 && step < 9e18 ? (int64_t)step : 0;
        if (number_parse_i64(value.p, value.n, &r->step) != value.n)
            value = str_make(text, (size_t)snprintf(text, sizeof text, "%lld", (long long)r->step));
    }
    size_t mark = wire_buf_begin(&r->items, 1);
    wire_buf_bytes(&r->items, 1, buf_str(&name));
    wire_buf_bytes(&r->items, 16, value);
    wire_buf_end(&r->items, mark);
}

static bool put_row(struct rows *rows, struct str object)
{
    const char *end = object.p + object.n, *at = object.n ? json_skip_space(object.p, end) : end;
    struct json_item item;
    int rc = TARE_EFORMAT;
    if (at == end || *at++ != '{')
        return false;
    struct row *r = add_row(rows);
    while ((rc = json_next_member(&at, end, &item)) == 1)
        put_item(r, item.key, item.value);
    return rc == 0;
}

static bool open_array(struct str array, const char **at, const char **end)
{
    *end = array.p + array.n;
    *at = array.n ? json_skip_space(array.p, *end) : *end;
    return *at < *end && *(*at)++ == '[';
}

/* ["{...}", ...] */
static bool put_text_rows(struct rows *rows, struct str list)
{
    const char *at, *end;
    struct json_item item;
    if (!open_array(list, &at, &end))
        return list.n == 0;
    while (json_next_element(&at, end, &item) == 1) {
        AUTO_BUF text = {0};
        if (item.value.n < 2 || item.value.p[0] != '"' ||
            json_unescape(&text, str_make(item.value.p + 1, item.value.n - 2)) != 0 ||
            !put_row(rows, buf_str(&text)))
            return false;
    }
    return true;
}

/* [[{...}, ...]] */
static bool put_sampled_rows(struct rows *rows, struct str lists)
{
    const char *at, *end, *inner, *inner_end;
    struct json_item list, item;
    if (!open_array(lists, &at, &end))
        return lists.n == 0;
    while (json_next_element(&at, end, &list) == 1) {
        if (!open_array(list.value, &inner, &inner_end))
            return false;
        while (json_next_element(&inner, inner_end, &item) == 1)
            if (!put_row(rows, item.value))
                return false;
    }
    return true;
}

static void reply_rows(struct api_task *t, struct rows *rows)
{
    AUTO_BUF body = {0};
    qsort(rows->v, rows->n, sizeof *rows->v, by_step);
    size_t mark = wire_buf_begin(&body, SCAN);
    for (size_t i = 0; i < rows->n; i++)
        wire_buf_bytes(&body, 1, buf_str(&rows->v[i].items));
    wire_buf_end(&body, mark);
    api_reply_with(t, API_HISTORY, buf_str(&body));
}

static void free_rows(struct rows *rows)
{
    for (size_t i = 0; i < rows->n; i++)
        buf_fini(&rows->v[i].items);
    mem_free(rows->v);
}

/* ---- a page ---- */

static struct api_scan *scan_of(struct api_task *t, uint32_t kind, uint32_t number, bool is_download)
{
    struct str request = wire_find_bytes(buf_str(&t->request), kind);
    return api_scan_find(t->api, (int32_t)wire_find_varint(request, number), is_download);
}

static void on_page(struct api_task *t)
{
    struct rows rows = {0};
    struct str run = json_at(t->call.data, "project.run");
    struct api_scan *s = scan_of(t, SCAN, SCAN_ID, false);
    if (run.n == 0) {
        api_fail(t, 0, "no history found for run %s", s ? s->run_id : "");
        return;
    }
    bool ok = t->number ? put_sampled_rows(&rows, json_at(run, "sampledHistory"))
                        : put_text_rows(&rows, json_at(run, "history"));
    if (ok)
        reply_rows(t, &rows);
    else
        api_fail(t, 0, "failed to parse history: the server's rows are no JSON objects");
    free_rows(&rows);
}

static void put_run(struct api_task *t, const struct api_scan *s, const char *run_name)
{
    api_var_text(t, "entity", str_of(s->entity));
    api_var_text(t, "project", str_of(s->project));
    api_var_text(t, run_name, str_of(s->run_id));
}

static void start_scan(struct api_task *t, struct str request)
{
    struct api_scan *s = scan_of(t, SCAN, SCAN_ID, false);
    int64_t min = (int64_t)wire_find_varint(request, SCAN_MIN_STEP);
    int64_t max = (int64_t)wire_find_varint(request, SCAN_MAX_STEP);
    if (!s) {
        api_fail(t, 0, "Run history scan not initialized.");
        return;
    }
    put_run(t, s, "run");
    t->number = s->keys.len > 0;
    if (s->keys.len == 0) {
        api_var_int(t, "minStep", min);
        api_var_int(t, "maxStep", max);
        api_var_int(t, "pageSize", max - min);
        api_ask(t, "HistoryPage", page_query, on_page);
        return;
    }
    AUTO_BUF spec = {0};
    /* here the last step counts, unlike in HistoryPage */
    buf_printf(&spec, "{\"keys\":%.*s,\"minStep\":%lld,\"samples\":%lld,\"maxStep\":%lld}",
               STR_ARG(buf_str(&s->keys)), (long long)min, (long long)(max - min), (long long)(max - 1));
    api_var_text(t, "spec", buf_str(&spec));
    api_ask(t, "SampledHistoryPage", sampled_query, on_page);
}

/* ---- begin and end of a scan ---- */

/* "_step" where the peer puts it: first, if it was not asked for, and last. */
static void put_keys(struct buf *to, struct str request)
{
    struct wire_field f;
    AUTO_BUF keys = {0};
    bool has_step = false;
    for (struct wire_reader r = wire_open(request); wire_next(&r, &f) > 0;) {
        if (f.number != INIT_KEYS || f.type != WIRE_BYTES)
            continue;
        buf_putc(&keys, ',');
        json_put_string(&keys, f.bytes);
        has_step |= str_eqz(f.bytes, "_step");
    }
    if (keys.len && has_step)
        buf_printf(to, "[%.*s,\"_step\"]", (int)keys.len - 1, keys.data + 1);
    else if (keys.len)
        buf_printf(to, "[\"_step\"%.*s,\"_step\"]", STR_ARG(buf_str(&keys)));
}

static char *text_of(struct str request, uint32_t number)
{
    struct str s = wire_find_bytes(request, number);
    return xmem_strndup(s.n ? s.p : "", s.n);
}

static void put_urls(struct buf *to, struct str list)
{
    const char *at, *end;
    struct json_item item;
    if (!open_array(list, &at, &end))
        return;
    while (json_next_element(&at, end, &item) == 1)
        if (item.value.n >= 2 && item.value.p[0] == '"' &&
            json_unescape(to, str_make(item.value.p + 1, item.value.n - 2)) == 0)
            buf_putc(to, '\0');
}

static struct api_scan *add_scan(struct api_task *t, struct str request)
{
    struct api_scan *s = api_scan_new(t->api);
    s->entity = text_of(request, INIT_ENTITY);
    s->project = text_of(request, INIT_PROJECT);
    s->run_id = text_of(request, INIT_RUN_ID);
    put_urls(&s->urls, json_at(t->call.data, "project.run.parquetHistory.parquetUrls"));
    return s;
}

static void on_init(struct api_task *t)
{
    AUTO_BUF body = {0};
    struct wire_field f;
    bool is_download = !api_find(buf_str(&t->request), SCAN_INIT, &f);
    struct str request = wire_find_bytes(buf_str(&t->request), is_download ? DOWNLOAD_INIT : SCAN_INIT);
    if (json_at(t->call.data, "project.run").n == 0) {
        struct str id = wire_find_bytes(request, INIT_RUN_ID);
        api_fail(t, 0, "no parquet history found for run %.*s", STR_ARG(id));
        return;
    }
    struct api_scan *s = add_scan(t, request);
    if (is_download) {
        struct str live = json_at(t->call.data, "project.run.parquetHistory.liveData.0");
        api_export_begin(t, s, request, live.n > 0);
        return;
    }
    put_keys(&s->keys, request);
    size_t mark = wire_buf_begin(&body, SCAN_INIT);
    wire_buf_varint(&body, 1, (uint64_t)s->id);
    wire_buf_end(&body, mark);
    api_reply_with(t, API_HISTORY, buf_str(&body));
}

static void start_init(struct api_task *t, struct str request)
{
    api_var_text(t, "entity", wire_find_bytes(request, INIT_ENTITY));
    api_var_text(t, "project", wire_find_bytes(request, INIT_PROJECT));
    api_var_text(t, "runName", wire_find_bytes(request, INIT_RUN_ID));
    api_var_raw(t, "liveKeys", STR("[\"_step\"]"));
    api_ask(t, "RunParquetHistory", urls_query, on_init);
}

static void start_cleanup(struct api_task *t, struct str request)
{
    AUTO_BUF body = {0};
    struct api_scan *s = scan_of(t, SCAN_CLEANUP, 1, false);
    (void)request;
    if (s)
        api_scan_free(t->api, s);
    wire_buf_bytes(&body, SCAN_CLEANUP, (struct str){0});
    api_reply_with(t, API_HISTORY, buf_str(&body));
}

/* ---- the kind ---- */

static const struct {
    uint32_t number;
    void (*start)(struct api_task *t, struct str request);
} parts[] = {
    {SCAN_INIT, start_init},         {SCAN, start_scan},
    {SCAN_CLEANUP, start_cleanup},   {DOWNLOAD_INIT, start_init},
    {DOWNLOAD, api_export_download}, {DOWNLOAD_STATUS, api_export_status},
};

static void start(struct api_task *t)
{
    struct wire_field f;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (api_find(buf_str(&t->request), parts[i].number, &f)) {
            parts[i].start(t, f.bytes);
            return;
        }
    api_fail(t, 0, "unsupported history request");
}

const struct api_kind api_history = {2, sizeof(struct api_export_task), start, api_export_cancel,
                                     api_export_fini};
