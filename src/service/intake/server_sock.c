/* SPDX-License-Identifier: MIT */
#include "service/intake/server_sock.h"

#include "base/diag.h"
#include "base/os.h"
#include "service/platform.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { UNIX, TCP };

/* -- listening --------------------------------------------------------------------------------- */

static int new_socket(int family)
{
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0)
        return -errno;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Bind to s->path and listen. The mode is set before listen: until then nobody can connect. */
static int bind_unix(struct server_sock *s)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, s->path, strlen(s->path) + 1);
    int fd = new_socket(AF_UNIX);
    if (fd < 0)
        return fd;
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || chmod(s->path, 0600) < 0 ||
        listen(fd, MAX_CONNECTIONS_BACKLOG) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    s->fds[UNIX] = fd;
    return 0;
}

static void remove_path(struct server_sock *s)
{
    if (!s->path[0])
        return;
    unlink(s->path);
    *strrchr(s->path, '/') = '\0';
    rmdir(s->path);
    s->path[0] = '\0';
}

/* Make a directory below `base` and listen in it. */
static int listen_below(struct server_sock *s, const char *base, int dir_pid)
{
    char dir[sizeof s->path];
    int n = snprintf(dir, sizeof dir, "%s/wandb-%d-%d-XXXXXX", base, dir_pid, (int)getpid());
    if (n < 0 || (size_t)n + sizeof "/socket" > sizeof dir)
        return -ENAMETOOLONG;
    if (!mkdtemp(dir))
        return -errno;
    snprintf(s->path, sizeof s->path, "%.*s/socket", n, dir);
    int rc = bind_unix(s);
    if (rc)
        remove_path(s);
    return rc;
}

static int listen_unix(struct server_sock *s, int dir_pid, struct err *e)
{
    const char *bases[] = {getenv("TMPDIR"), "/tmp", getenv("XDG_RUNTIME_DIR"), "/var/tmp",
                           "/dev/shm"};
    int rc = -ENOENT;
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        if (!bases[i] || bases[i][0] != '/')
            continue;
        rc = listen_below(s, bases[i], dir_pid);
        if (rc == 0)
            return 0;
        diag_info("no socket below %s: %s", bases[i], err_text(rc));
    }
    return err_set(e, rc, "making a socket: %s", err_text(rc));
}

static int listen_tcp(struct server_sock *s, struct err *e)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = new_socket(AF_INET);
    if (fd < 0)
        return err_set(e, fd, "making a TCP socket: %s", err_text(fd));
    if (bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, MAX_CONNECTIONS_BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) < 0) {
        int rc = -errno;
        close(fd);
        return err_set(e, rc, "listening on 127.0.0.1: %s", err_text(rc));
    }
    s->fds[TCP] = fd;
    s->tcp_port = ntohs(a.sin_port);
    return 0;
}

