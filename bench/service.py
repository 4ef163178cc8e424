# SPDX-License-Identifier: MIT
"""Service binaries side by side, taking turns: start-up, idle memory, offline ingest, many runs at
once, round trip.

    .venv/bin/python bench/service.py build/tare PEER/bin/wandb-core      (`peer` finds the wheel's)

Prints a markdown table: medians of --repeats, and the ratio of the first binary to the last. CPU is
the service's alone (utime + stime). Every .wandb file is read back with a reader of its own; a
binary that lost or reordered a step is named and the exit status is 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pathlib
import random
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from wandb.proto import wandb_internal_pb2 as pb
from wandb.proto import wandb_server_pb2 as spb

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "support"))
import wandbfile  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
BAD: list[str] = []


class Service:
    """One service process, started with the SDK's command line, and one folder for its runs."""

    def __init__(self, binary: str) -> None:
        self.dir = tempfile.mkdtemp(prefix="tare-bench-")
        port_file = f"{self.dir}/port"
        env = dict(os.environ, WANDB_CACHE_DIR=f"{self.dir}/cache")
        argv = [binary, "--no-observability", "--port-filename", port_file, "--pid", str(os.getpid())]
        start = time.perf_counter()
        self.proc = subprocess.Popen(argv, cwd=self.dir, env=env, start_new_session=True,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines: list[str] = []
        while not lines or lines[-1] != "EOF":
            if self.proc.poll() is not None or time.perf_counter() - start > 30:
                raise RuntimeError(f"{binary}: no port file")
            time.sleep(0.0002)
            if os.path.exists(port_file):
                lines = pathlib.Path(port_file).read_text().split("\n")
                lines = [line for line in lines if line]
        self.ready_s = time.perf_counter() - start
        self.address = next(line[5:] for line in lines if line.startswith(("unix=", "sock=")))
        self.unix = any(line.startswith("unix=") for line in lines)

    def connect(self) -> socket.socket:
        if not self.unix:
            return socket.create_connection(("127.0.0.1", int(self.address)), timeout=120)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(120)
        sock.connect(self.address)
        return sock

    def cpu_s(self) -> float:
        fields = pathlib.Path(f"/proc/{self.proc.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self, key: str) -> float:
        for line in pathlib.Path(f"/proc/{self.proc.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024 / 1e6
        return 0.0

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *exc) -> None:
        self.proc.terminate()
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Client:
    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.buf, self.next_id, self.answers = sock, b"", 0, {}

    def send(self, req: spb.ServerRequest) -> None:
        self.sock.sendall(frame(req))

    def ask(self, req: spb.ServerRequest) -> str:
        self.next_id += 1
        req.request_id = f"slot{self.next_id}"
        if req.HasField("record_publish"):
            req.record_publish.control.mailbox_slot = req.request_id
        self.send(req)
        return req.request_id

    def wait(self, slot: str) -> None:
        while slot not in self.answers:
            while len(self.buf) < 5 or len(self.buf) < 5 + int.from_bytes(self.buf[1:5], "little"):
                data = self.sock.recv(1 << 16)
                if not data:
                    raise EOFError("the service hung up")
                self.buf += data
            size = int.from_bytes(self.buf[1:5], "little")
            answer = spb.ServerResponse.FromString(self.buf[5 : 5 + size])
            self.answers[answer.request_id] = answer
            self.buf = self.buf[5 + size :]
        if self.answers.pop(slot).HasField("error_response"):
            raise RuntimeError("the service answered with an error")

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)
        while self.sock.recv(1 << 16):
            pass
        self.sock.close()


class Run:
    def __init__(self, root: str, run_id: str) -> None:
        self.id = run_id
        self.dir = f"{root}/wandb/offline-run-20260101_000000-{run_id}"
        self.file = f"{self.dir}/run-{run_id}.wandb"
        for sub in ("files", "logs"):
            os.makedirs(f"{self.dir}/{sub}")

    def record(self) -> tuple[spb.ServerRequest, pb.Record]:
        req = spb.ServerRequest()
        req.record_publish._info.stream_id = self.id
        return req, req.record_publish

    def request(self, name: str) -> spb.ServerRequest:
        req, rec = self.record()
        rec.control.local = True
        getattr(rec.request, name).SetInParent()
        return req

    def init(self) -> spb.ServerRequest:
        req = spb.ServerRequest()
        req.inform_init._info.stream_id = self.id
        s = req.inform_init.settings
        s._offline.value, s.mode.value, s.run_id.value = True, "offline", self.id
        s.x_disable_meta.value = s.x_disable_stats.value = s.disable_git.value = True
        s.sync_dir.value, s.sync_file.value = self.dir, self.file
        s.log_dir.value = f"{self.dir}/logs"
        s.log_internal.value = f"{self.dir}/logs/debug-internal.log"
        s.project.value, s.x_primary.value = "bench", True
        return req

    def run(self) -> spb.ServerRequest:
        req, rec = self.record()
        rec.run.run_id, rec.run.project = self.id, "bench"
        rec.run.start_time.GetCurrentTime()
        return req

    def start(self) -> spb.ServerRequest:
        req = self.request("run_start")
        req.record_publish.request.run_start.run.run_id = self.id
        req.record_publish.request.run_start.run.start_time.GetCurrentTime()
        return req

    def exit(self) -> spb.ServerRequest:
        req, rec = self.record()
        rec.exit.SetInParent()
        return req

    def finish(self) -> spb.ServerRequest:
        req = spb.ServerRequest()
        req.inform_finish._info.stream_id = self.id
        return req

    def history(self, count: int) -> bytes:
        rng, out = random.Random(1), bytearray()
        for i in range(count):
            req, rec = self.record()
            rec.control.local = True
            for k in range(10):
                rec.request.partial_history.item.add(key=f"metric_{k}", value_json=repr(rng.random()))
            rec.request.partial_history.item.add(key="_timestamp", value_json=repr(1.79e9 + i / 1000))
            out += frame(req)
        return bytes(out)

    def check(self, binary: str, count: int) -> None:
        """Every step must be in the file once and in order."""
        try:
            recs = wandbfile.records(self.file)
            exits = sum(rec.HasField("exit") for rec in recs)
            steps = [rec.history.step.num for rec in recs if rec.HasField("history")]
            if steps != list(range(count)) or exits != 1:
                BAD.append(f"{binary}: {self.id} has {len(steps)} of {count} steps, {exits} exits")
        except (OSError, wandbfile.BadFile) as e:
            BAD.append(f"{binary}: {self.id}: {e}")


def frame(req: spb.ServerRequest) -> bytes:
    data = req.SerializeToString()
    return struct.pack("<BI", ord("W"), len(data)) + data


def startup(binary: str, _: argparse.Namespace) -> dict[str, float]:
    with Service(binary) as svc:
        time.sleep(0.5)
        return {"spawn to port file, ms": svc.ready_s * 1e3, "idle RSS, MB": svc.memory_mb("VmRSS")}


def offline(binary: str, args: argparse.Namespace) -> dict[str, float]:
    with Service(binary) as svc:
        run, client = Run(svc.dir, "bench000"), Client(svc.connect())
        for req in (run.init(), run.run(), run.start()):
            client.wait(client.ask(req))
        data = run.history(args.records)
        cpu, start = svc.cpu_s(), time.perf_counter()
        client.sock.sendall(data)
        client.wait(client.ask(run.exit()))
        took = time.perf_counter() - start
        trips = []
        for _ in range(1000):
            t = time.perf_counter()
            client.wait(client.ask(run.request("get_summary")))
            trips.append(time.perf_counter() - t)
        peak = svc.memory_mb("VmHWM")
        cpu_us = (svc.cpu_s() - cpu) / args.records * 1e6
        client.send(run.finish())
        client.close()
        run.check(binary, args.records)
        return {
            "offline: CPU, us a record of 10 metrics": cpu_us,
            "offline: records a second": args.records / took,
            "offline: bytes a record": os.path.getsize(run.file) / args.records,
            "offline: peak RSS, MB": peak,
            "get_summary p50, us": statistics.median(trips) * 1e6,
        }


def many(binary: str, args: argparse.Namespace) -> dict[str, float]:
    with Service(binary) as svc:
        runs = [Run(f"{svc.dir}/{i}", f"many{i:04d}") for i in range(args.streams)]
        data = [run.history(20) for run in runs]
        cpu = svc.cpu_s()
        clients = [Client(svc.connect()) for _ in runs]

        def everyone(make) -> None:
            for client, slot in [(c, c.ask(make(r))) for c, r in zip(clients, runs)]:
                client.wait(slot)

        everyone(Run.init)
        everyone(Run.run)
        everyone(Run.start)
        for client, frames in zip(clients, data):
            client.sock.sendall(frames)
        everyone(Run.exit)
        for client, run in zip(clients, runs):
            client.send(run.finish())
        for client in clients:
            client.close()
        time.sleep(0.2)
        out = {
            f"{args.streams} runs at once: CPU, s": svc.cpu_s() - cpu,
            f"{args.streams} runs at once: peak RSS, MB": svc.memory_mb("VmHWM"),
        }
        for run in runs:
            run.check(binary, 20)
        return out


def peer() -> str:
    spec = importlib.util.find_spec("wandb")
    return os.path.join(os.path.dirname(spec.origin), "bin", "wandb-core")


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("binaries", nargs="+", help="`peer` stands for the wandb-core of this Python")
    ap.add_argument("--repeats", type=int, default=5)
    ap.add_argument("--records", type=int, default=100_000)
    ap.add_argument("--streams", type=int, default=1000)
    args = ap.parse_args()
    binaries = [peer() if b == "peer" else os.path.abspath(b) for b in args.binaries]
    rows: dict[str, dict[str, list[float]]] = {}
    for measure in (startup, offline, many):
        for _ in range(args.repeats):
            for binary in binaries:
                for name, value in measure(binary, args).items():
                    rows.setdefault(name, {}).setdefault(binary, []).append(value)
    names = args.binaries
    print("| measure | " + " | ".join(names) + f" | {names[0]} / {names[-1]} |")
    print("|" + " --- |" * (len(names) + 2))
    for name, by in rows.items():
        mid = [statistics.median(by[b]) for b in binaries]
        cells = [f"{m:.4g} [{min(by[b]):.3g} .. {max(by[b]):.3g}]" for m, b in zip(mid, binaries)]
        print(f"| {name} | " + " | ".join(cells) + f" | {mid[0] / mid[-1] if mid[-1] else 0:.3f} |")
    for line in sorted(set(BAD)):
        print("FAILED CHECK", line)
    return 1 if BAD else 0


if __name__ == "__main__":
    sys.exit(main())
