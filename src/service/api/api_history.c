/* SPDX-License-Identifier: MIT */
/* A run's history by steps. What the backend has exported to Parquet files is read from them; newer
 * rows, or all where the files cannot be read, are asked of it: with all keys as logged (HistoryPage),
 * or with those asked for (SampledHistoryPage, with as many samples as steps).
 *
 * (peer: core/internal/wbapi/readrunhistoryhandler.go, runhistoryreader) */
#include "service/api/api_impl.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/number.h"
#include "service/api/api_scan.h"
#include "service/upload/json_path.h"

#include <utlist.h>

/* Fields of ReadRunHistoryRequest and ReadRunHistoryResponse. */
enum { SCAN_INIT = 1, SCAN = 2, SCAN_CLEANUP = 3, DOWNLOAD_INIT = 4, DOWNLOAD = 5, DOWNLOAD_STATUS = 6 };
enum { INIT_ENTITY = 1, INIT_PROJECT = 2, INIT_RUN_ID = 3, INIT_KEYS = 4, INIT_USE_CACHE = 5 };
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
    s->live_step = INT64_MAX;
    uv_mutex_init(&s->lock);
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

static void free_if_unused(struct api *api, struct api_scan *s)
{
    if (!s->is_gone || s->n_users > 0)
        return;
    if (s->files)
        api_exported_close(api->loop, s->files, s->n_files);
    uv_mutex_destroy(&s->lock);
    mem_free(s->entity);
    mem_free(s->project);
    mem_free(s->run_id);
    mem_free(s->dir);
    buf_fini(&s->keys);
    buf_fini(&s->columns);
    buf_fini(&s->urls);
    mem_free(s);
}

void api_scan_hold(struct api_history_task *t, struct api_scan *s)
{
    t->scan = s;
    s->n_users++;
}

void api_scan_release(struct api_history_task *t)
{
    struct api_scan *s = t->scan;
    t->scan = NULL;
    if (s) {
        s->n_users--;
        free_if_unused(t->task.api, s);
    }
}

void api_scan_drop(struct api *api, struct api_scan *s)
{
    DL_DELETE(api->scans, s);
    s->is_gone = true;
    free_if_unused(api, s);
}

void api_scan_drop_all(struct api *api)
{
    while (api->scans)
        api_scan_drop(api, api->scans);
}

void api_scan_put_name(struct buf *to, const struct api_scan *s, size_t nth)
{
    size_t before = to->len;
    buf_printf(to, "%s_%s_%s_%zu.runhistory.parquet", s->entity, s->project, s->run_id, nth);
    for (size_t i = before; i < to->len; i++)
        if (to->data[i] == '/')
            to->data[i] = '_'; /* it stays in its folder */
}

/* ---- rows ---- */

static bool open_array(struct str array, const char **at, const char **end)
{
    *end = array.p + array.n;
    *at = array.n ? json_skip_space(array.p, *end) : *end;
    return *at < *end && *(*at)++ == '[';
}

/* ["{...}", ...] */
static bool put_text_rows(struct api_rows *rows, struct str list)
{
    const char *at, *end;
    struct json_item item;
    if (!open_array(list, &at, &end))
        return list.n == 0;
    while (json_next_element(&at, end, &item) == 1) {
        AUTO_BUF text = {0};
        if (item.value.n < 2 || item.value.p[0] != '"' ||
            json_unescape(&text, str_make(item.value.p + 1, item.value.n - 2)) != 0 ||
            !api_rows_add_json(rows, buf_str(&text)))
            return false;
    }
    return true;
}

/* [[{...}, ...]] */
static bool put_sampled_rows(struct api_rows *rows, struct str lists)
{
    const char *at, *end, *inner, *inner_end;
    struct json_item list, item;
    if (!open_array(lists, &at, &end))
        return lists.n == 0;
    while (json_next_element(&at, end, &list) == 1) {
        if (!open_array(list.value, &inner, &inner_end))
            return false;
        while (json_next_element(&inner, inner_end, &item) == 1)
            if (!api_rows_add_json(rows, item.value))
                return false;
    }
    return true;
}

/* ---- a page ---- */

static struct api_scan *scan_of(struct api_task *t, uint32_t kind, uint32_t number, bool is_download)
{
    struct str request = wire_find_bytes(buf_str(&t->request), kind);
    return api_scan_find(t->api, (int32_t)wire_find_varint(request, number), is_download);
}

static void reply_rows(struct api_history_task *t)
{
    AUTO_BUF body = {0};
    size_t mark = wire_buf_begin(&body, SCAN);
    api_rows_put(&body, &t->rows);
    wire_buf_end(&body, mark);
    api_reply_with(&t->task, API_HISTORY, buf_str(&body));
}

static void on_page(struct api_task *task)
{
    struct api_history_task *t = api_history_task_of(task);
    struct str run = json_at(task->call.data, "project.run");
    if (run.n == 0) {
        api_fail(task, 0, "no history found for run %s", t->scan->run_id);
        return;
    }
    bool ok = t->scan->keys.len ? put_sampled_rows(&t->rows, json_at(run, "sampledHistory"))
                                : put_text_rows(&t->rows, json_at(run, "history"));
    if (ok)
        reply_rows(t);
    else
        api_fail(task, 0, "failed to parse history: the server's rows are no JSON objects");
}

static void put_run(struct api_task *t, const struct api_scan *s, const char *run_name)
{
    api_var_text(t, "entity", str_of(s->entity));
    api_var_text(t, "project", str_of(s->project));
    api_var_text(t, run_name, str_of(s->run_id));
}

