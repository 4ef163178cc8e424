# SPDX-License-Identifier: MIT
"""Either service with either backend, and what happens when a part of it dies.

{wandb-core, tare service} x {a backend like W&B's, tare server}: the same program leaves the same
run. Then: the backend is killed and started again while twenty runs stream; the service is killed
and its journals are synced. When all is over the backend has every value once.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import threading
import time

import pytest
import wandb
from online_support import clean_env, run_script
from local_http import hold_port
from recording_backend import RecordingBackend
from server_support import BINARY, Server
from service_support import TARE, Run, Service, end_run, records, start_run, steps

PEER = pathlib.Path(wandb.__file__).parent / "bin" / "wandb-core"
PROGRAM = """
    import sys, wandb
    run = wandb.init(project="pairs", id="pair0000", config={"lr": 0.1, "nested": {"a": [1, 2]}},
                     tags=["one", "two"], notes="a note", name="a name")
    run.define_metric("loss", summary="min")
    for i in range(300):
        run.log({"loss": 1 / (i + 1), "i": i, "nan": float("nan") if i == 7 else i * 0.1})
    with open("data.txt", "w") as f:
        f.write("file content")
    run.save("data.txt")
    print("printed line")
    run.config["late"] = "value"
    run.summary["explicit"] = "s"
    run.finish()
