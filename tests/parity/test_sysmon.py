# SPDX-License-Identifier: MIT
"""System metrics of one program, taken by the peer's sampler and by ours at the same time."""

import contextlib
import os
import subprocess
import sys
import time

import harness
import pytest

sys.path.insert(0, str(harness.ROOT / "tests" / "e2e"))
import service_support as support  # noqa: E402

SECONDS = 7


def watched(root, binary, pid, monkeypatch, **settings):
    """A service and a run in it that watches `pid` once a second; call the last to end it."""
    root.mkdir()
    monkeypatch.setattr(support, "TARE", str(binary))
    service = support.Service(root)
    run = support.Run(root, "watch123", x_stats_pid=pid, x_stats_sampling_interval=1.0,
                      x_stats_buffer_size=100, x_disable_meta=True, x_primary=True, **settings)
    run_init = run.init()
    run_init.inform_init.settings.x_stats_disk_paths.value.append("/")
    client = service.connect()
    client.must(run_init)
    client.must(run.run())
    client.must(run.run_start())
    return service, client, run


def ended(service):
    """The peer's service waits for runs that do not end; nothing here needs them to."""
    service.proc.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        service.proc.wait(2)
    service.proc.kill()
    service.proc.wait()
    service.log.close()


def kept(client, run):
    """The values by key, oldest first."""
    answer = client.must(run.request("get_system_metrics")).result_communicate.response
    found = answer.get_system_metrics_response.system_metrics
    return {key: [r.value for r in buffer.record] for key, buffer in found.items()}


def mean(values):
    return sum(values) / len(values)


@pytest.fixture
def busy():
    """A program with a child, both of which use the processor."""
    spin = "import time\nwhile True:\n end=time.time()+.05\n while time.time()<end: pass\n time.sleep(.05)"
    code = f"import subprocess,sys\nsubprocess.Popen([sys.executable,'-c',{spin!r}])\n{spin}"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    yield process.pid
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


@pytest.mark.parametrize("tree", [False, True])
def test_names_and_values_are_those_of_the_peer(tmp_path, monkeypatch, busy, tree):
    both, found = {}, {}
    try:
        for name, binary in ("theirs", harness.THEIRS), ("ours", harness.OURS):
            both[name] = watched(tmp_path / name, binary, busy, monkeypatch,
                                 x_stats_track_process_tree=tree, x_stats_self_usage=True,
                                 x_label="node1")
        time.sleep(SECONDS)
        for name, (service, client, run) in both.items():
            found[name] = kept(client, run)
    finally:
        for service, _, _ in both.values():
            ended(service)
    theirs, ours = found["theirs"], found["ours"]
    assert set(ours) == set(theirs)
    assert len(theirs["cpu"]) >= 2 and len(ours["cpu"]) >= 2
    near = {"memory_percent": 5, "proc.memory.percent": 1, "proc.memory.rssMB": 5,
            "proc.cpu.threads": 0.1, "disk./.usagePercent": 1, "disk./.usageGB": 1, "cpu": 25}
    for key, most in near.items():
        assert abs(mean(ours[key]) - mean(theirs[key])) <= most, key
