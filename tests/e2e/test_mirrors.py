# SPDX-License-Identifier: MIT
"""TARE_MIRROR: one run, several backends."""

import json
import re
import subprocess
import threading

import pytest
from online_support import TARE, clean_env, run_script
from recording_backend import RecordingBackend
from server_support import Server

PROGRAM = """
    import wandb
    run = wandb.init(project="mirrored", id="mirror00", config={"lr": 1})
    for i in range(200):
        run.log({"x": i})
    with open("data.txt", "w") as f:
        f.write("content")
    run.save("data.txt")
    run.finish()
"""
FAST = {"WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "0.2"}
QUERY = """{ project(name: "mirrored") { run(name: "mirror00") {
    state config history(minStep: 0, maxStep: 1000) files { edges { node { name } } } } } }"""


def check_server(server):
    run = server.graphql(QUERY)["data"]["project"]["run"]
    assert [json.loads(line)["x"] for line in run["history"]] == list(range(200))
    assert run["state"] == "finished" and json.loads(run["config"])["lr"]["value"] == 1
    assert "data.txt" in [e["node"]["name"] for e in run["files"]["edges"]]


def check_recording(backend):
    run = backend.runs["mirror00"]
    assert [row["x"] for row in run.history] == list(range(200)) and run.exit_code == 0
    assert run.uploads["data.txt"] == b"content"


def test_two_backends_have_the_same_run(tmp_path):
    with RecordingBackend() as first, RecordingBackend() as second, Server(tmp_path) as server:
        mirrors = f"{server.url} {server.key}, {second.url} {'m' * 40}"
        done = run_script(tmp_path, first.url, PROGRAM, TARE_MIRROR=mirrors, **FAST)
        assert done.returncode == 0, done.stdout
        check_recording(first)
        check_recording(second)
        check_server(server)
        assert f"View run mirror00 at: {first.url}" in done.stdout


def test_the_users_own_server_as_a_mirror(tmp_path):
    with RecordingBackend() as first, Server(tmp_path) as server:
        done = run_script(tmp_path, first.url, PROGRAM, TARE_MIRROR="own",
                          TARE_SERVER_DIR=str(server.dir), **FAST)
        assert done.returncode == 0, done.stdout
        check_recording(first)
        check_server(server)


def test_a_mirror_that_refuses_does_not_matter(tmp_path):
    with RecordingBackend() as first, RecordingBackend() as second:
        second.fault("UpsertBucket", "403", times=-1)
        done = run_script(tmp_path, first.url, PROGRAM, TARE_MIRROR=f"{second.url} {'m' * 40}", **FAST)
        assert done.returncode == 0, done.stdout
        check_recording(first)
        assert f"[{second.url}] permission denied" in done.stdout


def test_a_backend_that_is_away_for_a_while_delays_only_itself(tmp_path):
    with RecordingBackend() as first, RecordingBackend() as second:
        second.fault("file_stream", "500", times=2)
        done = run_script(tmp_path, first.url, PROGRAM, TARE_MIRROR=f"{second.url} {'m' * 40}", **FAST)
        assert done.returncode == 0, done.stdout
        check_recording(first)
        check_recording(second)


@pytest.mark.parametrize("mirror, word", [("own", "not up"), ("http://127.0.0.1:1", "no key")])
def test_a_mirror_that_cannot_be_is_said(tmp_path, mirror, word):
    with RecordingBackend() as first:
        done = run_script(tmp_path, first.url, PROGRAM, TARE_MIRROR=mirror,
                          TARE_SERVER_DIR=str(tmp_path / "none"), **FAST)
        assert done.returncode == 0 and word in done.stdout, done.stdout
        check_recording(first)


def test_a_mirror_that_is_away_is_said_and_brought_later(tmp_path):
    """The program ends in time, and is told how; what it is told does it."""
    with RecordingBackend() as first, RecordingBackend() as second:
        second.down()
        done = run_script(tmp_path, first.url, PROGRAM, TARE_MIRROR=f"{second.url} {'m' * 40}",
                          WANDB_FINISH_TIMEOUT="10", **FAST)
        assert done.returncode == 0, done.stdout
        check_recording(first)
        assert f"[{second.url}] The backend cannot be reached and is being tried again" in done.stdout
        command = re.search(r"Not everything arrived there\. To upload the rest later, run: (tare sync .*)", done.stdout)
        second.up()
        arguments = command[1].split()[1:]
        done = subprocess.run([TARE, *arguments], env=clean_env(tmp_path, first.url, WANDB_API_KEY="m" * 40), timeout=60)
        assert done.returncode == 0
        check_recording(second)


def test_a_mirror_that_is_away_at_the_start_gets_all_when_it_comes(tmp_path):
    with RecordingBackend() as first, RecordingBackend() as second:
        second.down()
        come = threading.Timer(13, second.up)
        come.start()
        done = run_script(tmp_path, first.url, PROGRAM, TARE_MIRROR=f"{second.url} {'m' * 40}", WANDB_INIT_TIMEOUT="6",
                          **FAST)
        come.join()
        assert done.returncode == 0 and "To upload" not in done.stdout, done.stdout
        check_recording(first)
        check_recording(second)
