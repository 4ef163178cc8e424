# SPDX-License-Identifier: MIT
"""The call sequence of docs/protocol.md, frame by frame, as a proxy between libtare and the
service sees it."""

from __future__ import annotations

import pathlib
import subprocess
import time

import pytest
from client_support import DRIVER, SERVICES, Proxy, environment, kind_of, run_file
from wandb.sdk.lib.service import service_token

# What the driver's `loop` with one step sends; an answer is named by the request it answers.
SEQUENCE = [
    "> inform_init",
    "< inform_init",
    "> record.header",
    "> request.check_version",
    "> record.run",
    "< record.run",
    "> request.run_start",
    "< request.run_start",
    "> request.probe_system_info",
    "> request.internal_messages",
    "> record.telemetry",
    "> request.partial_history",
    "> record.config",
    "> record.telemetry",
    "> record.exit",
    "< record.exit",
    "> request.poll_exit",
    "< request.poll_exit",
    "> request.get_summary",
    "< request.get_summary",
    "> request.shutdown",
    "< request.shutdown",
    "> inform_finish",
]
# These come when they come: answers that nobody waits for, and the courier's own barriers.
LOOSE = {"< request.check_version", "< request.internal_messages", "> request.status",
         "< request.status"}
# Answers that say what they are, in both services.
TYPED = {"record.run": "result.run_result", "record.exit": "result.exit_result",
         "request.poll_exit": "response.poll_exit_response",
         "request.get_summary": "response.get_summary_response"}


@pytest.fixture(params=SERVICES)
def service_socket(request, tmp_path):
    """A service, started as libtare would, and its socket."""
    port_file = tmp_path / "port"
    with subprocess.Popen([SERVICES[request.param], "--port-filename", port_file, "--detached",
                           "--idle-timeout", "20s"], stderr=subprocess.DEVNULL) as service:
        while not (port_file.exists() and port_file.read_text().rstrip().endswith("EOF")):
            assert service.poll() is None
        (path,) = (line[5:] for line in port_file.read_text().splitlines() if "unix=" in line)
        yield path
        service.kill()


def test_the_sequence_frame_by_frame(service_socket, tmp_path):
    proxy = Proxy(tmp_path, service_socket)
    env = environment("/nonexistent", WANDB_SERVICE=proxy.token)
    subprocess.run([DRIVER, "loop", tmp_path, "seq1", "1", "0"], env=env, check=True, timeout=60,
                   stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not any(way == ">" and kind_of(m) == "inform_finish" for way, m in list(proxy.frames)) and time.monotonic() < deadline:
        time.sleep(0.01)
    seen = names_of(proxy.frames)
    assert [name for name in seen if name not in LOOSE] == SEQUENCE
    assert [h["i"] for h in run_file(tmp_path, "seq1").history] == [0]


def names_of(frames):
    """The frames by name; checks their slots: every answer carries the slot of a request that
    asked for one, and none is used twice."""
    names, asked = [], {}
    for way, message in frames:
        slot = message.request_id
        if way == "<":
            kind = asked.pop(slot)
            assert kind_of(message) == TYPED.get(kind, kind_of(message))
            names.append(f"< {kind}")
            continue
        if slot:
            assert slot not in asked and len(slot) == 12 and slot.isalnum()
            asked[slot] = kind_of(message)
            if message.HasField("record_publish"):
                assert message.record_publish.control.mailbox_slot == slot
        names.append(f"> {kind_of(message)}")
    return names


def test_every_message_names_its_stream(service_socket, tmp_path):
    proxy = Proxy(tmp_path, service_socket)
    env = environment("/nonexistent", WANDB_SERVICE=proxy.token)
    subprocess.run([DRIVER, "loop", tmp_path, "seq2", "3", "0"], env=env, check=True, timeout=60,
                   stdout=subprocess.DEVNULL)
    for way, message in proxy.frames:
        if way == "<":
            continue
        body = getattr(message, message.WhichOneof("server_request_type"))
        assert body._info.stream_id == "seq2"
        if message.HasField("record_publish"):
            is_request = message.record_publish.HasField("request")
            wants_local = is_request and not message.record_publish.request.HasField("shutdown")
            assert message.record_publish.control.local == wants_local


def test_the_settings_are_those_of_the_sdk(service_socket, tmp_path):
    proxy = Proxy(tmp_path, service_socket)
    env = environment("/nonexistent", WANDB_SERVICE=proxy.token)
    subprocess.run([DRIVER, "loop", tmp_path, "seq3", "1", "0"], env=env, check=True, timeout=60,
                   stdout=subprocess.DEVNULL)
    settings = proxy.frames[0][1].inform_init.settings
    folder = pathlib.Path(settings.sync_dir.value)
    assert settings.run_id.value == "seq3" and settings.project.value == "driver"
    assert settings._offline.value and settings.mode.value == "offline"
    assert folder.parent == tmp_path / "wandb" and folder.name.startswith("offline-run-2")
    assert settings.sync_file.value == str(folder / "run-seq3.wandb")
    assert settings.log_internal.value == str(folder / "logs/debug-internal.log")
    assert settings.timespec.value in folder.name
    assert settings.x_start_time.value > 1.7e9 and settings.x_stats_pid.value > 0
    assert list(settings.run_tags.value) == ["one", "two"]


def test_our_tokens_are_the_sdks(monkeypatch, tmp_path):
    with subprocess.Popen([DRIVER, "hold", tmp_path, "tok"], env=environment("tare"), text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        words = dict(holder.stdout.readline().rstrip().split(" ", 1) for _ in range(2))
        monkeypatch.setenv("WANDB_SERVICE", words["token"])
        token = service_token.from_env()
        assert isinstance(token, service_token.UnixServiceToken)
        holder.stdin.close()
        assert holder.wait(60) == 0
