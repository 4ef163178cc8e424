#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`tare server` beside other trackers, all in one run on one machine, one after the other, loopback only:

    server_compare.py [--install] [--venvs DIR] [--only NAME,...] [--quick] [--server BINARY]

The others come from PyPI, each into a virtual environment of its own in DIR (default ~/.cache/tare-bench), made with
--install; what is not there is left out with a line that says so. Every tracker gets the same values: RUNS runs of STEPS
steps and METRICS metrics, then one run of POINTS points, in bodies of about 1,000 values from 4 connections (Aim takes
values only through its SDK, from one process). Loading stops after BUDGET_S seconds a part; what was not loaded whole is
not read. Reads are the best of several, client included. CPU and memory are those of the server with its children."""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import server_bench

BUDGET_S = 300
SETTLE_S = 10  # between loading and reading, for what a server does in the background
PER_POST = 1000
THREADS = 4
MEASURES = [  # key, what it says, unit, less is better
    ("start", "ready after", "ms", True),
    ("idle", "idle memory", "MB", True),
    ("ingest", "ingest over HTTP (Aim: SDK)", "values/s", False),
    ("ingest_cpu", "its CPU", "us/value", True),
    ("metric", "one metric of all runs in full", "ms", True),
    ("list", "list of the runs", "ms", True),
    ("plot", "chart of the long run, 1000 points", "ms", True),
    ("loaded", "memory afterwards", "MB", True),
]


# ---- processes ----

def tree(pid):
    """The process and its descendants."""
    pids, at = [pid], 0
    while at < len(pids):
        try:
            for task in pathlib.Path(f"/proc/{pids[at]}/task").iterdir():
                pids += [int(p) for p in (task / "children").read_text().split()]
        except OSError:
            pass
        at += 1
    return pids


def memory_mb(pid):
    """Resident; what children share is counted for each."""
    total = 0
    for p in tree(pid):
        try:
            lines = pathlib.Path(f"/proc/{p}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Rss:"))
        except OSError:
            pass
    return total * 1024 / 1e6


def cpu_s(pid):
    ticks = 0
    for p in tree(pid):
        try:
            fields = pathlib.Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---- the trackers ----

class Tracker:
    """One server. `long` is the name of the run with many points."""
    package = ready_path = ""
    headers = {"Content-Type": "application/json"}

    def __init__(self, venv, root, args):
        self.venv, self.root, self.args = venv, root, args
        self.port = free_port()

    def program(self, name):
        return str(self.venv / "bin" / name)

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {**os.environ, "DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "HF_HUB_OFFLINE": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1"}

    def start(self, limit_s=120):
        begin = time.perf_counter()
        self.process = subprocess.Popen(self.command(), cwd=self.root, env=self.environment(), start_new_session=True,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                status, _ = self.ask(self.connect(), "GET", self.ready_path)
                if status == 200:
                    break
            except OSError:
                pass
            if self.process.poll() is not None or time.perf_counter() - begin > limit_s:
                raise RuntimeError("it does not start")
            time.sleep(0.001)
        return time.perf_counter() - begin

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)

    def ask(self, connection, method, path, body=None):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        for again in (True, False):
            try:
                connection.request(method, path, body, self.headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()  # it had been idle for too long
                if not again:
                    raise

    def must(self, connection, method, path, body=None):
        status, data = self.ask(connection, method, path, body)
        while status == 429:
            time.sleep(0.05)
            status, data = self.ask(connection, method, path, body)
        if status != 200:
            raise RuntimeError(f"{path} answers {status}: {data[:200]!r}")
        return data

    # what differs
    def make_runs(self, names):
        """Before anything is logged."""

    def posts(self, run, first, n, metrics):
        """(path, body) of the steps [first, first + n) of a run."""
        raise NotImplementedError

    def read(self, what, runs):
        """The requests (method, path, body) that answer `what`."""
        raise NotImplementedError

    def load(self, jobs):
        """jobs: (run, first, n, metrics), those of one run in order. Seconds, seconds of CPU, values, whether all."""
        made = [(run, n * metrics, self.posts(run, first, n, metrics)) for run, first, n, metrics in jobs]
        shares = [[j for j in made if hash(j[0]) % THREADS == t] for t in range(THREADS)]
        begin, cpu = time.perf_counter(), cpu_s(self.process.pid)
        stored, errors = [0] * THREADS, []

        def work(t):
            connection = self.connect()
            try:
                for _, values, requests in shares[t]:
                    if time.perf_counter() - begin > BUDGET_S:
                        return
                    for path, body in requests:
                        self.must(connection, "POST", path, body)
                    stored[t] += values
            except Exception as e:  # told once, below
                errors.append(e)

        threads = [threading.Thread(target=work, args=(t,)) for t in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        whole = sum(stored) == sum(values for _, values, _ in made)
        return time.perf_counter() - begin, cpu_s(self.process.pid) - cpu, sum(stored), whole


class Tare(Tracker):
    ready_path = "/healthz"

    def command(self):
        return [self.args.server, "--dir", str(self.root / "data"), "--listen", f"127.0.0.1:{self.port}"]

    def start(self, limit_s=120):
        s = super().start(limit_s)
        key = (self.root / "data" / "admin.key").read_text().strip()
        self.headers = {**self.headers, "Authorization": "Basic " + base64.b64encode(f"api:{key}".encode()).decode()}
        return s

    def make_runs(self, names):
        for i in range(0, len(names), 100):
            parts = [f'r{n}: upsertBucket(input: {{modelName: "p", name: "{run}"}}) {{ inserted }}'
                     for n, run in enumerate(names[i:i + 100])]
            self.must(self.connect(), "POST", "/graphql", {"query": "mutation { " + " ".join(parts) + " }"})

    def posts(self, run, first, n, metrics):
        each = max(1, PER_POST // metrics)
        return [(f"/files/local/p/{run}/file_stream", server_bench.body_of(i, min(each, first + n - i), metrics)[0])
                for i in range(first, first + n, each)]

    def read(self, what, runs):
        spec = json.dumps({"keys": ["_step", "train/metric_0"], "samples": 10**9})
        inside = {
            "metric": 'runs(first: 1000, filters: "{\\"name\\": {\\"$ne\\": \\"long\\"}}") '
                      "{ edges { node { name sampledHistory(specs: $s) } } }",
            "list": "runs(first: 200) { edges { node { name displayName state tags createdAt config summaryMetrics } } }",
            "plot": 'run(name: "long") { historyEnvelope(key: "train/metric_0", pixels: 1000) }',
        }[what]
        head, variables = ("query($s: [JSONString!]!)", {"s": [spec]}) if "$s" in inside else ("query", None)
        query = head + ' { project(entityName: "local", name: "p") { ' + inside + " } }"
        return [("POST", "/graphql", {"query": query, "variables": variables})]


class Mlflow(Tracker):
    package, ready_path, api, experiment = "mlflow", "/health", "/api/2.0/mlflow", "0"

    def command(self):
        return [self.program("mlflow"), "server", "--host", "127.0.0.1", "--port", str(self.port),
                "--backend-store-uri", f"sqlite:///{self.root}/mlflow.db"]

    def make_runs(self, names):
        connection = self.connect()
        self.ids = {}
        for name in names:
            body = {"experiment_id": self.experiment, "run_name": name, "start_time": 1795430000000}
            data = self.must(connection, "POST", f"{self.api}/runs/create", body)
            self.ids[name] = json.loads(data)["run"]["info"]["run_id"]

    def posts(self, run, first, n, metrics):
        rows = [{"key": f"train/metric_{m}", "value": random.random(), "step": step, "timestamp": 1795430000000 + step * 10}
                for step in range(first, first + n) for m in range(metrics)]
        return [(f"{self.api}/runs/log-batch",
                 json.dumps({"run_id": self.ids[run], "metrics": rows[i:i + PER_POST]}).encode())
                for i in range(0, len(rows), PER_POST)]

    def read(self, what, runs):
        if what == "list":
            return [("POST", f"{self.api}/runs/search", {"experiment_ids": [self.experiment], "max_results": 200})]
        if what == "plot":
            q = urllib.parse.urlencode({"run_ids": self.ids["long"], "metric_key": "train/metric_0", "max_results": 1000})
            return [("GET", f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?{q}", None)]
        return [("GET", f"{self.api}/metrics/get-history?" +
                 urllib.parse.urlencode({"run_id": self.ids[run], "metric_key": "train/metric_0"}), None) for run in runs]


class FastTrackMl(Mlflow):
    package = "fasttrackml"

    def command(self):
        return [self.program("fml"), "server", "--listen-address", f"127.0.0.1:{self.port}", "--log-level", "error",
                "--database-uri", f"sqlite://{self.root}/fml.db", "--default-artifact-root", str(self.root / "files")]

    def read(self, what, runs):
        if what == "metric":  # one request, an Arrow stream
            return [("POST", f"{self.api}/metrics/get-histories",
                     {"run_ids": [self.ids[run] for run in runs], "metric_keys": ["train/metric_0"]})]
        if what == "plot":  # sampled, to as many points as it likes
            return [("POST", "/aim/api/runs/search/metric/", {
                "q": f'run.hash == "{self.ids["long"]}"', "p": 1000, "report_progress": False,
                "metrics": [{"key": "train/metric_0", "context": {}}]})]
        return super().read(what, runs)


class Trackio(Tracker):
    package, ready_path = "trackio", "/version"
    headers = {**Tracker.headers, "X-Trackio-Write-Token": "bench"}

    def environment(self):
        return {**super().environment(), "TRACKIO_DIR": str(self.root / "trackio"), "TRACKIO_WRITE_TOKEN": "bench"}

    def command(self):
        return [self.program("python"), "-c", "import trackio, sys; "
                f"trackio.show(open_browser=False, block_thread=True, host='127.0.0.1', server_port={self.port})"]

    def posts(self, run, first, n, metrics):
        logs = [{"project": "p", "run": run, "step": step,
                 "metrics": {f"train/metric_{m}": random.random() for m in range(metrics)}}
                for step in range(first, first + n)]
        each = max(1, PER_POST // metrics)
        return [("/api/bulk_log", json.dumps({"logs": logs[i:i + each], "hf_token": None}).encode())
                for i in range(0, n, each)]

    def read(self, what, runs):
        if what == "list":
            return [("POST", "/api/get_runs_for_project", {"project": "p"}),
                    ("POST", "/api/get_run_configs", {"project": "p"})]
        if what == "plot":  # sampled
            return [("POST", "/api/get_metric_values", {"project": "p", "run": "long", "metric_name": "train/metric_0",
                                                        "max_points": 1000})]
        return [("POST", "/api/get_metric_values", {"project": "p", "run": run, "metric_name": "train/metric_0"})
                for run in runs]


AIM_LOADER = """
import json, random, sys, time, resource
from aim import Run
jobs, budget, begin, stored, runs = json.load(sys.stdin), float(sys.argv[2]), time.perf_counter(), 0, {}
for name, first, n, metrics in jobs:
    if time.perf_counter() - begin > budget:
        break
    if name not in runs:
        runs[name] = Run(repo=sys.argv[1], experiment="p", system_tracking_interval=None, log_system_params=False,
                         capture_terminal_logs=False)
        runs[name].name = name
    for step in range(first, first + n):
        for m in range(metrics):
            runs[name].track(random.random(), name=f"train/metric_{m}", step=step)
    stored += n * metrics
