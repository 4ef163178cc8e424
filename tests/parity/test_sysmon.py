# SPDX-License-Identifier: MIT
"""System metrics of one program over a minute, taken by the peer's sampler and by ours at the same time:
one service each with a run for every case, so that the minute is spent once."""

import contextlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.parse

import harness
import pytest

sys.path.insert(0, str(harness.ROOT / "tests" / "e2e"))
import service_support as support  # noqa: E402

SECONDS = 60

# The settings of each case; "URL" is where the stand-in for endpoints listens.
CASES = {
    "process": {},
    "tree": {"x_stats_track_process_tree": True},
    "labelled": {"x_label": "node1", "x_stats_self_usage": True},
    "no_limits": {"x_stats_no_cgroup": True},
    "paths": {"x_stats_disk_paths": ["/", "/tmp", "/dev/shm", "/nowhere"]},
    "slow": {"x_stats_sampling_interval": 5.0},
    "endpoints": {"x_stats_open_metrics_endpoints": {"node": "URL/metrics", "gone": "URL/gone"},
                  "x_stats_dcgm_exporter": "URL/api/v1/query?query=DCGM_FI_DEV_GPU_TEMP&query=up"},
    "filters": {"x_stats_open_metrics_endpoints": {"node": "URL/metrics", "other": "URL/metrics"},
                "x_stats_open_metrics_filters": [r"^node\.go_\w+$", r"(?i)QUEUE\b"]},
    "label_filters": {"x_stats_open_metrics_endpoints": {"node": "URL/metrics"},
                      "x_stats_open_metrics_http_headers": {"X-Key": "secret"},
                      "x_stats_open_metrics_filters": {".*": {"pod": "^wandb-[0-9]{2}$"}, "bad": {"pod": "("}}},
}

METRICS = """\
# HELP go_threads Threads.
# TYPE go_threads gauge
go_threads 12
# TYPE go_gc_seconds summary
go_gc_seconds{quantile="0.5"} 0.25
# TYPE requests_total counter
requests_total{code="200",pod="wandb-01"} 1.5e3
requests_total{pod="wandb-01",code="500"} 3
requests_total{code="200",pod="wandb-1"} 4 1700000000000
requests_total{code="200",pod="say \\"a,b}\\""} 5
# TYPE queue gauge
queue{pod="wandb-77"} NaN
queue{pod="wandb-78"} +Inf
queue{pod="wandb-79"} -0.5
queue{pod="broken} 6
# TYPE key gauge
key{pod="wandb-00"} %d
# TYPE typed counter
typed_total 7
untyped 8
# EOF
"""

DCGM = [{"__name__": "DCGM_FI_DEV_GPU_TEMP", "gpu": "0", "node": "n1", "modelName": "NVIDIA H100", "uuid": "GPU-1"},
        {"__name__": "DCGM_FI_DEV_GPU_TEMP", "device": "nvidia1", "hostname": "h2"},
        {"__name__": "DCGM_FI_UNKNOWN", "gpu": "2"}]


class Endpoints(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, _, query = self.path.partition("?")
        status, body = 200, ""
        if path == "/metrics":
            body = METRICS % (self.headers.get("X-Key") == "secret")
        elif path == "/api/v1/query":
            name = urllib.parse.parse_qs(query)["query"][0]
            found = [{"metric": m, "value": [1700000000.25, "42"]} for m in DCGM if name != "up"]
            body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": found}})
        else:
            status = 404
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def endpoints():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoints)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def n_of_session(session):
    n = 0
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            n += entry.read_text().rpartition(")")[2].split()[3] == str(session)
    return n


@pytest.fixture(scope="module")
def busy():
    """A program with a child and a grandchild, all of which use the processor, and which may use one of the
    processors only."""
    spin = "import time\nwhile True:\n end=time.time()+.02\n while time.time()<end: pass\n time.sleep(.08)"
    child = f"import subprocess,sys\nsubprocess.Popen([sys.executable,'-c',{spin!r}])\n{spin}"
    code = f"import subprocess,sys\nsubprocess.Popen([sys.executable,'-c',{child!r}])\n{spin}"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True,
                               preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}))
    until = time.monotonic() + 60
    while n_of_session(process.pid) < 3:
        assert time.monotonic() < until
        time.sleep(0.02)
    yield process.pid
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