static void ask_backend(struct api_history_task *t)
{
    const struct api_scan *s = t->scan;
    long long min = t->min_step, max = t->max_step;
    put_run(&t->task, s, "run");
    if (s->keys.len == 0) {
        api_var_int(&t->task, "minStep", min);
        api_var_int(&t->task, "maxStep", max);
        api_var_int(&t->task, "pageSize", max - min);
        api_ask(&t->task, "HistoryPage", page_query, on_page);
        return;
    }
    AUTO_BUF spec = {0};
    /* here the last step counts, unlike in HistoryPage */
    buf_printf(&spec, "{\"keys\":%.*s,\"minStep\":%lld,\"samples\":%lld,\"maxStep\":%lld}",
               STR_ARG(buf_str(&s->keys)), min, max - min, max - 1);
    api_var_text(&t->task, "spec", buf_str(&spec));
    api_ask(&t->task, "SampledHistoryPage", sampled_query, on_page);
}

void api_exported_scanned(struct api_history_task *t)
{
    if (t->max_step > t->scan->live_step)
        ask_backend(t);
    else
        reply_rows(t);
}

static void start_scan(struct api_task *task, struct str request)
{
    struct api_history_task *t = api_history_task_of(task);
    struct api_scan *s = scan_of(task, SCAN, SCAN_ID, false);
    if (!s) {
        api_fail(task, 0, "Run history scan not initialized.");
        return;
    }
    api_scan_hold(t, s);
    t->min_step = (int64_t)wire_find_varint(request, SCAN_MIN_STEP);
    t->max_step = (int64_t)wire_find_varint(request, SCAN_MAX_STEP);
    bool none_yet = s->urls.len == 0 && s->live_step < INT64_MAX && t->max_step <= s->live_step;
    if (s->files)
        api_exported_scan(t);
    else if (none_yet)
        reply_rows(t);
    else
        ask_backend(t);
}

/* ---- begin and end of a scan ---- */

/* "_step" where the peer puts it: first, if it was not asked for, and last. */
static void put_keys(struct api_scan *s, struct str request)
{
    struct wire_field f;
    AUTO_BUF keys = {0};
    bool has_step = false;
    for (struct wire_reader r = wire_open(request); wire_next(&r, &f) > 0;) {
        if (f.number != INIT_KEYS || f.type != WIRE_BYTES)
            continue;
        buf_putc(&keys, ',');
        json_put_string(&keys, f.bytes);
        buf_put_str(&s->columns, f.bytes);
        buf_putc(&s->columns, '\0');
        has_step |= str_eqz(f.bytes, "_step");
    }
    if (keys.len && !has_step)
        buf_append(&s->columns, "_step", sizeof "_step");
    if (keys.len && has_step)
        buf_printf(&s->keys, "[%.*s,\"_step\"]", (int)keys.len - 1, keys.data + 1);
    else if (keys.len)
        buf_printf(&s->keys, "[\"_step\"%.*s,\"_step\"]", STR_ARG(buf_str(&keys)));
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

/* The lowest step that is not in a file yet. */
static int64_t first_live_step(struct str rows)
{
    const char *at, *end;
    struct json_item item;
    int64_t first = INT64_MAX;
    double step;
    if (!open_array(rows, &at, &end))
        return first;
    while (json_next_element(&at, end, &item) == 1) {
        struct str text = json_at(item.value, "_step");
        if (text.n && number_parse_double(text.p, text.n, &step) == text.n && step < (double)first)
            first = (int64_t)step;
    }
    return first;
}

void api_exported_opened(struct api_history_task *t)
{
    AUTO_BUF body = {0};
    size_t mark = wire_buf_begin(&body, SCAN_INIT);
    t->is_new = false;
    wire_buf_varint(&body, 1, (uint64_t)t->scan->id);
    wire_buf_end(&body, mark);
    api_reply_with(&t->task, API_HISTORY, buf_str(&body));
}

static void on_init(struct api_task *task)
{
    struct api_history_task *t = api_history_task_of(task);
    struct wire_field f;
    bool is_download = !api_find(buf_str(&task->request), SCAN_INIT, &f);
    struct str request = wire_find_bytes(buf_str(&task->request), is_download ? DOWNLOAD_INIT : SCAN_INIT);
    if (json_at(task->call.data, "project.run").n == 0) {
        struct str id = wire_find_bytes(request, INIT_RUN_ID);
        api_fail(task, 0, "no parquet history found for run %.*s", STR_ARG(id));
        return;
    }
    struct api_scan *s = add_scan(task, request);
    struct str live = json_at(task->call.data, "project.run.parquetHistory.liveData");
    api_scan_hold(t, s);
    t->is_new = true;
    s->live_step = first_live_step(live);
    if (is_download) {
        api_export_begin(t, request, json_at(live, "0").n > 0);
        return;
    }
    put_keys(s, request);
    t->use_cache = wire_find_varint(request, INIT_USE_CACHE) != 0;
    if (s->urls.len)
        api_exported_open(t);
    else
        api_exported_opened(t);
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
        api_scan_drop(t->api, s);
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

static void cancel(struct api_task *task)
{
    struct api_history_task *t = api_history_task_of(task);
    if (t->is_downloading)
        download_cancel(&t->download);
}

static void fini(struct api_task *task)
{
    struct api_history_task *t = api_history_task_of(task);
    if (t->scan && t->is_new && !t->scan->is_gone)
        api_scan_drop(task->api, t->scan); /* the client was not told of it */
    api_scan_release(t);
    api_rows_fini(&t->rows);
    buf_fini(&t->files);
    buf_fini(&t->is_cached);
    mem_free(t->path);
}

const struct api_kind api_history = {2, sizeof(struct api_history_task), start, cancel, fini};
