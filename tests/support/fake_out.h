/* SPDX-License-Identifier: MIT */
/* A handler with a fake journal and fake clients: what it appends and answers is kept as text.
 *
 *   struct fake_out f;
 *   fake_start(&f);
 *   fake_log(&f, NO_STEP, NO_ACTION, "loss", "0.5", NULL);
 *   assert_string_equal(fake_record(&f, 0), "1 history 0: loss=0.5 _step=0");
 *   fake_stop(&f);
 *
 * In texts, _runtime is left out unless `show_runtime`. The clock stands unless a test moves it. */
#ifndef TARE_TESTS_FAKE_OUT_H
#define TARE_TESTS_FAKE_OUT_H

#include "base/buf.h"
#include "record/record.h"
#include "service/stream/handler.h"
#include "service/stream/stream_settings.h"

#include <stdbool.h>

enum { NO_STEP = -1, NO_ACTION = -1, FAKE_MAX = 512 };

struct fake_reply {
    struct reply_to to;
    bool is_error;
    enum reply_when when;
    struct buf bytes; /* of the Result, or the error's text */
};

struct fake_out {
    struct stream_settings settings;
    struct handler *h;
    int64_t now_ns;
    bool show_runtime;
    uint64_t next_connection_id; /* of the reply_to of what is asked next */
    struct buf records[FAKE_MAX]; /* bytes as appended */
    struct buf text[FAKE_MAX];    /* and as text */
    size_t n_records;
    struct fake_reply replies[FAKE_MAX];
    size_t n_replies;
    struct handler_job *jobs[16]; /* not run yet */
    size_t n_jobs;
    struct arena arena; /* of what the tests decode */
    struct buf scratch;
};

void fake_init(struct fake_out *f);  /* settings may be changed before ... */
void fake_open(struct fake_out *f);  /* ... the handler is made */
void fake_start(struct fake_out *f); /* both, and a run record and run_start, then forgets them */
void fake_stop(struct fake_out *f);
void fake_forget(struct fake_out *f); /* empties the lists */

/* Hand over a Record whose kind is field `number` with `body`; fake_ask wants an answer. */
void fake_send(struct fake_out *f, uint32_t number, struct str body);
void fake_ask(struct fake_out *f, uint32_t number, struct str body, const char *slot);
/* The same for a Request. */
void fake_request(struct fake_out *f, uint32_t number, struct str body);
/* Ask and return the only answer, decoded. */
Pb__Result *fake_answer(struct fake_out *f, uint32_t number, struct str body);
Pb__Result *fake_result(struct fake_out *f, const struct fake_reply *r);

/* A partial_history request of key, JSON, ..., NULL. Keys with '/' are nested. */
void fake_log(struct fake_out *f, int64_t step, int action, ...) __attribute__((sentinel));
/* A summary record: key, JSON, ..., NULL; a JSON of "-" removes. */
void fake_summary(struct fake_out *f, ...) __attribute__((sentinel));
/* define_metric in words: "loss summary=min,max step=epoch sync hidden goal=min overwrite none". */
void fake_define(struct fake_out *f, const char *words);

/* The text of the nth record; of all, one a line. */
const char *fake_record(struct fake_out *f, size_t n);
const char *fake_journal(struct fake_out *f);
/* What get_summary answers: "key=json key/sub=json", in order. */
const char *fake_get_summary(struct fake_out *f);

void fake_run_jobs(struct fake_out *f);

#endif
