/* SPDX-License-Identifier: MIT */
/* `tare run`: a program in an environment in which it logs through Tare.
 *
 * The program stays in our process group, so the keys of the terminal reach it as they always do;
 * signals that someone sends to us are passed on. The service is the one WANDB_SERVICE names, or
 * the user's detached one, or else one of our own, which ends with us. */
#include "base/alloc.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/launch.h"
#include "cli/remote.h"
#include "cli/runs.h"
#include "cli/server_up.h"
#include "journal/reader.h"
#include "journal/replay.h"
#include "service/upload/json_path.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_NOT_EXECUTABLE = 126, EXIT_NO_COMMAND = 127, EXIT_BY_SIGNAL = 128 };
enum { LINKS_MOST = 10, LINKS_WAIT_S = 3 };
#define SERVICE_END_NS ((int64_t)60 * 1000000000)
#define LOOK_NS 2000000

static volatile sig_atomic_t child;

static void pass_on(int number, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    bool from_terminal = info->si_code > 0 || info->si_pid == 0; /* all of the group have it */
    if (child > 0 && !from_terminal)
        kill(child, number);
    errno = saved;
}

static const int passed[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};

static void catch_signals(void)
{
    struct sigaction a = {.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&a.sa_mask);
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        sigaction(passed[i], &a, NULL);
}

/* The service that WANDB_SERVICE names, or the detached one, if it answers. */
static bool find_service(char token[LAUNCH_TOKEN_MAX])
{
    struct launch_address address;
    char port_file[PATH_MAX];
    pid_t pid;
    const char *given = getenv("WANDB_SERVICE");
    const char *path = given ? strstr(given, "-unix-") : NULL;
    if (given && strstr(given, "-tcp-") && strlen(given) < LAUNCH_TOKEN_MAX) {
        strcpy(token, given); /* trusted: there is no cheap way to ask */
        return true;
    }
    if (path && strlen(path + 6) < sizeof address.socket && strlen(given) < LAUNCH_TOKEN_MAX) {
        strcpy(address.socket, path + 6);
        if (launch_answers(&address, &pid)) {
            strcpy(token, given);
            return true;
        }
    }
    if (launch_port_file(port_file, false, NULL) == 0 &&
        launch_read_port_file(port_file, &address) == 0 && launch_answers(&address, &pid)) {
        launch_token(token, &address, pid);
        return true;
    }
    return false;
}

/* Start a service of our own. */
static int start_service(char token[LAUNCH_TOKEN_MAX], struct launch_address *address, pid_t *pid,
                         struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    char folder[PATH_MAX - 16], port_file[PATH_MAX];
    if (!tmp || strlen(tmp) > sizeof folder - 32)
        tmp = "/tmp";
    snprintf(folder, sizeof folder, "%s/tare-run-XXXXXX", *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return err_set(e, -errno, "creating %s: %s", folder, strerror(errno));
    snprintf(port_file, sizeof port_file, "%s/port", folder);
    int rc = launch_service(port_file, false, NULL, address, pid, e);
    unlink(port_file);
    rmdir(folder);
    if (rc == 0)
        launch_token(token, address, *pid);
    return rc;
}

/* -- where the runs go ------------------------------------------------------------------------- */

enum destination { AS_SAID, OWN_SERVER, ON_DISK };

/* To the user's own server, unless something else is said. Without one the program still runs: its
 * runs are kept on disk. */
static int choose(bool with_server, bool offline, enum destination *to)
{
    struct server_up s;
    struct err e = {0};
    *to = offline ? ON_DISK : AS_SAID;
    if (offline || (!with_server && where_is_said()))
        return 0;
    if (server_up(&s, &e)) {
        if (with_server)
            return e.code;
        cli_fail("run", "%s; runs are kept on disk, `tare sync` brings them there later", e.text);
        *to = ON_DISK;
        return 0;
    }
    *to = OWN_SERVER;
    fprintf(stderr, "tare run: logging to %s%s (your own server, its files are in %s)\n", s.url,
            s.started ? ", started now" : "", s.dir);
    setenv("WANDB_BASE_URL", s.url, 1);
    setenv("WANDB_API_KEY", s.key, 1);
    unsetenv("WANDB_MODE");
    return 0;
}

static char *viewer_entity(const struct where *w)
{
    AUTO_BUF data = {0};
    struct err e = {0};
    if (remote_query(w, "TareViewer", "query TareViewer { viewer { entity } }", STR("{}"), LINKS_WAIT_S, &data, &e)) {
        cli_fail("run", "%s; what has not arrived there is kept on disk, `tare sync` brings it", e.text);
        return NULL;
    }
    return json_string_at(buf_str(&data), "viewer.entity");
}

/* The project of a run that began at or after `since_ns`, for its link: heap; NULL for others. */
static char *project_of(const struct run_place *p, int64_t since_ns)
{
    struct journal_reader reader;
    struct journal_item item;
    struct replay r;
    char *project = NULL;
    if (journal_reader_open(&reader, p->journal, NULL) < 0)
        return NULL;
    replay_init(&r, NULL, NULL);
    while (!r.has_run && journal_reader_next(&reader, &item) > 0)
        replay_record(&r, item.bytes);
    if (r.has_run && r.start_ns >= since_ns)
        project = xmem_strdup(r.project && *r.project ? r.project : "uncategorized");
    replay_fini(&r);
    journal_reader_close(&reader);
    return project;
}

/* As the names of runs' folders have it: "20261123_145101". */
static void time_text(char to[16], time_t at_s)
{
    struct tm tm;
    localtime_r(&at_s, &tm);
    strftime(to, 16, "%Y%m%d_%H%M%S", &tm);
}

/* Name the runs that began since then, newest last. Folders' names know only whole seconds. */
static void tell_links(int64_t since_ns)
{
    char since[16];
    time_text(since, since_ns / 1000000000);
    struct run_list runs;
    struct where w;
    struct err e = {0};
    if (run_list_read(&runs, runs_default_dir(), &e))
        return;
    size_t first = runs.n;
    while (first > 0 && runs.n - first < LINKS_MOST && strcmp(runs.at[first - 1].time, since) >= 0)
        first--;
    AUTO_FREE char *entity = first < runs.n && where_backend(&w, NULL, &e) == 0 ? viewer_entity(&w) : NULL;
    for (size_t i = first; entity && i < runs.n; i++) {
        AUTO_FREE char *project = project_of(&runs.at[i], since_ns);
        if (project)
            fprintf(stderr, "tare run: %s/%s/%s/runs/%s\n", w.url, entity, project, runs.at[i].id);
    }
    run_list_fini(&runs);
}

static void set_environment(const char *token, enum destination to)
{
    setenv("WANDB_SERVICE", token, 1);
    if (to == ON_DISK)
        setenv("WANDB_MODE", "offline", 1);
}

static _Noreturn void exec_command(char **command)
{
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        signal(passed[i], SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    execvp(command[0], command);
    int rc = errno == ENOENT ? EXIT_NO_COMMAND : EXIT_NOT_EXECUTABLE;
    fprintf(stderr, "tare run: %s: %s\n", command[0],
            errno == ENOENT ? "no such command" : strerror(errno));
    _exit(rc);
}

/* Run it and wait. Returns its exit code as a shell would. */
static int run_command(char **command)
{
    int status;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before); /* until `child` is known */
    catch_signals();
    pid_t pid = fork();
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        exec_command(command);
    }
    child = pid;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return cli_fail("run", "starting %s: %s", command[0], strerror(errno));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    child = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_BY_SIGNAL + WTERMSIG(status);
}

