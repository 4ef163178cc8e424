/* SPDX-License-Identifier: MIT */
/* Where the client's own file begins.
 *
 * A file the service began is gone on with only if the service is surely dead, and under a lock on
 * the file, since another process that logs to the same run may have the same idea. */
#include "client/local_inside.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/os.h"
#include "base/path.h"
#include "client/backend.h"
#include "client/message.h"
#include "journal/reader.h"
#include "record/wire.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>

enum { SEEN_MAX = 1 << 18 };

static void note_history(struct local *l, struct str history)
{
    struct wire_reader r = wire_open(history);
    struct wire_field f = {0};
    while (wire_next(&r, &f) > 0) {
        if (f.number != HISTORY_ITEM || f.type != WIRE_BYTES)
            continue;
        struct str key = message_get(f.bytes, ITEM_KEY);
        struct str json = message_get(f.bytes, ITEM_JSON);
        if (!key.n)
            key = message_get(f.bytes, ITEM_NESTED_KEY);
        if (str_eqz(key, "_timestamp"))
            l->seen[l->n_seen++ % SEEN_MAX] = local_number(json);
        else if (str_eqz(key, "_step") && (int64_t)local_number(json) >= l->step)
            l->step = (int64_t)local_number(json) + 1;
    }
}

static void note_record(struct local *l, struct str record)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f = {0};
    while (wire_next(&r, &f) > 0) {
        if (f.number == RECORD_NUM && f.type == WIRE_VARINT && (int64_t)f.value > l->num)
            l->num = (int64_t)f.value;
        l->has_header |= f.number == RECORD_HEADER;
        l->has_run |= f.number == RECORD_RUN;
        l->has_exit |= f.number == RECORD_EXIT;
        if (f.number == RECORD_HISTORY && f.type == WIRE_BYTES)
            note_history(l, f.bytes);
    }
}

/* Read what the service wrote; with `copy` its records are put into the new file as well. Where
 * the last whole record ends is left in *end. */
static int scan(struct local *l, const char *path, bool copy, uint64_t *end)
{
    struct journal_reader r;
    struct journal_item item;
    int rc = journal_reader_open(&r, path, NULL);
    if (rc)
        return rc;
    *end = JOURNAL_HEADER_BYTES;
    while ((rc = journal_reader_next(&r, &item)) > 0) {
        if (rc != JOURNAL_RECORD)
            continue;
        note_record(l, item.bytes);
        *end = journal_reader_offset(&r);
        if (copy && journal_encode(&l->encoder, &l->out, item.bytes.p, item.bytes.n) != 0)
            rc = TARE_ENOMEM;
        if (rc > 0 && l->out.len > 1 << 20)
            local_write_out(l);
        if (rc < 0)
            break;
    }
    if (rc == 0 && r.version < 0)
        *end = 0; /* not even a header */
    journal_reader_close(&r);
    l->n_seen = l->n_seen < SEEN_MAX ? l->n_seen : SEEN_MAX;
    qsort(l->seen, l->n_seen, sizeof *l->seen, local_compare);
    return rc;
}

static int create(struct local *l, struct err *e)
{
    int rc = journal_writer_create(&l->file, l->path, e);
    journal_encoder_init(&l->encoder, JOURNAL_HEADER_BYTES);
    return rc;
}

/* Go on behind the last whole record. TARE_ECONFLICT if another process does that. */
static int go_on(struct local *l, struct err *e)
{
    uint64_t end;
    int fd = os->open(l->path, O_RDWR, 0);
    if (fd < 0)
        return err_set(e, fd, "opening %.300s: %s", l->path, err_text(fd));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        os->close(fd);
        return err_set(e, TARE_ECONFLICT, "another process goes on with %.300s", l->path);
    }
    int rc = scan(l, l->path, false, &end);
    if (rc == 0 && end)
        rc = os->ftruncate(fd, (off_t)end);
    if (rc || !end) {
        os->close(fd);
        return err_set(e, rc ? rc : TARE_EFORMAT, "%.300s cannot be gone on with", l->path);
    }
    l->file = (struct journal_writer){.fd = fd, .size = end};
    journal_encoder_init(&l->encoder, end);
    return 0;
}

/* A file in a folder of its own, with a copy of what `from` holds. */
static int start_copy(struct local *l, const char *from, struct err *e)
{
    char timespec[16], name[160];
    char *folder = NULL;
    struct str parent = path_dir(str_of(l->run->dir));
    AUTO_FREE char *wandb_dir = mem_strndup(parent.p, parent.n);
    int rc = wandb_dir ? backend_make_folder(wandb_dir, false, l->run->id, l->run->start_ns,
                                             &folder, timespec, e)
                       : err_set(e, TARE_ENOMEM, "out of memory");
    if (rc == 0) {
        snprintf(name, sizeof name, "run-%s.wandb", l->run->id);
        mem_free(l->path);
        l->path = path_join(folder, name);
        rc = l->path ? create(l, e) : err_set(e, TARE_ENOMEM, "out of memory");
    }
    mem_free(folder);
    uint64_t end;
    l->num = l->step = 0;
    l->n_seen = 0;
    l->has_header = l->has_run = l->has_exit = false;
    if (rc == 0)
        scan(l, from, true, &end);
    return rc;
}

static int begin(struct local *l, bool service_is_dead, struct err *e)
{
    struct stat st;
    if (stat(l->path, &st) != 0)
        return create(l, e);
    AUTO_FREE char *from = mem_strndup(l->path, strlen(l->path));
    if (!from)
        return err_set(e, TARE_ENOMEM, "out of memory");
    if (service_is_dead && go_on(l, e) == 0)
        return 0;
    return start_copy(l, from, e);
}

int local_open(struct tare_run *run, bool service_is_dead, struct err *e)
{
    char name[160];
    struct local *l = mem_calloc(1, sizeof *l);
    if (!l)
        return err_set(e, TARE_ENOMEM, "out of memory");
    l->run = run;
    l->file.fd = -1;
    l->summary_ns = clock_mono_ns();
    l->seen = mem_alloc(SEEN_MAX * sizeof *l->seen);
    snprintf(name, sizeof name, "run-%s.wandb", run->id);
    l->path = path_join(run->dir, name);
    int rc = l->seen && l->path ? begin(l, service_is_dead, e)
                                : err_set(e, TARE_ENOMEM, "out of memory");
    if (rc) {
        local_close(l);
        return rc;
    }
    run->local = l;
    return 0;
}
