/* SPDX-License-Identifier: MIT */
/* `tare verify`: reads journals from end to end and says what in them is not whole. */
#include "base/json.h"
#include "cli/cli.h"
#include "cli/runs.h"
#include "cli/term.h"
#include "cli/writers.h"
#include "journal/encoder.h"
#include "journal/reader.h"
#include "journal/writer.h"
#include "record/names.h"
#include "record/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { N_KINDS = 128, GAPS_SHOWN = 50 };

struct rescue;

struct report {
    const char *path;
    struct rescue *rescue; /* NULL: only look */
    bool json;
    struct journal_reader reader;
    struct buf gaps;          /* as lines, or as JSON */
    uint64_t n_kind[N_KINDS]; /* by field number in Record */
    uint64_t n_malformed;     /* whole for the journal, but no Record */
    bool being_written, cut;  /* cut: the last gap reaches the end */
};

/* The kind of a record; 0 if its bytes are no Record. */
static uint32_t kind_of(struct str record)
{
    struct wire_reader r = wire_open(record);
    struct wire_field f;
    uint32_t kind = 0;
    int rc;
    while ((rc = wire_next(&r, &f)) == 1) {
        bool other = f.number == 1 || f.number == 16 || f.number == 19 || f.number == 200;
        if (!other && f.type == WIRE_BYTES && f.number < N_KINDS)
            kind = f.number;
    }
    return rc < 0 ? 0 : kind;
}

static void note_gap(struct report *v, const struct journal_gap *gap)
{
    if (v->json) {
        buf_printf(&v->gaps, "%s{\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"reason\":",
                   v->gaps.len ? "," : "", gap->offset, gap->bytes);
        json_put_string(&v->gaps, str_of(gap->reason));
        buf_putc(&v->gaps, '}');
    } else if (v->reader.n_gaps <= GAPS_SHOWN) {
        buf_printf(&v->gaps, "  at %" PRIu64 ": %" PRIu64 " bytes skipped: %s\n", gap->offset,
                   gap->bytes, gap->reason);
    }
}

/* Where --rescue puts the whole records. */
struct rescue {
    struct journal_writer writer;
    struct journal_encoder encoder;
    struct buf waiting;
    int error;
};

enum { RESCUE_BYTES = 1 << 20 };

static void rescue_flush(struct rescue *to)
{
    size_t kept;
    if (to->error == 0 && to->waiting.len)
        to->error = journal_writer_append(&to->writer, to->waiting.data, to->waiting.len, &kept);
    buf_clear(&to->waiting);
}

static void rescue_record(struct rescue *to, struct str record)
{
    if (to->error == 0)
        to->error = journal_encode(&to->encoder, &to->waiting, record.p, record.n);
    if (to->waiting.len >= RESCUE_BYTES)
        rescue_flush(to);
}

static int read_all(struct report *v)
{
    struct journal_item item;
    int rc;
    while ((rc = journal_reader_next(&v->reader, &item)) != JOURNAL_END) {
        if (rc < 0)
            return rc;
        v->cut = rc == JOURNAL_GAP;
        if (rc == JOURNAL_GAP) {
            note_gap(v, &item.gap);
            continue;
        }
        uint32_t kind = kind_of(item.bytes);
        v->n_kind[kind]++;
        v->n_malformed += kind == 0;
        if (v->rescue && kind)
            rescue_record(v->rescue, item.bytes);
    }
    return 0;
}

static bool is_clean(const struct report *v)
{
    return v->reader.n_gaps == 0 && v->n_malformed == 0 && v->reader.version >= 0;
}

static void print_json(const struct report *v)
{
    AUTO_BUF out = {0};
    const struct journal_reader *r = &v->reader;
    buf_puts(&out, "{\"file\":");
    json_put_string(&out, str_of(v->path));
    buf_printf(&out,
               ",\"clean\":%s,\"being_written\":%s,\"records\":%" PRIu64
               ",\"record_bytes\":%" PRIu64 ",\"malformed_records\":%" PRIu64
               ",\"skipped_bytes\":%" PRIu64 ",\"gaps\":[",
               is_clean(v) ? "true" : "false", v->being_written ? "true" : "false", r->n_records,
               r->record_bytes, v->n_malformed, r->gap_bytes);
    buf_put_str(&out, buf_str(&v->gaps));
    buf_puts(&out, "],\"kinds\":{");
    const char *comma = "";
    for (int i = 1; i < N_KINDS; i++) {
        if (!v->n_kind[i])
            continue;
        buf_printf(&out, "%s\"%s\":%" PRIu64, comma, record_kind_name(i), v->n_kind[i]);
        comma = ",";
    }
    buf_puts(&out, "}}\n");
    term_flush(&out);
}

