/* SPDX-License-Identifier: MIT */
#include "cli/where.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/os.h"
#include "base/path.h"
#include "base/str.h"
#include "cli/runs.h"
#include "cli/server_up.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOUD_URL "https://api.wandb.ai"
enum { SETTINGS_FILE_MAX = 256 * 1024 };

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* -- settings files ---------------------------------------------------------------------------- */

static struct str trim(struct str s)
{
    while (s.n && strchr(" \t\r", s.p[0]))
        s.p++, s.n--;
    while (s.n && strchr(" \t\r", s.p[s.n - 1]))
        s.n--;
    return s;
}

static bool next_line(struct str *rest, struct str *line)
{
    if (!rest->n)
        return false;
    const char *end = memchr(rest->p, '\n', rest->n);
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    *line = trim(str_make(rest->p, n));
    n += end != NULL;
    *rest = str_make(rest->p + n, rest->n - n);
    return true;
}

/* `key` of the section [default]; "key = value" or "key: value", "#" and ";" begin comments. */
static char *ini_value(struct str text, const char *key)
{
    struct str line;
    bool inside = false;
    while (next_line(&text, &line)) {
        if (line.n && line.p[0] == '[') {
            inside = str_eq(line, STR("[default]"));
            continue;
        }
        size_t at = 0;
        while (at < line.n && line.p[at] != '=' && line.p[at] != ':')
            at++;
        if (inside && at < line.n && line.p[0] != '#' && line.p[0] != ';' &&
            str_eqz(trim(str_make(line.p, at)), key)) {
            struct str value = trim(str_make(line.p + at + 1, line.n - at - 1));
            return xmem_strndup(value.p, value.n);
        }
    }
    return NULL;
}

static char *setting_in(const char *dir, const char *key)
{
    AUTO_FREE char *path = path_join(dir, "settings");
    AUTO_BUF b = {0};
    if (!path || os_read_file(path, SETTINGS_FILE_MAX, &b))
        return NULL;
    return ini_value(buf_str(&b), key);
}

static char *home_path(const char *name)
{
    return path_join(env("HOME") ? env("HOME") : ".", name);
}

char *where_setting(const char *key)
{
    AUTO_FREE char *near = path_join(runs_default_dir(), "wandb");
    char *value = near ? setting_in(near, key) : NULL;
    if (value)
        return value;
    AUTO_FREE char *home = env("WANDB_CONFIG_DIR") ? xmem_strdup(env("WANDB_CONFIG_DIR"))
                                                   : home_path(".config/wandb");
    return home ? setting_in(home, key) : NULL;
}

/* -- netrc ------------------------------------------------------------------------------------- */

static bool next_word(struct str *rest, struct str *word)
{
    while (rest->n && strchr(" \t\r\n", rest->p[0]))
        rest->p++, rest->n--;
    size_t n = 0;
    while (n < rest->n && !strchr(" \t\r\n", rest->p[n]))
        n++;
    *word = str_make(rest->p, n);
    *rest = str_make(rest->p + n, rest->n - n);
    return n > 0;
}

/* "localhost:8080" of "http://localhost:8080/x" */
static struct str host_of(const char *url)
{
    const char *p = strstr(url, "://");
    p = p ? p + 3 : url;
    return str_make(p, strcspn(p, "/"));
}

static bool netrc_key(const char *url, char *to, size_t size)
{
    AUTO_FREE char *path = env("NETRC") ? xmem_strdup(env("NETRC")) : home_path(".netrc");
    AUTO_BUF b = {0};
    if (!path || os_read_file(path, SETTINGS_FILE_MAX, &b))
        return false;
    struct str rest = buf_str(&b), word, host = host_of(url);
    bool here = false;
    while (next_word(&rest, &word)) {
        bool machine = str_eq(word, STR("machine")), password = str_eq(word, STR("password"));
        if (!machine && !password)
            continue;
        if (!next_word(&rest, &word))
            return false;
        if (machine)
            here = str_eq(word, host);
        else if (here && word.n < size)
            return memcpy(to, word.p, word.n), to[word.n] = 0, true;
    }
    return false;
}

/* -- which ------------------------------------------------------------------------------------- */

static bool is_logged_in_to_cloud(void)
{
    char key[512];
    return env("WANDB_API_KEY") || netrc_key(CLOUD_URL, key, sizeof key);
}

static int own_server(struct where *to, struct err *e)
{
    struct server_up up;
    int rc = server_up(&up, e);
    if (rc)
        return rc;
    to->own = true;
    to->started = up.started;
    snprintf(to->url, sizeof to->url, "%s", up.url);
    snprintf(to->key, sizeof to->key, "%s", up.key);
    snprintf(to->dir, sizeof to->dir, "%s", up.dir);
    return 0;
}

static int set_url(struct where *to, const char *url, struct err *e)
{
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) ||
        n >= sizeof to->url)
        return err_set(e, TARE_EINVAL, "'%s' is no address of a backend: http://... or https://...",
                       url);
    snprintf(to->url, sizeof to->url, "%.*s", (int)n, url);
    return 0;
}

static void set_key(struct where *to)
{
    struct server_up up;
    if (env("WANDB_API_KEY"))
        snprintf(to->key, sizeof to->key, "%s", env("WANDB_API_KEY"));
    else if (!netrc_key(to->url, to->key, sizeof to->key) && server_running(&up) &&
             strcmp(up.url, to->url) == 0)
        snprintf(to->key, sizeof to->key, "%s", up.key);
}

int where_backend(struct where *to, const char *url, struct err *e)
{
    *to = (struct where){0};
    AUTO_FREE char *file = where_setting("base_url");
    if (!url)
        url = env("WANDB_BASE_URL") ? env("WANDB_BASE_URL") : file && *file ? file : NULL;
    if (!url && !is_logged_in_to_cloud())
        return own_server(to, e);
    int rc = set_url(to, url ? url : CLOUD_URL, e);
    if (rc == 0)
        set_key(to);
    return rc;
}

bool where_is_said(void)
{
    AUTO_FREE char *url = where_setting("base_url"), *mode = where_setting("mode");
    return env("WANDB_MODE") || env("WANDB_BASE_URL") || url || mode || is_logged_in_to_cloud();
}
