/* SPDX-License-Identifier: MIT */
#include "record/config.h"

#include "base/err.h"
#include "base/json.h"
#include "base/utf8.h"
#include "record/wire.h"

enum { UPDATE = 1, REMOVE = 2, KEY = 1, NESTED = 2, VALUE_JSON = 16 };
enum { MAX_DEPTH = 100 };

void config_init(struct config *c, uint64_t seed)
{
    summary_init(&c->tree, seed);
    c->tree.shows_null = true;
}

void config_fini(struct config *c)
{
    summary_fini(&c->tree);
}

static int set_value(struct config *c, struct str path, struct str json, unsigned depth)
{
    const char *end = json.p + json.n, *at = json_skip_space(json.p, end);
    if (*at != '{' || depth == MAX_DEPTH) {
        summary_set(&c->tree, summary_slot(&c->tree, path), json);
        return 0;
    }
    at++;
    struct json_item item;
    int rc = 0;
    while (!rc && json_next_member(&at, end, &item) == 1) {
        AUTO_BUF longer = {0};
        rc = summary_member_path(&longer, path, item.key);
        if (!rc)
            rc = set_value(c, buf_str(&longer), item.value, depth + 1);
    }
    return rc;
}

int config_set(struct config *c, struct str path, struct str json)
{
    return json_valid(json) ? set_value(c, path, json, 0) : TARE_EFORMAT;
}

int config_apply(struct config *c, struct str record, size_t *n_bad)
{
    *n_bad = 0;
    for (uint32_t field = UPDATE; field <= REMOVE; field++) {
        struct wire_reader r = wire_open(record);
        struct wire_field f;
        for (int rc; (rc = wire_next(&r, &f)) != 0;) {
            if (rc < 0)
                return TARE_EFORMAT;
            if (f.number != field || f.type != WIRE_BYTES)
                continue;
            AUTO_BUF path = {0};
            struct str value;
            if (!summary_item_path(f.bytes, &path, &value))
                ++*n_bad;
            else if (field == REMOVE)
                summary_drop(&c->tree, buf_str(&path));
            else if (config_set(c, buf_str(&path), value))
                ++*n_bad;
        }
    }
    return 0;
}

void config_put_json(const struct config *c, struct buf *to)
{
    summary_put_json(&c->tree, to);
}

/* -- telemetry ------------------------------------------------------------------------------- */

/* Messages of TelemetryRecord that are all flags, and the one that is all strings. */
static bool is_flags(uint32_t number)
{
    return number == 1 || number == 2 || number == 3 || number == 8 || number == 10;
}

static bool is_labels(uint32_t number)
{
    return number == 9;
}

static void put_key(struct buf *to, uint32_t number, bool *first)
{
    buf_printf(to, "%s\"%u\":", *first ? "" : ",", number);
    *first = false;
}

static void put_flags(struct str message, struct buf *to)
{
    struct wire_reader r = wire_open(message);
    bool first = true;
    buf_putc(to, '[');
    for (struct wire_field f; wire_next(&r, &f) == 1;) {
        if (f.type != WIRE_VARINT || !f.value)
            continue;
        buf_printf(to, "%s%u", first ? "" : ",", f.number);
        first = false;
    }
    buf_putc(to, ']');
}

static void put_labels(struct str message, struct buf *to)
{
    struct wire_reader r = wire_open(message);
    bool first = true;
    buf_putc(to, '{');
    for (struct wire_field f; wire_next(&r, &f) == 1;) {
        if (f.type != WIRE_BYTES)
            continue;
        put_key(to, f.number, &first);
        json_put_string(to, f.bytes);
    }
    buf_putc(to, '}');
}

void config_put_telemetry(struct str telemetry, struct str core_version, struct buf *to)
{
    enum { CORE_VERSION = 12, INFO = 200 };
    struct wire_reader r = wire_open(telemetry);
    bool first = true;
    buf_putc(to, '{');
    for (struct wire_field f; wire_next(&r, &f) == 1;) {
        if (f.type != WIRE_BYTES || f.number == CORE_VERSION || f.number == INFO ||
            (!is_flags(f.number) && !utf8_valid(f.bytes.p, f.bytes.n))) /* of a later client */
            continue;
        put_key(to, f.number, &first);
        if (is_flags(f.number))
            put_flags(f.bytes, to);
        else if (is_labels(f.number))
            put_labels(f.bytes, to);
        else
            json_put_string(to, f.bytes);
    }
    put_key(to, CORE_VERSION, &first);
    json_put_string(to, core_version);
    buf_putc(to, '}');
}

/* -- the part that is not the user's ------------------------------------------------------------ */

static void set_member(struct config *c, struct str label, struct str json)
{
    struct str labels[] = {STR("_wandb"), label};
    AUTO_BUF path = {0};
    summary_path(&path, labels, 2);
    config_set(c, buf_str(&path), json);
}

void config_set_internal(struct config *c, struct str telemetry, struct str metrics,
                         struct str environment)
{
    enum { PYTHON_VERSION = 4, CLI_VERSION = 5 };
    AUTO_BUF t = {0};
    set_member(c, STR("m"), metrics);
    struct wire_reader r = wire_open(telemetry);
    for (struct wire_field f; wire_next(&r, &f) == 1;) {
        if (f.type != WIRE_BYTES || (f.number != PYTHON_VERSION && f.number != CLI_VERSION))
            continue;
        AUTO_BUF json = {0};
        json_put_string(&json, f.bytes);
        set_member(c, f.number == CLI_VERSION ? STR("cli_version") : STR("python_version"),
                   buf_str(&json));
    }
    config_put_telemetry(telemetry, STR("0.31.0"), &t);
    set_member(c, STR("t"), buf_str(&t));
    if (environment.n)
        set_member(c, STR("e"), environment);
}

