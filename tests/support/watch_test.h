/* SPDX-License-Identifier: MIT */
/* What tests of system metrics share: a process of its own for each test (what is known of devices is
 * kept for the life of a process), samples and what is in them, and a recorded tree of /proc and /sys. */
#ifndef TARE_TESTS_WATCH_TEST_H
#define TARE_TESTS_WATCH_TEST_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

/* For the child, and for what both may call: cmocka's asserts are for the parent. */
#define CHECK(x)                                                                                      \
    do {                                                                                              \
        if (!(x)) {                                                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                   \
            _exit(1);                                                                                 \
        }                                                                                             \
    } while (0)

/* Run `check` in a child, whatever hangs there then; false if it fails. */
bool in_child(void (*check)(void));

/* ---- samples ---- */

struct sysmon;

void put_int_setting(struct buf *settings, uint32_t number, uint64_t v);
/* A sampler of this process; `settings` is to outlive it. */
struct sysmon *watch_self(struct buf *settings);

/* The JSON of `key` in a StatsRecord; "" if it is not there. Static storage. */
const char *value_of(const struct buf *record, const char *key);
/* Whether it is just that; says so if not. */
bool has(const struct buf *record, const char *key, const char *json);
/* Sample until `key` is told, however slow the machine, or for about 5 s. */
void sample_until(struct sysmon *s, const char *key, struct buf *record);

/* ---- a tree of files ---- */

extern char tree_root[]; /* "/tmp/tare_watch_..." */

void tree_make(void); /* empty, and the root that sysmon_file.h reads below */
void tree_file(const char *path, const char *text);
void tree_bytes(const char *path, const void *bytes, size_t n);
void tree_link(const char *path, const char *target);
/* A file that cannot be read: a folder of its name. */
void tree_spoil(const char *path);
void tree_remove(void);

#endif
