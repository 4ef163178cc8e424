# SPDX-License-Identifier: MIT
"""Past the quota: what a program that logs notices, with the peer's service and with ours."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time

import pytest
import wandb

from online_support import TARE, clean_env, run_script
from server_support import Server, peer_program
from test_server_store import all_rows, delete_run, fill_until_refused, make_run, post_lines

PEER = str(pathlib.Path(wandb.__file__).parent / "bin" / "wandb-core")
BOTH = pytest.mark.parametrize("core", [PEER, TARE], ids=["wandb-core", "tare"])

FILES_TOO_LARGE = """
import os, time, wandb
for name, mib in (("small.bin", 1), ("large.bin", 30), ("huge.bin", 120)):
    with open(name, "wb") as f:
        f.write(os.urandom(mib << 20))
run = wandb.init(project="kept", id="files", settings=wandb.Settings(init_timeout=30))
for name in ("small.bin", "large.bin", "huge.bin"):
    run.save(name, policy="now")
for i in range(200):
    run.log({"x": i})
art = wandb.Artifact("weights", "model")
art.add_file("large.bin")
run.log_artifact(art)
try:
    art.wait(timeout=60)
    print("THE ARTIFACT IS THERE")
except Exception as e:
    print("ARTIFACT", type(e).__name__, e)
begin = time.monotonic()
run.finish()
print("FINISHED IN", time.monotonic() - begin)
"""

ROWS = 30000
ROWS_TOO_MANY = """
import random, time, wandb
run = wandb.init(project="kept", id="rows", settings=wandb.Settings(init_timeout=30))
for i in range(ROWS):
    run.log({"x": random.random(), "text": "%0200x" % random.getrandbits(800)})
begin = time.monotonic()
run.finish()
print("FINISHED IN", time.monotonic() - begin)
""".replace("ROWS", str(ROWS))


def finished_in(output):
    return float(output.split("FINISHED IN ")[1].split()[0])


def log_through(tmp_path, server, core, script):
    done = run_script(tmp_path, server.url, script, core=core, timeout=200, WANDB_API_KEY=server.key)
    assert "FINISHED IN" in done.stdout, done.stdout
    return done


def logs_of(tmp_path):
    return "".join(p.read_text(errors="replace") for p in tmp_path.glob("wandb/run-*/logs/debug-*.log"))


@BOTH
def test_files_beyond_the_quota_are_refused_and_rows_are_not(tmp_path, core):
    with Server(tmp_path, "--quota", "24M") as server:
        done = log_through(tmp_path, server, core, FILES_TOO_LARGE)
        assert finished_in(done.stdout) < 60, done.stdout  # refusals that were tried again would take minutes
        assert "ARTIFACT" in done.stdout and "quota" in done.stdout, done.stdout
        told = logs_of(tmp_path) + done.stdout
        assert "large.bin" in told and "quota" in told and "413" in told
        assert [row["x"] for row in all_rows(server, "files")] == list(range(200))
        run = server.graphql("""{ project(name: "kept") { run(name: "files") { state
            files(first: 100) { edges { node { name sizeBytes } } } } } }""")["data"]["project"]["run"]
        sizes = {e["node"]["name"]: int(e["node"]["sizeBytes"]) for e in run["files"]["edges"]}
        assert run["state"] == "finished" and sizes["small.bin"] == 1 << 20, run
        assert not sizes.get("large.bin") and not sizes.get("huge.bin")


@BOTH
def test_rows_beyond_the_quota_are_refused_and_stay_on_disk(tmp_path, core):
    with Server(tmp_path, "--quota", "12M") as server:
        make_run(server, "large")
        make_run(server, "small")
        fill_until_refused(server, "large")
        done = log_through(tmp_path, server, core, ROWS_TOO_MANY)
        assert finished_in(done.stdout) < 60, done.stdout  # refusals that were tried again would take minutes
        assert ("will not be synced" if core == PEER else "quota") in done.stdout, done.stdout
        n = len(all_rows(server, "rows"))  # what was acknowledged is there, and the rest can follow
        assert n < ROWS
        delete_run(server, "large")
        deadline = time.monotonic() + 120
        while post_lines(server, "small", 0, 2000)[0] != 200:
            assert time.monotonic() < deadline, "no room was made"
            time.sleep(1)
        journal, = (str(p.parent) for p in tmp_path.glob("wandb/run-*-rows/*.wandb"))
        env = clean_env(tmp_path, server.url, core, WANDB_API_KEY=server.key)
        synced = peer_program.run([sys.executable, "-m", "wandb", "sync", "--no-skip-online", journal], 100, env=env,
                                  cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert synced.returncode == 0, synced.stdout
        assert [row["_step"] for row in all_rows(server, "rows")] == list(range(ROWS)), synced.stdout


def test_what_deleted_runs_still_take_is_waited_for(tmp_path):
    """Until the room is free clients are told to come again: after a 413 they would give up for good."""
    with Server(tmp_path, "--quota", "12M") as server:
        make_run(server, "large")
        make_run(server, "small")
        fill_until_refused(server, "large")

        def change(i):
            return server.graphql('mutation($c: JSONString) { upsertBucket(input: {modelName: "kept", name: "small", config: $c})'
                                  ' { inserted } }', {"c": json.dumps({"x": {"value": str(i) * 300000}})})["status"]

        assert (post_lines(server, "small", 0, 2000)[0], change(1)) == (413, 413)
        delete_run(server, "large")
        deadline = time.monotonic() + 120
        while True:
            statuses = {change(2), post_lines(server, "small", 0, 2000)[0]}
            assert statuses <= {200, 507} and time.monotonic() < deadline
            if statuses == {200}:
                break
            time.sleep(0.02)
