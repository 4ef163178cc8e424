# SPDX-License-Identifier: MIT
"""A `tare server` under test, and the unmodified SDK (with its own wandb-core) as its client.

TARE_SERVER names the binary (default: build/tare-server of this checkout). TARE_TEST_DATABASES, the URL of a
PostgreSQL database whose user may make others: each server then has one of its own there instead of SQLite.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import peer_program  # noqa: E402

DATABASES = os.environ.get("TARE_TEST_DATABASES")
ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("TARE_SERVER", str(ROOT / "build" / "tare-server"))


def psql(url: str, sql: str) -> str:
    return subprocess.run(["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", url, "-c", sql], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


class Server:
    """Runs on a directory of its own; `with Server(tmp_path) as s:`."""

    def __init__(self, root, *options: str, env=None) -> None:
        self.root = pathlib.Path(root)
        self.dir = self.root / "server"
        self.options = options
        self.database = []  # options, of the commands too
        if DATABASES and "--db" not in options:
            url = f"{DATABASES.rsplit('/', 1)[0]}/t{uuid.uuid4().hex}"
            psql(DATABASES, f"CREATE DATABASE {url.rsplit('/', 1)[1]}")
            self.database = ["--db", url]
        self.own_env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen | None = None

    def start(self) -> "Server":
        port_file = self.root / "port"
        port_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [BINARY, "--dir", str(self.dir), "--listen", "127.0.0.1:0", "--port-file", str(port_file),
             *self.database, *self.options], stdout=subprocess.PIPE, text=True, env=self.own_env)
        deadline = time.monotonic() + 60
        while not (port_file.exists() and "EOF" in port_file.read_text()):
            assert self.process.poll() is None, "the server ended at once"
            assert time.monotonic() < deadline, "the server does not get ready"
            time.sleep(0.002)
        self.port = int(port_file.read_text().split("=")[1].split()[0])
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = (self.dir / "admin.key").read_text().strip()
        return self

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        return code

    __enter__ = start

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            assert self.stop() == 0

    def command(self, *words: str) -> str:
        return subprocess.run([BINARY, *words, "--dir", str(self.dir), *self.database], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.strip()

    def add_user(self, name: str, *options: str) -> str:
        return self.command("user", "add", name, *options)

    # -- raw requests ---------------------------------------------------------------------

    def request(self, method: str, path: str, body: bytes | None = None, key: str | None = "", **headers):
        """(status, headers, body). key: "" is the administrator's, None sends none."""
        url = path if path.startswith("http") else self.url + path
        req = urllib.request.Request(url, data=body, method=method)
        key = self.key if key == "" else key
        if key is not None:
            req.add_header("Authorization", "Basic " + base64.b64encode(f"api:{key}".encode()).decode())
        for name, value in headers.items():
            req.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(req, timeout=60) as r:
                return r.status, dict(r.headers), r.read()
        except urllib.error.HTTPError as e:
            return e.code, dict(e.headers), e.read()

    def graphql(self, query: str, variables: dict | None = None, key: str | None = ""):
        """The whole answer; `status` is added."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        status, _, data = self.request("POST", "/graphql", body, key)
        return {**json.loads(data), "status": status}

    # -- the SDK --------------------------------------------------------------------------

    def env(self, key: str = "") -> dict[str, str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
        env.update(WANDB_BASE_URL=self.url, WANDB_API_KEY=key or self.key, WANDB_ERROR_REPORTING="false",
                   WANDB_SILENT="true", WANDB_DIR=str(self.root), HOME=str(self.root),
                   WANDB_CONSOLE="wrap")
        return env

    def script(self, text: str, key: str = "", check: bool = True, timeout: float = 100, **env: str):
        """Run a Python script that uses wandb; its last line of output, read as JSON, is the result;
        without `check`, all that it wrote."""
        done = peer_program.run([sys.executable, "-c", text], timeout, env={**self.env(key), **env}, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.root)
        if check and done.returncode:
            raise AssertionError(f"the script failed:\n{done.stdout}\n{done.stderr}")
        if not check:
            return done.stdout + done.stderr
        lines = done.stdout.strip().splitlines()
        return json.loads(lines[-1]) if lines else None
