/* SPDX-License-Identifier: MIT */
/* History, config and summary of a run. */
#include "client/run.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/number.h"
#include "client/interface_sock.h"
#include "client/last_error.h"
#include "client/manager.h"
#include "client/message.h"
#include "client/pack.h"
#include "record/wire.h"

/* ---- log ---- */

/* The step as the SDK counts it, for names of media files. The ring's lock is held. */
static void count_step(struct tare_run *run, struct entry_values *head)
{
    if (head->step != TARE_STEP_AUTO && head->step > run->step)
        run->step = head->step;
    head->media_step = run->step;
    bool commits = head->commit == TARE_COMMIT_YES ||
                   (head->commit == TARE_COMMIT_AUTO && head->step == TARE_STEP_AUTO);
    run->step += commits;
}

static int queue_slow(struct tare_run *run, enum entry_kind kind, struct entry_values *head,
                      const struct tare_value *values, size_t n, size_t bytes)
{
    struct manager *m = run->manager;
    char *block = mem_alloc(sizeof *head + bytes);
    if (!block)
        return last_error_set(TARE_ENOMEM, "out of memory");
    if (kind == ENTRY_LOG) {
        pthread_mutex_lock(&m->ring.lock);
        count_step(run, head);
        pthread_mutex_unlock(&m->ring.lock);
    }
    memcpy(block, head, sizeof *head);
    pack_write(block + sizeof *head, values, n);
    return manager_queue_heavy(m, kind, run, block, sizeof *head + bytes, m->setup.block_ms);
}

static int queue_values(struct tare_run *run, enum entry_kind kind, const struct tare_value *values,
                        size_t n, int64_t step, int commit)
{
    struct manager *m = run->manager;
    struct pack_size size;
    struct entry_values head = {.step = step, .n = (uint32_t)n, .commit = commit};
    int rc = pack_measure(values, n, &size);
    if (rc)
        return rc;
    if (kind == ENTRY_LOG)
        head.timestamp = clock_wall_s();
    if (size.slow)
        return queue_slow(run, kind, &head, values, n, size.bytes);
    struct ring_entry *e = ring_claim(&m->ring, sizeof head + size.bytes, m->setup.block_ms);
    if (!e) {
        atomic_fetch_add(&run->n_dropped, 1);
        return last_error_set(TARE_EFULL, "the queue stayed full; the data was dropped");
    }
    if (kind == ENTRY_LOG)
        count_step(run, &head);
    e->kind = (uint16_t)kind;
    e->run = run;
    memcpy(e->payload, &head, sizeof head);
    pack_write(e->payload + sizeof head, values, n);
    ring_put(&m->ring, e);
    return 0;
}