static void print_text(const struct term *t, const struct report *v)
{
    AUTO_BUF out = {0};
    const struct journal_reader *r = &v->reader;
    term_text(t, &out, str_of(v->path), t->width * 8);
    if (r->n_records == 0 && r->version < 0) {
        buf_puts(&out, ": not a .wandb file\n");
        term_flush(&out);
        return;
    }
    buf_puts(&out, ": ");
    term_style(t, &out, is_clean(v) ? TERM_GREEN : TERM_RED);
    buf_puts(&out, is_clean(v) ? "clean" : "damaged");
    term_plain(t, &out);
    buf_printf(&out, ", %" PRIu64 " whole record%s", r->n_records, r->n_records == 1 ? "" : "s");
    if (v->being_written)
        buf_puts(&out, ", still being written");
    else if (!v->n_kind[18])
        buf_puts(&out, ", no exit record: the run did not end in order");
    if (r->n_gaps)
        buf_printf(&out, "; %" PRIu64 " gap%s, %" PRIu64 " bytes skipped", r->n_gaps,
                   r->n_gaps == 1 ? "" : "s", r->gap_bytes);
    if (v->n_malformed)
        buf_printf(&out, "; %" PRIu64 " records cannot be decoded", v->n_malformed);
    buf_putc(&out, '\n');
    buf_put_str(&out, buf_str(&v->gaps));
    if (r->n_gaps > GAPS_SHOWN)
        buf_printf(&out, "  and %" PRIu64 " more (--json lists all)\n", r->n_gaps - GAPS_SHOWN);
    if (r->n_gaps == 1 && v->cut)
        buf_puts(&out, "  the file ends inside a record, as when the service was killed; "
                       "everything before it is whole\n");
    term_flush(&out);
}

static int read_journal(struct report *v, struct err *e)
{
    int rc = journal_reader_open(&v->reader, v->path, e);
    if (rc < 0)
        return rc;
    v->being_written = v->reader.live = writers_hold(v->path);
    rc = read_all(v);
    if (rc < 0)
        err_set(e, rc, "reading %s: %s", v->path, err_text(rc));
    journal_reader_close(&v->reader);
    return rc;
}

static int verify_one(const struct term *t, const char *name, bool json, struct rescue *rescue)
{
    struct report v = {.json = json, .rescue = rescue};
    struct run_place place;
    struct err e = {0};
    if (run_find(&place, name, NULL, &e) < 0)
        return cli_fail("verify", "%s", e.text);
    v.path = place.journal;
    int rc = read_journal(&v, &e);
    if (rc < 0) {
        rc = cli_fail("verify", "%s", e.text);
    } else {
        json ? print_json(&v) : print_text(t, &v);
        rc = is_clean(&v) ? CLI_OK : CLI_FAILED;
    }
    buf_fini(&v.gaps);
    run_place_fini(&place);
    return rc;
}

/* Copy the whole records of one journal into a new one. */
static int rescue_one(const struct term *t, const char *name, bool json, const char *path)
{
    struct rescue to = {0};
    struct err e = {0};
    if (journal_writer_create(&to.writer, path, &e) < 0)
        return cli_fail("verify", "%s", e.text);
    journal_encoder_init(&to.encoder, to.writer.size);
    verify_one(t, name, json, &to);
    rescue_flush(&to);
    bool any = to.writer.size > JOURNAL_HEADER_BYTES;
    int rc = journal_writer_close(&to.writer);
    rc = to.error ? to.error : rc;
    buf_fini(&to.waiting);
    if (rc == 0 && any)
        return CLI_OK;
    unlink(path);
    return rc ? cli_fail("verify", "writing %s: %s", path, err_text(rc))
              : cli_fail("verify", "there is nothing to rescue");
}

static int verb_verify(int argc, char **argv)
{
    bool json = false;
    const char *rescue = NULL;
    const struct cli_option options[] = {{"json", 0, &json, NULL}, {"rescue", 0, NULL, &rescue}};
    int exit_code;
    int n = cli_options(argc, argv, options, 2, false, &exit_code);
    if (n < 0)
        return exit_code;
    if (n == 0)
        return cli_misuse("verify", "name at least one .wandb file or run");
    if (rescue && n > 1)
        return cli_misuse("verify", "--rescue takes one file at a time");
    struct term t;
    term_init(&t);
    int worst = CLI_OK;
    if (rescue)
        worst = rescue_one(&t, argv[1], json, rescue);
    for (int i = 1; i <= n && !rescue; i++) {
        int rc = verify_one(&t, argv[i], json, NULL);
        worst = rc > worst ? rc : worst;
    }
    return cli_flush("verify", worst);
}

const struct cli_verb cli_verify = {
    "verify",
    "check .wandb files from end to end",
    verb_verify,
    "usage: tare verify [--json] FILE...\n"
    "       tare verify --rescue NEW FILE\n"
    "\n"
    "Read each file (or the journal of each run: a folder, an id, `latest`) from end to end and\n"
    "say whether every record in it is whole. What is not is listed: offset, bytes skipped,\n"
    "reason. Every other record can still be shown and exported. The files are not changed.\n"
    "\n"
    "  --json         one JSON object a file, with counts of records by kind and all gaps\n"
    "  --rescue NEW   write all whole records to the new file NEW, which is clean then: for\n"
    "                 programs that stop at the first damage, as the wandb package does\n"
    "\n"
    "Exit code: 0 all clean, or rescued; 1 something is damaged or could not be read or written;\n"
    "2 wrong use.\n",
};