static void hold_spares(struct server_sock *s)
{
    for (int i = 0; i < SPARE_FDS; i++)
        if (s->spare[i] < 0)
            s->spare[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void free_spares(struct server_sock *s)
{
    for (int i = 0; i < SPARE_FDS; i++) {
        if (s->spare[i] >= 0)
            close(s->spare[i]);
        s->spare[i] = -1;
    }
}

static void close_listeners(struct server_sock *s)
{
    remove_path(s);
    for (int i = 0; i < 2; i++) {
        if (s->fds[i] >= 0)
            close(s->fds[i]);
        s->fds[i] = -1;
    }
    free_spares(s);
}

int server_sock_open(struct server_sock *s, uv_loop_t *loop, int dir_pid, bool tcp, struct err *e)
{
    *s = (struct server_sock){.loop = loop, .fds = {-1, -1}};
    for (int i = 0; i < SPARE_FDS; i++)
        s->spare[i] = -1;
    int rc = listen_unix(s, dir_pid, e);
    if (rc == 0 && tcp)
        rc = listen_tcp(s, e);
    if (rc) {
        close_listeners(s);
        return rc;
    }
    hold_spares(s);
    return 0;
}

/* Peer: core/pkg/server/listeners/portinfo.go. */
int server_sock_write_port_file(const struct server_sock *s, const char *path, struct err *e)
{
    char text[sizeof s->path + 64];
    int n = snprintf(text, sizeof text, "unix=%s\n", s->path);
    if (s->tcp_port)
        n += snprintf(text + n, sizeof text - (size_t)n, "sock=%d\n", s->tcp_port);
    n += snprintf(text + n, sizeof text - (size_t)n, "EOF");
    int rc = os_write_file(path, text, (size_t)n, 0666);
    return rc ? err_set(e, rc, "writing the port file %s: %s", path, err_text(rc)) : 0;
}

/* -- accepting --------------------------------------------------------------------------------- */

static void stop_polling(struct server_sock *s)
{
    for (int i = 0; i < 2; i++)
        if (s->fds[i] >= 0)
            uv_poll_stop(&s->polls[i]);
}

static bool is_scarcity(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOBUFS || rc == -ENOMEM;
}

static bool may_enter(int fd, bool tcp)
{
    uid_t uid;
    int rc = tcp ? platform_tcp_peer_uid(fd, &uid) : platform_peer_uid(fd, &uid);
    if (tcp && rc == -ENOENT)
        return true; /* cannot be told on this system */
    if (rc == 0 && (uid == geteuid() || uid == 0))
        return true;
    diag_warn("turned away a client of another user (%s)", rc ? err_text(rc) : "not ours");
    return false;
}

/* All descriptors are taken: give up a spare one, so that this client can be told. */
static int accept_spare(struct server_sock *s, int listener)
{
    if (s->on_scarce(s)) {
        int fd = platform_accept(listener);
        if (!is_scarcity(fd))
            return fd;
    }
    free_spares(s);
    return platform_accept(listener);
}

static void on_retry(uv_timer_t *t);

static void accept_all(struct server_sock *s, int which)
{
    for (int n = 0; n < MAX_CONNECTIONS_BACKLOG && s->open; n++) {
        bool refuse = false;
        int fd = platform_accept(s->fds[which]);
        if (is_scarcity(fd)) {
            fd = accept_spare(s, s->fds[which]);
            hold_spares(s);
            refuse = s->spare[SPARE_FDS - 1] < 0;
        }
        if (fd == -ECONNABORTED)
            continue;
        if (fd < 0) {
            if (fd != -EAGAIN) {
                diag_warn("accepting a client: %s", err_text(fd));
                stop_polling(s);
                uv_timer_start(&s->retry, on_retry, ACCEPT_RETRY_MS, 0);
            }
            return;
        }
        if (!may_enter(fd, which == TCP)) {
            close(fd);
            continue;
        }
        if (refuse)
            stop_polling(s);
        s->on_client(s, fd, which == TCP, refuse);
        if (refuse)
            return;
    }
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct server_sock *s = p->data;
    (void)status, (void)events;
    accept_all(s, p == &s->polls[TCP]);
}

static void start_polling(struct server_sock *s)
{
    for (int i = 0; i < 2; i++)
        if (s->fds[i] >= 0)
            uv_poll_start(&s->polls[i], UV_READABLE, on_poll);
}

static void on_retry(uv_timer_t *t)
{
    struct server_sock *s = t->data;
    if (s->open)
        start_polling(s);
}

void server_sock_start(struct server_sock *s)
{
    for (int i = 0; i < 2; i++)
        if (s->fds[i] >= 0) {
            uv_poll_init(s->loop, &s->polls[i], s->fds[i]);
            s->polls[i].data = s;
        }
    uv_timer_init(s->loop, &s->retry);
    s->retry.data = s;
    s->open = true;
    start_polling(s);
}

void server_sock_accept_waiting(struct server_sock *s)
{
    for (int i = 0; i < 2; i++)
        if (s->fds[i] >= 0)
            accept_all(s, i);
}

void server_sock_recover(struct server_sock *s)
{
    if (!s->open)
        return;
    hold_spares(s);
    uv_timer_start(&s->retry, on_retry, 0, 0);
}

void server_sock_close(struct server_sock *s)
{
    if (!s->open) {
        close_listeners(s);
        return;
    }
    s->open = false;
    for (int i = 0; i < 2; i++)
        if (s->fds[i] >= 0)
            uv_close((uv_handle_t *)&s->polls[i], NULL);
    uv_close((uv_handle_t *)&s->retry, NULL);
    close_listeners(s);
}

/* -- leavings of dead services ----------------------------------------------------------------- */

enum { SWEEP_MIN_AGE_S = 60, SWEEP_MAX_ENTRIES = 20000 };

/* Nobody listens there any more? Asking the socket itself also holds for a service in another
 * container that shares this directory. */
static bool is_deserted(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path)
        return false;
    memcpy(a.sun_path, path, strlen(path) + 1);
    int fd = new_socket(AF_UNIX);
    if (fd < 0)
        return false;
    int rc = connect(fd, (struct sockaddr *)&a, sizeof a);
    int why = errno;
    close(fd);
    return rc < 0 && (why == ECONNREFUSED || why == ENOENT);
}

static void sweep_one(const char *base, const char *name)
{
    int parent, pid;
    char rest[8], dir[512], path[520];
    struct stat st;
    if (sscanf(name, "wandb-%d-%d-%7[A-Za-z0-9]", &parent, &pid, rest) != 3 || pid <= 0)
        return;
    if (kill(pid, 0) == 0 || errno != ESRCH)
        return;
    if ((size_t)snprintf(dir, sizeof dir, "%s/%s", base, name) >= sizeof dir)
        return;
    if (lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
        time(NULL) - st.st_mtime < SWEEP_MIN_AGE_S)
        return;
    snprintf(path, sizeof path, "%s/socket", dir);
    if (!is_deserted(path))
        return;
    unlink(path);
    if (rmdir(dir) == 0)
        diag_info("removed %s, left by a service that was killed", dir);
}

static void sweep(const char *base)
{
    DIR *d = opendir(base);
    if (!d)
        return;
    struct dirent *entry;
    for (int n = 0; n < SWEEP_MAX_ENTRIES && (entry = readdir(d)); n++)
        if (strncmp(entry->d_name, "wandb-", 6) == 0)
            sweep_one(base, entry->d_name);
    closedir(d);
}

void server_sock_sweep(void)
{
    const char *tmp = getenv("TMPDIR");
    sweep("/tmp");
    if (tmp && tmp[0] == '/' && strcmp(tmp, "/tmp") != 0)
        sweep(tmp);
}
