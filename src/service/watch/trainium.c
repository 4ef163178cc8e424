/* SPDX-License-Identifier: MIT */
#include "service/watch/trainium.h"

#include "base/clock.h"
#include "base/diag.h"
#include "base/os.h"
#include "base/thread.h"
#include "record/setting_wire.h"
#include "record/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SET_NEURON_CONFIG = 46, SET_INTERVAL = 174, ENV_TRAINIUM = 28 };

/* NEW -> RUNNING (the thread) -> NEW when nobody asked for a while, ABSENT when there is no program or it
 * ended. */
enum state { NEW, RUNNING, ABSENT };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum state state;
static char config[PATH_MAX]; /* of who asked first; "": our own */
static unsigned period_s;
static int64_t asked_ns, idle_ns;
static struct buf latest; /* the last report */
static int64_t latest_ns;

/* ---- the program ---- */

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool find_program(char to[PATH_MAX])
{
    const char *path = getenv("PATH");
    for (size_t n; path && *path; path += n + (path[n] == ':')) {
        n = strcspn(path, ":");
        if (n > 0 && snprintf(to, PATH_MAX, "%.*s/neuron-monitor", (int)n, path) < PATH_MAX && is_file(to))
            return true;
    }
    snprintf(to, PATH_MAX, "/opt/aws/neuron/bin/neuron-monitor");
    return is_file(to);
}

/* What it is to measure: the same as the peer's. Its figures are means over the period. */
static bool write_config(char path[PATH_MAX], unsigned seconds)
{
    static const char format[] =
        "{\"period\": \"%us\", \"neuron_runtimes\": [{\"tag_filter\": \".*\", \"metrics\": ["
        "{\"type\": \"neuroncore_counters\"}, {\"type\": \"memory_used\"}, "
        "{\"type\": \"neuron_runtime_vcpu_usage\"}]}], \"system_metrics\": [{\"type\": \"vcpu_usage\"}, "
        "{\"type\": \"memory_info\"}, {\"type\": \"neuron_hw_counters\"}]}\n";
    const char *dir = getenv("TMPDIR");
    AUTO_BUF text = {0};
    if (snprintf(path, PATH_MAX, "%s/neuron_monitor_XXXXXX.json", dir && *dir ? dir : "/tmp") >= PATH_MAX)
        return false;
    int fd = mkostemps(path, 5, O_CLOEXEC);
    buf_printf(&text, format, seconds);
    bool ok = fd >= 0 && os_write_all(fd, text.data, text.len, NULL) == 0;
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && !ok)
        unlink(path);
    return ok;
}

/* In the child, where only what is safe in a signal handler may be called. */
static void become(char *const argv[], pid_t parent, int out, int null)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0); /* a Ctrl-C is the program's that is trained, not its */
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* when the thread that started it is gone, however that ends */
    if (getppid() == parent && dup2(null, 0) >= 0 && dup2(out, 1) >= 0 && dup2(null, 2) >= 0)
        execv(argv[0], argv);
    _exit(127);
}

static pid_t spawn(char *program, char *config_path, int *out)
{
    char option[] = "-c";
    char *const argv[] = {program, option, config_path, NULL};
    int ends[2];
    pid_t parent = getpid(), pid = -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0 && (pid = fork()) == 0)
        become(argv, parent, ends[1], null);
    close(ends[1]);
    if (null >= 0)
        close(null);
    if (pid < 0)
        close(ends[0]);
    *out = ends[0];
    return pid;
}

static void stop(pid_t pid)
{
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL); /* if it had no time to have its own group */
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* ---- its reports ---- */

static bool is_idle(void)
{
    pthread_mutex_lock(&lock);
    bool idle = clock_mono_ns() - asked_ns > idle_ns;
    pthread_mutex_unlock(&lock);
    return idle;
}

static void take_line(struct str line)
{
    if (!trainium_is_report(line))
        return;
    pthread_mutex_lock(&lock);
    buf_clear(&latest);
    if (buf_put_str(&latest, line) < 0)
        buf_fini(&latest);
    latest_ns = clock_mono_ns();
    pthread_mutex_unlock(&lock);
}

/* Take the whole lines in `data`; `*skip` while the rest of a line that is too long is awaited. */
static void take_lines(struct buf *data, bool *skip)
{
    const char *newline;
    while (data->len > 0 && (newline = memchr(data->data, '\n', data->len))) {
        size_t n = (size_t)(newline - data->data);
        if (!*skip)
            take_line((struct str){data->data, n});
        *skip = false;
        buf_consume(data, n + 1);
    }
    if (data->len > TRAINIUM_MAX_LINE || *skip) {
        *skip = true;
        buf_clear(data);
    }
}

