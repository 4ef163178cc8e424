# SPDX-License-Identifier: MIT
"""The file stream and run files against a backend that does everything wrong now and then: every
line is there once, at its number, whatever happens on the way."""

import base64
import contextlib
import gzip
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from local_http import hold_port  # noqa: E402

BUILD = Path(os.environ.get("TARE_BUILD", Path(__file__).resolve().parents[2] / "build"))
DRIVER = os.environ.get("UPLOAD_DRIVER", str(BUILD / "tests/unit/upload_driver"))

# What may happen to a request. The first kinds: before the backend has done anything.
LOST = ["refuse", "reset", "black hole", "429", "500", "502", "cut request"]
DONE = ["reply lost", "truncated", "slow", "empty"]


def is_left(connection):
    """Has the client hung up?"""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def end_listener(listener):
    """Who waits in accept() is woken: else it would go on with the socket that gets the number next."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


class Backend:
    """A server of our own, since those of the library will not misbehave. `fault` says what becomes
    of the nth request: a kind above or None."""

    def __init__(self, fault):
        self.fault = fault
        self.lock = threading.Lock()
        self.refusing = threading.Lock()
        self.n = 0
        self.lines = {}  # file -> {number: text}
        self.rewritten = []  # (file, number) of what must not change and did
        self.uploaded, self.files, self.exit_code = [], {}, None
        self.stop_after, self.over = None, False
        self.held = hold_port()
        self.port = self.held.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.open_listener()

    def open_listener(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def refuse_for(self, seconds):
        """Nobody listens for a while."""
        if not self.refusing.acquire(blocking=False):
            return
        if not self.over:
            end_listener(self.listener)
            time.sleep(seconds)
            self.open_listener()
        self.refusing.release()

    def close(self):
        self.over = True
        with self.refusing:  # it does not come back
            end_listener(self.listener)
        self.held.close()

    # ---- one connection

    def serve(self, connection):
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = connection.makefile("rb")
            try:
                while self.one_request(connection, reader):
                    pass
            except OSError:
                pass

    def one_request(self, connection, reader):
        line = reader.readline()
        if not line:
            return False
        method, path, _ = line.decode().split()
        headers = {}
        while (line := reader.readline().strip()):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        n = int(headers.get("content-length", 0))
        with self.lock:
            fault = self.fault(self.n, path)
            self.n += 1
        if fault == "cut request":
            reader.read(n // 2)
            return self.reset(connection)
        if headers.get("expect") == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = reader.read(n)
        assert len(body) == n
        if fault == "refuse":
            threading.Thread(target=self.refuse_for, args=(0.1,)).start()
            return self.reset(connection)
        if fault == "reset":
            return self.reset(connection)
        if fault == "black hole":
            time.sleep(2)  # longer than the client has patience
            return False
        if fault == "429":
            return self.answer(connection, 429, b"slow down", "Retry-After: 0.05\r\n")
        if fault == "500":
            return self.answer(connection, 500, b'{"error":"oops"}')
        if fault == "502":
            return self.answer(connection, 502, b"<html><body>Bad Gateway</body></html>")
        with self.lock:
            if is_left(connection):  # it has sent this again elsewhere, and may have sent more since: too late
                return False
            status, answer = self.handle(method, path, headers, body)
        if fault == "reply lost":
            return self.reset(connection)
        if fault == "slow":
            time.sleep(0.3)
        if fault == "truncated":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + answer[:5])
            return False
        if fault == "empty" and "file_stream" in path:
            answer = b""
        return self.answer(connection, status, answer)

    def answer(self, connection, status, body, headers=""):
        connection.sendall(f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return True

    def reset(self, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    # ---- what a backend does

    def handle(self, method, path, headers, body):
        if path == "/graphql":
            return 200, json.dumps(self.graphql(json.loads(body))).encode()
        if path == "/files/us/project/run1/file_stream":
            who = base64.b64encode(b"api:key-key-key-key-key-key-key-key-key-key-").decode()
            assert headers["authorization"] == f"Basic {who}"
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            return self.file_stream(json.loads(body))
        if method == "PUT" and path.startswith("/up/"):
            assert "authorization" not in headers
            assert headers["x-thing"] == "yes"
            self.files[path[4:]] = body
            return 200, b""
        return 404, b"not here"

    def graphql(self, request):
        if request["operationName"] == "ServerFeaturesQuery":
            return {"data": {"serverInfo": {"features": [{"name": "FILESTREAM_GZIP", "isEnabled": True}]}}}
        assert request["operationName"] == "CreateRunFiles", request
        variables = request["variables"]
        assert (variables["entity"], variables["project"], variables["run"]) == ("us", "project", "run1")
        files = [{"name": name, "uploadUrl": f"{self.url}/up/{name}"} for name in variables["files"]]
        return {"data": {"createRunFiles": {"runID": "x", "uploadHeaders": ["X-Thing:yes"], "files": files}}}

    def file_stream(self, request):
        for name, part in request.get("files", {}).items():
            at = self.lines.setdefault(name, {})
            for i, text in enumerate(part["content"], part["offset"]):
                if name in ("wandb-history.jsonl", "wandb-events.jsonl") and at.get(i, text) != text:
                    self.rewritten.append((name, i))
                at[i] = text
        self.uploaded += request.get("uploaded", [])
        if request.get("complete"):
            self.exit_code = request["exitcode"]
        stopped = self.stop_after is not None and self.n > self.stop_after
        return 200, json.dumps({"exitcode": None, "limits": {}, "stopped": stopped}).encode()


def make_files(folder):
    rng = random.Random(7)
    files = {}
    for i in range(5):
        for policy in ("now", "end"):
            files[f"{policy}-{i}"] = rng.randbytes([0, 10, 70_000, 300_000, 65_536][i])
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return files


def drive(backend, folder, n):
    done = subprocess.run([DRIVER, backend.url, str(folder), str(n)], capture_output=True, text=True,
                          env={**os.environ, "TARE_UPLINK": str(BUILD / "tare-uplink.so")}, timeout=300)
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()[-1].split()
    result = dict(zip(words[::2], map(int, words[1::2])))
    result["told"] = [line for line in done.stdout.splitlines() if line.startswith("told")]
    return result


def assert_whole(backend, files, n):
    def line(i):
        return f'{{"_step":{i},"text":"\\u00e9 \\"{i * 7}\\"","nan":NaN}}'

    assert backend.rewritten == []
    assert backend.lines["wandb-history.jsonl"] == {i: line(i) for i in range(n)}
    assert backend.lines["wandb-events.jsonl"] == {i: line(i * 5) for i in range((n + 4) // 5)}
    again = {i - 100 for i in range(100, n, 10)}
    assert backend.lines["output.log"] == {i: f"{'LINE' if i in again else 'line'} {i}" for i in range(n)}
    assert backend.lines["wandb-summary.json"] == {0: f'{{"_step":{n}}}'}
    assert backend.files == files
    assert set(backend.uploaded) == set(files)
    assert backend.exit_code == 3


def run_whole(tmp_path, fault, n=1500):
    files = make_files(tmp_path)
    backend = Backend(fault)
    try:
        result = drive(backend, tmp_path, n)
    finally:
        backend.close()
    assert_whole(backend, files, n)
    assert (result["stream"], result["files"], result["reached"]) == (0, 0, n)
    return backend, result


def test_without_faults(tmp_path):
    backend, result = run_whole(tmp_path, lambda i, path: None)
    assert result["told"] == []
    assert len(backend.uploaded) == 10


@pytest.mark.parametrize("kind", LOST + DONE)
def test_one_kind_of_fault(tmp_path, kind):
    """Every third request meets it."""
    run_whole(tmp_path, lambda i, path: kind if i % 3 == 1 else None, n=400)


@pytest.mark.parametrize("seed", range(4))
def test_all_kinds_at_random(tmp_path, seed):
    rng = random.Random(seed)
    run_whole(tmp_path, lambda i, path: rng.choice(LOST + DONE) if rng.random() < 0.5 else None)


def test_stop_is_heard(tmp_path):
    files = make_files(tmp_path)
    backend = Backend(lambda i, path: None)
    backend.stop_after = 3
    result = drive(backend, tmp_path, 300)
    backend.close()
    assert result["stopped"] == 1
    assert_whole(backend, files, 300)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410])
def test_a_refused_stream_ends_and_says_so_once(tmp_path, status):
    class Refusing(Backend):
        def file_stream(self, request):
            return (status, b'{"error":"no"}') if self.n > 8 else super().file_stream(request)

    files = make_files(tmp_path)
    backend = Refusing(lambda i, path: None)
    result = drive(backend, tmp_path, 1500)
    backend.close()
    assert result["stream"] < 0 and result["files"] == 0
    assert len(result["told"]) == 1
    assert result["told"][0].startswith("told error: Fatal error while uploading data.")
    assert backend.files == files  # they go on
    history = backend.lines.get("wandb-history.jsonl", {})
    assert sorted(history) == list(range(len(history)))
    assert result["reached"] <= len(history)


def test_files_the_backend_does_not_want(tmp_path):
    class Refusing(Backend):
        def graphql(self, request):
            if request["operationName"] == "CreateRunFiles":
                return {"errors": [{"message": "no files here"}]}
            return super().graphql(request)

    make_files(tmp_path)
    backend = Refusing(lambda i, path: None)
    result = drive(backend, tmp_path, 100)
    backend.close()
    assert result["stream"] == 0 and result["files"] < 0
    assert "no files here" in result["told"][0]
    assert len(result["told"]) == 2
    assert backend.exit_code == 3
