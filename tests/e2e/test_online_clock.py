# SPDX-License-Identifier: MIT
"""Online runs while someone sets the clock: by days, forth and back."""

import json
import mmap
import struct
import subprocess
import time

import pytest
from online_support import FakeBackend, read_runs
from server_support import Server
from service_support import MANY, ROOT
from test_online_faults import Program, wait_for

DAY = 86400


class Clock:
    """The wall clock of the programs that have `env`."""

    def __init__(self, folder):
        library, path = folder / "jump.so", folder / "off"
        subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", str(library),
                        str(ROOT / "tests" / "support" / "jump.c")], check=True)
        path.write_bytes(bytes(8))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 8)
        self.env = {"LD_PRELOAD": str(library), "TARE_JUMP": str(path)}

    def set_off(self, seconds):
        self.map[:] = struct.pack("q", seconds)


SCRIPT = """
    import sys
    settings = wandb.Settings(x_stats_sampling_interval=0.1, x_file_stream_transmit_interval=0.1)
    run = wandb.init(project="p", id="abc", settings=settings)
    i = 0
    for name in ("back", "forth", "home"):
        for _ in range(100):
            run.log({"i": i})
            i += 1
        print("line of", name, flush=True)
        point(name)
    for _ in range(100):
        run.log({"i": i})
        i += 1
    run.summary["last"] = time.time()
    point("end")
    run.finish()
"""
OFF = {"back": -10 * DAY, "forth": 20 * DAY, "home": 0}

pytestmark = pytest.mark.skipif(MANY > 1, reason="sanitizers want to be loaded first")


def test_rates_and_waits_do_not_know_the_wall_clock(tmp_path):
    clock = Clock(tmp_path)
    begun = time.monotonic()
    with FakeBackend() as backend, Program(tmp_path, backend.url, SCRIPT, **clock.env) as program:
        def lines(name):
            return len(backend.runs["abc"].lines.get(name, {})) if "abc" in backend.runs else 0
        n = 0
        for name, off in OFF.items():
            n += 100
            program.reaches(name)
            wait_for(lambda n=n: lines("wandb-history.jsonl") == n)
            clock.set_off(off)
            seen = lines("wandb-events.jsonl")
            # samples of the system go on at their pace, neither stopped nor in a burst
            wait_for(lambda seen=seen: lines("wandb-events.jsonl") >= seen + 10)
            assert lines("wandb-events.jsonl") <= 10 + (time.monotonic() - begun) / 0.05
            program.go(name)
        program.reaches("end")
        program.go("end")
        out = program.end()
    assert program.process.returncode == 0, out
    run = backend.runs["abc"]
    assert [row["i"] for row in run.history] == list(range(400))
    runtimes = [row["_runtime"] for row in run.history]
    assert runtimes == sorted(runtimes) and 0 <= runtimes[0] and runtimes[-1] < 3600
    assert 0 <= run.summary["_wandb"]["runtime"] < 3600
    assert run.exit_code == 0
    assert all(any(f"line of {name}" in line for line in run.console) for name in OFF)
    # what is written down is what the clock showed
    shown = [json.loads(line)["_timestamp"] for line in run.file("wandb-events.jsonl")]
    assert min(shown) < time.time() - 9 * DAY and max(shown) > time.time() + 19 * DAY


def test_a_server_whose_clock_is_set(tmp_path):
    clock = Clock(tmp_path)
    with Server(tmp_path, env=clock.env) as server, \
            Program(tmp_path, server.url, SCRIPT, WANDB_API_KEY=server.key, **clock.env) as program:
        for name, off in OFF.items():
            program.reaches(name)
            clock.set_off(off)
            time.sleep(1.5)  # the server's own rounds
            program.go(name)
        program.reaches("end")
        program.go("end")
        out = program.end()
        assert program.process.returncode == 0, out
        run = read_runs(tmp_path, server, "p")["abc"]
    assert [row["i"] for row in run["history"]] == list(range(400))
    assert run["state"] == "finished"
