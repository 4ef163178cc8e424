#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Figures of `tare server` over plain HTTP: server_bench.py [--server BINARY] [--quick] [--dir DIR]

Writes one line a figure: name, value, unit, target. A value is one metric value of a history line (_step,
_timestamp and _runtime are not counted). CPU is the server's, user and system. Best of several for reads."""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent


def say(name, value, unit, target="", cpu_ms=None):
    note = "" if cpu_ms is None else f"(server CPU {cpu_ms:.1f} ms)"
    print(f"{name:46} {value:14,.3f} {unit:10} {target:14} {note}".rstrip(), flush=True)


class Bench:
    def __init__(self, binary, root):
        self.binary, self.root = binary, pathlib.Path(root)
        self.start()

    def start(self):
        port_file = self.root / "port"
        port_file.unlink(missing_ok=True)
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [self.binary, "--dir", str(self.root / "data"), "--listen", "127.0.0.1:0", "--port-file",
             str(port_file), "--no-access-log"], stdout=subprocess.DEVNULL)
        while not (port_file.exists() and "EOF" in port_file.read_text()):
            time.sleep(0.0005)
        self.start_s = time.perf_counter() - begin
        self.port = int(port_file.read_text().split("=")[1].split()[0])
        key = (self.root / "data" / "admin.key").read_text().strip()
        self.headers = {"Authorization": "Basic " + base64.b64encode(f"api:{key}".encode()).decode(),
                        "Content-Type": "application/json"}

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def post(self, connection, path, body):
        while True:
            connection.request("POST", path, body, self.headers)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status == 429:
                time.sleep(0.05)
                continue
            assert answer.status == 200, (answer.status, data[:300])
            return data

    def graphql(self, query, variables=None):
        data = self.post(self.connection, "/graphql", json.dumps({"query": query, "variables": variables}).encode())
        assert b'"errors"' not in data[:200], data[:500]
        return data

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self):
        return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6

    def disk_bytes(self):
        return sum(p.stat().st_size for p in (self.root / "data").glob("tare.db*"))

    def best_ms(self, query, variables=None, times=9):
        best, size, cpu = 1e9, 0, self.cpu_s()
        for _ in range(times):
            begin = time.perf_counter()
            size = len(self.graphql(query, variables))
            best = min(best, time.perf_counter() - begin)
        self.mean_cpu_ms = (self.cpu_s() - cpu) / times * 1e3
        return best * 1e3, size


def make_runs(bench, project, n):
    for start in range(0, n, 100):
        parts = [f'r{i}: upsertBucket(input: {{modelName: "{project}", name: "run{i}", config: '
                 f'"{{\\"lr\\": {{\\"value\\": 0.1}}, \\"seed\\": {{\\"value\\": {i}}}}}"}}) {{ inserted }}'
                 for i in range(start, min(start + 100, n))]
        bench.graphql("mutation { " + " ".join(parts) + " }")


def body_of(first, n, metrics):
    lines = []
    for step in range(first, first + n):
        row = {"_step": step, "_timestamp": 1795430000.0 + step * 0.01 + random.random() * 1e-3,
               "_runtime": step * 0.01 + random.random() * 1e-3}
        for m in range(metrics):
            row[f"train/metric_{m}"] = random.random()
        lines.append(json.dumps(row, separators=(",", ":")))
    size = sum(len(line) + 1 for line in lines)
    body = {"files": {"wandb-history.jsonl": {"offset": first, "content": lines},
                      "wandb-summary.json": {"offset": 0, "content": [lines[-1]]}}}
    return json.dumps(body, separators=(",", ":")).encode(), size


def post_all(bench, posts, threads):
    """posts: (path, body), those of one run in order and in one thread."""
    def work(mine):
        connection = bench.connect()
        for path, body in mine:
            bench.post(connection, path, body)
    shares = [[p for i, p in enumerate(posts) if hash(p[0]) % threads == t] for t in range(threads)]
    workers = [threading.Thread(target=work, args=(share,)) for share in shares if share]
    begin, cpu = time.perf_counter(), bench.cpu_s()
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    return time.perf_counter() - begin, bench.cpu_s() - cpu


