# SPDX-License-Identifier: MIT
"""`tare sync`: runs from disk to a backend, once, in order, as far as they go."""

import contextlib
import json
import os
import pathlib
import pty
import signal
import socket
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from recording_backend import RecordingBackend
from service_support import TARE, Run, Service, end_run, start_run

KEY = "l" * 40


@pytest.fixture
def backend():
    with RecordingBackend() as b:
        yield b


def environment(root, backend, **more):
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "TARE_"))}
    return dict(keep, HOME=str(root), WANDB_BASE_URL=backend.url, WANDB_API_KEY=KEY,
                WANDB_DIR=str(root), TARE_SERVER_DIR=str(root / "server"), **more)


def sync(root, backend, *words, expect=0, **more):
    done = subprocess.run([TARE, "sync", *map(str, words)], cwd=root, text=True, timeout=120,
                          capture_output=True, env=environment(root, backend, **more))
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def make_run(root, run_id, n=10, end=True, start=0):
    """A run on disk, written by the service; without `end` its program was killed."""
    run = Run(root, run_id)
    with Service(root) as service:
        client = service.connect()
        start_run(client, run)
        for step in range(start, start + n):
            client.send(run.history(x=step))
        if end:
            end_run(client, run)
        else:
            client.must(run.finish())
        client.close()
    return run


def rows(backend, run_id):
    return [row["x"] for row in backend.runs[run_id].history]


def wait_for(what, seconds=90):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)


def mark(run):
    return run.file.with_name(run.file.name + ".synced")


def test_everything_arrives_once(tmp_path, backend):
    runs = [make_run(tmp_path, f"run{i}", n=20 + i) for i in range(7)]
    said = sync(tmp_path, backend, "-n", 3)
    for i, run in enumerate(runs):
        assert rows(backend, run.id) == list(range(20 + i))
        assert backend.runs[run.id].exit_code == 0
        assert mark(run).exists()
        assert f"Finished syncing wandb/{run.dir.name}" in said
        assert f"View run" in said and f"/tester/test/runs/{run.id}" in said
    assert "7 of 7 runs synced." in said
    n = len(backend.requests)
    assert "No runs to sync" in sync(tmp_path, backend)
    assert len(backend.requests) == n


def test_again_is_the_same(tmp_path, backend):
    run = make_run(tmp_path, "again0")
    sync(tmp_path, backend)
    before = dict(backend.runs[run.id].lines)
    sync(tmp_path, backend, "--include-synced", run.dir)
    assert backend.runs[run.id].lines == before


@pytest.mark.skipif(os.getuid() != 0, reason="runs as another user")
def test_another_persons_runs_arrive_once(tmp_path, backend):
    """Their folder takes no mark and no state: ours is kept at home. What cannot be read is said."""
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    run, secret = make_run(tmp_path, "theirs"), make_run(tmp_path, "secret")
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    secret.dir.chmod(0o700)
    for folder in (run.dir, *tmp_path.parents, tmp_path):
        folder.chmod(folder.stat().st_mode | 0o055)
    for _ in range(2):
        done = subprocess.run([*other, TARE, "sync", "wandb"], cwd=tmp_path, text=True, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**environment(tmp_path, backend), "HOME": str(home)})
        assert "could not be written" in done.stdout and "Finished syncing" in done.stdout
        assert secret.dir.name + " cannot be read" in done.stdout and done.returncode == 1
        assert rows(backend, run.id) == list(range(10))
    assert "config.yaml" in backend.runs[run.id].uploads
    assert list(home.glob(".local/state/tare/sync/*.json"))


def test_dry_run_sends_nothing(tmp_path, backend):
    run = make_run(tmp_path, "dry000")
    assert str(run.file.relative_to(tmp_path)) in sync(tmp_path, backend, "--dry-run")
    assert not backend.requests and not mark(run).exists()


def test_json(tmp_path, backend):
    run = make_run(tmp_path, "json00")
    found = json.loads(sync(tmp_path, backend, "--json"))
    assert found["state"] == "synced" and found["run"] == f"test/{run.id}"
    assert found["url"] == f"{backend.url}/tester/test/runs/{run.id}"
    assert found["bytes"] == run.file.stat().st_size


def test_changes_on_the_way(tmp_path, backend):
    make_run(tmp_path, "chang0")
    sync(tmp_path, backend, "--entity", "other", "-p", "proj2", "--id", "newid0", "--job-type", "j")
    upsert = backend.runs["newid0"].upserts[0]
    assert [upsert[k] for k in ("entity", "project", "name", "jobType")] == [
        "other", "proj2", "newid0", "j"]


