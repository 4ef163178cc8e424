#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How fast `tare sync` brings a journal to `tare server` on loopback: sync.py [--mb N] [--repeat N] [--dir DIR]

The journal is written by `tare service` (records of 10 floats); each repeat goes to a new run, and what
the server then has is counted. Needs the wandb package for its messages. One line a repeat: MB of journal a
second of wall time, and CPU seconds a GB of both sides."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "e2e"))

from server_support import Server  # noqa: E402
from service_support import TARE, Run, Service, cpu_seconds, end_run, frame, start_run  # noqa: E402

RECORD_BYTES = 340  # of the journal, with these values


def write_journal(root, mb):
    run = Run(root, "bench000")
    row = {f"metric{i}": i + 0.123456789 for i in range(10)}
    chunk = frame(run.history(**row, _timestamp=1.7e9)) * 1000
    with Service(root) as service:
        client = service.connect()
        start_run(client, run)
        n = mb * 1_000_000 // RECORD_BYTES // 1000
        for _ in range(n):
            client.sock.sendall(chunk)
        end_run(client, run)
        client.close()
    return run, n * 1000


def peak_mb(process):
    """Its peak RSS once it has ended. (Its parent's rusage would count what this program had at the fork.)"""
    peak = 0
    while process.poll() is None:
        with open(f"/proc/{process.pid}/status") as f:
            found = [int(line.split()[1]) for line in f if line.startswith("VmHWM")]
        peak = max([peak, *found])
        time.sleep(0.02)
    return peak / 1024


def sync_once(root, server, run, run_id):
    """(wall s, CPU s of `tare sync`, CPU s of the server, peak MB of `tare sync`)"""
    env = dict(os.environ, WANDB_BASE_URL=server.url, WANDB_API_KEY=server.key)
    before, begun = cpu_seconds(server.process.pid), time.perf_counter()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    tare = subprocess.Popen([TARE, "sync", "--include-synced", "--id", run_id, str(run.dir)], env=env,
                            cwd=root, stdout=subprocess.DEVNULL)
    peak = peak_mb(tare)
    assert tare.wait() == 0
    wall = time.perf_counter() - begun
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return wall, cpu, cpu_seconds(server.process.pid) - before, peak


COUNT = "query($r: String!) { project(name: \"test\") { run(name: $r) { historyLineCount state } } }"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dir", help="where everything is kept (default: /dev/shm)", default="/dev/shm")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as root, Server(root, "--no-access-log") as server:
        run, n = write_journal(root, args.mb)
        size = run.file.stat().st_size
        print(f"journal: {size / 1e6:.0f} MB, {n} rows")
        for i in range(args.repeat):
            wall, cpu, server_cpu, peak = sync_once(root, server, run, f"bench{i}")
            found = server.graphql(COUNT, {"r": f"bench{i}"})["data"]["project"]["run"]
            assert found == {"historyLineCount": n, "state": "finished"}, json.dumps(found)
            print(f"{size / 1e6 / wall:8.1f} MB/s  {wall:6.2f} s; CPU a GB: sync {cpu / size * 1e9:.2f} s, "
                  f"server {server_cpu / size * 1e9:.2f} s; peak RSS of sync {peak:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
