/* SPDX-License-Identifier: MIT */
/* What a sender makes of records, which may come from a journal that anyone wrote, and of a
 * backend's answers. The first byte says which; what must hold: no crash, and what goes to the
 * backend is valid JSON on one line. */
#include "base/json.h"
#include "base/utf8.h"
#include "record/check.h"
#include "record/config.h"
#include "record/history_line.h"
#include "record/metric.h"
#include "record/record.h"
#include "record/wire.h"
#include "record/yaml.h"
#include "service/stream/sender_run.h"

#include <stdlib.h>

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void must_be_json(const struct buf *b)
{
    must(!b->failed && json_valid(buf_str(b)) && utf8_valid(b->data, b->len));
}

static void history(struct str record)
{
    struct history_line h, quoted;
    history_line_init(&h, 3, 1);
    history_line_init(&quoted, 3, 1);
    for (int i = 0; i < 2; i++) {
        AUTO_BUF line = {0}, in_quotes = {0}, expected = {0};
        int64_t step, least = h.next_step, step_too;
        uint32_t n_bad, n_bad_too;
        size_t n;
        int rc = history_line_put(&h, record, &line, &step, &n_bad);
        must(history_line_put_quoted(&quoted, record, &in_quotes, &n, &step_too, &n_bad_too) == rc);
        if (rc) {
            must(line.len == 0 && h.next_step == least);
            break;
        }
        must_be_json(&line);
        json_put_string(&expected, buf_str(&line));
        must(str_eq(buf_str(&in_quotes), buf_str(&expected)) && n == line.len);
        must(step == step_too && n_bad == n_bad_too);
        must(step >= least && !memchr(line.data, '\n', line.len) && !memchr(line.data, '\r', line.len));
    }
    history_line_fini(&h);
    history_line_fini(&quoted);
}

static void put_all(const struct run_params *p, const struct config *c, struct str record)
{
    AUTO_BUF upsert = {0}, variables = {0}, rewind = {0}, run = {0}, yaml = {0}, wrapped = {0};
    struct run_branch b = run_branch_of(record);
    run_put_upsert(p, true, c, &upsert);
    must_be_json(&upsert);
    run_put_resume_variables(p, &variables);
    must_be_json(&variables);
    run_put_rewind_variables(p, &b, &rewind);
    must_be_json(&rewind);
    run_put_record(p, c, record, &run);
    must(record_check(&pb__run_record__descriptor, buf_str(&run)));
    config_put_wrapped(c, &wrapped);
    must_be_json(&wrapped);
    must(yaml_put_json(buf_str(&wrapped), &yaml) == 0);
}

static void run(struct str record)
{
    struct run_params p = {0};
    struct config c;
    struct run_error e;
    size_t n_bad;
    if (!record_check(&pb__run_record__descriptor, record))
        return;
    config_init(&c, 1);
    run_update(&p, record, STR(""));
    run_update(&p, record, STR(""));
    config_apply(&c, wire_find_bytes(record, 4), &n_bad);
    config_set_internal(&c, wire_find_bytes(record, 19), STR("[]"), STR(""));
    struct run_branch b = run_branch_of(record);
    run_fork(&p, &b, &e);
    put_all(&p, &c, record);
    config_fini(&c);
    run_params_fini(&p);
}

/* Answers were found to be JSON in UTF-8 before they come here. */
static void answer(struct str data, bool rewind)
{
    struct run_params p = {0};
    struct config c;
    struct run_error e;
    if (!json_valid(data) || !utf8_valid(data.p, data.n))
        return;
    config_init(&c, 1);
    if (rewind)
        run_take_rewind(&p, &c, data, &e);
    else
        run_take_resume(&p, &c, data, STR("allow"), &e);
    run_take_upsert(&p, data);
    put_all(&p, &c, STR(""));
    config_fini(&c);
    run_params_fini(&p);
}

static void metric(struct str record)
{
    struct metrics m;
    struct summary s;
    metrics_init(&m, 1);
    summary_init(&s, 1);
    struct wire_reader r = wire_open(record);
    for (struct wire_field f; wire_next(&r, &f) == 1;)
        if (f.type == WIRE_BYTES && record_check(&pb__metric_record__descriptor, f.bytes))
            metrics_apply(&m, &s, f.bytes);
    AUTO_BUF json = {0};
    metrics_put_config(&m, record.n & 1, &json);
    must_be_json(&json);
    summary_fini(&s);
    metrics_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n == 0)
        return 0;
    struct str rest = str_make(bytes + 1, n - 1);
    switch (bytes[0] % 5) {
    case 0: history(rest); break;
    case 1: run(rest); break;
    case 2: answer(rest, false); break;
    case 3: answer(rest, true); break;
    case 4: metric(rest); break;
    }
    return 0;
}
