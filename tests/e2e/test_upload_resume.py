# SPDX-License-Identifier: MIT
"""Uploads through a network that breaks again and again: what has arrived is not sent again. Bytes are counted on
the wire, between the service and `tare server`."""

import hashlib
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from online_support import clean_env
from server_support import ROOT, Server
from service_support import TARE
from test_upload_artifacts import Asker
from test_upload_faults import end_listener

MIB = 1 << 20
SIZE = 48 * MIB
LOST = 512 * 1024  # at most that much is under way when a connection breaks


class Wire:
    """Forwards to a server and counts what clients send. `cut_after(i)`: bytes after which the ith large
    transfer breaks, None for none. `stop_at`: so many bytes and no more are let through until it is None again."""

    def __init__(self, port, cut_after=lambda i: None):
        self.target, self.cut_after, self.stop_at = port, cut_after, None
        self.sent, self.n_cut, self.lock = 0, 0, threading.Lock()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            server.connect(("127.0.0.1", self.target))
            threading.Thread(target=self.forward, args=(client, server), daemon=True).start()
            threading.Thread(target=self.answer, args=(server, client), daemon=True).start()

    def forward(self, client, server):
        with self.lock:
            limit = self.cut_after(self.n_cut)
        so_far = 0
        try:
            while block := client.recv(65536):
                so_far += len(block)
                with self.lock:
                    self.sent += len(block)
                server.sendall(block)
                while self.stop_at is not None and self.sent >= self.stop_at:
                    time.sleep(0.005)
                if limit is not None and so_far >= limit:
                    with self.lock:
                        self.n_cut += 1
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
        except OSError:
            pass
        for s in (client, server):
            try:
                s.shutdown(socket.SHUT_RDWR if s is client else socket.SHUT_WR)
            except OSError:
                pass
        client.close()

    @staticmethod
    def answer(server, client):
        try:
            while block := server.recv(65536):
                client.sendall(block)
        except OSError:
            pass
        server.close()

    def close(self):
        end_listener(self.listener)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), "--no-local-files") as s:
        s.script("""
import json, wandb
with wandb.init(project="up", id="maker"): pass
print("0")
""")
        yield s


def cuts(seed):
    rng = random.Random(seed)
    return lambda i: rng.randrange(100_000, 4 * MIB) if i < 25 else None


def assert_little_was_sent_twice(wire, before=0, size=SIZE):
    assert size <= wire.sent - before <= size + (wire.n_cut + 2) * LOST


@pytest.mark.parametrize("seed", range(2))
def test_a_file_of_an_artifact(server, tmp_path, seed):
    asker = Asker(server, tmp_path)
    content = random.Random(seed).randbytes(SIZE)
    with Wire(server.port, cuts(seed)) as wire:
        (answer,) = asker.ask(asker.log(asker.artifact(f"cut{seed}", {"f": content})), url=wire.url)
        assert answer.error_message == ""
        assert wire.n_cut >= 12
        assert_little_was_sent_twice(wire)
    got = server.script(f"""
import hashlib, json, wandb
path = wandb.Api().artifact("local/up/cut{seed}:latest").get_entry("f").download("out{seed}", skip_cache=True)
print(json.dumps(hashlib.md5(open(path, "rb").read()).hexdigest()))
""")
    assert got == hashlib.md5(content).hexdigest()


def service_env(folder, server, url, **more):
    return clean_env(folder, url, WANDB_API_KEY=server.key, WANDB_SILENT="true", WANDB_PROJECT="up",
                     WANDB_X_FILE_TRANSFER_RETRY_WAIT_MIN_SECONDS="0.05",
                     WANDB_X_FILE_TRANSFER_RETRY_WAIT_MAX_SECONDS="0.2", **more)


def make_file(folder, seed):
    content = random.Random(seed).randbytes(SIZE)
    (folder / "big.bin").write_bytes(content)
    return content


SAVE = """
import wandb
with wandb.init(id="{id}") as run:
    run.save("big.bin", policy="now")
"""