int tare_log_values(tare_run *run, const struct tare_value *values, size_t n, int64_t step,
                    int commit)
{
    int rc = run_check(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    if ((n && !values) || n > 1000000)
        return last_error_set(TARE_EINVAL, "tare_log: no values, or too many");
    if (step < 0 && step != TARE_STEP_AUTO)
        return last_error_set(TARE_EINVAL, "tare_log: a step is not negative");
    commit = commit < 0 ? TARE_COMMIT_AUTO : commit > 0 ? TARE_COMMIT_YES : TARE_COMMIT_NO;
    rc = queue_values(run, ENTRY_LOG, values, n, step, commit);
    if (rc == 0)
        atomic_fetch_add_explicit(&run->n_logged, 1, memory_order_relaxed);
    return rc;
}


/* ---- JSON objects ---- */

struct value_list {
    struct tare_value *values;
    size_t n, cap;
    struct buf text; /* the keys, each with a NUL, then nothing moves any more */
};

static int count_members(struct str object, size_t *n, size_t *key_bytes)
{
    const char *end = object.p + object.n;
    const char *at = json_skip_space(object.p, end);
    struct json_item item;
    int rc;
    if (at == end || *at != '{')
        return TARE_EFORMAT;
    at++;
    *n = *key_bytes = 0;
    while ((rc = json_next_member(&at, end, &item)) > 0) {
        *n += 1;
        *key_bytes += item.key.n + 1;
    }
    return rc < 0 || json_skip_space(at, end) != end ? TARE_EFORMAT : 0;
}

static int fill_members(struct value_list *l, struct str object)
{
    const char *end = object.p + object.n;
    const char *at = json_skip_space(object.p, end) + 1;
    struct json_item item;
    for (size_t i = 0; json_next_member(&at, end, &item) > 0; i++) {
        size_t from = l->text.len;
        if (json_unescape(&l->text, item.key) != 0)
            return TARE_EFORMAT;
        buf_putc(&l->text, 0);
        l->values[i] = tare_value_of(l->text.data + from, TARE_JSON);
        l->values[i].as.text = item.value.p;
        l->values[i].n = item.value.n;
    }
    return l->text.failed ? TARE_ENOMEM : 0;
}

int tare_log_json(tare_run *run, const char *json, size_t len, int64_t step, int commit)
{
    struct value_list l = {0};
    size_t key_bytes;
    int rc = run_check(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    struct str object = str_make(json, len);
    if (!json || count_members(object, &l.n, &key_bytes) != 0)
        return last_error_set(TARE_EFORMAT, "tare_log_json: not one JSON object");
    l.values = mem_calloc(l.n + 1, sizeof *l.values);
    /* An escaped key is never shorter than the key itself, but for U+FFFD from "\ud800". */
    bool room = l.values && buf_reserve(&l.text, key_bytes + 1);
    rc = room ? fill_members(&l, object) : TARE_ENOMEM;
    if (rc == 0)
        rc = tare_log_values(run, l.values, l.n, step, commit);
    else
        last_error_set(rc, "tare_log_json: %s", err_text(rc));
    mem_free(l.values);
    buf_fini(&l.text);
    return rc;
}

/* ---- config ---- */

/* The run's lock is held. */
static struct config_item *find_config(struct tare_run *run, struct str key)
{
    for (struct config_item *c = run->config; c; c = c->next)
        if (str_eqz(key, c->key))
            return c;
    return NULL;
}

static int note_config(struct tare_run *run, struct str key, struct str json)
{
    char *text = mem_strndup(json.p, json.n);
    if (!text)
        return TARE_ENOMEM;
    pthread_mutex_lock(&run->lock);
    struct config_item *c = find_config(run, key);
    if (!c && (c = mem_calloc(1, sizeof *c))) {
        c->key = mem_strndup(key.p, key.n);
        c->next = run->config;
        run->config = c;
    }
    bool ok = c && c->key;
    if (ok) {
        mem_free(c->json);
        c->json = text;
    } else if (c) {
        run->config = c->next;
        mem_free(c);
    }
    pthread_mutex_unlock(&run->lock);
    if (!ok)
        mem_free(text);
    return ok ? 0 : TARE_ENOMEM;
}

void run_take_config(struct tare_run *run, struct str record)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f;
    while (record.p && wire_next(&r, &f) > 0)
        if (f.number == UPDATE && f.type == WIRE_BYTES)
            note_config(run, message_get(f.bytes, ITEM_KEY), message_get(f.bytes, ITEM_JSON));
}

/* Note the values for tare_config_get: packed and formatted as the courier will. */
static int note_values(struct tare_run *run, const struct tare_value *values, size_t n)
{
    AUTO_BUF json = {0};
    for (size_t i = 0; i < n; i++) {
        struct pack_size size;
        int rc = pack_measure(&values[i], 1, &size);
        if (rc)
            return rc;
        if (values[i].type == TARE_IMAGE || values[i].type == TARE_TABLE)
            return last_error_set(TARE_EINVAL, "config: %s is an image or table", values[i].key);
        AUTO_FREE char *block = mem_alloc(size.bytes);
        if (!block)
            return last_error_set(TARE_ENOMEM, "out of memory");
        pack_write(block, &values[i], 1);
        const char *at = block;
        struct packed v;
        pack_next(&at, &v);
        buf_clear(&json);
        if (pack_put_json(&json, &v) != 0 || note_config(run, v.key, buf_str(&json)) != 0)
            return last_error_set(TARE_ENOMEM, "out of memory");
    }
    return 0;
}

int tare_config_set(tare_run *run, const struct tare_value *values, size_t n)
{
    int rc = run_check(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    if (!values || !n || n > 1000000)
        return last_error_set(TARE_EINVAL, "tare_config_set: no values, or too many");
    rc = note_values(run, values, n);
    return rc ? rc : queue_values(run, ENTRY_CONFIG, values, n, 0, 0);
}

int tare_config_remove(tare_run *run, const char *key)
{
    int rc = run_check(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    if (!key || !*key)
        return last_error_set(TARE_EINVAL, "tare_config_remove: no key");
    pthread_mutex_lock(&run->lock);
    for (struct config_item **at = &run->config; *at; at = &(*at)->next)
        if (strcmp((*at)->key, key) == 0) {
            struct config_item *c = *at;
            *at = c->next;
            mem_free(c->key);
            mem_free(c->json);
            mem_free(c);
            break;
        }
    pthread_mutex_unlock(&run->lock);
    return publish_remove(run, RECORD_CONFIG, key);
}

static int give(struct str text, const char *key, char *to, size_t to_size)
{
    if (!text.p)
        return last_error_set(TARE_ENOTFOUND, "there is no '%.200s'", key);
    if (text.n >= to_size || text.n > INT32_MAX)
        return last_error_set(TARE_ELIMIT, "'%.200s' takes %zu bytes", key, text.n + 1);
    memcpy(to, text.p, text.n);
    to[text.n] = 0;
    return (int)text.n;
}

int tare_config_get(tare_run *run, const char *key, char *to, size_t to_size)
{
    int rc = run_check(run);
    if (rc < 0)
        return rc;
    if (!key || !to)
        return last_error_set(TARE_EINVAL, "tare_config_get: no key");
    pthread_mutex_lock(&run->lock);
    struct config_item *c = find_config(run, str_of(key));
    rc = give(c ? str_of(c->json) : (struct str){0}, key, to, to_size);
    pthread_mutex_unlock(&run->lock);
    return rc;
}

int tare_config_get_f64(tare_run *run, const char *key, double *to)
{
    char text[64];
    int n = tare_config_get(run, key, text, sizeof text);
    if (n < 0)
        return n == TARE_ELIMIT ? last_error_set(TARE_EFORMAT, "'%.200s' is no number", key) : n;
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        *to = text[0] == 't';
        return 0;
    }
    double v;
    if (number_parse_double(text, (size_t)n, &v) != (size_t)n)
        return last_error_set(TARE_EFORMAT, "'%.200s' is no number", key);
    *to = v;
    return 0;
}

/* ---- summary ---- */

int tare_summary_set(tare_run *run, const struct tare_value *values, size_t n)
{
    int rc = run_check(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    if (!values || !n || n > 1000000)
        return last_error_set(TARE_EINVAL, "tare_summary_set: no values, or too many");
    return queue_values(run, ENTRY_SUMMARY, values, n, 0, 0);
}

int tare_summary_remove(tare_run *run, const char *key)
{
    int rc = run_check(run);
    if (rc)
        return rc > 0 ? 0 : rc;
    if (!key || !*key)
        return last_error_set(TARE_EINVAL, "tare_summary_remove: no key");
    return publish_remove(run, RECORD_SUMMARY, key);
}

/* A service may send {"f": {"min": 1}} as one item or as one for each leaf, ["f", "min"]. */
enum { DEPTH_MAX = 16, LEAVES_MAX = 4096 };

struct leaf {
    struct str parts[DEPTH_MAX];
    size_t n;
    struct str json;
};

static bool read_leaf(struct str item, struct leaf *to)
{
    struct wire_reader r = wire_open(item);
    struct wire_field f;
    *to = (struct leaf){0};
    while (wire_next(&r, &f) > 0) {
        if (f.type != WIRE_BYTES)
            continue;
        if ((f.number == ITEM_KEY || f.number == ITEM_NESTED_KEY) && to->n < DEPTH_MAX && f.bytes.n)
            to->parts[to->n++] = f.bytes;
        else if (f.number == ITEM_JSON)
            to->json = f.bytes;
    }
    return to->n > 0;
}

/* The leaves that agree in their first `depth` parts, as JSON. */
static void put_leaves(struct buf *b, struct leaf *leaves, size_t n, size_t depth)
{
    if (leaves[0].n == depth) {
        buf_put_str(b, leaves[0].json);
        return;
    }
    char before = '{';
    for (size_t i = 0; i < n; i++) {
        struct str part = leaves[i].parts[depth];
        buf_putc(b, before);
        before = ',';
        json_put_string(b, part);
        buf_putc(b, ':');
        size_t same = i + 1; /* bring those of the same part together */
        for (size_t k = same; k < n; k++)
            if (str_eq(leaves[k].parts[depth], part)) {
                struct leaf tmp = leaves[same];
                leaves[same] = leaves[k];
                leaves[k] = tmp;
                same++;
            }
        put_leaves(b, leaves + i, same - i, depth + 1);
        i = same - 1;
    }
    buf_putc(b, '}');
}

/* The value of `key` in a GetSummaryResponse: 1 if it is there, 0 if not. */
static int find_summary(struct str summary, struct str key, struct buf *json)
{
    struct leaf *leaves = mem_calloc(LEAVES_MAX, sizeof *leaves);
    struct wire_reader r = wire_open(summary);
    struct wire_field f;
    size_t n = 0;
    if (!leaves)
        return TARE_ENOMEM;
    while (summary.p && n < LEAVES_MAX && wire_next(&r, &f) > 0)
        if (f.number == 1 && f.type == WIRE_BYTES && read_leaf(f.bytes, &leaves[n]) &&
            str_eq(leaves[n].parts[0], key))
            n++;
    if (n)
        put_leaves(json, leaves, n, 1);
    mem_free(leaves);
    return json->failed ? TARE_ENOMEM : n > 0;
}

int tare_summary_get(tare_run *run, const char *key, char *to, size_t to_size, int timeout_ms)
{
    AUTO_BUF answer = {0};
    int rc = run_check(run);
    if (rc < 0)
        return rc;
    if (!key || !to)
        return last_error_set(TARE_EINVAL, "tare_summary_get: no key");
    if (rc == 0)
        rc = communicate_request(run, REQUEST_GET_SUMMARY, &answer, timeout_ms);
    if (rc < 0)
        return rc;
    struct str result = message_get(buf_str(&answer), RESP_RESULT);
    struct str summary = message_get(message_get(result, RESULT_RESPONSE), RESPONSE_GET_SUMMARY);
    AUTO_BUF json = {0};
    rc = find_summary(summary, str_of(key), &json);
    if (rc < 0)
        return last_error_set(rc, "out of memory");
    return give(rc ? buf_str(&json) : (struct str){0}, key, to, to_size);
}