def test_parts_of_one_run_follow_one_another(tmp_path, backend):
    for i in range(3):
        make_run(tmp_path, f"part{i}", n=5, start=5 * i)
    sync(tmp_path, backend, "--id", "whole0")
    first = [json.loads(r.body)["variables"] for r in backend.requests if r.name == "UpsertBucket"]
    assert {v["name"] for v in first} == {"whole0"}
    ends = [r for r in backend.requests if r.kind == "file_stream" and b'"complete":true' in r.body]
    assert len(ends) == 3


def test_a_killed_program_has_failed(tmp_path, backend):
    run = make_run(tmp_path, "kill00", end=False)
    sync(tmp_path, backend)
    assert rows(backend, run.id) == list(range(10))
    assert backend.runs[run.id].exit_code == 1


def test_a_path_without_room_for_the_mark_loses_nothing(tmp_path, backend):
    """The longest path there is: that of the mark, cut off, would be the journal's own."""
    data = make_run(tmp_path, "r1").file.read_bytes()
    before, folder, name, longest = os.getcwd(), str(tmp_path), "run-r1.wandb", 4095
    os.chdir(folder)
    try:
        while len(folder) + 1 + len(name) < longest:
            left = longest - len(folder) - 2 - len(name)
            part = "d" * (left if left <= 200 else min(200, left - 2))
            os.mkdir(part)
            os.chdir(part)
            folder += "/" + part
        path = pathlib.Path(folder) / name
        path.write_bytes(data)
        assert len(str(path)) == longest
        sync(tmp_path, backend, path)
        assert path.read_bytes() == data
        assert rows(backend, "r1") == list(range(10))
    finally:
        os.chdir(before)


def test_what_is_refused_is_not_marked(tmp_path, backend):
    good, bad = make_run(tmp_path, "good00"), make_run(tmp_path, "refus0")
    backend.fault("UpsertBucket", "403", times=1)
    said = sync(tmp_path, backend, "-n", 1, expect=1)
    assert "permission denied" in said
    assert mark(good).exists() != mark(bad).exists()
    sync(tmp_path, backend)
    assert mark(good).exists() and mark(bad).exists()


def test_a_broken_journal_fails_alone(tmp_path, backend):
    good, bad = make_run(tmp_path, "good00"), make_run(tmp_path, "broke0")
    bad.file.write_bytes(b"not a journal")
    said = sync(tmp_path, backend, expect=1)
    assert said.count(bad.dir.name) == 3 and "1 of 2 runs synced." in said  # listed, said, and counted at the end
    assert rows(backend, good.id) == list(range(10)) and not mark(bad).exists()


def test_a_damaged_journal_brings_what_is_whole(tmp_path, backend):
    run = make_run(tmp_path, "damag0", n=5000)
    data = bytearray(run.file.read_bytes())
    data[100_000] ^= 0xff
    run.file.write_bytes(data)
    said = sync(tmp_path, backend)
    found = rows(backend, run.id)
    assert 4000 < len(found) < 5000 and found == sorted(set(found))
    assert "damaged" in said or "could not be read" in said


