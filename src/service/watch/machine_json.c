/* SPDX-License-Identifier: MIT */
/* wandb-metadata.json: an EnvironmentRecord by the JSON names of its fields, two blanks deep, 64-bit
 * numbers as strings, as the peer writes it. */
#include "service/watch/machine.h"

#include "base/err.h"
#include "base/json.h"
#include "record/wire.h"

#include <time.h>

enum kind { TEXT, TEXTS, NUMBER, NUMBER64, TIME, MESSAGE, MESSAGES, TEXT_MAP, MESSAGE_MAP };

struct member {
    uint32_t field;
    const char *name;
    enum kind kind;
    const struct member *of; /* of a message or of the map's values; ends with field 0 */
};

static const struct member git[] = {{1, "remote", TEXT}, {2, "commit", TEXT}, {0}};
static const struct member disk[] = {{1, "total", NUMBER64}, {2, "used", NUMBER64}, {0}};
static const struct member memory[] = {{1, "total", NUMBER64}, {0}};
static const struct member cpu[] = {{1, "count", NUMBER}, {2, "countLogical", NUMBER}, {3, "model", TEXT}, {0}};
static const struct member gpu_nvidia[] = {
    {1, "name", TEXT}, {2, "memoryTotal", NUMBER64}, {3, "cudaCores", NUMBER}, {4, "architecture", TEXT},
    {5, "uuid", TEXT}, {6, "pciBusId", TEXT},        {7, "numaNode", NUMBER},  {0},
};
static const struct member gpu_amd[] = {
    {1, "id", TEXT}, {2, "uniqueId", TEXT}, {3, "vbiosVersion", TEXT}, {4, "performanceLevel", TEXT},
    {5, "gpuOverdrive", TEXT}, {6, "gpuMemoryOverdrive", TEXT}, {7, "maxPower", TEXT}, {8, "series", TEXT},
    {9, "model", TEXT}, {10, "vendor", TEXT}, {11, "sku", TEXT}, {12, "sclkRange", TEXT},
    {13, "mclkRange", TEXT}, {0},
};
static const struct member trainium[] = {
    {1, "name", TEXT}, {2, "vendor", TEXT}, {3, "neuronDeviceCount", NUMBER},
    {4, "neuroncorePerDeviceCount", NUMBER}, {0},
};
static const struct member tpu[] = {
    {1, "name", TEXT}, {2, "hbmGib", NUMBER}, {3, "devicesPerChip", NUMBER}, {4, "count", NUMBER}, {0},
};
static const struct member coreweave[] = {
    {1, "clusterName", TEXT}, {2, "orgId", TEXT}, {3, "region", TEXT}, {0},
};
static const struct member environment[] = {
    {1, "os", TEXT},
    {2, "python", TEXT},
    {3, "startedAt", TIME},
    {4, "docker", TEXT},
    {5, "args", TEXTS},
    {6, "program", TEXT},
    {7, "codePath", TEXT},
    {8, "codePathLocal", TEXT},
    {9, "git", MESSAGE, git},
    {10, "email", TEXT},
    {11, "root", TEXT},
    {12, "host", TEXT},
    {13, "username", TEXT},
    {14, "executable", TEXT},
    {15, "colab", TEXT},
    {16, "cpu_count", NUMBER},
    {17, "cpu_count_logical", NUMBER},
    {18, "gpu", TEXT},
    {19, "gpu_count", NUMBER},
    {20, "disk", MESSAGE_MAP, disk},
    {21, "memory", MESSAGE, memory},
    {22, "cpu", MESSAGE, cpu},
    {24, "gpu_nvidia", MESSAGES, gpu_nvidia},
    {25, "cudaVersion", TEXT},
    {26, "gpu_amd", MESSAGES, gpu_amd},
    {27, "slurm", TEXT_MAP},
    {28, "trainium", MESSAGE, trainium},
    {29, "tpu", MESSAGE, tpu},
    {30, "coreweave", MESSAGE, coreweave},
    {199, "writerId", TEXT},
    {0},
};

struct writer {
    struct buf *to;
    int depth;
    bool failed;
};

static void put_object(struct writer *w, struct str message, const struct member *members);

static void put_line(struct writer *w)
{
    buf_putc(w->to, '\n');
    for (int i = 0; i < w->depth; i++)
        buf_puts(w->to, "  ");
}

