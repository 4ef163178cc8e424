# SPDX-License-Identifier: MIT
"""The service is killed while a program logs: the program goes on, and its file has every step
exactly once."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import re
import signal
import subprocess
import time

import psutil
import pytest
from client_support import (DRIVER, SERVICES, Proxy, RunFile, environment, kind_of,
                            lines_of)
from service_support import records, steps

ROUNDS = int(os.environ.get("KILL_ROUNDS", "4"))
N = 4000


def start(tmp_path, run_id, service, pause_us=100):
    (tmp_path / "tmp").mkdir()
    return subprocess.Popen([DRIVER, "loop", tmp_path, run_id, str(N), str(pause_us)],
                            env=environment(service, TMPDIR=str(tmp_path / "tmp")), text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def service_of(program) -> psutil.Process | None:
    """None if the program is through before we have looked: everything may take long here but that."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if children := psutil.Process(program.pid).children():
            return children[0]
        if program.poll() is not None:
            return None
        time.sleep(0.01)
    raise AssertionError("no service was started")


def check_complete(said, n_exits=1):
    """The folder the program went on in (or began in) has it all."""
    folder = pathlib.Path(said["dir"][0])
    moved = [m.group(1) for m in (re.search(r"goes on in (.*)", x) for x in said.get("message", []))
             if m]
    path = pathlib.Path(moved[0]) if moved else next(folder.glob("*.wandb"))
    run = RunFile(path)
    assert [h["i"] for h in run.history] == list(range(N))
    assert [h["_step"] for h in run.history] == list(range(N))
    assert len(run.of("run")) == 1 and len(run.of("exit")) == n_exits
    assert run.summary["i"] == N - 1 and run.config["at"] == N - 100
    return path


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_killed_at_a_random_moment(service, round_, tmp_path):
    rng = random.Random(round_)
    with start(tmp_path, f"kill{round_}", service) as program:
        process = service_of(program)
        time.sleep(rng.uniform(0.02, 0.5))
        with contextlib.suppress(psutil.NoSuchProcess):  # it may be over by now
            if process:
                process.send_signal(signal.SIGKILL)
        out, err = program.communicate(timeout=60)
    assert program.returncode == 0, out
    assert err == ""
    said = lines_of(out)
    assert said["dropped"] == ["0"]
    # "no service" if it was killed before anyone could connect, nothing if it was not needed
    # any more.
    assert len(re.findall("the service is lost|no service", out)) <= 1
    path = check_complete(said)
    assert path.parent == pathlib.Path(said["dir"][0])  # surely dead: its file is gone on with
    if "no service" not in out:
        left = [f.name for f in (tmp_path / "tmp").iterdir()]
        # no socket, no port file; what a helper of wandb-core's own leaves when that is killed is its affair
        assert not [name for name in left if not name.startswith(("wandb-symon-", "wandb_symon-"))]


def test_stopped_service_is_given_up(tmp_path):
    """It hangs for good: after hang_ms (30 s) all is in a file of our own. Too slow for every run,
    so only with KILL_ROUNDS set high."""
    if ROUNDS < 20:
        pytest.skip("set KILL_ROUNDS=20 or more")
    with start(tmp_path, "stop", "tare") as program:
        process = service_of(program)
        time.sleep(0.1)
        process.send_signal(signal.SIGSTOP)
        try:
            out, _ = program.communicate(timeout=90)
        finally:
            process.kill()
    said = lines_of(out)
    assert program.returncode == 0, out
    path = check_complete(said)
    assert path.parent != pathlib.Path(said["dir"][0])


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_killed_program_leaves_what_it_sent(round_, tmp_path):
    """Every step that was handed to the socket, as the proxy behind it saw, is in the file."""
    rng = random.Random(100 + round_)
    with service_at(tmp_path / "port") as socket:
        proxy = Proxy(tmp_path, socket)
        with subprocess.Popen([DRIVER, "loop", tmp_path, "prog", str(N), "50"], text=True,
                              env=environment("tare", WANDB_SERVICE=proxy.token),
                              stdout=subprocess.PIPE) as program:
            folder = pathlib.Path(program.stdout.readline().split(" ", 1)[1].rstrip())
            wait_for(lambda: rows_of(proxy))
            time.sleep(rng.uniform(0.02, 0.4))
            program.kill()
            program.wait()
        assert proxy.ended.wait(60)
        sent = rows_of(proxy)
        journal = next(folder.glob("*.wandb"))
        # The service's write comes within 10 ms, on a busy machine later; it may be under way when we look.
        wait_for(lambda: len(records(journal, torn_ok=True)) and
                 len(steps(records(journal, torn_ok=True))) >= len(sent))
        assert [h["i"] for h in RunFile(journal).history] == [int(i) for i in sent] == list(range(len(sent)))


def rows_of(proxy):
    return [message.record_publish.request.partial_history.item[0].value_json for way, message in list(proxy.frames)
            if way == ">" and kind_of(message) == "request.partial_history"]


def wait_for(what, seconds=30):
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.005)


@contextlib.contextmanager
def service_at(port_file):
    """A service of ours that waits for nobody; its socket's path."""
    service = subprocess.Popen([SERVICES["tare"], "--port-filename", port_file, "--detached",
                                "--idle-timeout", "10s"], stderr=subprocess.DEVNULL)
    try:
        while not (port_file.exists() and port_file.read_text().rstrip().endswith("EOF")):
            assert service.poll() is None
        yield next(x[5:] for x in port_file.read_text().splitlines() if x.startswith("unix="))
    finally:
        service.kill()
        service.wait()