def many_runs(bench, runs, steps, metrics, batch):
    make_runs(bench, "many", runs)
    posts, json_bytes = [], 0
    for first in range(0, steps, batch):
        for run in range(runs):
            body, size = body_of(first, min(batch, steps - first), metrics)
            posts.append((f"/files/local/many/run{run}/file_stream", body))
            json_bytes += size
    n = runs * steps * metrics
    wall, cpu = post_all(bench, posts, 4)
    say("ingest", n / wall, "values/s", ">= 1,500,000")
    say("ingest, CPU", cpu / n * 1e6, "us/value", "<= 0.7")
    post_all(bench, [(f"/files/local/many/run{r}/file_stream", b'{"complete":true,"exitcode":0}') for r in range(runs)], 4)
    cpu = bench.cpu_s()
    time.sleep(8)  # the janitor merges
    say("merging afterwards, CPU", (bench.cpu_s() - cpu) / n * 1e6, "us/value")
    ms, size = bench.best_ms('{ project(entityName: "local", name: "many") { runs(first: 200) { edges { node { '
                          "name displayName state tags createdAt heartbeatAt config summaryMetrics } } } } }")
    say(f"run table, {runs} runs, config, summary ({size / 1e3:.0f} kB)", ms, "ms", "<= 6", bench.mean_cpu_ms)
    spec = json.dumps({"keys": ["_step", "train/metric_0"], "samples": 1000000})
    ms, size = bench.best_ms('query($s: [JSONString!]!) { project(entityName: "local", name: "many") { runs(first: 200) '
                             "{ edges { node { name sampledHistory(specs: $s) } } } } }", {"s": [spec]})
    say(f"one metric of {runs} runs in full ({size / 1e6:.1f} MB)", ms, "ms", "<= 20", bench.mean_cpu_ms)
    ms, size = bench.best_ms('{ project(entityName: "local", name: "many") { runs(first: 200) { edges { node { name '
                             'historySeries(key: "train/metric_0") } } } } }')
    say(f"the same as arrays ({size / 1e6:.1f} MB)", ms, "ms", "<= 20", bench.mean_cpu_ms)
    bench.stop()
    say("disk", bench.disk_bytes() * 100 / json_bytes, "% of JSON", "<= 20")
    bench.start()
    say("start", bench.start_s * 1e3, "ms", "<= 20")
    bench.connection = bench.connect()


def long_run(bench, points):
    make_runs(bench, "long", 1)
    posts = [("/files/local/long/run0/file_stream", body_of(first, 5000, 1)[0]) for first in range(0, points, 5000)]
    wall, cpu = post_all(bench, posts, 1)
    say("ingest of one long run", points / wall, "values/s")
    where = 'project(entityName: "local", name: "long") { run(name: "run0") '
    ms, _ = bench.best_ms('{ %s { historyEnvelope(key: "train/metric_0", pixels: 1000) } } }' % where)
    say(f"chart of {points:,} points at 1000 pixels", ms, "ms", "<= 5", bench.mean_cpu_ms)
    ms, size = bench.best_ms('{ %s { historySeries(key: "train/metric_0") } } }' % where)
    say(f"the whole series ({size / 1e6:.1f} MB)", ms, "ms", "<= 100", bench.mean_cpu_ms)


def table_of(bench, runs):
    make_runs(bench, "wide", runs)
    fields = "edges { node { name displayName state tags createdAt heartbeatAt config summaryMetrics } }"
    where = 'project(entityName: "local", name: "wide")'
    ms, size = bench.best_ms("{ %s { runs(first: %d) { %s } } }" % (where, runs, fields))
    say(f"all of {runs:,} runs as a table ({size / 1e6:.1f} MB)", ms, "ms", "<= 50", bench.mean_cpu_ms)
    for order in "-created_at", "-display_name", "-config.seed":
        ms, _ = bench.best_ms('{ %s { runs(first: 50, order: "%s") { %s } } }' % (where, order, fields))
        say(f"50 of {runs:,} runs, order {order}", ms, "ms", "", bench.mean_cpu_ms)


def small_posts(bench, lines, posts):
    make_runs(bench, "small", 200)
    bodies = [(f"/files/local/small/run{r}/file_stream", body_of(lines * i, lines, 5)[0])
              for i in range(posts // 200) for r in range(200)]
    _, cpu = post_all(bench, bodies, 16)
    say(f"a post of {lines} lines of 5 metrics, CPU", cpu / len(bodies) * 1e6, "us")


def streaming(bench, runs, rounds):
    """Every run has its connection; all post at the same time."""
    make_runs(bench, "live", runs)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(runs + 200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    connections, most = [bench.connect() for _ in range(runs)], 0
    for i in range(rounds):
        bodies = [body_of(15 * i, 15, 20)[0] for _ in range(runs)]
        for r in range(runs):
            connections[r].request("POST", f"/files/local/live/run{r}/file_stream", bodies[r], bench.headers)
        for connection in connections:
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (200, 429), answer.status
        most = max(most, bench.rss_mb())
    say(f"memory with {runs} runs streaming at once", most, "MB", "<= 60")
    for connection in connections:
        connection.close()
    time.sleep(16)
    say("memory, 16 s after the last request", bench.rss_mb(), "MB")


def first_starts(binary, times):
    """Milliseconds of the quickest of several starts on empty folders."""
    best = 1e9
    for _ in range(times):
        root = tempfile.mkdtemp()
        bench = Bench(binary, root)
        bench.stop()
        shutil.rmtree(root)
        best = min(best, bench.start_s * 1e3)
    return best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", default=str(HERE.parent / "build" / "tare-server"))
    parser.add_argument("--dir", default=None)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    root = tempfile.mkdtemp(dir=args.dir)
    bench = Bench(args.server, root)
    try:
        bench.connection = bench.connect()
        say("first start", first_starts(args.server, 9), "ms", "<= 20")
        time.sleep(0.5)
        say("memory, idle", bench.rss_mb(), "MB", "<= 10")
        many_runs(bench, 50 if args.quick else 200, 1000, 5, 1000)
        long_run(bench, 100_000 if args.quick else 1_000_000)
        table_of(bench, 1000 if args.quick else 10_000)
        small_posts(bench, 15, 1000 if args.quick else 6000)
        streaming(bench, 100 if args.quick else 1000, 4)
    finally:
        bench.stop()
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
