/* SPDX-License-Identifier: MIT */
#include "cli/launch.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/os.h"
#include "record/frame.h"
#include "record/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: `tare` ignores SIGPIPE anyhow */
#endif

enum { MAX_ARGS = 64, PORT_FILE_BYTES = 4096 };
enum { SERVER_REQUEST_TEARDOWN = 7, TEARDOWN_EXIT_CODE = 1 };
#define START_TIMEOUT_NS ((int64_t)30 * 1000000000)
#define LOOK_NS 2000000

static int check_folder(const char *path, bool make, struct err *e)
{
    struct stat st;
    if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set(e, -errno, "creating %s: %s", path, strerror(errno));
    if (lstat(path, &st) < 0)
        return make ? err_set(e, -errno, "%s: %s", path, strerror(errno)) : TARE_ENOTFOUND;
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
        return err_set(e, TARE_EPERM, "%s is not a folder of yours alone; remove it", path);
    return 0;
}

int launch_port_file(char to[PATH_MAX], bool make, struct err *e)
{
    char folder[PATH_MAX - 20];
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    struct stat st;
    if (runtime && *runtime == '/' && strlen(runtime) < sizeof folder - 10 &&
        stat(runtime, &st) == 0 && st.st_uid == geteuid())
        snprintf(folder, sizeof folder, "%s/tare", runtime);
    else
        snprintf(folder, sizeof folder, "/tmp/tare-%ld", (long)geteuid());
    int rc = check_folder(folder, make, e);
    snprintf(to, PATH_MAX, "%s/service.port", folder);
    return rc;
}

int launch_read_port_file(const char *path, struct launch_address *to)
{
    AUTO_BUF b = {0};
    if (os_read_file(path, PORT_FILE_BYTES, &b) < 0)
        return TARE_ENOTFOUND;
    const char *text = buf_z(&b), *at = text ? strstr(text, "unix=") : NULL;
    if (!at || !strstr(text, "EOF"))
        return TARE_ENOTFOUND;
    size_t n = strcspn(at + 5, "\n");
    if (n == 0 || n >= sizeof to->socket)
        return TARE_ENOTFOUND;
    memcpy(to->socket, at + 5, n);
    to->socket[n] = 0;
    return 0;
}

/* A connected socket, or -1. */
static int connect_to(const struct launch_address *a)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        return -1;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    memcpy(addr.sun_path, a->socket, strlen(a->socket) + 1);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)
        return fd;
    close(fd);
    return -1;
}

bool launch_answers(const struct launch_address *a, pid_t *pid)
{
    *pid = 0;
    int fd = connect_to(a);
    bool up = fd >= 0;
#ifdef SO_PEERCRED
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (up && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
        *pid = peer.pid;
#endif
    if (up)
        close(fd);
    return up;
}

bool launch_teardown(const struct launch_address *a, int exit_code)
{
    char frame[64], body[32];
    char *end = wire_put_tag(body, TEARDOWN_EXIT_CODE, WIRE_VARINT);
    end = wire_put_varint(end, (uint64_t)exit_code);
    struct str request = str_make(body, (size_t)(end - body));
    frame_put_header(frame, (uint32_t)wire_bytes_size(SERVER_REQUEST_TEARDOWN, request.n));
    end = wire_put_bytes(frame + FRAME_HEADER, SERVER_REQUEST_TEARDOWN, request);
    size_t n = (size_t)(end - frame);
    int fd = connect_to(a);
    if (fd < 0)
        return false;
    bool sent = send(fd, frame, n, MSG_NOSIGNAL) == (ssize_t)n;
    close(fd);
    return sent;
}

/* In the child: become the service. Never returns. */
static _Noreturn void exec_service(char *const *args, bool detached)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid(); /* a Ctrl-C is for the program, not for the service */
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        if (detached)
            dup2(null, 2);
        if (null > 2)
            close(null);
    }
    execv(args[0], args);
    _exit(127);
}

/* Wait until the service has written its port file. */
static int wait_for_port_file(const char *port_file, pid_t pid, struct launch_address *to,
                              struct err *e)
{
    int64_t end = clock_mono_ns() + START_TIMEOUT_NS;
    for (;;) {
        if (launch_read_port_file(port_file, to) == 0)
            return 0;
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return err_set(e, TARE_ESERVICE, "the service ended while it started (%s %d)",
                           WIFEXITED(status) ? "exit code" : "signal",
                           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        if (clock_mono_ns() > end) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return err_set(e, TARE_ETIMEOUT, "the service did not start in 30 s");
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
}

int launch_service(const char *port_file, bool detached, char *const *flags,
                   struct launch_address *to, pid_t *pid, struct err *e)
{
    char self[PATH_MAX], parent[24];
    size_t len = sizeof self;
    int rc = uv_exepath(self, &len);
    if (rc < 0)
        return err_set(e, rc, "finding this program's own file: %s", err_text(rc));
    snprintf(parent, sizeof parent, "%ld", (long)getpid());
    char *args[MAX_ARGS] = {self, "service", "--port-filename", (char *)port_file, "--pid", parent};
    int n = 6;
    if (detached)
        args[n++] = "--detached";
    for (; flags && *flags; flags++) {
        if (n == MAX_ARGS - 1)
            return err_set(e, TARE_ELIMIT, "too many flags for the service");
        args[n++] = *flags;
    }
    unlink(port_file);
    *pid = fork();
    if (*pid < 0)
        return err_set(e, -errno, "starting the service: %s", strerror(errno));
    if (*pid == 0)
        exec_service(args, detached);
    return wait_for_port_file(port_file, *pid, to, e);
}

void launch_token(char to[LAUNCH_TOKEN_MAX], const struct launch_address *a, pid_t pid)
{
    snprintf(to, LAUNCH_TOKEN_MAX, "3-%ld-unix-%s", (long)pid, a->socket);
}
