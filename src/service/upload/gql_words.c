/* SPDX-License-Identifier: MIT */
#include "service/upload/gql_words.h"

#include "base/json.h"
#include "service/upload/graphql.h"
#include "service/upload/json_path.h"

/* The first element of an array member, and the rest through *at. */
static bool first_of(struct str json, const char *path, const char **at, const char **end)
{
    struct str array = json_at(json, path);
    if (array.n < 2)
        return false;
    *end = array.p + array.n;
    *at = json_skip_space(array.p, *end);
    return *at < *end && *(*at)++ == '[';
}

static bool next(const char **at, const char *end, struct str *value)
{
    struct json_item item;
    if (json_next_element(at, end, &item) != 1)
        return false;
    *value = item.value;
    return true;
}

bool gql_has_errors(struct str answer)
{
    const char *at, *end;
    struct str error;
    return first_of(answer, "errors", &at, &end) && next(&at, end, &error);
}

static void put_text(struct buf *to, struct str json)
{
    if (json.n >= 2 && json.p[0] == '"')
        json_unescape(to, str_make(json.p + 1, json.n - 2));
}

/* Backends give objects with a message; some plain strings. */
static void put_message(struct buf *to, struct str error)
{
    put_text(to, error.n && error.p[0] == '"' ? error : json_at(error, "message"));
}

void gql_put_messages(struct buf *to, struct str answer)
{
    const char *at, *end;
    struct str error, second;
    if (!json_valid(answer)) {
        buf_put_str(to, answer);
        return;
    }
    if (!first_of(answer, "errors", &at, &end) || !next(&at, end, &error))
        return;
    if (!next(&at, end, &second)) {
        put_message(to, error);
        return;
    }
    buf_putc(to, '[');
    put_message(to, error);
    do {
        buf_puts(to, "; ");
        put_message(to, second);
    } while (next(&at, end, &second));
    buf_putc(to, ']');
}

/* ["run", 0, "id"] as "run[0].id" */
static void put_path(struct buf *to, struct str error)
{
    const char *at, *end;
    struct str part;
    size_t before = to->len;
    if (!first_of(error, "path", &at, &end))
        return;
    while (next(&at, end, &part)) {
        if (part.n && part.p[0] == '"') {
            if (to->len > before)
                buf_putc(to, '.');
            put_text(to, part);
        } else {
            buf_printf(to, "[%.*s]", STR_ARG(part));
        }
    }
    if (to->len > before)
        buf_putc(to, ' ');
}

void gql_put_list(struct buf *to, struct str answer)
{
    const char *at, *end;
    struct str error;
    if (!first_of(answer, "errors", &at, &end))
        return;
    while (next(&at, end, &error)) {
        struct str line = json_at(error, "locations.0.line"), column = json_at(error, "locations.0.column");
        struct str file = json_at(error, "extensions.file");
        if (file.n > 2)
            put_text(to, file);
        else
            buf_puts(to, "input");
        if (line.n)
            buf_printf(to, ":%.*s:%.*s", STR_ARG(line), STR_ARG(column));
        buf_puts(to, ": ");
        put_path(to, error);
        put_message(to, error);
        buf_putc(to, '\n');
    }
}

/* JSON without the spaces between its parts. */
static void put_compact(struct buf *to, struct str json)
{
    bool in_string = false;
    for (size_t i = 0; i < json.n; i++) {
        char c = json.p[i];
        if (c == '"')
            in_string = !in_string;
        if (in_string || !strchr(" \t\r\n", c))
            buf_putc(to, c);
        if (in_string && c == '\\' && i + 1 < json.n)
            buf_putc(to, json.p[++i]);
    }
}

void gql_put_http_error(struct buf *to, int status, struct str answer)
{
    struct str data = json_at(answer, "data"), extensions = json_at(answer, "extensions");
    struct str errors = gql_has_errors(answer) ? json_at(answer, "errors") : (struct str){0};
    buf_printf(to, "returned error %d: {\"data\":%.*s", status, STR_ARG(data.n ? data : STR("null")));
    if (extensions.n)
        buf_printf(to, ",\"extensions\":%.*s", STR_ARG(extensions));
    if (errors.n) {
        buf_puts(to, ",\"errors\":");
        put_compact(to, errors);
    }
    buf_putc(to, '}');
}

int gql_put_failure(struct buf *to, const struct graphql_call *c)
{
    struct str body = buf_str(&c->answer);
    if (c->status == 200 && c->error == TARE_EPROTO) {
        gql_put_list(to, body);
        return 0;
    }
    if (c->status == 0 || c->status == 200) {
        buf_puts(to, c->why[0] ? c->why : err_text(c->error));
        return 0;
    }
    gql_put_messages(to, body);
    if (to->len == 0)
        gql_put_http_error(to, c->status, body);
    return c->status;
}