/* Until nobody asks any more (true), or it has nothing more to say. `own` is the file of our
 * configuration, "" if there is none: it is removed once it was read. */
static bool read_reports(int fd, char *own)
{
    enum { CHUNK = 65536 };
    AUTO_BUF data = {0};
    bool skip = false;
    while (!is_idle()) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int rc = poll(&p, 1, 1000);
        if (rc == 0 || (rc < 0 && errno == EINTR))
            continue;
        char *to = rc > 0 ? buf_reserve(&data, CHUNK) : NULL;
        ssize_t n = to ? read(fd, to, CHUNK) : 0;
        if (n <= 0)
            return false;
        if (*own)
            unlink(own);
        *own = 0;
        data.len += (size_t)n;
        take_lines(&data, &skip);
    }
    return true;
}

/* Whether it may be started again. */
static bool run_program(void)
{
    char program[PATH_MAX], own[PATH_MAX] = "";
    int fd;
    if (!find_program(program) || (!*config && !write_config(own, period_s)))
        return false;
    pid_t pid = spawn(program, *config ? config : own, &fd);
    bool idle = pid > 0 && read_reports(fd, own);
    if (pid > 0) {
        close(fd);
        stop(pid);
    }
    if (*own)
        unlink(own);
    if (!idle)
        diag_warn("%s ended or cannot be started: no figures of Trainium", program);
    return idle;
}

static void *run(void *arg)
{
    bool again = run_program();
    pthread_mutex_lock(&lock);
    buf_fini(&latest);
    state = again ? NEW : ABSENT;
    pthread_mutex_unlock(&lock);
    return arg;
}

/* With the lock. */
static void start(struct str settings, double seconds)
{
    struct str path = setting_wire_text(settings, SET_NEURON_CONFIG);
    period_s = seconds >= 1 && seconds < 1e6 ? (unsigned)seconds : 1;
    snprintf(config, sizeof config, "%.*s", path.n < sizeof config ? (int)path.n : 0, path.p ? path.p : "");
    state = thread_start(run, NULL, 0) == 0 ? RUNNING : ABSENT;
}

/* ---- who asks ---- */

void trainium_ask(struct str settings)
{
    pthread_mutex_lock(&lock);
    if (state != ABSENT) {
        double seconds = setting_wire_double(settings, SET_INTERVAL);
        if (!(seconds > 0 && seconds < 1e6))
            seconds = 15;
        int64_t patience_ns = (int64_t)(3e9 * seconds);
        if (state == NEW)
            idle_ns = TRAINIUM_IDLE_NS;
        if (patience_ns > idle_ns)
            idle_ns = patience_ns;
        asked_ns = clock_mono_ns();
        if (state == NEW)
            start(settings, seconds);
    }
    pthread_mutex_unlock(&lock);
}

/* A copy of the latest report, empty if there is none; false if there will be none. */
static bool copy_latest(struct buf *to)
{
    buf_clear(to);
    pthread_mutex_lock(&lock);
    bool running = state == RUNNING;
    if (running && latest.len > 0 && clock_mono_ns() - latest_ns <= TRAINIUM_STALE_NS)
        buf_put_str(to, buf_str(&latest));
    pthread_mutex_unlock(&lock);
    return running;
}

void trainium_read(int32_t pid, trainium_put *put, void *ctx)
{
    AUTO_BUF report = {0};
    if (!copy_latest(&report) || report.len == 0)
        return;
    const char *rank = getenv("LOCAL_RANK");
    trainium_report_read(buf_str(&report), pid, rank && *rank ? rank : NULL, put, ctx);
}

static void put_facts(struct buf *to, uint32_t devices, uint32_t cores)
{
    size_t mark = wire_buf_begin(to, ENV_TRAINIUM);
    wire_buf_bytes(to, 1, STR("Trainium"));
    wire_buf_bytes(to, 2, STR("AWS"));
    if (devices > 0)
        wire_buf_varint(to, 3, devices);
    if (cores > 0)
        wire_buf_varint(to, 4, cores);
    wire_buf_end(to, mark);
}

void trainium_put_facts(struct buf *to, int64_t wait_ns)
{
    int64_t until_ns = clock_mono_ns() + wait_ns, step_ns = 100000; /* there is most often no program: */
    AUTO_BUF report = {0};                                          /* that is known in no time */
    uint32_t devices, cores;
    while (copy_latest(&report)) {
        if (report.len > 0 && trainium_report_facts(buf_str(&report), &devices, &cores)) {
            put_facts(to, devices, cores);
            return;
        }
        if (clock_mono_ns() >= until_ns)
            return;
        nanosleep(&(struct timespec){.tv_nsec = step_ns}, NULL);
        step_ns = step_ns < 50000000 ? 2 * step_ns : 100000000;
    }
}
