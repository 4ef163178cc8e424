/* SPDX-License-Identifier: MIT */
#include "service/upload/json_path.h"

#include "base/alloc.h"
#include "base/json.h"

/* The member `name` of an object, or the element of that number of an array. */
static struct str step(struct str json, struct str name)
{
    const char *end = json.p + json.n, *at = json.n ? json_skip_space(json.p, end) : end;
    struct json_item item;
    size_t wanted = 0;
    if (at == end || (*at != '{' && *at != '['))
        return (struct str){0};
    bool is_object = *at++ == '{';
    for (size_t i = 0; !is_object && i < name.n; i++) {
        if (name.p[i] < '0' || name.p[i] > '9' || wanted > UINT32_MAX)
            return (struct str){0};
        wanted = wanted * 10 + (size_t)(name.p[i] - '0');
    }
    for (size_t i = 0; (is_object ? json_next_member(&at, end, &item) : json_next_element(&at, end, &item)) == 1; i++)
        if (is_object ? str_eq(item.key, name) : i == wanted)
            return item.value;
    return (struct str){0};
}

struct str json_at(struct str json, const char *path)
{
    while (*path && json.n > 0) {
        size_t n = strcspn(path, ".");
        json = step(json, str_make(path, n));
        path += n + (path[n] == '.');
    }
    return str_eqz(json, "null") ? (struct str){0} : json;
}

char *json_string_at(struct str json, const char *path)
{
    struct str value = json_at(json, path);
    AUTO_BUF text = {0};
    if (value.n < 2 || value.p[0] != '"' || json_unescape(&text, str_make(value.p + 1, value.n - 2)))
        return NULL;
    return mem_strndup(text.len ? text.data : "", text.len);
}
