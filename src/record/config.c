/* SPDX-License-Identifier: MIT */
#include "record/config.h"

#include "base/err.h"
#include "base/json.h"
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
        if (f.type != WIRE_BYTES || f.number == CORE_VERSION || f.number == INFO)
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

/* -- the answer to a run record -------------------------------------------------------------- */

static void put_internal(struct str telemetry, struct buf *to)
{
    enum { PYTHON_VERSION = 4, CLI_VERSION = 5 };
    struct wire_reader r = wire_open(telemetry);
    buf_puts(to, "{\"m\":[]");
    for (struct wire_field f; wire_next(&r, &f) == 1;) {
        if (f.type != WIRE_BYTES || (f.number != PYTHON_VERSION && f.number != CLI_VERSION))
            continue;
        buf_puts(to, f.number == CLI_VERSION ? ",\"cli_version\":" : ",\"python_version\":");
        json_put_string(to, f.bytes);
    }
    buf_puts(to, ",\"t\":");
    config_put_telemetry(telemetry, STR("0.31.0"), to);
    buf_putc(to, '}');
}

static void put_wrapped(struct buf *to, struct json_item *item)
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

void config_put_run_result(struct str config_record, struct str telemetry, struct buf *to)
{
    struct config c;
    config_init(&c, 0);
    size_t n_bad;
    config_apply(&c, config_record, &n_bad);
    AUTO_BUF internal = {0};
    put_internal(telemetry, &internal);
    AUTO_BUF path = {0};
    summary_path(&path, &STR("_wandb"), 1);
    config_set(&c, buf_str(&path), buf_str(&internal));
    AUTO_BUF json = {0};
    config_put_json(&c, &json);
    config_fini(&c);
    const char *at = json.data + 1, *end = json.data + json.len;
    struct json_item item;
    while (!json.failed && json_next_member(&at, end, &item) == 1)
        put_wrapped(to, &item);
}
