# SPDX-License-Identifier: MIT
"""Alerts of the unmodified SDK, delivered to a receiver: signed, tried again, over a restart."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time

import pytest

from server_support import BINARY, Server

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from webhook_receiver import Receiver, verify  # noqa: E402

ALERT = """
import wandb
with wandb.init(project="p", id="{run}", name="first ä") as run:
    run.alert(title="{title}", text='loss is "high"\\n', level=wandb.AlertLevel.WARN, wait_duration={wait})
print("{{}}")
"""


def alert(server: Server, title: str, run: str = "r1", wait: int = 0) -> None:
    server.script(ALERT.format(title=title, run=run, wait=wait))


@pytest.fixture
def receiver():
    with Receiver() as r:
        yield r


def test_alert_arrives_signed(tmp_path, receiver):
    with Server(tmp_path) as server:
        secret = server.command("webhook", "add", receiver.url + "/in?a=b")
        assert secret.startswith("whsec_")
        alert(server, "diverged")
        headers, body = receiver.wait(1)[0]
        verify(secret, headers, body)
        with pytest.raises(AssertionError):
            verify(secret, headers, body + b" ")
        assert headers["Content-Type"] == "application/json"
        said = json.loads(body)
        assert said["type"] == "run.alert" and said["timestamp"].endswith("Z")
        assert said["data"] == {
            "title": "diverged", "text": 'loss is "high"\n', "severity": "WARN", "entity": "local", "project": "p",
            "user": "local", "run": {"id": "r1", "name": "first ä", "state": "running",
                                     "url": f"{server.url}/local/p/runs/r1"}}
        listed = server.command("webhook", "list")
        assert receiver.url in listed and secret not in listed and secret[6:] not in listed


def test_retry_after_errors_and_redirects_are_not_followed(tmp_path, receiver):
    with Server(tmp_path) as server:
        secret = server.command("webhook", "add", receiver.url)
        receiver.answers = [500, 302]
        alert(server, "x")
        got = receiver.wait(3)
        assert len({h["webhook-id"] for h, _ in got}) == 1 and len({b for _, b in got}) == 1
        for headers, body in got:
            verify(secret, headers, body)
        deadline = time.monotonic() + 30
        while "0 waiting" not in server.command("webhook", "list"):  # the answer is noted a moment after it was given
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(2)
        assert len(receiver.got) == 3


def test_delivery_goes_on_after_a_restart(tmp_path, receiver):
    server = Server(tmp_path).start()
    secret = server.command("webhook", "add", receiver.url)
    receiver.answers = [503]
    alert(server, "kept")
    receiver.wait(1)
    server.process.kill()
    server.process.wait()
    server.process.stdout.close()
    with server:
        headers, body = receiver.wait(2)[1]
        verify(secret, headers, body)
        assert json.loads(body)["data"]["title"] == "kept"


def test_same_title_waits(tmp_path, receiver):
    with Server(tmp_path) as server:
        server.command("webhook", "add", receiver.url)
        server.script("""
import wandb
with wandb.init(project="p") as run:
    run.alert(title="often", text="", wait_duration=60)
    run.alert(title="often", text="", wait_duration=60)
    run.alert(title="other", text="", wait_duration=60)
print("{}")
""")
        assert sorted(json.loads(b)["data"]["title"] for _, b in receiver.wait(2)) == ["often", "other"]
        time.sleep(2)
        assert len(receiver.got) == 2


def test_entities_projects_and_removal(tmp_path, receiver):
    with Server(tmp_path) as server:
        alert(server, "before", run="r0")
        server.add_user("ann")
        server.command("webhook", "add", receiver.url + "/all", "--secret", "short")
        server.command("webhook", "add", receiver.url + "/ann", "--entity", "ann")
        server.command("webhook", "add", receiver.url + "/p", "--project", "local/p", "--secret", "other")
        alert(server, "one")
        got = receiver.wait(2)
        time.sleep(2)
        assert len(receiver.got) == 2
        for headers, body in got:
            try:
                verify("short", headers, body)
            except AssertionError:
                verify("other", headers, body)
        server.command("webhook", "remove", "1")
        assert "/all" not in server.command("webhook", "list")
        alert(server, "two", run="r2")
        receiver.wait(3)
        time.sleep(2)
        assert len(receiver.got) == 3


@pytest.mark.parametrize("words, says", [
    (["add", "ftp://x/y"], "must begin with https:// or http://"),
    (["add", "http://x/a b"], "must be escaped"),
    (["add", "http://x/", "--entity", "nobody"], "no entity called nobody"),
    (["add", "http://x/", "--project", "nobody"], "ENTITY/PROJECT"),
    (["remove", "77"], "no webhook 77"),
    (["remove", "x"], "number is wanted"),
])
def test_refusals(tmp_path, words, says):
    done = subprocess.run([BINARY, "webhook", *words, "--dir", str(tmp_path)], text=True, stderr=subprocess.PIPE)
    assert done.returncode == 1 and says in done.stderr


def test_a_receiver_that_hangs_delays_no_request(tmp_path):
    """Nobody answers there: the alert and the end of the server do not wait for it."""
    import socket
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with Server(tmp_path) as server:
            server.command("webhook", "add", f"http://127.0.0.1:{silent.getsockname()[1]}/")
            alert(server, "x")
            silent.settimeout(30)
            connection, _ = silent.accept()
            assert server.graphql("{viewer{username}}")["data"]["viewer"]["username"] == "local"
            assert server.stop() == 0
            connection.close()
