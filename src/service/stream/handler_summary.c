/* SPDX-License-Identifier: MIT */
/* The summary, and the metric definitions that shape it.
 *
 * In memory it is always up to date: get_summary is answered from there. In the journal it follows
 * the history: what changed is written HANDLER_SUMMARY_NS after the first change, and at the end.
 * The peer writes all of it after every step, and its sync takes the summary from these records
 * alone; ours carry a mark (SUMMARY_DERIVED_UUID), so that our own replay, which derives the
 * summary from the history exactly, can tell them from what a user set.
 *
 * An explicit summary record is kept as it came. Values that were derived before it and are not
 * written yet need not go first: what is written later is the state after both. Only where a value
 * takes the place of one above or below it (or a null hides it, or a definition changes what is
 * shown) must what changed be written first, as readers keep what nothing tells them to drop. */
#include "service/stream/handler_impl.h"

#include "base/diag.h"
#include "base/err.h"
#include "record/wire.h"
#include "service/stream/stream_settings.h"

enum { RECORD_SUMMARY = 3, SUMMARY_UPDATE = 1 };

void handler_summary_changed(struct handler *h, int64_t now_ns)
{
    int64_t wait_ns = !h->online            ? HANDLER_SUMMARY_NS
                      : !h->summary_written ? 0
                                            : HANDLER_SUMMARY_ONLINE_NS;
    if (h->summary_due_ns == INT64_MAX)
        h->summary_due_ns = now_ns + wait_ns;
}

void handler_write_summary(struct handler *h)
{
    h->summary_due_ns = INT64_MAX;
    h->summary_written = true;
    handler_record_begin(h);
    size_t mark = wire_buf_begin(&h->bytes, RECORD_SUMMARY);
    size_t n = summary_put_items(&h->summary, &h->bytes, SUMMARY_UPDATE, true);
    wire_buf_end(&h->bytes, mark);
    wire_buf_bytes(&h->bytes, RECORD_UUID, STR(SUMMARY_DERIVED_UUID));
    if (n)
        handler_record_end(h);
}

/* The run's length in whole seconds: `_runtime` (a row that follows sets it again, with its
 * fraction) and `_wandb.runtime`. */
void handler_summary_runtime(struct handler *h, int64_t now_ns)
{
    int64_t s = handler_runtime_ns(h, now_ns) / 1000000000;
    char text[NUMBER_MAX];
    struct str value = str_make(text, number_format_i64(text, s));
    summary_set(&h->summary, h->runtime_slot, value);
    if (h->summary_runtime_s == s && h->summary.slots[h->wandb_runtime_slot].has_data)
        return;
    h->summary_runtime_s = s;
    summary_set(&h->summary, h->wandb_runtime_slot, value);
}

void rule_summary(struct handler *h, const struct incoming *in)
{
    size_t n_bad;
    if (summary_record_hides_unwritten(&h->summary, in->body))
        handler_write_summary(h);
    int rc = summary_apply(&h->summary, in->body, &n_bad);
    if (rc || n_bad)
        diag_warn("handler: %zu summary values ignored: %s", n_bad, err_text(rc ? rc : TARE_EFORMAT));
}

void rule_metric(struct handler *h, const struct incoming *in)
{
    if (h->summary_due_ns != INT64_MAX)
        handler_write_summary(h); /* a definition may hide what was logged before it */
    int rc = metrics_apply(&h->metrics, &h->summary, in->body);
    if (rc)
        diag_warn("handler: a metric definition has no effect: %s", err_text(rc));
}

void rule_get_summary(struct handler *h, const struct incoming *in)
{
    enum { GET_SUMMARY_RESPONSE = 25, ITEM = 1 };
    AUTO_BUF body = {0};
    summary_put_items(&h->summary, &body, ITEM, false);
    handler_respond(h, in->to, GET_SUMMARY_RESPONSE, buf_str(&body), REPLY_NOW);
}