def test_a_file_of_a_run(server, tmp_path):
    content = make_file(tmp_path, 10)
    with Wire(server.port, cuts(10)) as wire:
        done = subprocess.run([sys.executable, "-c", SAVE.format(id="cutrun")], env=service_env(tmp_path, server, wire.url),
                              cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert wire.n_cut >= 12
        assert_little_was_sent_twice(wire)
    assert server.request("GET", "/files/local/up/cutrun/big.bin")[2] == content


def service_of(pid):
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((p / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and b"--port-filename" in (p / "cmdline").read_bytes():
                return int(p.name)
        except OSError:
            pass


def wait_until_sent(wire, n, process):
    deadline = time.monotonic() + 120
    while wire.sent < n:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)


def run_dir(folder):
    (path,) = [p for p in (folder / "wandb").iterdir() if "run-2" in p.name]
    return path


def sync(folder, server, url):
    done = subprocess.run([TARE, "sync", str(run_dir(folder))], env=service_env(folder, server, url), cwd=folder,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_service_that_is_killed_and_a_sync(server, tmp_path):
    """The service is killed in the middle of a run's file; the sync that follows sends the rest."""
    content = make_file(tmp_path, 20)
    with Wire(server.port) as wire:
        wire.stop_at = SIZE // 2
        program = subprocess.Popen([sys.executable, "-c", SAVE.format(id="killed") + "    import time; time.sleep(100)\n"],
                                   env=service_env(tmp_path, server, wire.url), cwd=tmp_path)
        wait_until_sent(wire, SIZE // 2, program)
        os.kill(service_of(program.pid), signal.SIGKILL)
        program.kill()
        program.wait()
        before, wire.stop_at = wire.sent, None
        sync(tmp_path, server, wire.url)
        assert wire.sent - before < SIZE - before + 4 * LOST
    assert server.request("GET", "/files/local/up/killed/big.bin")[2] == content


def test_a_sync_of_an_artifact_that_is_killed(server, tmp_path):
    content = make_file(tmp_path, 30)
    script = """
import wandb
with wandb.init(id="offart") as run:
    a = wandb.Artifact("offart", type="dataset")
    a.add_file("big.bin")
    run.log_artifact(a)
"""
    subprocess.run([sys.executable, "-c", script], env=service_env(tmp_path, server, server.url, WANDB_MODE="offline"),
                   cwd=tmp_path, check=True, timeout=120)
    with Wire(server.port) as wire:
        for part in (1, 2):
            wire.stop_at = part * SIZE // 3
            program = subprocess.Popen([TARE, "sync", str(run_dir(tmp_path))], env=service_env(tmp_path, server, wire.url),
                                       cwd=tmp_path, stdout=subprocess.DEVNULL)
            wait_until_sent(wire, part * SIZE // 3, program)
            program.kill()
            program.wait()
        wire.stop_at = None
        sync(tmp_path, server, wire.url)
        assert wire.sent < SIZE + 6 * LOST
    got = server.script("""
import hashlib, json, wandb
a = wandb.Api().artifact("local/up/offart:latest")
path = a.get_entry("big.bin").download("outoff", skip_cache=True)
print(json.dumps([a.version, hashlib.md5(open(path, "rb").read()).hexdigest()]))
""")
    assert got == ["v0", hashlib.md5(content).hexdigest()]


@pytest.mark.skipif("TARE_LARGE" not in os.environ, reason="TARE_LARGE=1: writes 8 GB")
def test_a_file_in_parts(server, tmp_path):
    """Two times broken in the middle by killing who uploads: parts that have come are not sent again."""
    size = (2 << 30) + 12345
    block = os.urandom(MIB)
    digest = hashlib.md5()
    with open(tmp_path / "large", "wb") as f:
        for i in range(0, size, MIB):
            piece = (i.to_bytes(8, "big") + block[8:])[:size - i]
            f.write(piece)
            digest.update(piece)
    script = """
import wandb
with wandb.init(id="parts") as run:
    a = wandb.Artifact("parts", type="dataset")
    a.add_file("large", policy="immutable", skip_cache=True)
    run.log_artifact(a)
"""
    subprocess.run([sys.executable, "-c", script], env=service_env(tmp_path, server, server.url, WANDB_MODE="offline"),
                   cwd=tmp_path, check=True, timeout=120)
    with Wire(server.port) as wire:
        for part in (1, 2):
            program = subprocess.Popen([TARE, "sync", str(run_dir(tmp_path))], env=service_env(tmp_path, server, wire.url),
                                       cwd=tmp_path, stdout=subprocess.DEVNULL)
            wait_until_sent(wire, part * size // 3, program)
            program.kill()
            program.wait()
        assert wire.sent < size
        sync(tmp_path, server, wire.url)
        assert wire.sent < size + 2 * 8 * LOST + 4 * LOST
    got = server.script("""
import hashlib, json, wandb
path = wandb.Api().artifact("local/up/parts:latest").get_entry("large").download("outparts", skip_cache=True)
print(json.dumps(hashlib.md5(open(path, "rb").read()).hexdigest()))
""", timeout=300)
    assert got == digest.hexdigest()
