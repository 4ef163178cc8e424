/* SPDX-License-Identifier: MIT */
#include "server/artifact/manifest.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/number.h"
#include "base/path.h"

/* The text of a string literal `raw` (with its quotes) in the arena; null gives "". */
static int text_of(struct str raw, struct arena *a, struct str *to)
{
    if (str_eq(raw, STR("null"))) {
        *to = STR("");
        return 0;
    }
    if (raw.n < 2 || raw.p[0] != '"')
        return TARE_EFORMAT;
    struct str inside = str_make(raw.p + 1, raw.n - 2);
    if (!memchr(inside.p, '\\', inside.n)) {
        *to = inside;
        return 0;
    }
    AUTO_BUF b = {0};
    int rc = json_unescape(&b, inside);
    if (rc < 0)
        return rc;
    char *copy = arena_strndup(a, b.data ? b.data : "", b.len);
    if (!copy)
        return TARE_ENOMEM;
    *to = str_make(copy, b.len);
    return 0;
}

static int read_member(struct json_item item, struct arena *a, struct manifest_entry *entry)
{
    if (str_eqz(item.key, "digest"))
        return text_of(item.value, a, &entry->digest);
    if (str_eqz(item.key, "ref"))
        return text_of(item.value, a, &entry->ref);
    if (str_eqz(item.key, "birthArtifactID"))
        return text_of(item.value, a, &entry->birth_id);
    if (str_eqz(item.key, "extra")) {
        entry->extra = item.value.p[0] == '{' ? item.value : STR("");
        return 0;
    }
    if (str_eqz(item.key, "size") && !str_eq(item.value, STR("null"))) {
        size_t n = number_parse_i64(item.value.p, item.value.n, &entry->size_bytes);
        return n == item.value.n && entry->size_bytes >= 0 ? 0 : TARE_EFORMAT;
    }
    return 0;
}

static int read_entry(struct json_item item, struct arena *a, struct manifest_entry *entry,
                      struct err *e)
{
    *entry = (struct manifest_entry){.raw = item.value, .digest = STR(""), .ref = STR(""),
                                     .birth_id = STR(""), .extra = STR("")};
    struct str quoted = str_make(item.key.p - 1, item.key.n + 2);
    int rc = text_of(quoted, a, &entry->path);
    if (rc < 0 || !path_is_safe(entry->path))
        return err_set(e, rc < 0 ? rc : TARE_EFORMAT, "the manifest has an unusable path '%.*s'",
                       STR_ARG(item.key));
    if (item.value.p[0] != '{')
        return err_set(e, TARE_EFORMAT, "the manifest's entry for '%.*s' is no object",
                       STR_ARG(entry->path));
    const char *at = item.value.p + 1, *end = item.value.p + item.value.n;
    struct json_item member;
    while ((rc = json_next_member(&at, end, &member)) == 1)
        if ((rc = read_member(member, a, entry)) < 0)
            return err_set(e, rc, "the manifest's entry for '%.*s' has an unusable '%.*s'",
                           STR_ARG(entry->path), STR_ARG(member.key));
    if (rc < 0 || entry->digest.n == 0)
        return err_set(e, TARE_EFORMAT, "the manifest's entry for '%.*s' has no digest",
                       STR_ARG(entry->path));
    return 0;
}

static int walk_contents(struct str contents, struct arena *a, manifest_each_fn each, void *arg,
                         struct err *e)
{
    if (contents.p[0] != '{')
        return err_set(e, TARE_EFORMAT, "the manifest's contents are no object");
    const char *at = contents.p + 1, *end = contents.p + contents.n;
    struct json_item item;
    int rc;
    for (int n = 0; (rc = json_next_member(&at, end, &item)) == 1; n++) {
        struct manifest_entry entry;
        if (n >= MANIFEST_MAX_ENTRIES)
            return err_set(e, TARE_ELIMIT, "the manifest has more than %d entries",
                           MANIFEST_MAX_ENTRIES);
        rc = read_entry(item, a, &entry, e);
        if (rc == 0)
            rc = each(arg, &entry);
        if (rc != 0)
            return rc;
    }
    return rc < 0 ? err_set(e, rc, "the manifest's contents are not well-formed") : 0;
}

int manifest_walk(struct str text, struct arena *a, manifest_each_fn each, void *arg,
                  struct err *e)
{
    const char *p = text.n ? json_skip_space(text.p, text.p + text.n) : NULL;
    if (!p || !json_valid(text) || *p != '{')
        return err_set(e, TARE_EFORMAT, "the manifest is not a JSON object");
    const char *at = p + 1, *end = text.p + text.n;
    struct json_item item;
    struct str contents = {0};
    int64_t version = 0;
    int rc;
    while ((rc = json_next_member(&at, end, &item)) == 1) {
        if (str_eqz(item.key, "version"))
            number_parse_i64(item.value.p, item.value.n, &version);
        else if (str_eqz(item.key, "contents"))
            contents = item.value;
    }
    if (rc < 0)
        return err_set(e, rc, "the manifest is not well-formed");
    if (version != 1)
        return err_set(e, TARE_EUNSUPPORTED, "the manifest has version %lld; this server reads 1",
                       (long long)version);
    if (!contents.p)
        return err_set(e, TARE_EFORMAT, "the manifest has no contents");
    return walk_contents(contents, a, each, arg, e);
}