static void open_list(struct writer *w, char bracket)
{
    buf_putc(w->to, bracket);
    w->depth++;
}

static void close_list(struct writer *w, char bracket, size_t n)
{
    w->depth--;
    if (n > 0)
        put_line(w);
    buf_putc(w->to, bracket);
}

static void next_item(struct writer *w, size_t *n)
{
    if ((*n)++ > 0)
        buf_putc(w->to, ',');
    put_line(w);
}

static void put_key(struct writer *w, struct str key)
{
    json_put_string(w->to, key);
    buf_puts(w->to, ": ");
}

/* The last field `number`, zero if there is none. */
static struct wire_field last_field(struct writer *w, struct str message, uint32_t number)
{
    struct wire_field f = {0}, last = {0};
    struct wire_reader r = wire_open(message);
    int rc;
    while ((rc = wire_next(&r, &f)) > 0) {
        if (f.number == number)
            last = f;
        f.bytes = STR("");
        f.value = 0;
    }
    w->failed |= rc < 0;
    return last;
}

static void put_time(struct writer *w, struct str message)
{
    time_t s = (time_t)last_field(w, message, 1).value;
    unsigned ns = (unsigned)last_field(w, message, 2).value;
    struct tm tm;
    char date[64] = "";
    if (gmtime_r(&s, &tm))
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    if (ns == 0)
        buf_printf(w->to, "\"%sZ\"", date);
    else if (ns % 1000000 == 0)
        buf_printf(w->to, "\"%s.%03uZ\"", date, ns / 1000000);
    else if (ns % 1000 == 0)
        buf_printf(w->to, "\"%s.%06uZ\"", date, ns / 1000);
    else
        buf_printf(w->to, "\"%s.%09uZ\"", date, ns);
}

static void put_value(struct writer *w, const struct wire_field *f, const struct member *m)
{
    switch (m->kind) {
    case TEXT:
    case TEXTS:
        json_put_string(w->to, f->bytes);
        break;
    case NUMBER:
        json_put_i64(w->to, (int64_t)f->value);
        break;
    case NUMBER64:
        buf_printf(w->to, "\"%llu\"", (unsigned long long)f->value);
        break;
    case TIME:
        put_time(w, f->bytes);
        break;
    default:
        put_object(w, f->bytes, m->of);
        break;
    }
}

/* All fields `number` as a list, or as an object if they are entries of a map. */
static void put_all(struct writer *w, struct str message, const struct member *m)
{
    bool is_map = m->kind == TEXT_MAP || m->kind == MESSAGE_MAP;
    size_t n = 0;
    struct wire_field f = {0};
    struct wire_reader r = wire_open(message);
    open_list(w, is_map ? '{' : '[');
    while (wire_next(&r, &f) > 0) {
        if (f.number != m->field)
            continue;
        next_item(w, &n);
        if (is_map) {
            struct wire_field value = last_field(w, f.bytes, 2);
            put_key(w, last_field(w, f.bytes, 1).bytes);
            put_value(w, &value, &(struct member){2, "", m->kind == TEXT_MAP ? TEXT : MESSAGE, m->of});
        } else {
            put_value(w, &f, m);
        }
    }
    close_list(w, is_map ? '}' : ']', n);
}

static bool is_many(enum kind k)
{
    return k == TEXTS || k == MESSAGES || k == TEXT_MAP || k == MESSAGE_MAP;
}

static bool is_default(const struct wire_field *f, enum kind k)
{
    return k == NUMBER || k == NUMBER64 ? f->value == 0 : k == TEXT && f->bytes.n == 0;
}

static void put_object(struct writer *w, struct str message, const struct member *members)
{
    size_t n = 0;
    open_list(w, '{');
    for (const struct member *m = members; m->field; m++) {
        struct wire_field f = last_field(w, message, m->field);
        if (f.number == 0 || is_default(&f, m->kind))
            continue;
        next_item(w, &n);
        put_key(w, str_of(m->name));
        if (is_many(m->kind))
            put_all(w, message, m);
        else
            put_value(w, &f, m);
    }
    close_list(w, '}', n);
}

int machine_put_json(struct buf *to, struct str environment_record)
{
    struct writer w = {.to = to};
    put_object(&w, environment_record, environment);
    return w.failed ? TARE_EFORMAT : 0;
}
