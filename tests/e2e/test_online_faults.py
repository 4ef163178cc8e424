# SPDX-License-Identifier: MIT
"""Online runs while the backend, the program or the person does what it should not."""

import os
import pathlib
import resource
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from online_support import FakeBackend, clean_env, run_script
from service_support import MANY, TARE, Service, frame, records, steps
from test_online_wire import online_run


@pytest.fixture
def backend():
    with FakeBackend() as b:
        yield b


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)
    return value


class Program:
    """A program that logs beside the test; `go` lets it pass a point where it waits."""

    def __init__(self, folder, url, script, **env):
        self.folder = pathlib.Path(folder)
        path = self.folder / "program.py"
        path.write_text("import os, time, wandb\n"
                        "def point(name):\n"
                        "    open(name + '.here', 'w').close()\n"
                        "    while not os.path.exists(name): time.sleep(0.01)\n" + textwrap.dedent(script))
        self.process = subprocess.Popen([sys.executable, str(path)], env=clean_env(folder, url, **env), cwd=folder,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.stdout.close()
        self.process.wait()

    def reaches(self, point):
        wait_for((self.folder / f"{point}.here").exists)

    def go(self, point):
        (self.folder / point).touch()

    def service(self):
        children = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [int(p) for c in children for p in c.read_text().split()]
        return next(p for p in pids if "tare" in os.readlink(f"/proc/{p}/exe"))

    def end(self):
        out, _ = self.process.communicate(timeout=200)
        return out


def peak_kb(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1])


def test_what_is_logged_while_the_backend_is_away_arrives_once(tmp_path, backend):
    with Program(tmp_path, backend.url, """
            run = wandb.init(project="p", id="abc")
            run.log({"i": 0})
            point("begun")
            for i in range(1, 30000):
                run.log({"i": i, **{f"m{j}": i + j / 10 for j in range(10)}})
            point("logged")
            run.finish()
            """) as program:
        program.reaches("begun")
        wait_for(lambda: "wandb-history.jsonl" in backend.runs["abc"].lines)
        backend.go_away()
        program.go("begun")
        program.reaches("logged")
        time.sleep(2)
        assert peak_kb(program.service()) < 32 * 1024 * MANY
        backend.come_back()
        program.go("logged")
        out = program.end()
    assert program.process.returncode == 0, out
    run = backend.runs["abc"]
    assert [row["i"] for row in run.history] == list(range(30000))
    assert run.exit_code == 0 and run.summary["i"] == 29999