def put_setting(settings, name, value, url):
    field = getattr(settings, name)
    if name == "x_stats_open_metrics_filters" and isinstance(value, list):
        field.sequence.value.extend(value)
    elif name == "x_stats_open_metrics_filters":
        for metric, labels in value.items():
            field.mapping.value[metric].value.update(labels)
    elif isinstance(value, dict):
        for key, text in value.items():
            field.value[key] = text.replace("URL", url)
    elif isinstance(value, list):
        field.value.extend(value)
    else:
        field.value = value.replace("URL", url) if isinstance(value, str) else value


def start_runs(root, client, pid, url):
    runs = {}
    for name, settings in CASES.items():
        run = runs[name] = support.Run(root, name, x_stats_pid=pid, x_stats_buffer_size=1000, x_primary=True)
        run_init = run.init()
        for key, value in {"x_stats_sampling_interval": 1.0, "x_stats_disk_paths": ["/"], **settings}.items():
            put_setting(run_init.inform_init.settings, key, value, url)
        client.must(run_init)
        client.must(run.run())
        client.must(run.run_start())
        req, rec = run.record()
        rec.control.local = True
        rec.request.probe_system_info.SetInParent()
        client.send(req)
    return runs


def ended(service):
    """The peer's service waits for runs that do not end; nothing here needs them to."""
    service.proc.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        service.proc.wait(2)
    service.proc.kill()
    service.proc.wait()
    service.log.close()


def kept(client, run, since=0, until=1e12):
    """When and what by key, oldest first, of the time from `since` to `until`."""
    answer = client.must(run.request("get_system_metrics")).result_communicate.response
    found = answer.get_system_metrics_response.system_metrics
    times = {key: [(r.timestamp.seconds + r.timestamp.nanos / 1e9, r.value) for r in buffer.record]
             for key, buffer in found.items()}
    return {key: [(t, v) for t, v in pairs if since <= t <= until] for key, pairs in times.items()}


@pytest.fixture(scope="module")
def measured(tmp_path_factory, busy, endpoints):
    """{"theirs": {case: {key: [(time, value)]}}, "ours": ...}"""
    both, found = {}, {}
    before = support.TARE
    try:
        for name, binary in ("theirs", harness.THEIRS), ("ours", harness.OURS):
            root = tmp_path_factory.mktemp(name)
            support.TARE = str(binary)
            service = support.Service(root)
            client = service.connect()
            both[name] = service, client, start_runs(root, client, busy, endpoints)
        began = time.time()  # of the time in which both were at work
        time.sleep(SECONDS)
        ended_at = time.time()
        for name, (service, client, runs) in both.items():
            found[name] = {case: kept(client, run, began, ended_at) for case, run in runs.items()}
    finally:
        support.TARE = before
        for service, _, _ in both.values():
            ended(service)
    return found


@pytest.mark.parametrize("binary", ["ours", "theirs"])
def test_a_short_run_has_a_sample(tmp_path, monkeypatch, binary):
    monkeypatch.setattr(support, "TARE", str(harness.OURS if binary == "ours" else harness.THEIRS))
    service = support.Service(tmp_path)
    try:
        client = service.connect()
        run = support.Run(tmp_path, "short", x_stats_pid=os.getpid(), x_stats_buffer_size=10)
        for request in run.init(), run.run(), run.run_start():
            client.must(request)
        some = {"memory_percent", "proc.memory.rssMB", "network.sent"}
        until = time.monotonic() + 60  # on a busy machine; else 0.02 to 0.05 s
        while not some <= set(found := kept(client, run)) and time.monotonic() < until:  # the peer's come in parts
            time.sleep(0.01)
        assert some <= set(found)
        assert {len(values) for values in found.values()} == {1}  # the next is 7 to 23 s away
    finally:
        ended(service)