for run in runs.values():
    run.close()
took, use = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
print("@@" + json.dumps([took, use.ru_utime + use.ru_stime, stored]))
"""


class Aim(Tracker):
    package, ready_path = "aim", "/api/projects/"

    def command(self):
        return [self.program("aim"), "up", "--repo", str(self.root), "--host", "127.0.0.1", "--port", str(self.port),
                "--yes", "--log-level", "error"]

    def start(self, limit_s=120):
        if not (self.root / ".aim").exists():
            subprocess.run([self.program("aim"), "init", "--repo", str(self.root), "--yes"], check=True, cwd=self.root,
                           env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return super().start(limit_s)

    def load(self, jobs):
        done = subprocess.run([self.program("python"), "-c", AIM_LOADER, str(self.root), str(BUDGET_S)], text=True,
                              input=json.dumps(jobs), capture_output=True, cwd=self.root, env=self.environment())
        if "@@" not in done.stdout:
            raise RuntimeError("its SDK fails: " + done.stderr.strip()[-200:])
        took, cpu, stored = json.loads(done.stdout.split("@@")[1])
        return took, cpu, stored, stored == sum(n * metrics for _, _, n, metrics in jobs)

    def read(self, what, runs):
        if what == "list":
            return [("GET", "/api/runs/search/run/?limit=200&report_progress=false", None)]
        q = {"plot": ('metric.name == "train/metric_0" and run.name == "long"', 1000),
             "metric": ('metric.name == "train/metric_0" and run.name != "long"', self.args.steps)}[what]
        return [("GET", "/api/runs/search/metric/?report_progress=false&" + urllib.parse.urlencode(dict(q=q[0], p=q[1])),
                 None)]


TRACKERS = {"tare": Tare, "fasttrackml": FastTrackMl, "trackio": Trackio, "mlflow": Mlflow, "aim": Aim}


# ---- measuring ----

def best_ms(tracker, requests, limit_s=20):
    """The best of up to 9 rounds within limit_s, and the bytes of an answer."""
    connection, times, size = tracker.connect(), [], 0
    end = time.perf_counter() + limit_s
    while len(times) < 9 and (not times or time.perf_counter() < end):
        begin = time.perf_counter()
        size = sum(len(tracker.must(connection, *request)) for request in requests)
        times.append((time.perf_counter() - begin) * 1e3)
    return min(times), size


def measure(tracker, args):
    runs, found = [f"run{i}" for i in range(args.runs)], {}
    found["start"] = tracker.start() * 1e3
    try:
        time.sleep(3)
        found["idle"] = memory_mb(tracker.process.pid)
        tracker.make_runs(runs + ["long"])
        took, cpu, n, whole = tracker.load([(run, 0, args.steps, args.metrics) for run in runs])
        found["ingest"], found["ingest_cpu"] = n / took, cpu / n * 1e6
        jobs = [("long", first, PER_POST, 1) for first in range(0, args.points, PER_POST)]
        whole_long = tracker.load(jobs)[3]
        time.sleep(SETTLE_S)
        for what, there in ("metric", whole), ("list", whole), ("plot", whole_long):
            if there:
                found[what], size = best_ms(tracker, tracker.read(what, runs))
                print(f"  {what}: {found[what]:,.1f} ms, {size:,} bytes", flush=True)
            else:
                print(f"  {what}: not measured, loading took more than {BUDGET_S} s", flush=True)
        found["loaded"] = memory_mb(tracker.process.pid)
    finally:
        tracker.stop()
    return found


def install(name, venv):
    """True if the tracker is in its environment now."""
    if not venv.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    done = subprocess.run([str(venv / "bin" / "pip"), "install", "-q", TRACKERS[name].package])
    return done.returncode == 0


def short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def print_table(results):
    names = list(results)
    print("\n| measure | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for key, text, unit, less in MEASURES:
        cells, ours = [], results.get("tare", {}).get(key)
        for name in names:
            value = results[name].get(key)
            if value is None:
                cells.append("-")
                continue
            ratio = (value / ours if less else ours / value) if ours and name != "tare" and value else None
            cells.append(short(value) + (f" ({short(ratio)}x)" if ratio else ""))
        print(f"| {text}, {unit} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=str(server_bench.HERE.parent / "build" / "tare-server"))
    parser.add_argument("--venvs", type=pathlib.Path, default=pathlib.Path.home() / ".cache" / "tare-bench")
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--only", default=",".join(TRACKERS))
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs and points")
    args = parser.parse_args()
    args.server = str(pathlib.Path(args.server).resolve())
    args.runs, args.steps, args.metrics, args.points = (20, 1000, 5, 100_000) if args.quick else (200, 1000, 5, 1_000_000)
    results = {}
    for name in args.only.split(","):
        venv = args.venvs.resolve() / name
        if name != "tare" and args.install and not install(name, venv):
            print(f"{name}: left out, it cannot be installed on this machine", flush=True)
            continue
        if name != "tare" and not venv.exists():
            print(f"{name}: left out, not installed (--install puts it into {venv})", flush=True)
            continue
        root = pathlib.Path(tempfile.mkdtemp())
        print(name, flush=True)
        try:
            results[name] = measure(TRACKERS[name](venv, root, args), args)
        except (RuntimeError, OSError, subprocess.SubprocessError, http.client.HTTPException) as e:
            print(f"{name}: left out, {e}", flush=True)
        finally:
            shutil.rmtree(root, ignore_errors=True)
    print(f"\n{args.runs} runs x {args.steps} steps x {args.metrics} metrics; a long run of {args.points:,} points; "
          f"{os.cpu_count()} CPUs; load {os.getloadavg()[0]:.1f}")
    print_table(results)


if __name__ == "__main__":
    main()