def test_live_follows_to_the_end(tmp_path, backend):
    run = make_run(tmp_path, "live00", n=3000)
    data, whole = run.file.read_bytes(), run.file
    whole.write_bytes(data[:1000])
    follower = subprocess.Popen([TARE, "sync", "--live"], cwd=tmp_path,
                                env=environment(tmp_path, backend), stdout=subprocess.DEVNULL)
    for end in range(1000, len(data), len(data) // 5):
        with whole.open("ab") as f:
            f.write(data[f.tell():end])
        time.sleep(0.3)
    assert follower.poll() is None
    with whole.open("ab") as f:
        f.write(data[f.tell():])
    assert follower.wait(60) == 0
    assert rows(backend, run.id) == list(range(3000)) and mark(run).exists()


def test_live_is_not_held_up_and_ends_with_the_program(tmp_path, backend):
    """A journal without a run holds up none of the others; one whose writer dies is brought as it is."""
    empty = tmp_path / "wandb" / "offline-run-20260101_000000-empty0"
    empty.mkdir(parents=True)
    (empty / "run-empty0.wandb").write_bytes(b":W&B\xe1\xbe\x00")
    runs = [Run(tmp_path, f"grow{i}") for i in range(7)]  # more than go at once without --live
    with Service(tmp_path) as service:
        client = service.connect()
        for run in runs:
            start_run(client, run)
            client.send(*[run.history(x=i) for i in range(10)])
            client.must(run.request("get_summary"))
        follower = subprocess.Popen([TARE, "sync", "--live"], cwd=tmp_path, env=environment(tmp_path, backend),
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_for(lambda: all(run.id in backend.runs and "wandb-history.jsonl" in backend.runs[run.id].lines
                             for run in runs))
        time.sleep(10)  # the follower, which looks every 3 s, has seen the writer
        client.must(runs[0].exit())
        service.proc.kill()
        wait_for(lambda: all(backend.runs[run.id].exit_code is not None for run in runs))
        wait_for(mark(runs[0]).exists)
        follower.send_signal(signal.SIGINT)  # the empty one is given a minute
        said, _ = follower.communicate(timeout=60)
    assert said.count("has gone without finishing") == 6, said
    assert [backend.runs[run.id].exit_code for run in runs] == [0] + [1] * 6
    for run in runs:
        assert rows(backend, run.id) == list(range(10))
        assert mark(run).exists() == (run is runs[0])


@pytest.mark.parametrize("n", [10, 5000])
def test_a_run_that_has_ended_is_brought_though_its_service_has_not_closed_it(tmp_path, backend, n):
    """A sync right behind the program."""
    ended, other = Run(tmp_path, "ended0"), Run(tmp_path, "other0")
    with Service(tmp_path) as service:
        client = service.connect()
        for run in (ended, other):
            start_run(client, run)
            client.send(*[run.history(x=i) for i in range(n)])
            client.must(run.request("get_summary"))
        client.must(ended.exit())
        assert "Left out: 1 still being written" in sync(tmp_path, backend)
        client.must(ended.finish())
        end_run(client, other)
    assert rows(backend, "ended0") == list(range(n)) and mark(ended).exists()
    assert "other0" not in backend.runs and backend.runs["ended0"].exit_code == 0


def test_ctrl_c_ends_it_and_it_can_go_on(tmp_path, backend):
    run = make_run(tmp_path, "ctrlc0")
    backend.fault("file_stream", "hole", times=-1)
    child = subprocess.Popen([TARE, "sync"], cwd=tmp_path, env=environment(tmp_path, backend),
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not any(r.kind == "file_stream" for r in backend.requests):
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    assert "Cancelled" in child.communicate(timeout=60)[0]
    assert child.returncode == 1 and not mark(run).exists()
    backend.clear_faults()
    sync(tmp_path, backend)
    assert rows(backend, run.id) == list(range(10)) and mark(run).exists()


def test_a_backend_that_is_away_is_said(tmp_path, backend):
    """Not on a terminal either does it seem to hang; and what is no file is named as that."""
    run = make_run(tmp_path, "away00")
    with socket.socket() as nobody:  # bound, and does not listen
        nobody.bind(("127.0.0.1", 0))
        child = subprocess.Popen([TARE, "sync", "--to", f"http://127.0.0.1:{nobody.getsockname()[1]}"], cwd=tmp_path,
                                 env=environment(tmp_path, backend), stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
        said = ""
        while "tried again" not in said:
            line = child.stdout.readline()
            assert line, said
            said += line
        child.send_signal(signal.SIGINT)
        assert "Cancelled" in child.communicate(timeout=60)[0]
    assert not mark(run).exists()
    other = tmp_path / "wandb" / "offline-run-20260101_000000-fifo0"
    other.mkdir(parents=True)
    os.mkfifo(other / "run-fifo0.wandb")
    assert "no regular file" in sync(tmp_path, backend, "--include-synced", other, expect=1)


def test_wrong_use(tmp_path, backend):
    sync(tmp_path, backend, "--replace-tags", "nonsense", expect=2)
    sync(tmp_path, backend, "-n", "0", expect=2)
    assert "there is no" in sync(tmp_path, backend, "nowhere", expect=1)
    assert "no address" in sync(tmp_path, backend, "--to", "ftp://x", make_run(tmp_path, "to0000").dir,
                                expect=1)


def test_bars_on_a_terminal(tmp_path, backend):
    run = make_run(tmp_path, "bars00")
    backend.fault("file_stream", "slow", times=1)
    ours, theirs = pty.openpty()
    child = subprocess.Popen([TARE, "sync"], cwd=tmp_path, stdout=theirs,
                             env=environment(tmp_path, backend, TERM="xterm", LC_ALL="C", COLUMNS="80"))
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while data := os.read(ours, 4096):
            text += data
    os.close(ours)
    assert child.wait(60) == 0
    assert b"- " in text and f"test/{run.id}".encode() in text and b"\x1b[J" in text
    assert text.rstrip().endswith(f"Finished syncing wandb/{run.dir.name}".encode())