"""
FAST = {"WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "0.2"}


def seen_by_recording(backend):
    run = backend.runs["pair0000"]
    upsert = {k: v for u in run.upserts for k, v in u.items() if v is not None}
    return {
        "rows": [{k: v for k, v in row.items() if k in ("loss", "i", "nan", "_step")}
                 for row in run.history],
        "config": {k: v["value"] for k, v in run.config.items() if k != "_wandb"},
        "summary": {k: v for k, v in run.summary.items() if k[0] != "_"},
        "state": {0: "finished"}[run.exit_code],
        "tags": upsert["tags"], "notes": upsert["notes"], "name": upsert["displayName"],
        "files": sorted(run.uploads), "data": run.uploads["data.txt"],
        "console": [line.split(" ", 1)[1] for line in run.console if "printed" in line],
    }


RUN = """query { project(name: "pairs") { run(name: "pair0000") {
    config summaryMetrics state tags notes displayName history(minStep: 0, maxStep: 1000)
    files { edges { node { name directUrl } } } logLines(first: 100) { edges { node { line } } } } } }"""


def seen_by_server(server):
    run = server.graphql(RUN)["data"]["project"]["run"]
    files = {e["node"]["name"]: e["node"]["directUrl"] for e in run["files"]["edges"]}
    rows = [json.loads(line) for line in run["history"]]
    return {
        "rows": [{k: v for k, v in row.items() if k in ("loss", "i", "nan", "_step")} for row in rows],
        "config": {k: v["value"] for k, v in json.loads(run["config"]).items() if k != "_wandb"},
        "summary": {k: v for k, v in json.loads(run["summaryMetrics"]).items() if k[0] != "_"},
        "state": run["state"], "tags": run["tags"], "notes": run["notes"],
        "name": run["displayName"], "files": sorted(files),
        "data": server.request("GET", files["data.txt"], key=None)[2],
        "console": [e["node"]["line"] for e in run["logLines"]["edges"] if "printed" in e["node"]["line"]],
    }


def expected():
    return {
        "rows": [{"loss": 1 / (i + 1), "i": i, "nan": float("nan") if i == 7 else i * 0.1, "_step": i}
                 for i in range(300)],
        "config": {"lr": 0.1, "nested": {"a": [1, 2]}, "late": "value"},
        "summary": {"loss": {"min": 1 / 300}, "i": 299, "nan": 299 * 0.1, "explicit": "s"},
        "state": "finished", "tags": ["one", "two"], "notes": "a note", "name": "a name",
        "files": sorted(["config.yaml", "data.txt", "output.log", "requirements.txt",
                         "wandb-metadata.json", "wandb-summary.json"]),
        "data": b"file content", "console": ["printed line"],
    }


def plain(value):
    """NaN equals NaN, 1 equals 1.0."""
    return json.loads(json.dumps(value, sort_keys=True, default=bytes.decode),
                      parse_int=lambda n: repr(float(n)), parse_float=lambda n: repr(float(n)),
                      parse_constant=str)


@pytest.mark.parametrize("core", [PEER, TARE], ids=["wandb-core", "tare"])
@pytest.mark.parametrize("kind", ["recording", "server"])
def test_pair(core, kind, tmp_path):
    with RecordingBackend() if kind == "recording" else Server(tmp_path) as backend:
        key = {"WANDB_API_KEY": backend.key} if kind == "server" else {}
        done = run_script(tmp_path, backend.url, PROGRAM, core, **FAST, **key)
        assert done.returncode == 0, done.stdout
        seen = (seen_by_server if kind == "server" else seen_by_recording)(backend)
    for what, value in expected().items():
        assert plain(seen[what]) == plain(value), what


# -- deaths ------------------------------------------------------------------------------------


class Mortal(Server):
    """A server that can be killed and started again where it was."""

    def __init__(self, root):
        super().__init__(root)
        self.held = hold_port()
        self.listen = f"127.0.0.1:{self.held.getsockname()[1]}"

    def start(self):
        port_file = self.root / "port"
        port_file.unlink(missing_ok=True)
        self.process = subprocess.Popen([BINARY, "--dir", str(self.dir), "--listen", self.listen,
                                         "--port-file", str(port_file)], stdout=subprocess.PIPE)
        while not (port_file.exists() and "EOF" in port_file.read_text()):
            assert self.process.poll() is None, "the server ended at once"
            time.sleep(0.005)
        self.port = int(port_file.read_text().split("=")[1].split()[0])
        self.url = f"http://{self.listen}"
        self.key = (self.dir / "admin.key").read_text().strip()
        return self

    __enter__ = start

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def online(root, run_id, url, key):
    retry = {f"x_{part}_retry_wait_{end}_seconds": 1 for part in ("file_stream", "graphql", "file_transfer")
             for end in ("min", "max")}
    return Run(root, run_id, _offline=False, base_url=url, api_key=key, app_url=url, x_primary=True,
               x_file_stream_transmit_interval=0.1, x_disable_stats=True, **retry)


def assert_whole(server, runs, n):
    """Every row once, in order, and the end."""
    for run in runs:
        found = server.graphql(
            "query($r: String!) { project(name: \"test\") { run(name: $r) { state historyLineCount"
            " history(minStep: 0, maxStep: 1000000) } } }", {"r": run.id})["data"]["project"]["run"]
        assert [json.loads(line)["x"] for line in found["history"]] == list(range(n)), run.id
        assert found["historyLineCount"] == n and found["state"] == "finished", found["state"]


def test_a_backend_that_dies_while_twenty_runs_stream(tmp_path):
    rng, n = random.Random(5), 400
    with Mortal(tmp_path) as server, Service(tmp_path) as service:
        runs = [online(tmp_path, f"dies{i:04}", server.url, server.key) for i in range(20)]
        clients = [service.connect() for _ in runs]
        for client, run in zip(clients, runs):
            start_run(client, run)
        over = threading.Event()

        def deaths():
            while not over.wait(rng.uniform(0.3, 0.8)):
                server.kill()
                time.sleep(rng.uniform(0, 0.6))
                server.start()

        death = threading.Thread(target=deaths)
        death.start()
        for step in range(n):
            for client, run in zip(clients, runs):
                client.send(run.history(x=step))
            time.sleep(0.01)
        over.set()
        death.join()
        for client, run in zip(clients, runs):
            client.must(run.exit())
            client.must(run.finish())
            client.close()
        assert_whole(server, runs, n)


def test_a_service_that_dies_and_its_journals_synced(tmp_path):
    n = 300
    with Mortal(tmp_path) as server:
        runs = [online(tmp_path, f"kill{i:04}", server.url, server.key) for i in range(5)]
        service = Service(tmp_path)
        client = service.connect()
        for run in runs:
            start_run(client, run)
        for step in range(n):
            for run in runs:
                client.send(run.history(x=step))
            if step == 200:
                time.sleep(0.5)  # a part of it reaches the backend
        end = time.monotonic() + 30
        while not all(len(steps(records(run.file, torn_ok=True))) == n for run in runs):  # all is read and written
            assert time.monotonic() < end
            time.sleep(0.05)
        service.proc.kill()
        service.proc.wait()
        env = dict(clean_env(tmp_path, server.url, core=None), WANDB_API_KEY=server.key)
        for run in runs:  # as the SDK names the folder of an online run
            run.dir.rename(run.dir.with_name(run.dir.name.removeprefix("offline-")))
        done = subprocess.run([TARE, "sync"], env=env, cwd=tmp_path, capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 0 and "Syncing 5 runs" in done.stdout, done.stdout + done.stderr
        for run in runs:
            found = server.graphql(
                "query($r: String!) { project(name: \"test\") { run(name: $r) { state"
                " history(minStep: 0, maxStep: 1000) } } }", {"r": run.id})["data"]["project"]["run"]
            assert [json.loads(line)["x"] for line in found["history"]] == list(range(n))
            assert found["state"] == "failed"  # nobody knows how it ended
