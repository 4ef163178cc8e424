#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What system metrics at 1 Hz cost: sysmon.py [--runs N ...] [--seconds S] [--peer] [--tree] [--each]

Starts a service with N offline runs that watch this process (--each: a process of its own each), and tells
how much processor time the service and its children use, in percent of one core, beside what the same runs
use without metrics. With --peer the wandb package's service beside it. One line a case."""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import wandb

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "e2e"))

import service_support as support  # noqa: E402


def children(pid):
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
        except (OSError, IndexError):
            pass
    return found


def run_seconds(pid):
    """By the process's own clock (clock_getcpuclockid), which has nanoseconds; /proc/PID/stat counts ticks of
    10 ms."""
    return time.clock_gettime(~pid << 3 | 2)


def used(pid):
    return sum(run_seconds(p) for p in [pid, *children(pid)])


def measure(binary, n_runs, seconds, metrics, tree, watched):
    """Percent of a core that a service with `n_runs` uses."""
    support.TARE = str(binary)
    with tempfile.TemporaryDirectory() as root, support.Service(root) as service:
        client = service.connect()
        for i in range(n_runs):
            run = support.Run(root, f"bench{i:03}", x_stats_pid=watched[i], x_stats_sampling_interval=1.0,
                              x_stats_track_process_tree=tree, x_disable_stats=not metrics,
                              x_disable_meta=True, x_stats_buffer_size=1000)
            init = run.init()
            init.inform_init.settings.x_stats_disk_paths.value.append("/")
            client.must(init)
            client.must(run.run())
            client.must(run.run_start())
        time.sleep(3)  # past the start
        before, begun = used(service.pid), time.monotonic()
        time.sleep(seconds)
        percent = (used(service.pid) - before) / (time.monotonic() - begun) * 100
        answer = client.must(run.request("get_system_metrics")).result_communicate.response
        taken = answer.get_system_metrics_response.system_metrics["memory_percent"].record
        assert len(taken) >= (seconds * 0.8 if metrics else 0), len(taken)
        service.proc.kill()  # its runs never end
        service.proc.wait()
        return percent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--tree", action="store_true")
    parser.add_argument("--each", action="store_true")
    args = parser.parse_args()
    binaries = {"tare": support.TARE}
    if args.peer:
        binaries["wandb-core"] = pathlib.Path(wandb.__file__).parent / "bin" / "wandb-core"
    sleepers = [subprocess.Popen(["sleep", "infinity"]) for _ in range(max(args.runs))] if args.each else []
    watched = [p.pid for p in sleepers] or [os.getpid()] * max(args.runs)
    for n_runs in args.runs:
        for name, binary in binaries.items():
            idle = measure(binary, n_runs, args.seconds / 3, False, args.tree, watched)
            percent = measure(binary, n_runs, args.seconds, True, args.tree, watched)
            print(f"{name:10} {n_runs:3} runs at 1 Hz: {percent:.3f} % of a core "
                  f"({idle:.3f} % without metrics)", flush=True)
    for sleeper in sleepers:
        sleeper.kill()
        sleeper.wait()


if __name__ == "__main__":
    main()
