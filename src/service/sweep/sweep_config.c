/* SPDX-License-Identifier: MIT */
/* Of a sweep's configuration the scheduler reads `metric.name`, or `metrics[].name`, and `run_cap`, with the
 * types that Go's yaml.v3 takes for them: any scalar as a name, any plain number as a cap.
 *
 * (peer: core/internal/sweeps/scheduler/scheduler.go, parseSweepConfig) */
#include "service/sweep/sweep_query.h"

#include "base/json.h"
#include "base/number.h"
#include "service/yaml_lib.h"

static const yaml_node_t *member(yaml_document_t *doc, const yaml_node_t *map, const char *name)
{
    const yaml_node_t *found = NULL;
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_lib()->node(doc, p->key);
        if (key && key->type == YAML_SCALAR_NODE &&
            str_eqz(str_make(key->data.scalar.value, key->data.scalar.length), name))
            found = yaml_lib()->node(doc, p->value);
    }
    return found;
}

static bool is_null(const yaml_node_t *node)
{
    struct str s = str_make(node->data.scalar.value, node->data.scalar.length);
    return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (s.n == 0 || str_eqz(s, "~") || str_eqz(s, "null") || str_eqz(s, "Null") || str_eqz(s, "NULL"));
}

/* Append the name of a metric as a JSON string: 1, 0 if it has none, or a negative code. */
static int put_metric(struct buf *to, yaml_document_t *doc, const yaml_node_t *metric, struct err *e)
{
    if (!metric || (metric->type == YAML_SCALAR_NODE && is_null(metric)))
        return 0;
    if (metric->type != YAML_MAPPING_NODE)
        return err_set(e, TARE_EFORMAT, "a metric of the sweep's configuration is no mapping");
    const yaml_node_t *name = member(doc, metric, "name");
    if (!name)
        return 0;
    if (name->type != YAML_SCALAR_NODE)
        return err_set(e, TARE_EFORMAT, "the name of a metric of the sweep's configuration is no text");
    if (name->data.scalar.length == 0 || is_null(name))
        return 0;
    if (to->len)
        buf_putc(to, ',');
    json_put_string(to, str_make(name->data.scalar.value, name->data.scalar.length));
    return 1;
}

static int read_metrics(struct buf *to, yaml_document_t *doc, const yaml_node_t *list, struct err *e)
{
    if (!list || (list->type == YAML_SCALAR_NODE && is_null(list)))
        return 0;
    if (list->type != YAML_SEQUENCE_NODE)
        return err_set(e, TARE_EFORMAT, "`metrics` of the sweep's configuration is no list");
    int n = 0;
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++, n++) {
        int rc = put_metric(to, doc, yaml_lib()->node(doc, *i), e);
        if (rc <= 0)
            return rc ? rc : err_set(e, TARE_EINVAL, "metrics[%d] of the sweep's configuration has no name", n);
    }
    return n;
}

static int read_cap(int64_t *to, const yaml_node_t *cap, struct err *e)
{
    double v = 0;
    *to = 0;
    if (!cap || (cap->type == YAML_SCALAR_NODE && is_null(cap)))
        return 0;
    struct str s = cap->type == YAML_SCALAR_NODE && cap->data.scalar.style == YAML_PLAIN_SCALAR_STYLE
                       ? str_make(cap->data.scalar.value, cap->data.scalar.length) : (struct str){0};
    if (s.n == 0 || number_parse_double(s.p, s.n, &v) != s.n || !(v > -9e15 && v < 9e15))
        return err_set(e, TARE_EFORMAT, "`run_cap` of the sweep's configuration is no number");
    *to = v > 0 ? (int64_t)v : 0; /* a negative one means nothing */
    return 0;
}

static int read_document(yaml_document_t *doc, struct sweep_config *to, struct err *e)
{
    const yaml_node_t *root = yaml_lib()->node(doc, 1);
    if (root && root->type != YAML_MAPPING_NODE)
        return err_set(e, TARE_EFORMAT, "the sweep's configuration is no mapping");
    AUTO_BUF one = {0};
    int n = read_metrics(&to->metrics, doc, member(doc, root, "metrics"), e);
    int has_one = n < 0 ? n : put_metric(&one, doc, member(doc, root, "metric"), e);
    if (n < 0 || has_one < 0)
        return n < 0 ? n : has_one;
    if (n > 0 && has_one)
        return err_set(e, TARE_EINVAL, "the sweep's configuration has both `metric` and `metrics`");
    if (n == 0 && !has_one)
        return err_set(e, TARE_EINVAL, "the sweep's configuration names no metric to go by");
    buf_put_str(&to->metrics, buf_str(&one));
    return read_cap(&to->run_cap, member(doc, root, "run_cap"), e);
}

int sweep_config_read(struct str yaml, struct sweep_config *to, struct err *e)
{
    yaml_document_t doc;
    *to = (struct sweep_config){0};
    int rc = yaml_lib_load(yaml, &doc, e);
    if (rc != 0)
        return rc == TARE_EFORMAT ? err_prefix(e, "the sweep's configuration: ") : rc;
    rc = read_document(&doc, to, e);
    yaml_lib()->free_doc(&doc);
    return rc;
}

void sweep_config_fini(struct sweep_config *c)
{
    buf_fini(&c->metrics);
}
