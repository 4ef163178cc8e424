/* SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "cli/look.h"

#include <inttypes.h>

static void put_member(struct buf *b, const char *name, const char *value)
{
    if (!value)
        return;
    buf_printf(b, ",\"%s\":", name);
    json_put_string(b, str_of(value));
}

static void put_metrics(struct buf *b, const struct metrics *m)
{
    static const char *const stats[] = {"last", "min", "max", "mean", "first"};
    static const char *const goals[] = {"", "minimize", "maximize"};
    buf_puts(b, ",\"metrics\":[");
    for (uint32_t i = 0; i < m->n; i++) {
        const struct metric *d = &m->at[i];
        buf_puts(b, i ? ",{\"name\":" : "{\"name\":");
        json_put_string(b, str_make(d->name, d->name_len));
        buf_printf(b, ",\"glob\":%s,\"hidden\":%s", d->is_glob ? "true" : "false",
                   d->hidden ? "true" : "false");
        if (d->step) {
            buf_puts(b, ",\"step_metric\":");
            json_put_string(b, str_make(d->step, d->step_len));
        }
        if (d->goal == METRIC_GOAL_MINIMIZE || d->goal == METRIC_GOAL_MAXIMIZE)
            put_member(b, "goal", goals[d->goal]);
        buf_puts(b, ",\"summary\":[");
        const char *comma = "";
        for (int k = 0; k < 5; k++) {
            if (!(d->track & 1 << k))
                continue;
            buf_printf(b, "%s\"%s\"", comma, stats[k]);
            comma = ",";
        }
        buf_printf(b, "%s]}", d->none ? "\"none\"" : "");
    }
    buf_putc(b, ']');
}

static void put_lists(struct buf *b, const struct replay *r)
{
    static const char *const policies[] = {"now", "end", "live"};
    buf_puts(b, ",\"files\":[");
    for (size_t i = 0; i < r->n_files; i++) {
        buf_puts(b, i ? ",{\"path\":" : "{\"path\":");
        json_put_string(b, str_of(r->files[i].path));
        buf_printf(b, ",\"policy\":\"%s\"}",
                   r->files[i].policy < 3 ? policies[r->files[i].policy] : "");
    }
    buf_puts(b, "],\"artifacts\":[");
    for (size_t i = 0; i < r->n_artifacts; i++) {
        buf_puts(b, i ? ",{\"name\":" : "{\"name\":");
        json_put_string(b, str_of(r->artifacts[i].name));
        put_member(b, "type", r->artifacts[i].type);
        put_member(b, "aliases", r->artifacts[i].aliases);
        buf_printf(b, ",\"used\":%s}", r->artifacts[i].used ? "true" : "false");
    }
    buf_puts(b, "],\"alerts\":[");
    for (size_t i = 0; i < r->n_alerts; i++) {
        buf_puts(b, i ? ",{\"title\":" : "{\"title\":");
        json_put_string(b, str_of(r->alerts[i].title));
        put_member(b, "text", r->alerts[i].text);
        put_member(b, "level", r->alerts[i].level);
        buf_putc(b, '}');
    }
    buf_putc(b, ']');
}

static void put_count(struct buf *b, const char *name, uint64_t n)
{
    if (n)
        buf_printf(b, ",\"%s\":%" PRIu64, name, n);
}

void look_print_json(const struct look *l)
{
    const struct replay *r = &l->r;
    AUTO_BUF b = {0};
    buf_puts(&b, "{\"id\":");
    json_put_string(&b, str_of(r->run_id ? r->run_id : l->place.id));
    put_member(&b, "name", r->name);
    put_member(&b, "entity", r->entity);
    put_member(&b, "project", r->project);
    put_member(&b, "group", r->group);
    put_member(&b, "job_type", r->job_type);
    put_member(&b, "notes", r->notes);
    put_member(&b, "tags", r->tags);
    put_member(&b, "host", r->host);
    put_member(&b, "sweep_id", r->sweep_id);
    put_member(&b, "git_remote", r->git_remote);
    put_member(&b, "git_commit", r->git_commit);
    put_member(&b, "sdk_version", r->producer);
    put_member(&b, "os", r->os);
    put_member(&b, "python", r->python);
    put_member(&b, "program", r->program);
    put_member(&b, "cpu", r->cpu);
    put_member(&b, "gpu", r->gpu);
    put_count(&b, "cpu_count", r->n_cores);
    put_count(&b, "cpu_count_logical", r->n_cpus);
    put_count(&b, "gpu_count", r->n_gpus);
    put_count(&b, "memory_bytes", r->memory_bytes);
    put_member(&b, "state", run_state_name(l->state));
    if (r->exited)
        buf_printf(&b, ",\"exit_code\":%d", r->exit_code);
    if (r->start_ns)
        buf_printf(&b, ",\"started\":%.3f", (double)r->start_ns / 1e9);
    buf_printf(&b,
               ",\"seconds\":%.3f,\"rows\":%" PRIu64 ",\"records\":%" PRIu64
               ",\"output_lines\":%" PRIu64 ",\"damaged_parts\":%" PRIu64
               ",\"damaged_bytes\":%" PRIu64,
               l->seconds, r->n_rows, r->n_records, l->n_lines, l->n_gaps, l->gap_bytes);
    put_member(&b, "folder", l->place.folder);
    put_member(&b, "journal", l->place.journal);
    put_metrics(&b, &r->metrics);
    put_lists(&b, r);
    buf_puts(&b, ",\"config\":");
    config_put_json(&r->config, &b);
    buf_puts(&b, ",\"summary\":");
    summary_put_json(&r->summary, &b);
    buf_puts(&b, "}\n");
    term_flush(&b);
}
