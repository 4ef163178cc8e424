/* SPDX-License-Identifier: MIT */
/* A running server holds a lock on DIR/lock and writes where it listens to DIR/address once it answers. */
#include "cli/server_up.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/os.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 10000, LOOK_MS = 5 };

/* Where tare-server may be, seen from the directory of `tare`. */
static const char *const places[] = {"tare-server", "../libexec/tare/tare-server"};

int server_exec(char **argv, struct err *e)
{
    char self[PATH_MAX], path[PATH_MAX + 64] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return err_set(e, -errno, "finding the program itself: %s", strerror(errno));
    self[n] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    argv[0] = "tare-server";
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s/%s", self, places[i]);
        execv(path, argv);
        if (errno != ENOENT && errno != ENOTDIR)
            break;
    }
    return err_set(e, -errno, "starting %s: %s", path, strerror(errno));
}

static bool is_running(const char *dir)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/lock", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool locked = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    close(fd);
    return locked;
}

/* The first line of a file of the directory. */
static bool read_line(const char *dir, const char *name, char *to, size_t size)
{
    char path[PATH_MAX];
    AUTO_BUF b = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (os_read_file(path, 4096, &b) || !b.len)
        return false;
    const char *end = memchr(b.data, '\n', b.len);
    size_t n = end ? (size_t)(end - b.data) : 0;
    if (!n || n >= size)
        return false;
    memcpy(to, b.data, n);
    to[n] = 0;
    return true;
}

/* In a process of its own session, whose output goes to DIR/server.log. */
static _Noreturn void become_server(const struct server_up *s, const char *listen)
{
    char log[PATH_MAX];
    char *argv[] = {NULL, "--dir", (char *)(uintptr_t)s->dir, "--listen", (char *)(uintptr_t)listen, NULL};
    setsid();
    snprintf(log, sizeof log, "%s/server.log", s->dir);
    int in = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    if (fork() == 0) /* nobody's child: init takes it */
        server_exec(argv, NULL);
    _exit(0);
}

/* True once it answers. The port that links are made for is tried first, then any. */
static bool start(const struct server_up *s, const char *listen)
{
    char url[256];
    int status;
    pid_t pid = fork();
    if (pid == 0)
        become_server(s, listen);
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return false;
    for (int waited_ms = 0; waited_ms < WAIT_MS; waited_ms += LOOK_MS) {
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000l}, NULL);
        if (is_running(s->dir) && read_line(s->dir, "address", url, sizeof url))
            return true;
        if (waited_ms > 1000 && !is_running(s->dir))
            return false; /* it ended, or never began */
    }
    return false;
}

static int find_dir(struct server_up *to, struct err *e)
{
    AUTO_FREE char *dir = path_server_dir();
    *to = (struct server_up){0};
    if (!dir || strlen(dir) >= sizeof to->dir)
        return err_set(e, TARE_EINVAL, "the server's directory has too long a name");
    strcpy(to->dir, dir);
    return 0;
}

static bool read_address(struct server_up *to)
{
    return read_line(to->dir, "address", to->url, sizeof to->url) &&
           read_line(to->dir, "admin.key", to->key, sizeof to->key);
}

bool server_running(struct server_up *to)
{
    return find_dir(to, NULL) == 0 && is_running(to->dir) && read_address(to);
}

int server_up(struct server_up *to, struct err *e)
{
    int rc = find_dir(to, e);
    if (rc)
        return rc;
    rc = os_mkdirs(to->dir, 0700);
    if (rc)
        return err_set(e, rc, "making %s: %s", to->dir, err_text(rc));
    to->started = !is_running(to->dir);
    if (to->started && !start(to, "127.0.0.1:8080") && !start(to, "127.0.0.1:0"))
        return err_set(e, TARE_ESERVICE, "the server did not start: see %s/server.log", to->dir);
    if (!read_address(to))
        return err_set(e, TARE_ESERVICE, "the server in %s does not tell its address", to->dir);
    return 0;
}
