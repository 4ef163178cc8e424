/* SPDX-License-Identifier: MIT */
/* The command line, the port file and its polling are those of the peer
 * (sdk/lib/service/service_process.py, service_port_file.py):
 *
 *   BIN [service] --port-filename FILE --pid OURS
 *
 *   port file:   sock=PORT        only with TCP
 *                unix=PATH
 *                EOF              the last line; before it is there, the file is not complete
 *
 * The service gets a session of its own, so that a terminal's Ctrl-C does not reach it, no
 * descriptor of ours, and nothing to print to. */
#include "client/service.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/os.h"
#include "base/path.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static bool is_executable(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* The folder this library's file is in; false if unknown (linked statically: the program's). */
static bool own_folder(char to[PATH_MAX])
{
    Dl_info info;
    if (!dladdr((void *)(uintptr_t)service_start, &info) || !info.dli_fname)
        return false;
    char *real = realpath(info.dli_fname, NULL);
    if (!real)
        return false;
    struct str dir = path_dir(str_of(real));
    bool fits = dir.n < PATH_MAX;
    if (fits)
        snprintf(to, PATH_MAX, "%.*s", STR_ARG(dir));
    free(real);
    return fits;
}

static bool find_in_path(char to[PATH_MAX])
{
    const char *path = getenv("PATH");
    for (const char *at = path ? path : "/usr/local/bin:/usr/bin:/bin"; *at;) {
        size_t n = strcspn(at, ":");
        if (n && snprintf(to, PATH_MAX, "%.*s/tare", (int)n, at) < PATH_MAX && is_executable(to))
            return true;
        at += n + (at[n] == ':');
    }
    return false;
}

static bool find_binary(const char *wanted, char to[PATH_MAX])
{
    static const char *const beside[] = {"/tare", "/../bin/tare", "/../../bin/tare",
                                         "/../libexec/tare/tare", "/../../libexec/tare/tare"};
    const char *env = getenv("TARE_SERVICE_BIN");
    wanted = wanted ? wanted : env && *env ? env : NULL;
    if (wanted)
        return snprintf(to, PATH_MAX, "%s", wanted) < PATH_MAX && is_executable(to);
    char dir[PATH_MAX];
    for (size_t i = 0; own_folder(dir) && i < sizeof beside / sizeof *beside; i++)
        if (snprintf(to, PATH_MAX, "%s%s", dir, beside[i]) < PATH_MAX && is_executable(to))
            return true;
    return find_in_path(to);
}

static int spawn(const char *bin, const char *port_file, pid_t *pid)
{
    char own_pid[24];
    snprintf(own_pid, sizeof own_pid, "%ld", (long)getpid());
    char *argv[] = {(char *)(uintptr_t)bin, "--port-filename", (char *)(uintptr_t)port_file,
                    "--pid", own_pid, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGINT);
    sigaddset(&usual, SIGTERM);
    sigaddset(&usual, SIGCHLD);
    posix_spawn_file_actions_init(&files);
    for (int fd = 0; fd <= 2; fd++)
        posix_spawn_file_actions_addopen(&files, fd, "/dev/null", fd ? O_WRONLY : O_RDONLY, 0);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
    posix_spawn_file_actions_addclosefrom_np(&files, 3);
#endif
    posix_spawnattr_init(&attr);
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
#ifdef POSIX_SPAWN_SETSID
    flags |= POSIX_SPAWN_SETSID;
#endif
    posix_spawnattr_setflags(&attr, flags);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &usual);
    int rc = posix_spawn(pid, bin, &files, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return -rc;
}

