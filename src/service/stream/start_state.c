/* SPDX-License-Identifier: MIT */
#include "service/stream/start_state.h"

#include "base/alloc.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/json.h"
#include "base/number.h"
#include "base/os.h"
#include "base/path.h"
#include "base/xxh3.h"
#include "service/upload/json_path.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STATE_BYTES = 256 * 1024 };

/* Two senders of one journal (to two backends) may write at once. */
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;

/* Below the person's own folder, for a journal whose folder takes nothing: named after its path. NULL: no HOME. */
static char *elsewhere(const char *path)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    struct xxh3 x;
    uint8_t digest[XXH128_BYTES];
    char name[sizeof "sync/.json" + sizeof digest * 2] = "sync/";
    xxh3_init(&x);
    xxh3_add(&x, path, strlen(path));
    xxh3_end(&x, digest);
    digest_hex(name + 5, digest, sizeof digest);
    strcat(name, ".json");
    if (!(state && *state == '/') && !(home && *home == '/'))
        return NULL;
    AUTO_FREE char *base = state && *state == '/' ? path_join(state, "tare") : path_join(home, ".local/state/tare");
    return base ? path_join(base, name) : NULL;
}

static int read_file(const char *path, struct buf *text)
{
    int rc = os_read_file(path, MAX_STATE_BYTES, text);
    AUTO_FREE char *other = rc < 0 ? elsewhere(path) : NULL;
    if (rc < 0)
        buf_clear(text); /* of what came before it failed */
    if (other && os_read_file(other, MAX_STATE_BYTES, text) == 0)
        return 0;
    return rc == -ENOENT ? 0 : rc;
}

static int write_file(const char *path, const struct buf *text)
{
    int rc = text->failed ? TARE_ENOMEM : os_write_file(path, text->data, text->len, 0666);
    bool is_refused = rc == -EACCES || rc == -EPERM || rc == -EROFS || rc == -ENOSPC || rc == -EDQUOT;
    AUTO_FREE char *other = is_refused ? elsewhere(path) : NULL;
    struct str dir = other ? path_dir(str_of(other)) : (struct str){0};
    AUTO_FREE char *folder = other ? mem_strndup(dir.p, dir.n) : NULL;
    if (!folder || os_mkdirs(folder, 0700))
        return rc;
    return os_write_file(other, text->data, text->len, 0600);
}

static bool read_number(struct str json, const char *name, int64_t *to)
{
    struct str found = json_at(json, name);
    int64_t v;
    if (!found.n || number_parse_i64(found.p, found.n, &v) != found.n)
        return false;
    *to = v;
    return true;
}

int start_state_read(const char *path, struct start_state *s)
{
    AUTO_BUF text = {0};
    int rc = read_file(path, &text);
    read_number(buf_str(&text), "starting_step", &s->step);
    read_number(buf_str(&text), "starting_runtime", &s->runtime_ms);
    return rc;
}

/* The members of "lines": append them to `others`, and take those of `place`. */
static bool find_place(struct str lines, struct str place, struct start_state *s, struct buf *others)
{
    struct json_item m;
    bool found = false;
    const char *at = lines.n && *lines.p == '{' ? lines.p + 1 : NULL, *end = lines.p + lines.n;
    while (at && json_next_member(&at, end, &m) > 0) {
        if (str_eq(m.key, place)) {
            static const char *const names[] = {"0", "1", "2"};
            for (int i = 0; i < 3; i++) {
                int64_t kept;
                if (read_number(m.value, names[i], &kept) && kept >= 0 && (uint64_t)kept < s->lines[i])
                    s->lines[i] = (uint64_t)kept;
            }
            found = true;
            continue;
        }
        buf_printf(others, "\"%.*s\":%.*s,", STR_ARG(m.key), STR_ARG(m.value));
    }
    return found;
}

static int settle(const char *path, const char *place, struct start_state *s)
{
    AUTO_BUF text = {0}, out = {0}, others = {0}, key = {0};
    int rc = read_file(path, &text);
    if (rc)
        return rc;
    json_put_string(&key, str_of(place));
    if (find_place(json_at(buf_str(&text), "lines"), str_make(key.data + 1, key.len - 2), s, &others))
        return 0;
    buf_printf(&out, "{\"starting_step\":%" PRId64 ",\"starting_runtime\":%" PRId64 ",\"lines\":{",
               s->step, s->runtime_ms);
    buf_put_str(&out, buf_str(&others));
    buf_put_str(&out, buf_str(&key));
    buf_printf(&out, ":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]}}", s->lines[0], s->lines[1], s->lines[2]);
    return write_file(path, &out);
}

int start_state_settle(const char *path, const char *place, struct start_state *s)
{
    pthread_mutex_lock(&writing);
    int rc = settle(path, place, s);
    pthread_mutex_unlock(&writing);
    return rc;
}

int start_state_set_done(const char *path)
{
    AUTO_BUF text = {0};
    pthread_mutex_lock(&writing);
    int rc = read_file(path, &text);
    if (rc == 0 && json_at(buf_str(&text), "lines").n && !json_at(buf_str(&text), "done").n) {
        text.len--; /* the closing brace, which settle wrote */
        buf_puts(&text, ",\"done\":true}");
        rc = write_file(path, &text);
    }
    pthread_mutex_unlock(&writing);
    return rc;
}

bool start_state_is_cut_off(const char *path)
{
    AUTO_BUF text = {0};
    return read_file(path, &text) == 0 && json_at(buf_str(&text), "lines").n &&
           !json_at(buf_str(&text), "done").n;
}
