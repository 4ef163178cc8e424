/* SPDX-License-Identifier: MIT */
#include "service/stream/stream_settings.h"

#include "base/alloc.h"
#include "record/setting_wire.h"
#include "record/wire.h"

#include <stdio.h>

/* Each setting is a message of the google.protobuf wrapper kind, with its value in field 1. */
enum { WRAPPED_VALUE = 1, SET_SERVER_SIDE_EXPAND_GLOBS = 190 };

static const struct row {
    uint32_t number; /* in wandb_internal.Settings */
    size_t at;       /* in struct stream_settings */
    bool is_text;
} rows[] = {
    {30, offsetof(struct stream_settings, offline), false},
    {85, offsetof(struct stream_settings, log_dir), true},
    {86, offsetof(struct stream_settings, log_file), true},
    {107, offsetof(struct stream_settings, run_id), true},
    {123, offsetof(struct stream_settings, silent), false},
    {133, offsetof(struct stream_settings, sync_dir), true},
    {134, offsetof(struct stream_settings, sync_file), true},
    {162, offsetof(struct stream_settings, shared), false},
    {182, offsetof(struct stream_settings, primary), false},
    {189, offsetof(struct stream_settings, server_side_summary), false},
    {191, offsetof(struct stream_settings, skip_journal), false},
};

enum { N_ROWS = sizeof rows / sizeof rows[0] };

static const struct row *find_row(uint32_t number)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (rows[i].number == number)
            return &rows[i];
    return NULL;
}

/* The value inside a wrapper; as proto3 has it, an empty one holds the type's zero. */
static int unwrap(struct str wrapper, struct wire_field *value)
{
    *value = (struct wire_field){0};
    struct wire_field f = {0};
    int rc;
    for (struct wire_reader r = wire_open(wrapper); (rc = wire_next(&r, &f)) > 0;)
        if (f.number == WRAPPED_VALUE)
            *value = f;
    return rc;
}

/* Note each known setting's value; `text` and `flag` are indexed as `rows`. */
static int scan(struct str settings, struct str text[N_ROWS], bool flag[N_ROWS])
{
    struct wire_field f = {0}, value;
    int rc;
    for (struct wire_reader r = wire_open(settings); (rc = wire_next(&r, &f)) > 0;) {
        const struct row *row = find_row(f.number);
        if (!row || f.type != WIRE_BYTES)
            continue;
        if (unwrap(f.bytes, &value) < 0)
            return TARE_EFORMAT;
        if (row->is_text)
            text[row - rows] = value.bytes;
        else
            flag[row - rows] = value.value != 0;
    }
    return rc < 0 ? TARE_EFORMAT : 0;
}

static char *put_text(char *at, struct str s, const char **field)
{
    *field = at;
    if (s.n)
        memcpy(at, s.p, s.n);
    at[s.n] = '\0';
    return at + s.n + 1;
}

static int check(const struct stream_settings *s, struct err *e)
{
    if (!*s->run_id)
        return err_set(e, TARE_EINVAL, "the settings name no run_id");
    if (!*s->sync_file && !s->skip_journal)
        return err_set(e, TARE_EINVAL, "the settings name no sync_file");
    return 0;
}

int stream_settings_init(struct stream_settings *to, struct str settings, struct err *e)
{
    struct str text[N_ROWS] = {{0}};
    bool flag[N_ROWS] = {false};
    if (scan(settings, text, flag))
        return err_set(e, TARE_EFORMAT, "the settings are malformed");
    size_t size = sizeof "/files" + 1 + settings.n;
    for (size_t i = 0; i < N_ROWS; i++)
        size += text[i].n + 1 + (rows[i].number == 133 ? text[i].n : 0);
    struct stream_settings s = {.block = mem_alloc(size)};
    if (!s.block)
        return err_set(e, TARE_ENOMEM, "out of memory for the settings");
    char *at = s.block;
    for (size_t i = 0; i < N_ROWS; i++) {
        char *field = (char *)&s + rows[i].at;
        if (rows[i].is_text)
            at = put_text(at, text[i], (const char **)(void *)field);
        else
            *(bool *)(void *)field = flag[i];
    }
    s.files_dir = at;
    at += 1 + sprintf(at, "%s%s", s.sync_dir, *s.sync_dir ? "/files" : "");
    if (settings.n)
        memcpy(at, settings.p, settings.n);
    s.raw = (struct str){at, settings.n};
    s.asks_to_expand = setting_wire_has(s.raw, SET_SERVER_SIDE_EXPAND_GLOBS);
    int rc = check(&s, e);
    if (rc) {
        mem_free(s.block);
        return rc;
    }
    *to = s;
    return 0;
}

void stream_settings_fini(struct stream_settings *s)
{
    mem_free(s->block);
    *s = (struct stream_settings){0};
}
