/* SPDX-License-Identifier: MIT */
#include "tests/support/watch_test.h"

#include "record/wire.h"
#include "service/watch/sysmon.h"
#include "service/watch/sysmon_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { SET_PID = 42 };

bool in_child(void (*check)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        check();
        _exit(0);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

void put_int_setting(struct buf *settings, uint32_t number, uint64_t v)
{
    size_t mark = wire_buf_begin(settings, number);
    wire_buf_varint(settings, 1, v);
    wire_buf_end(settings, mark);
}

struct sysmon *watch_self(struct buf *settings)
{
    put_int_setting(settings, SET_PID, (uint64_t)getpid());
    return sysmon_new(buf_str(settings));
}

const char *value_of(const struct buf *record, const char *key)
{
    static char text[64];
    struct wire_reader r = wire_open(buf_str(record));
    struct wire_field f = {0};
    text[0] = 0;
    while (wire_next(&r, &f) > 0)
        if (f.number == 3 && str_eqz(wire_find_bytes(f.bytes, 1), key)) {
            struct str v = wire_find_bytes(f.bytes, 16);
            snprintf(text, sizeof text, "%.*s", (int)v.n, v.p);
        }
    return text;
}

bool has(const struct buf *record, const char *key, const char *json)
{
    const char *v = value_of(record, key);
    if (strcmp(v, json) != 0)
        fprintf(stderr, "%s is '%s', not '%s'\n", key, v, json);
    return strcmp(v, json) == 0;
}

void sample_until(struct sysmon *s, const char *key, struct buf *record)
{
    for (int i = 0; i < 4000 && !*value_of(record, key); i++) {
        if (i > 0)
            usleep(5000);
        buf_clear(record);
        sysmon_sample(s, 1, STR(""), record);
    }
}

/* ---- a tree of files ---- */

char tree_root[] = "/tmp/tare_watch_XXXXXX";

void tree_make(void)
{
    strcpy(tree_root + strlen(tree_root) - 6, "XXXXXX");
    CHECK(mkdtemp(tree_root));
    sysmon_set_root(tree_root);
}

/* Where a file is to be; the folders it is in are made. Static storage. */
static const char *place(const char *path)
{
    static char full[512];
    CHECK(snprintf(full, sizeof full, "%s%s", tree_root, path) < (int)sizeof full);
    for (char *at = full + strlen(tree_root) + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        CHECK(mkdir(full, 0700) == 0 || errno == EEXIST);
        *at = '/';
    }
    return full;
}

void tree_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(place(path), "w");
    CHECK(f && (n == 0 || fwrite(bytes, n, 1, f) == 1));
    CHECK(fclose(f) == 0);
}

void tree_file(const char *path, const char *text)
{
    tree_bytes(path, text, strlen(text));
}

void tree_link(const char *path, const char *target)
{
    CHECK(symlink(target, place(path)) == 0);
}

void tree_spoil(const char *path)
{
    const char *full = place(path);
    CHECK(unlink(full) == 0 && mkdir(full, 0700) == 0);
}

void tree_remove(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", tree_root);
    CHECK(system(command) == 0);
}