/* -- as backends and clients want it ------------------------------------------------------------ */

static bool next_top(const struct buf *json, const char **at, struct json_item *item)
{
    if (json->failed || !json->len)
        return false;
    if (!*at)
        *at = json->data + 1;
    return json_next_member(at, json->data + json->len, item) == 1;
}

void config_put_wrapped(const struct config *c, struct buf *to)
{
    AUTO_BUF json = {0};
    config_put_json(c, &json);
    struct json_item item;
    bool first = true;
    buf_putc(to, '{');
    for (const char *at = NULL; next_top(&json, &at, &item); first = false) {
        buf_puts(to, first ? "\"" : ",\"");
        buf_put_str(to, item.key);
        buf_puts(to, "\":{\"value\":");
        buf_put_str(to, item.value);
        buf_putc(to, '}');
    }
    buf_putc(to, '}');
}

static void put_wrapped_item(struct buf *to, const struct json_item *item)
{
    AUTO_BUF key = {0};
    AUTO_BUF value = {0};
    json_unescape(&key, item->key);
    buf_puts(&value, "{\"value\":");
    buf_put_str(&value, item->value);
    buf_putc(&value, '}');
    size_t mark = wire_buf_begin(to, UPDATE);
    wire_buf_bytes(to, KEY, buf_str(&key));
    wire_buf_bytes(to, VALUE_JSON, buf_str(&value));
    wire_buf_end(to, mark);
}

void config_put_items(const struct config *c, struct buf *to)
{
    AUTO_BUF json = {0};
    config_put_json(c, &json);
    struct json_item item;
    for (const char *at = NULL; next_top(&json, &at, &item);)
        put_wrapped_item(to, &item);
}

void config_put_run_result(struct str config_record, struct str telemetry, struct buf *to)
{
    struct config c;
    config_init(&c, 0);
    size_t n_bad;
    config_apply(&c, config_record, &n_bad);
    config_set_internal(&c, telemetry, STR("[]"), STR(""));
    config_put_items(&c, to);
    config_fini(&c);
}

/* -- runs that go on ------------------------------------------------------------------------------ */

bool config_has(const struct config *c, struct str path)
{
    const struct summary *t = &c->tree;
    uint32_t top = summary_find(t, path);
    if (top == SUMMARY_NO_SLOT)
        return false;
    for (uint32_t i = 0; i < t->n; i++) {
        if (!t->slots[i].leaf || !t->slots[i].has_data)
            continue;
        for (uint32_t up = i; up != SUMMARY_NO_SLOT; up = t->slots[up].parent)
            if (up == top)
                return true;
    }
    return false;
}

/* The value of a member of a JSON object; empty if it has none or is no object. */
static struct str member(struct str object, const char *name)
{
    const char *end = object.p + object.n, *at = json_skip_space(object.p, end);
    struct json_item item;
    if (at == end || *at++ != '{')
        return (struct str){0};
    while (json_next_member(&at, end, &item) == 1)
        if (str_eqz(item.key, name))
            return item.value;
    return (struct str){0};
}

static void take_unset(struct config *c, struct str prefix, const struct json_item *item,
                       struct str value)
{
    AUTO_BUF key = {0}, top = {0}, path = {0};
    json_unescape(&key, item->key);
    struct str label = buf_str(&key);
    summary_path(&top, &label, 1);
    if (config_has(c, buf_str(&top)))
        return;
    if (prefix.n && summary_member_path(&path, prefix, item->key))
        return;
    config_set(c, prefix.n ? buf_str(&path) : buf_str(&top), value);
}

/* Parts of the old `_wandb` that are kept. */
static void take_internal(struct config *c, struct str old)
{
    static const char *const kept[] = {"viz", "visualize", "mask/class_labels"};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        struct str part = member(old, kept[i]);
        struct str labels[] = {STR("_wandb"), str_of(kept[i])};
        AUTO_BUF prefix = {0};
        summary_path(&prefix, labels, 2);
        const char *at = part.p ? json_skip_space(part.p, part.p + part.n) : NULL;
        struct json_item item;
        if (!at || *at++ != '{')
            continue;
        while (json_next_member(&at, part.p + part.n, &item) == 1)
            take_unset(c, buf_str(&prefix), &item, item.value);
    }
}

int config_merge_resumed(struct config *c, struct str old)
{
    const char *end = old.p + old.n, *at = old.p;
    struct json_item item;
    int rc;
    if (!json_valid(old))
        return TARE_EFORMAT;
    at = json_skip_space(at, end);
    if (*at == 'n') /* null */
        return 0;
    if (*at++ != '{')
        return TARE_EFORMAT;
    while ((rc = json_next_member(&at, end, &item)) == 1) {
        if (*json_skip_space(item.value.p, end) != '{')
            return TARE_EFORMAT;
        struct str value = member(item.value, "value");
        if (value.n && str_eqz(item.key, "_wandb"))
            take_internal(c, value);
        if (value.n)
            take_unset(c, STR(""), &item, value);
    }
    return rc;
}
