# SPDX-License-Identifier: MIT
"""What the tests of libtare share: the services they run against, the driver program, and a proxy
that records the frames between the two.

TARE names our service's binary, CLIENT_DRIVER the driver (default: below build/).
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import select
import socket
import subprocess
import sys
import threading

from wandb.proto import wandb_server_pb2 as spb
from wandb.util import get_core_path

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
TARE = os.environ.get("TARE", str(BUILD / "tare"))
DRIVER = os.environ.get("CLIENT_DRIVER", str(BUILD / "tests/unit/client_driver"))

sys.path.insert(0, str(ROOT / "tests" / "support"))
import wandbfile  # noqa: E402

SERVICES = {"tare": TARE, "wandb-core": get_core_path()}


def environment(service: str, **more) -> dict[str, str]:
    """The environment of a program that is to use `service`, a name of SERVICES or a path."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    env["TARE_SERVICE_BIN"] = SERVICES.get(service, service)
    env.update(more)
    return env


def drive(*args, service="tare", env=None, timeout=120, **kwargs) -> dict[str, list[str]]:
    """Run the driver to its end; its lines by their first word."""
    p = subprocess.run(
        [DRIVER, *map(str, args)],
        env=env or environment(service),
        capture_output=True,
        text=True,
        timeout=timeout,
        **kwargs,
    )
    assert p.stderr == "", "the library must not print"
    assert p.returncode == 0, p.stdout
    return lines_of(p.stdout)


def lines_of(text: str) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        out.setdefault(word, []).append(rest)
    return out


# -- what is in a file ------------------------------------------------------------------------


class RunFile:
    """The records of one .wandb file, as what they say of the run."""

    def __init__(self, path) -> None:
        self.records = wandbfile.records(str(path))

    def of(self, kind: str) -> list:
        return [getattr(r, kind) for r in self.records if r.WhichOneof("record_type") == kind]

    @property
    def history(self) -> list[dict]:
        return [items(h.item) for h in self.of("history")]

    @property
    def summary(self) -> dict:
        out: dict = {}
        for s in self.of("summary"):
            merge(out, items(s.update))
        return out

    @property
    def config(self) -> dict:
        out: dict = {}
        for c in self.of("config"):
            merge(out, items(c.update))
            for item in c.remove:
                out.pop(item.key, None)
        return out


def items(repeated) -> dict:
    out: dict = {}
    for item in repeated:
        *parents, last = list(item.nested_key) or [item.key]
        at = out
        for part in parents:
            at = at.setdefault(part, {})
        at[last] = json.loads(item.value_json)
    return out


def merge(into: dict, update: dict) -> None:
    for key, value in update.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def run_file(root, run_id: str) -> RunFile:
    (path,) = pathlib.Path(root).glob(f"wandb/*-{run_id}/run-{run_id}.wandb")
    return RunFile(path)


# -- between the two --------------------------------------------------------------------------


class Proxy:
    """Listens on a unix socket, passes all bytes to the service at `target`, and notes the frames
    of both directions in the order it saw them."""

    def __init__(self, folder, target: str) -> None:
        self.path = str(folder / "proxy")
        self.target = target
        self.frames: list[tuple[str, object]] = []
        self.ended = threading.Event()  # a side has hung up, and all it sent was passed on
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def token(self) -> str:
        return f"3-{os.getpid()}-unix-{self.path}"

    def _serve(self) -> None:
        while True:
            client, _ = self.listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()

    def _pass(self, client, server) -> None:
        rest = {client: b"", server: b""}
        while True:
            for sock in select.select([client, server], [], [])[0]:
                try:
                    data = sock.recv(65536)
                except ConnectionResetError:  # it was killed with answers unread
                    data = b""
                if not data:
                    client.close()
                    server.close()
                    self.ended.set()
                    return
                rest[sock] = self._note(rest[sock] + data, sock is client)
                with contextlib.suppress(BrokenPipeError):  # its own end is seen by recv
                    (server if sock is client else client).sendall(data)

    def _note(self, data: bytes, to_service: bool) -> bytes:
        while len(data) >= 5:
            assert data[:1] == b"W"
            size = int.from_bytes(data[1:5], "little")
            if len(data) < 5 + size:
                break
            cls = spb.ServerRequest if to_service else spb.ServerResponse
            self.frames.append((">" if to_service else "<", cls.FromString(data[5 : 5 + size])))
            data = data[5 + size :]
        return data


def kind_of(message) -> str:
    """"inform_init", "record.run", "request.run_start", "result.run_result", ..."""
    if isinstance(message, spb.ServerRequest):
        kind = message.WhichOneof("server_request_type")
        if kind != "record_publish":
            return kind
        record = message.record_publish
        kind = record.WhichOneof("record_type")
        return f"record.{kind}" if kind != "request" else (
            "request." + record.request.WhichOneof("request_type"))
    kind = message.WhichOneof("server_response_type")
    if kind != "result_communicate":
        return kind
    result = message.result_communicate
    kind = result.WhichOneof("result_type")
    if kind != "response":
        return f"result.{kind}"
    return f"response.{result.response.WhichOneof('response_type')}"
