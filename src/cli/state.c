/* SPDX-License-Identifier: MIT */
#include "cli/state.h"
#include "cli/writers.h"

#include "base/clock.h"

#include <sys/stat.h>
#include <time.h>

enum { QUIET_S = 120 };

static double last_write_s(const char *journal)
{
    struct stat st;
    return stat(journal, &st) == 0 ? (double)st.st_mtim.tv_sec + (double)st.st_mtim.tv_nsec / 1e9
                                   : 0;
}

enum run_state run_state_of(const struct replay *r, const char *journal)
{
    if (r->exited)
        return r->exit_code == 0 ? RUN_FINISHED : RUN_FAILED;
    if (writers_hold(journal))
        return RUN_RUNNING;
    return clock_wall_s() - last_write_s(journal) < QUIET_S ? RUN_UNFINISHED : RUN_CRASHED;
}

const char *run_state_name(enum run_state s)
{
    static const char *const names[] = {"running", "finished", "failed", "unfinished", "crashed"};
    return names[s];
}

enum term_style run_state_style(enum run_state s)
{
    static const enum term_style styles[] = {TERM_CYAN, TERM_GREEN, TERM_RED, TERM_YELLOW,
                                             TERM_RED};
    return styles[s];
}

double run_seconds(const struct replay *r, enum run_state s, const char *journal)
{
    if (r->exited && r->runtime_s > 0)
        return r->runtime_s;
    if (!r->start_ns)
        return 0;
    double end = s == RUN_RUNNING ? clock_wall_s() : last_write_s(journal);
    double seconds = end - (double)r->start_ns / 1e9;
    return seconds > 0 ? seconds : 0;
}

void put_duration(struct buf *to, double seconds)
{
    long s = (long)seconds;
    if (seconds < 10)
        buf_printf(to, "%.1f s", seconds);
    else if (s < 60)
        buf_printf(to, "%ld s", s);
    else if (s < 3600)
        buf_printf(to, "%ld min %ld s", s / 60, s % 60);
    else if (s < 86400)
        buf_printf(to, "%ld h %ld min", s / 3600, s / 60 % 60);
    else
        buf_printf(to, "%ld d %ld h", s / 86400, s / 3600 % 24);
}

void put_time(struct buf *to, int64_t ns)
{
    char text[32];
    time_t t = (time_t)(ns / 1000000000);
    struct tm tm;
    if (ns && localtime_r(&t, &tm) && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm))
        buf_puts(to, text);
}