def values_of(samples):
    return [v for _, v in samples]


def mean(samples):
    return sum(values_of(samples)) / len(samples)


@pytest.mark.parametrize("case", CASES)
def test_names_are_those_of_the_peer(measured, case):
    assert set(measured["ours"][case]) == set(measured["theirs"][case])


@pytest.mark.parametrize("case", CASES)
def test_as_many_samples_as_the_peers(measured, case):
    ours, theirs = measured["ours"][case], measured["theirs"][case]
    for key in ours:
        # A busy machine costs both a few.
        assert abs(len(ours[key]) - len(theirs[key])) <= max(3, len(theirs[key]) * 0.1), key


AROUND_S = 2  # so far may what a sample says lie from its time, on a busy machine
NEAR = {"memory_percent": 5, "proc.memory.availableMB": 2000, "proc.memory.percent": 1, "proc.memory.rssMB": 5,
        "proc.cpu.threads": 0.1, "cpu": 10, r"disk\.[^.]*/.*\.usagePercent": 1, r"disk\.[^.]*/.*\.usageGB": 1,
        "wandb.cpu": 20, r"openmetrics\..*": 0, r"gpu\.\d+\.\w+/l:.*": 0}


@pytest.mark.parametrize("case", CASES)
def test_values_are_near_the_peers(measured, case):
    ours, theirs = measured["ours"][case], measured["theirs"][case]
    compared = 0
    for key in ours:
        for pattern, most in NEAR.items():
            if not re.fullmatch(pattern, key):
                continue
            assert abs(mean(ours[key]) - mean(theirs[key])) <= most, key
            compared += 1
    assert compared >= 6


def test_counters_grow_alike(measured):
    """What the machine sent and wrote. Each counts from its own start, so the two differ by a number; and each of our
    values, less that, lies between theirs of a moment before and a moment after."""
    for key, ours in measured["ours"]["process"].items():
        theirs = measured["theirs"]["process"][key]
        if not (key.startswith("network.") or re.fullmatch(r"disk\..*\.(in|out)", key)):
            continue
        assert values_of(ours) == sorted(values_of(ours)), key
        least, most = [], []
        for at, value in ours:
            before = [v for t, v in theirs if t < at - AROUND_S]
            after = [v for t, v in theirs if t > at + AROUND_S]
            least += [before[-1] - value] if before else []
            most += [after[0] - value] if after else []
        assert len(least) > SECONDS / 2 and len(most) > SECONDS / 2, key
        assert max(least) <= min(most) + (1e6 if key.startswith("network.") else 2), key  # bytes, MB


def test_the_cases_are_what_they_are_meant_to_be(measured):
    """Else the comparison above would compare nothing."""
    ours = measured["ours"]
    last = {case: {key: values_of(samples)[-1] for key, samples in found.items() if samples} for case, found in ours.items()}
    assert last["tree"]["proc.cpu.threads"] == 3 and last["process"]["proc.cpu.threads"] == 1
    assert mean(ours["tree"]["cpu"]) > mean(ours["process"]["cpu"]) > 1
    assert "wandb.cpu" in ours["labelled"]
    assert len(ours["process"]["cpu"]) >= SECONDS * 0.8
    assert "disk./tmp.usagePercent" in ours["paths"] and "disk./nowhere.usagePercent" not in ours["paths"]
    assert last["endpoints"]["openmetrics.node.go_threads.0"] == 12
    assert last["endpoints"]["gpu.0.temp/l:n1"] == 42
    assert not any(key.startswith("openmetrics.gone") for key in ours["endpoints"])
    assert {k for k in ours["filters"] if k.startswith("openmetrics")} >= {"openmetrics.node.go_threads.0"}
    assert last["label_filters"]["openmetrics.node.key.0"] == 1
    assert "openmetrics.node.go_threads.0" not in ours["label_filters"]
