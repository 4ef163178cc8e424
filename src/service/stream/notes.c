/* SPDX-License-Identifier: MIT */
#include "service/stream/notes.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/json.h"
#include "base/os.h"
#include "base/path.h"
#include "service/stream/stream_settings.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void put_line(struct buf *to, int level, const char *msg, const char *key,
                     const char *value)
{
    if (level < diag_min_level)
        return;
    time_t now = (time_t)(clock_wall_ns() / 1000000000);
    struct tm tm;
    char time_text[32];
    strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    buf_printf(to, "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":\"%s\",\"%s\":", time_text,
               level < DIAG_INFO ? "DEBUG" : "INFO", msg, key);
    json_put_string(to, str_of(value));
    buf_puts(to, "}\n");
}

/* Where the first run of this service has its log. The runs after it get a hard link to that: the
 * lines are about one process anyhow, and making an inode costs more than all else about a run. */
static struct {
    pthread_mutex_t mutex;
    char path[PATH_MAX];
} first = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void share_log(const char *path)
{
    pthread_mutex_lock(&first.mutex);
    bool linked = first.path[0] && link(first.path, path) == 0;
    if (!linked && strlen(path) < sizeof first.path)
        strcpy(first.path, path); /* on another file system, or the first has been removed */
    pthread_mutex_unlock(&first.mutex);
}

static void write_log(const struct stream_settings *s)
{
    AUTO_BUF text = {0};
    put_line(&text, DIAG_INFO, "tare " TARE_VERSION " opened the stream", "run", s->run_id);
    put_line(&text, DIAG_DEBUG, "files of the run", "folder", s->files_dir);
    share_log(s->log_file);
    int fd = text.failed ? -1 : os->open(s->log_file, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (fd < 0)
        return;
    os_write_all(fd, text.data, text.len, NULL);
    os->close(fd);
}

void notes_leave(const struct stream_settings *s, const char *diag_path)
{
    if (*s->log_file)
        write_log(s);
    if (!*s->log_dir || !*diag_path || diag_min_level > DIAG_DEBUG)
        return; /* an inode a run: only for those who asked for much */
    AUTO_FREE char *link = path_join(s->log_dir, "debug-core.log");
    if (link)
        os->symlink(diag_path, link);
}
