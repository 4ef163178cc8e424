/* SPDX-License-Identifier: MIT */
/* `tare service start | stop | status`: the user's detached service. With flags, or without a word,
 * `tare service` is the service itself: main.c sends that to service/main.c. */
#include "base/clock.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/launch.h"
#include "cli/term.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STOP_TIMEOUT_NS ((int64_t)30 * 1000000000)
#define LOOK_NS 10000000

/* The service that runs, if one does. */
struct running {
    char port_file[PATH_MAX];
    struct launch_address address;
    pid_t pid;
    bool up;
};

static int look(struct running *r, bool make, struct err *e)
{
    *r = (struct running){0};
    int rc = launch_port_file(r->port_file, make, e);
    if (rc == TARE_ENOTFOUND)
        return 0;
    if (rc < 0)
        return rc;
    r->up = launch_read_port_file(r->port_file, &r->address) == 0 &&
            launch_answers(&r->address, &r->pid);
    return 0;
}

static void say(const struct running *r, bool json)
{
    char token[LAUNCH_TOKEN_MAX];
    AUTO_BUF b = {0};
    launch_token(token, &r->address, r->pid);
    if (json) {
        buf_printf(&b, "{\"running\":%s", r->up ? "true" : "false");
        if (r->up) {
            buf_printf(&b, ",\"pid\":%ld,\"socket\":", (long)r->pid);
            json_put_string(&b, str_of(r->address.socket));
            buf_puts(&b, ",\"token\":");
            json_put_string(&b, str_of(token));
        }
        buf_puts(&b, "}\n");
    } else if (r->up) {
        buf_printf(&b, "running, process %ld\nWANDB_SERVICE=%s\n", (long)r->pid, token);
    } else {
        buf_puts(&b, "not running\n");
    }
    term_flush(&b);
}

static int start(bool json, char *const *flags)
{
    struct running r;
    struct err e = {0};
    if (look(&r, true, &e) < 0)
        return cli_fail("service", "%s", e.text);
    if (!r.up) {
        if (launch_service(r.port_file, true, flags, &r.address, &r.pid, &e) < 0)
            return cli_fail("service", "%s", e.text);
        r.up = true;
    }
    say(&r, json);
    return CLI_OK;
}

static int status(bool json)
{
    struct running r;
    struct err e = {0};
    if (look(&r, false, &e) < 0)
        return cli_fail("service", "%s", e.text);
    say(&r, json);
    return r.up ? CLI_OK : CLI_FAILED;
}

/* Ask it to end and wait until it has. It takes in what clients have sent and closes all journals;
 * with runs open it gives their programs a moment to finish first, unless told twice. */
static int stop(bool now)
{
    struct running r;
    struct err e = {0};
    if (look(&r, false, &e) < 0)
        return cli_fail("service", "%s", e.text);
    if (!r.up) {
        puts("not running");
        return CLI_OK;
    }
    if (r.pid <= 1)
        return cli_fail("service", "cannot tell which process serves %s", r.address.socket);
    int64_t end = clock_mono_ns() + STOP_TIMEOUT_NS;
    kill(r.pid, SIGTERM);
    while (kill(r.pid, 0) == 0) {
        if (clock_mono_ns() > end)
            return cli_fail("service", "process %ld has not ended in 30 s", (long)r.pid);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
        if (now)
            kill(r.pid, SIGTERM);
        now = false;
    }
    unlink(r.port_file);
    puts("stopped");
    return CLI_OK;
}

static int verb_service(int argc, char **argv)
{
    bool json = false, now = false;
    const char *idle = NULL;
    const struct cli_option options[] = {
        {"json", 0, &json, NULL}, {"now", 0, &now, NULL}, {"idle-timeout", 0, NULL, &idle}};
    int exit_code;
    int n = cli_options(argc, argv, options, 3, false, &exit_code);
    if (n < 0)
        return exit_code;
    const char *word = n ? argv[1] : "";
    int rc;
    if (strcmp(word, "start") == 0) {
        char *flags[] = {"--idle-timeout", (char *)(idle ? idle : "0"), NULL};
        rc = start(json, flags);
    } else if (strcmp(word, "status") == 0 && n == 1) {
        rc = status(json);
    } else if (strcmp(word, "stop") == 0 && n == 1) {
        rc = stop(now);
    } else {
        return cli_misuse("service", "say start, stop or status");
    }
    return cli_flush("service", rc);
}

const struct cli_verb cli_service = {
    "service",
    "the service itself; or start, stop, status of a detached one",
    verb_service,
    "usage: tare service start [--idle-timeout 10m0s] [--json]\n"
    "       tare service status [--json]\n"
    "       tare service stop [--now]\n"
    "       tare service FLAG...\n"
    "\n"
    "start   start a service that outlives this shell, one for each user, and print what to set\n"
    "        WANDB_SERVICE to; if it runs already, only print. It ends by itself after\n"
    "        --idle-timeout without a client; 0, if not given, never.\n"
    "status  whether it runs\n"
    "stop    end it; a running program gets some seconds to finish its runs, or none with --now.\n"
    "        What it has logged so far stays in its journal.\n"
    "\n"
    "With flags `tare service` is the service: it takes the command line of wandb-core, see\n"
    "`tare service --help`.\n"
    "\n"
    "Exit code: 0 done, or it runs; 1 failed, or it does not run; 2 wrong use.\n",
};
