# SPDX-License-Identifier: MIT
"""A service under test, and a client that speaks to it in raw frames.

TARE names the binary (default: build/tare of this checkout).
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib

from wandb.proto import wandb_internal_pb2 as pb
from wandb.proto import wandb_server_pb2 as spb

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARE = os.environ.get("TARE", str(ROOT / "build" / "tare"))
# A binary built with sanitizers keeps what is freed: bounds on memory are not checked with it.
MANY = 1 << 60 if "san" in TARE else 1


def frame(request) -> bytes:
    data = request if isinstance(request, bytes) else request.SerializeToString()
    return struct.pack("<BI", ord("W"), len(data)) + data


# -- what is asked ----------------------------------------------------------------------------


class Run:
    """Messages about one run below `root`."""

    def __init__(self, root, run_id: str, **settings) -> None:
        self.id = run_id
        self.dir = pathlib.Path(root) / "wandb" / f"offline-run-20260101_000000-{run_id}"
        self.file = self.dir / f"run-{run_id}.wandb"
        self.settings = {"run_id": run_id, "sync_dir": str(self.dir), "_offline": True,
                         "sync_file": str(self.file), "silent": True, **settings}

    def init(self) -> spb.ServerRequest:
        req = spb.ServerRequest()
        req.inform_init._info.stream_id = self.id
        for name, value in self.settings.items():
            getattr(req.inform_init.settings, name).value = value
        return req

    def attach(self) -> spb.ServerRequest:
        req = spb.ServerRequest()
        req.inform_attach._info.stream_id = self.id
        return req

    def finish(self) -> spb.ServerRequest:
        req = spb.ServerRequest()
        req.inform_finish._info.stream_id = self.id
        return req

    def record(self) -> tuple[spb.ServerRequest, pb.Record]:
        req = spb.ServerRequest()
        req.record_publish._info.stream_id = self.id
        return req, req.record_publish

    def run(self) -> spb.ServerRequest:
        req, rec = self.record()
        rec.run.run_id = self.id
        rec.run.project = "test"
        return req

    def run_start(self) -> spb.ServerRequest:
        req, rec = self.record()
        rec.control.local = True
        rec.request.run_start.run.run_id = self.id
        return req

    def history(self, **values) -> spb.ServerRequest:
        req, rec = self.record()
        rec.control.local = True
        for key, value in values.items():
            rec.request.partial_history.item.add(key=key, value_json=json.dumps(value))
        return req

    def exit(self, code: int = 0) -> spb.ServerRequest:
        req, rec = self.record()
        rec.exit.exit_code = code
        return req

    def request(self, name: str) -> spb.ServerRequest:
        req, rec = self.record()
        rec.control.local = True
        getattr(rec.request, name).SetInParent()
        return req


def teardown(code: int = 0) -> spb.ServerRequest:
    req = spb.ServerRequest()
    req.inform_teardown.exit_code = code
    return req


# -- a client ---------------------------------------------------------------------------------


class Client:
    """A blocking connection. `send` does not read meanwhile."""

    def __init__(self, sock: socket.socket, timeout: float = 60.0) -> None:
        self.sock = sock
        self.timeout = timeout
        sock.settimeout(timeout)
        self.buf = bytearray()
        self.next_id = 0
        self.waiting: dict[str, spb.ServerResponse] = {}

    def send(self, *requests) -> None:
        self.sock.sendall(b"".join(frame(r) for r in requests))

    def deliver(self, req, request_id: str = "") -> str:
        self.next_id += 1
        req.request_id = request_id or f"slot{self.next_id:08d}"
        if req.HasField("record_publish"):
            req.record_publish.control.mailbox_slot = req.request_id
        self.send(req)
        return req.request_id

    def read(self) -> spb.ServerResponse:
        """The next answer; EOFError when the service hangs up."""
        while True:
            if len(self.buf) >= 5:
                assert self.buf[0] == ord("W")
                end = 5 + int.from_bytes(self.buf[1:5], "little")
                if len(self.buf) >= end:
                    response = spb.ServerResponse.FromString(bytes(self.buf[5:end]))
                    del self.buf[:end]
                    return response
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError("the service closed the connection")
            self.buf += data

    def wait(self, request_id: str) -> spb.ServerResponse:
        while request_id not in self.waiting:
            response = self.read()
            self.waiting[response.request_id] = response
        return self.waiting.pop(request_id)

    def ask(self, req) -> spb.ServerResponse:
        return self.wait(self.deliver(req))

    def must(self, req) -> spb.ServerResponse:
        response = self.ask(req)
        assert not response.HasField("error_response"), response.error_response.message
        return response

    def is_closed(self, timeout: float = 60.0) -> bool:
        """Does the service hang up? Answers that come before are kept in `waiting`."""
        self.sock.settimeout(timeout)
        try:
            while True:
                response = self.read()
                self.waiting[response.request_id] = response
        except (EOFError, ConnectionResetError):
            return True
        except TimeoutError:
            return False
        finally:
            self.sock.settimeout(self.timeout)

    def has_answer(self, timeout: float = 0.0) -> bool:
        return bool(select.select([self.sock], [], [], timeout)[0])

    def close(self) -> None:
        self.sock.close()


def start_run(client: Client, run: Run) -> None:
    client.must(run.init())
    client.must(run.run())
    client.must(run.run_start())


def end_run(client: Client, run: Run) -> None:
    client.must(run.exit())
    client.must(run.finish())


# -- the service ------------------------------------------------------------------------------


class Service:
    """A service that is a child of this process, or of `parent_code`'s if that is given."""

    def __init__(self, workdir, *args: str, fds: int = 0, file_bytes: int = 0, env=None,
                 pid: int | None = None, parent=None, stdout=None) -> None:
        self.workdir = pathlib.Path(workdir)
        self.port_file = self.workdir / f"port-{time.monotonic_ns()}.txt"
        full_env = {**os.environ, "WANDB_CACHE_DIR": str(self.workdir / "cache"), **(env or {})}
        for name, value in (env or {}).items():
            if value is None:
                full_env.pop(name)

        def limit():
            if fds:
                resource.setrlimit(resource.RLIMIT_NOFILE, (fds, fds))
            if file_bytes:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

        self.log = open(self.workdir / "service.out", "ab+")
        self.t_spawn = time.perf_counter()
        self.proc = subprocess.Popen(
            [TARE, "--no-observability", "--port-filename", str(self.port_file),
             "--pid", str(os.getpid() if pid is None else pid), *args],
            cwd=workdir, env=full_env, stdin=subprocess.DEVNULL, stdout=self.log if stdout is None else stdout,
            stderr=self.log, start_new_session=True, preexec_fn=limit if fds or file_bytes else None)
        self.pid = self.proc.pid
        self.unix, self.tcp = "", 0
        self._wait_for_port_file()

    def _wait_for_port_file(self) -> None:
        self.unix, self.tcp = read_port_file(self.port_file, self.proc)

    def connect(self, tcp: bool = False) -> Client:
        if tcp:
            return Client(socket.create_connection(("127.0.0.1", self.tcp)))
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        sock.connect(self.unix)
        return Client(sock)

    def wait(self, timeout: float = 60.0) -> int:
        """Exit code; fails the test if the service does not end."""
        return self.proc.wait(timeout)

    def output(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def diag_says(self, text: str) -> bool:
        """Does the debug log say so? Lines reach it a moment after what they tell of."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if any(text in p.read_text() for p in self.workdir.glob("cache/wandb/logs/*.log")):
                return True
            time.sleep(0.01)
        return False

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *exc) -> None:
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(60)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                if exc[0] is None:
                    raise
        self.log.close()


def read_port_file(path, proc=None, timeout: float = 60.0) -> tuple[str, int]:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            lines = pathlib.Path(path).read_text().split("\n")
            assert lines[-1] == "EOF", "the port file was seen half written"
            found = dict(line.split("=", 1) for line in lines[:-1])
            return found.get("unix", ""), int(found.get("sock", 0))
        if proc is not None and proc.poll() is not None:
            raise RuntimeError(f"the service ended with {proc.returncode}")
        time.sleep(0.001)
    raise TimeoutError("no port file")


def rss_bytes(pid: int, field: str = "VmRSS") -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- a journal, read strictly -----------------------------------------------------------------


class Torn(Exception):
    pass


def _chunks(data: bytes):
    assert data[:7] == b":W&B\xe1\xbe\x00", "bad header"
    at = 7
    while at < len(data):
        left = 32768 - at % 32768
        if left < 7:
            if any(data[at:at + left]):
                raise AssertionError("the end of a block is not zero")
            at += left
            continue
        if at + 7 > len(data):
            raise Torn
        crc, size, kind = struct.unpack_from("<IHB", data, at)
        body = data[at + 7:at + 7 + size]
        if len(body) < size:
            raise Torn
        if zlib.crc32(data[at + 6:at + 7 + size]) != crc:
            raise AssertionError(f"bad checksum at {at}")
        yield kind, body
        at += 7 + size


def records(path, torn_ok: bool = False) -> list[pb.Record]:
    """All records; anything but whole valid ones is an error, but for a torn end with torn_ok."""
    out, part = [], None
    try:
        for kind, body in _chunks(pathlib.Path(path).read_bytes()):
            if kind in (1, 2):
                assert part is None
                part = b""
            part += body
            if kind in (1, 4):
                out.append(pb.Record.FromString(part))
                part = None
    except Torn:
        if not torn_ok:
            raise AssertionError("the journal ends within a chunk") from None
        return out
    assert part is None or torn_ok, "the journal ends within a record"
    return out


def steps(recs) -> list[dict[str, str]]:
    """The history rows, each a dict of key to JSON."""
    return [{i.key or ".".join(i.nested_key): i.value_json for i in r.history.item}
            for r in recs if r.WhichOneof("record_type") == "history"]


def python(code: str, *args: str, **kwargs) -> subprocess.Popen:
    """A Python program that can import this file."""
    env = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parent)}
    return subprocess.Popen([sys.executable, "-c", code, *args], env=env, **kwargs)