@pytest.mark.parametrize("env", [{}, {"WANDB_FINISH_TIMEOUT": "1"}])
def test_a_bounded_finish_says_how_to_bring_the_rest(tmp_path, backend, env):
    with Program(tmp_path, backend.url, f"""
            run = wandb.init(project="p", id="abc", settings=wandb.Settings({"" if env else "finish_timeout=1"}))
            point("begun")
            run.log({{"i": 0}})
            run.finish()
            """, **env) as program:
        program.reaches("begun")
        backend.go_away()
        program.go("begun")
        out = program.end()
    assert program.process.returncode == 0, out
    assert "Timed out finishing run." in out
    assert "To upload the rest later, run: wandb sync" in out
    backend.come_back()
    done = subprocess.run([TARE, "sync"], cwd=tmp_path, env=clean_env(tmp_path, backend.url), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert done.returncode == 0, done.stdout
    assert [row["i"] for row in backend.runs["abc"].history] == [0] and backend.runs["abc"].exit_code == 0


def test_a_key_that_is_revoked_in_the_middle(tmp_path, backend):
    """The person is told, the program goes on, and sync with a key brings every row once."""
    with Program(tmp_path, backend.url, """
            run = wandb.init(project="p", id="abc")
            run.log({"i": 0})
            point("begun")
            for i in range(1, 1000):
                run.log({"i": i})
            run.finish()
            """) as program:
        program.reaches("begun")
        wait_for(lambda: "wandb-history.jsonl" in backend.runs["abc"].lines)
        backend.fail = {name: [401] * 1000 for name in ("file_stream", "UpsertBucket", "CreateRunFiles")}
        program.go("begun")
        out = program.end()
    assert program.process.returncode == 0, out
    assert "Fatal error while uploading data" in out and "wandb sync" in out
    assert len(backend.runs["abc"].lines["wandb-history.jsonl"]) == 1
    backend.fail = {}
    done = subprocess.run([TARE, "sync"], cwd=tmp_path, env=clean_env(tmp_path, backend.url), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert done.returncode == 0, done.stdout
    assert [row["i"] for row in backend.runs["abc"].history] == list(range(1000))
    assert backend.runs["abc"].exit_code == 0


UNSENT = """
            from wandb.sdk.lib.service.service_client import ServiceClient
            async def too_late(self, id, /): pass
            ServiceClient._cancel_request = too_late
"""


@pytest.mark.parametrize("cancelling", ["", UNSENT], ids=["cancelled", "too late to cancel"])
def test_an_interrupted_finish_lets_the_program_go(tmp_path, backend, cancelling):
    """The SDK's cancelling of the exit races with its teardown, and may never be sent: the program must not hang."""
    with Program(tmp_path, backend.url, cancelling + """
            run = wandb.init(project="p", id="abc")
            point("begun")
            try:
                run.finish()
            except KeyboardInterrupt:
                print("interrupted")
            """) as program:
        program.reaches("begun")
        backend.go_away()
        program.go("begun")
        journal, = tmp_path.glob("wandb/run-*/run-abc.wandb")
        wait_for(lambda: any(r.HasField("exit") for r in records(journal, torn_ok=True)))
        program.process.send_signal(signal.SIGINT)
        began = time.monotonic()
        out = program.end()
        assert time.monotonic() - began < 90  # it would hang for ever
    assert "interrupted" in out
    assert any(r.HasField("exit") for r in records(journal))


@pytest.mark.parametrize("again", ["program", "service", ""])
def test_a_finish_that_is_interrupted_before_the_exit_says_what_it_waits_for(tmp_path, backend, again):
    """The SDK waits for the service then, which makes the exit record; a second Control-C ends all."""
    with Program(tmp_path, backend.url, """
            run = wandb.init(project="p", id="abc")
            def interrupted(*_):
                raise KeyboardInterrupt
            run._console_stop = interrupted
            for i in range(100):
                run.log({"i": i})
            point("begun")
            run.finish()
            """) as program:
        program.reaches("begun")
        service = program.service()
        backend.go_away()
        program.go("begun")
        lines = []
        while not lines or "is being finished: " not in lines[-1]:
            lines.append(program.process.stdout.readline())
            assert lines[-1], lines
        assert "Run abc is being finished: updating run metadata" in lines[-1] and "Control-C" in lines[-1]
        if again:
            os.kill(program.process.pid if again == "program" else service, signal.SIGINT)
        else:
            backend.come_back()
        began = time.monotonic()
        rest = program.end()  # the service holds the output, too
        assert time.monotonic() - began < 50  # or ten minutes
        wait_for(lambda: not os.path.exists(f"/proc/{service}"))
    assert ("wandb sync" in rest) == bool(again), rest
    journal, = tmp_path.glob("wandb/run-*/run-abc.wandb")
    assert any(r.HasField("exit") for r in records(journal))
    assert again or [row["i"] for row in backend.runs["abc"].history] == list(range(100))


def test_rows_of_a_program_that_is_killed_arrive(tmp_path, backend):
    with Program(tmp_path, backend.url, """
            run = wandb.init(project="p", id="abc")
            for i in range(5000):
                run.log({"i": i})
            run.summary.update({"sent": True})
            assert run.summary["i"] == 4999  # asked of the service, behind all that the SDK has queued
            point("logged")
            """) as program:
        program.reaches("logged")
        service = program.service()
        program.process.kill()
        program.process.wait()
        wait_for(lambda: not os.path.exists(f"/proc/{service}"))
    run = backend.runs["abc"]
    assert [row["i"] for row in run.history] == list(range(5000))
    assert run.exit_code is None  # the backend finds out by itself that it crashed


@pytest.mark.parametrize("status", [429, 500, 502])
def test_what_passes_is_tried_again(tmp_path, backend, status):
    backend.fail = {"file_stream": [status, status], "UpsertBucket": [status], "CreateRunFiles": [status],
                    "upload": [status, status]}
    settings = "wandb.Settings(" + ", ".join(
        f"x_{kind}_retry_wait_min_seconds=0.05" for kind in ("graphql", "file_stream", "file_transfer")) + ")"
    p = run_script(tmp_path, backend.url, f"""
        import wandb
        with wandb.init(project="p", id="abc", settings={settings}) as run:
            for i in range(10):
                run.log({{"i": i}})
        """)
    assert p.returncode == 0, p.stdout
    assert not any(backend.fail.values())
    run = backend.runs["abc"]
    assert [row["i"] for row in run.history] == list(range(10)) and run.exit_code == 0
    assert "config.yaml" in run.uploads


def test_a_run_that_must_leave_no_file_arrives(tmp_path, backend):
    p = run_script(tmp_path, backend.url, """
        import wandb
        settings = wandb.Settings(x_skip_transaction_log=True)
        with wandb.init(project="p", id="abc", settings=settings) as run:
            for i in range(20000):
                run.log({"i": i, "text": "x" * 100})
        """)
    assert p.returncode == 0, p.stdout
    assert [row["i"] for row in backend.runs["abc"].history] == list(range(20000))
    assert not list(tmp_path.glob("wandb/run-*/run-*.wandb"))


def test_a_removed_folder_does_not_stop_the_run(tmp_path, backend):
    p = run_script(tmp_path, backend.url, """
        import os, shutil, time, wandb
        run = wandb.init(project="p", id="abc")
        run.log({"i": 0})
        time.sleep(0.5)
        while os.path.exists("wandb"):  # the service may put a file there meanwhile
            shutil.rmtree("wandb", ignore_errors=True)
        for i in range(1, 1000):
            run.log({"i": i})
        run.finish()
        """)
    assert p.returncode == 0, p.stdout
    assert [row["i"] for row in backend.runs["abc"].history] == list(range(1000))
    assert backend.runs["abc"].exit_code == 0


def test_a_full_disk_costs_the_backend_nothing(tmp_path, backend):
    """The run's file ends where the disk (here: a limit on file sizes) does; the run goes on from memory."""
    with FakeBackend() as mirror:
        p = run_script(tmp_path, backend.url, """
            import resource, signal, wandb
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
            run = wandb.init(project="p", id="abc")
            for i in range(20000):
                run.log({"i": i, "text": "x" * 20})
            run.finish()
            """, TARE_MIRROR=f"{mirror.url} {'m' * 40}")
        assert p.returncode == 0, p.stdout
        assert "the run goes on to the backend, and to the file when there is room" in p.stdout
        for b in (backend, mirror):
            assert [row["i"] for row in b.runs["abc"].history] == list(range(20000))
            assert b.runs["abc"].exit_code == 0
    journal, = tmp_path.glob("wandb/run-*/run-abc.wandb")
    assert 0 < len(steps(records(journal))) < 20000


def test_a_full_disk_while_the_backend_is_away(tmp_path, backend):
    """Memory is bounded: the program waits; then everything arrives."""
    with Program(tmp_path, backend.url, """
            import resource, signal
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
            run = wandb.init(project="p", id="abc")
            point("begun")
            for i in range(40000):
                run.log({"i": i, "text": "x" * 2500})
            run.finish()
            """) as program:
        program.reaches("begun")
        backend.go_away()
        program.go("begun")
        time.sleep(12)
        assert peak_kb(program.service()) < 160 * 1024 * MANY
        backend.come_back()
        out = program.end()
    assert program.process.returncode == 0, out
    assert [row["i"] for row in backend.runs["abc"].history] == list(range(40000))


def limit_files(pid, size):
    """As a disk that is full: no file of the process grows beyond `size`."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_disk_that_is_full_from_the_start(tmp_path, backend):
    """Not even the run's file can be made: the run goes on from memory, and is in the file once there is room."""
    with Program(tmp_path, backend.url, """
            wandb.setup()
            point("service")
            run = wandb.init(project="p", id="abc")
            for i in range(5000):
                run.log({"i": i})
            point("room")
            run.log({"i": 5000})
            run.finish()
            """) as program:
        program.reaches("service")
        limit_files(program.service(), 0)
        program.go("service")
        program.reaches("room")
        wait_for(lambda: len(backend.runs["abc"].history) >= 1000)
        assert not list(tmp_path.glob("wandb/run-*/run-abc*.wandb"))
        limit_files(program.service(), resource.RLIM_INFINITY)
        wait_for(lambda: list(tmp_path.glob("wandb/run-*/run-abc.wandb")))
        program.go("room")
        out = program.end()
    assert program.process.returncode == 0, out
    assert out.count("the run goes on to the backend, and to the file when there is room") == 1, out
    assert [row["i"] for row in backend.runs["abc"].history] == list(range(5001))
    assert backend.runs["abc"].exit_code == 0
    journal, = tmp_path.glob("wandb/run-*/run-abc.wandb")
    assert len(steps(records(journal))) == 5001


def test_a_disk_that_stays_full_from_the_start(tmp_path, backend):
    with Program(tmp_path, backend.url, """
            wandb.setup()
            point("service")
            run = wandb.init(project="p", id="abc")
            for i in range(5000):
                run.log({"i": i})
            print("hello")
            time.sleep(2) # output.log is tried
            print("hello")
            run.finish()
            """) as program:
        program.reaches("service")
        limit_files(program.service(), 0)
        program.go("service")
        out = program.end()
    assert program.process.returncode == 0, out
    assert [row["i"] for row in backend.runs["abc"].history] == list(range(5000))
    assert backend.runs["abc"].exit_code == 0
    assert not list(tmp_path.glob("wandb/run-*/run-abc*.wandb"))


def fill(client, other, run):
    """Log until the service makes the program wait and says so, by the `other` client: the MB it took, what it said."""
    client.sock.settimeout(2)
    said = ""
    for i in range(100):
        rest = frame(run.history(x=i, pad="p" * 1_000_000))
        end = time.monotonic() + 60
        while rest:
            try:
                rest = rest[client.sock.send(rest):]
            except TimeoutError:  # or the machine is busy
                said += "\n".join(warnings(other, run))
                if "MB of the run wait in memory for the backend" in said:
                    return i, said
                assert time.monotonic() < end, (i, said)
    raise AssertionError("it never waits")


def warnings(client, run):
    answer = client.must(run.request("internal_messages")).result_communicate.response
    return list(answer.internal_messages_response.messages.warning)


def test_memory_of_all_runs_that_are_in_no_file_is_bounded(tmp_path, backend):
    """No room on the disk, no backend: each run takes its share, then its program waits and is told why."""
    backend.go_away()
    with Service(tmp_path) as service:
        limit_files(service.pid, 0)
        taken = []
        for n in range(11):
            run, client = online_run(tmp_path, backend, f"r{n}"), service.connect()
            client.must(run.init())
            client.send(run.run())
            n_taken, said = fill(client, service.connect(), run)
            taken.append(n_taken)
            assert taken[-1] < 40 or "goes on to the backend alone" in said, (taken, said)
        assert max(taken) <= 75 and min(taken) >= 1, taken
        assert sum(taken) < 570, taken
        assert peak_kb(service.pid) < 640 * 1024 * MANY


@pytest.mark.parametrize("settings, said", [
    ("", "KB of it are in no file either (File too large): they are lost unless there is room at once."),
    (", x_skip_transaction_log=True", "and the run leaves no file: ")])
def test_what_is_lost_is_said(tmp_path, backend, settings, said):
    with Program(tmp_path, backend.url, f"""
            wandb.setup()
            point("service")
            run = wandb.init(project="p", id="abc", settings=wandb.Settings(finish_timeout=1{settings}))
            point("begun")
            run.log({{"i": 0}})
            run.finish()
            """) as program:
        program.reaches("service")
        if not settings:
            limit_files(program.service(), 0)
        program.go("service")
        program.reaches("begun")
        backend.go_away()
        program.go("begun")
        out = program.end()
    assert said in out, out
    assert "wandb sync" not in out