/* The token of a complete port file, or false. */
static bool read_port_file(const char *path, char token[SERVICE_TOKEN_MAX])
{
    AUTO_BUF text = {0};
    if (os_read_file(path, 4096, &text) != 0 || !buf_z(&text))
        return false;
    size_t n = text.len;
    while (n && (text.data[n - 1] == '\n' || text.data[n - 1] == '\r'))
        n--;
    text.data[n] = 0;
    if (n < 4 || strcmp(text.data + n - 4, "\nEOF") != 0)
        return false;
    int len = -1;
    char *rest = NULL;
    for (char *line = strtok_r(text.data, "\r\n", &rest); line;
         line = strtok_r(NULL, "\r\n", &rest)) {
        if (strncmp(line, "unix=", 5) == 0) {
            len = snprintf(token, SERVICE_TOKEN_MAX, "3-%ld-unix-%s", (long)getpid(), line + 5);
            break;
        }
        if (strncmp(line, "sock=", 5) == 0 && atoi(line + 5) > 0)
            len = snprintf(token, SERVICE_TOKEN_MAX, "3-%ld-tcp-localhost-%d", (long)getpid(),
                           atoi(line + 5));
    }
    return len > 0 && len < SERVICE_TOKEN_MAX;
}

static int wait_for_ports(struct service *s, const char *path, int timeout_ms, struct err *e)
{
    int64_t end = clock_mono_ns() + (int64_t)timeout_ms * 1000000;
    int nap_ms = 1;
    while (!read_port_file(path, s->token)) {
        int status;
        pid_t ended = waitpid(s->pid, &status, WNOHANG);
        if (ended == s->pid || (ended < 0 && errno == ECHILD && service_is_dead(s->pid))) {
            s->pid = 0;
            return err_set(e, TARE_ESERVICE, "the service ended at its start");
        }
        if (clock_mono_ns() >= end)
            return err_set(e, TARE_ESERVICE, "the service gave no port within %d ms", timeout_ms);
        poll(NULL, 0, nap_ms);
        nap_ms = nap_ms < 20 ? nap_ms * 2 : 20;
    }
    return 0;
}

int service_start(struct service *s, const char *bin, int timeout_ms, struct err *e)
{
    char path[PATH_MAX], folder[PATH_MAX], port_file[PATH_MAX];
    *s = (struct service){0};
    if (!find_binary(bin, path))
        return err_set(e, TARE_ESERVICE, "found no service program (TARE_SERVICE_BIN, or `tare` "
                                         "near the library or in PATH)");
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.3000s/tare-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return err_set(e, TARE_ESERVICE, "making a folder for the port file: %s", strerror(errno));
    snprintf(port_file, sizeof port_file, "%.3500s/port-%ld.txt", folder, (long)getpid());
    int rc = spawn(path, port_file, &s->pid);
    if (rc < 0) {
        s->pid = 0;
        err_set(e, TARE_ESERVICE, "starting %.200s: %s", path, strerror(-rc));
    } else {
        rc = wait_for_ports(s, port_file, timeout_ms, e);
    }
    if (rc < 0 && s->pid) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
        s->pid = 0;
    }
    unlink(port_file);
    rmdir(folder);
    return rc < 0 ? TARE_ESERVICE : 0;
}

int service_join(struct service *s, int timeout_ms)
{
    int64_t end = clock_mono_ns() + (int64_t)timeout_ms * 1000000;
    for (int nap_ms = 1;; nap_ms = nap_ms < 20 ? nap_ms * 2 : 20) {
        int status = 0;
        pid_t ended = s->pid ? waitpid(s->pid, &status, WNOHANG) : -1;
        if (ended == s->pid || (ended < 0 && errno == ECHILD && service_is_dead(s->pid))) {
            s->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        if (clock_mono_ns() >= end)
            return TARE_ETIMEOUT;
        poll(NULL, 0, nap_ms);
    }
}

/* A zombie whose parent has not fetched it still answers kill(): look at its state. */
static bool is_zombie(pid_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *state = strrchr(text, ')');
    return state && state[1] == ' ' && (state[2] == 'Z' || state[2] == 'X');
}

int service_is_dead(pid_t pid)
{
    if (pid <= 0)
        return 0;
    return (kill(pid, 0) < 0 && errno == ESRCH) || is_zombie(pid);
}