/* The program has ended: our service takes in what it sent, ends the runs that it left open with
 * its exit code, as the SDK does with a service of its own, and then itself. */
static void end_service(const struct launch_address *address, pid_t pid, int exit_code)
{
    int64_t end = clock_mono_ns() + SERVICE_END_NS;
    int status;
    if (!launch_teardown(address, exit_code))
        kill(pid, SIGTERM);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_mono_ns() > end) {
            cli_fail("run", "the service (process %ld) is still writing; it goes on alone",
                     (long)pid);
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
}

static int verb_run(int argc, char **argv)
{
    int exit_code;
    bool with_server = false, offline = false;
    const struct cli_option options[] = {{"server", 0, &with_server, NULL},
                                         {"offline", 0, &offline, NULL}};
    int n = cli_options(argc, argv, options, 2, true, &exit_code);
    if (n < 0)
        return exit_code;
    if (n == 0)
        return cli_misuse("run", "name a command: tare run -- python train.py");
    if (with_server && offline)
        return cli_misuse("run", "--server and --offline exclude each other");
    char token[LAUNCH_TOKEN_MAX];
    int64_t begun_ns = clock_wall_ns();
    struct launch_address address;
    enum destination to;
    pid_t service = 0;
    struct err e = {0};
    if (choose(with_server, offline, &to))
        return cli_fail("run", "the server could not be started; `tare server` says why");
    if (!find_service(token) && start_service(token, &address, &service, &e) < 0)
        return cli_fail("run", "%s", e.text);
    set_environment(token, to);
    int rc = run_command(argv + 1);
    if (service)
        end_service(&address, service, rc);
    if (to == OWN_SERVER)
        tell_links(begun_ns);
    return rc;
}

const struct cli_verb cli_run = {
    "run",
    "run a program so that it logs through Tare",
    verb_run,
    "usage: tare run [--server | --offline] [--] COMMAND [ARGUMENT...]\n"
    "\n"
    "Run COMMAND with WANDB_SERVICE set, so that the wandb package (unmodified) and libtare log "
    "through\n"
    "Tare: through the service that WANDB_SERVICE names already, or the one that `tare service\n"
    "start` started, or one that lives as long as the command.\n"
    "\n"
    "Where to: what WANDB_BASE_URL, WANDB_MODE, wandb's settings files or a login at the W&B cloud "
    "say.\n"
    "If nothing is said, to your own `tare server`, which is started if it is not up and goes on\n"
    "afterwards; WANDB_BASE_URL and WANDB_API_KEY are set, and the runs' pages are named at the "
    "end.\n"
    "Runs are kept in ./wandb as well; `tare ls` and `tare show` find them there.\n"
    "\n"
    "  --server    to your own server, whatever else is said\n"
    "  --offline   only keep runs on disk; `tare sync` brings them somewhere later\n"
    "\n"
    "Signals sent to `tare run` are passed on to COMMAND.\n"
    "\n"
    "Exit code: that of COMMAND, 128 + n if signal n ended it; 127 there is no such command, 126 "
    "it\n"
    "cannot be executed; 1 no service could be started, 2 wrong use.\n",
};
