# SPDX-License-Identifier: MIT
"""Out of descriptors, of disk space, of room for a file: nothing is lost silently."""

import os
import resource
import subprocess
import threading
import time

import pytest
from service_support import MANY, ROOT, Run, Service, end_run, records, rss_bytes, start_run, steps, teardown


def fd_count(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def comes_to(what, most, seconds=30):
    """Is it that much at most, once what is under way (a file that a worker reads, say) is over?"""
    end = time.monotonic() + seconds
    while what() > most and time.monotonic() < end:
        time.sleep(0.01)
    return what() <= most


def log_and_finish(c, runs, rows=20):
    for run in runs:
        c.send(*[run.history(x=i) for i in range(rows)])
    for run in runs:
        c.must(run.exit())
        c.must(run.finish())


def test_a_thousand_runs_on_one_connection_with_1024_descriptors(tmp_path):
    with Service(tmp_path, fds=1024) as s:
        c = s.connect()
        runs = [Run(tmp_path, f"r{i}") for i in range(1000)]
        for run in runs:
            start_run(c, run)
        assert fd_count(s.pid) <= 1024
        log_and_finish(c, runs)
        for run in runs:
            assert len(steps(records(run.file))) == 20


def test_two_descriptors_a_run(tmp_path):
    with Service(tmp_path) as s:
        s.connect().ask(Run(tmp_path, "none").attach())
        base = fd_count(s.pid)
        clients = [s.connect() for _ in range(100)]
        runs = [Run(tmp_path, f"r{i}") for i in range(100)]
        for c, run in zip(clients, runs):
            start_run(c, run)
        assert comes_to(lambda: fd_count(s.pid), base + 2 * 100)
        for c, run in zip(clients, runs):
            log_and_finish(c, [run])
            c.close()
        assert comes_to(lambda: fd_count(s.pid), base + 1)


def test_more_connections_than_descriptors(tmp_path):
    """400 runs with a connection each under a limit of 300 (two each would be 800): those who are
    let in are kept whole, the others are told. Files of quiet runs make room for connections."""
    with Service(tmp_path, fds=300) as s:
        clients, refused = [], 0
        for i in range(400):
            c, run = s.connect(), Run(tmp_path, f"r{i}")
            answer = None
            try:
                answer = c.ask(run.init())
            except (EOFError, ConnectionError):
                pytest.fail("hung up without a word")
            if answer.HasField("error_response"):
                message = answer.error_response.message
                assert "descriptors" in message or "open files" in message
                refused += 1
                c.close()
                continue
            c.must(run.run())
            c.send(*[run.history(x=k) for k in range(20)])
            clients.append((c, run))
        assert refused > 0
        assert len(clients) >= 200
        for c, run in clients:
            log_and_finish(c, [run])
            c.close()
        c, run = s.connect(), Run(tmp_path, "after")
        start_run(c, run)
        log_and_finish(c, [run])
        for _, run in clients:
            assert len(steps(records(run.file))) == 40, run.id


def messages(c, run):
    req = run.request("internal_messages")
    req.record_publish.request.internal_messages.wait = True
    answer = c.must(req)
    return list(answer.result_communicate.response.internal_messages_response.messages.warning)


def set_file_limit(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_that_gets_room_again(tmp_path):
    with Service(tmp_path) as s:
        c, run = s.connect(), Run(tmp_path, "r")
        start_run(c, run)
        c.send(*[run.history(x=i) for i in range(100)])
        set_file_limit(s.pid, 30_000)
        c.send(*[run.history(x=i, pad="p" * 100) for i in range(100, 1000)])
        warning = messages(c, run)
        assert any("could not write" in w and str(run.file) in w for w in warning), warning
        whole = records(run.file)  # whole records only, though the disk is full
        assert len(steps(whole)) < 1000
        c.must(run.request("get_summary"))  # still served
        set_file_limit(s.pid, resource.RLIM_INFINITY)
        c.must(run.exit())
        c.must(run.finish())
        assert [int(r["x"]) for r in steps(records(run.file))] == list(range(1000))


def test_a_disk_that_stays_full(tmp_path):
    """The one who waits for exit is told; what fits is in the file; other runs are not touched."""
    with Service(tmp_path) as s:
        c, run = s.connect(), Run(tmp_path, "r")
        start_run(c, run)
        c.must(run.request("get_summary"))
        time.sleep(0.1)
        set_file_limit(s.pid, 20_000)
        c.send(*[run.history(x=i, pad="p" * 100) for i in range(1000)])
        other, small = s.connect(), Run(tmp_path, "small")
        start_run(other, small)
        other.send(small.history(x=1))
        end_run(other, small)
        assert len(steps(records(small.file))) == 1
        answer = c.ask(run.exit())
        assert "could not write" in answer.error_response.message
        c.ask(run.finish())
        xs = [int(r["x"]) for r in steps(records(run.file))]
        assert xs == list(range(len(xs))) and len(xs) > 50
        assert s.diag_says("could not be written")


def test_a_full_disk_does_not_take_all_memory(tmp_path):
    with Service(tmp_path) as s:
        c, run = s.connect(), Run(tmp_path, "r")
        start_run(c, run)
        set_file_limit(s.pid, 20_000)
        for i in range(100):
            c.send(run.history(x=i, pad="p" * 1_000_000))
        c.must(run.request("get_summary"))  # not blocked by the disk
        assert rss_bytes(s.pid) < MANY * (90 << 20)
        set_file_limit(s.pid, resource.RLIM_INFINITY)
        c.must(run.exit())
        warning = messages(c, run)
        assert any("records were lost" in w for w in warning), warning
        c.must(run.finish())
        recs = records(run.file)
        assert 20 < len(steps(recs)) < 100
        assert any(r.HasField("exit") for r in recs)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_real_full_file_system(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(small)]).returncode:
        pytest.skip("cannot mount here")
    try:
        with Service(tmp_path) as s:
            c, run = s.connect(), Run(small, "r")
            start_run(c, run)
            c.send(*[run.history(x=i, pad="p" * 100) for i in range(2000)])
            assert any("No space" in w or "no space" in w for w in messages(c, run))
            records(run.file)
            assert subprocess.run(["mount", "-o", "remount,size=4m", str(small)]).returncode == 0
            c.must(run.exit())
            c.must(run.finish())
            assert len(steps(records(run.file))) == 2000
            # And a start without any room.
            fill = small / "fill"
            with open(fill, "wb", 0) as f:
                try:
                    while True:
                        f.write(b"x" * 65536)
                except OSError:
                    pass
            answer = c.ask(Run(small, "r2").init())
            assert "space" in answer.error_response.message.lower()
            fill.unlink()
            run = Run(small, "r3")
            start_run(c, run)
            end_run(c, run)
    finally:
        subprocess.run(["umount", str(small)])


def test_a_run_without_a_file(tmp_path):
    """x_skip_transaction_log: the same code on a memory file, whose memory is bounded."""
    with Service(tmp_path) as s:
        c, run = s.connect(), Run(tmp_path, "r", x_skip_transaction_log=True)
        start_run(c, run)
        before = rss_bytes(s.pid)
        for i in range(40):
            c.send(run.history(x=i, pad="p" * 1_000_000))
        c.must(run.exit())
        with open(f"/proc/{s.pid}/maps") as maps:
            assert "tare-journal" not in maps.read()
        blocks = sum(os.stat(f"/proc/{s.pid}/fd/{fd}").st_blocks
                     for fd in os.listdir(f"/proc/{s.pid}/fd")
                     if "tare-journal" in os.readlink(f"/proc/{s.pid}/fd/{fd}"))
        assert 0 < blocks * 512 < 2 << 20
        assert rss_bytes(s.pid) - before < MANY * (24 << 20)
        c.must(run.finish())
        assert not run.dir.exists()


def test_many_runs_at_once_on_many_connections(tmp_path):
    """200 connections at the same time, from threads; every file whole."""
    with Service(tmp_path) as s:
        errors = []

        def one(k):
            try:
                c, run = s.connect(), Run(tmp_path, f"t{k}")
                start_run(c, run)
                log_and_finish(c, [run], rows=50)
                c.close()
                assert len(steps(records(run.file))) == 50
            except Exception as e:  # noqa: BLE001
                errors.append(e)

        threads = [threading.Thread(target=one, args=(k,)) for k in range(200)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert errors == []
        c = s.connect()
        c.send(teardown())
        assert s.wait() == 0


@pytest.mark.skipif(MANY > 1, reason="sanitizers want to be loaded first")
def stalling(tmp_path):
    """The environment for a service, and the file that makes paths with "stall" in them hang."""
    library, flag = tmp_path / "preload.so", tmp_path / "hanging"
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", str(library),
                    str(ROOT / "tests" / "support" / "stall.c")], check=True)
    return {"LD_PRELOAD": str(library), "TARE_STALL": str(flag)}, flag


def test_a_home_that_hangs_stops_nobody(tmp_path):
    """The debug log cannot be opened, let alone written: runs and the end go on without it."""
    env, flag = stalling(tmp_path)
    flag.touch()
    with Service(tmp_path, env={**env, "WANDB_CACHE_DIR": str(tmp_path / "stall")}) as s:
        c, run = s.connect(), Run(tmp_path, "r")
        start_run(c, run)
        log_and_finish(c, [run])
        assert len(steps(records(run.file))) == 20
        c.send(teardown(0))
        assert s.wait() == 0


def test_a_file_system_that_hangs_stalls_its_own_runs_alone(tmp_path):
    """Twenty runs on a hanging file system, more than there are workers at other times: their clients' writes stop once much waits (nothing is
    dropped), the run on the other disk goes on as ever, and later all is there."""
    env, flag = stalling(tmp_path)
    stalled = tmp_path / "stall"
    stalled.mkdir()
    with Service(tmp_path, env=env) as s:
        slow = [(s.connect(), Run(stalled, f"s{i}")) for i in range(20)]
        for c, run in slow:
            start_run(c, run)
        flag.touch()
        count = 80  # of 100 kB each: more than may wait

        def log(c, run):
            for i in range(count):
                c.send(run.history(x=i, pad="p" * 100_000))

        threads = [threading.Thread(target=log, args=pair) for pair in slow]
        [t.start() for t in threads]
        time.sleep(1.5)
        assert all(t.is_alive() for t in threads)
        assert rss_bytes(s.pid) < 112 << 20  # 48 MiB may wait, in buffers that double; 160 MB come
        c, run = s.connect(), Run(tmp_path, "quick")
        start_run(c, run)
        log_and_finish(c, [run], rows=1000)  # while the others hang, which they do until `flag` is gone
        assert all(t.is_alive() for t in threads)
        assert len(steps(records(run.file))) == 1000
        flag.unlink()
        [t.join(200) for t in threads]
        for c, run in slow:
            end_run(c, run)
            assert [int(r["x"]) for r in steps(records(run.file))] == list(range(count))


def test_a_watched_disk_that_hangs_costs_only_its_figures(tmp_path):
    """Its usage is asked for with every sample, and once for the run's metadata."""
    env, flag = stalling(tmp_path)
    (tmp_path / "stall").mkdir()
    with Service(tmp_path, env=env) as s:
        c, run = s.connect(), Run(tmp_path, "r", x_stats_sampling_interval=0.2, x_stats_buffer_size=100, x_primary=True)
        flag.touch()
        init = run.init()
        init.inform_init.settings.x_stats_disk_paths.value.extend([str(tmp_path / "stall"), "/"])
        for request in init, run.run(), run.run_start():
            c.must(request)
        req, rec = run.record()
        rec.control.local = True
        rec.request.probe_system_info.SetInParent()
        c.send(req)

        def samples(key):
            answer = c.must(run.request("get_system_metrics")).result_communicate.response
            return len(answer.get_system_metrics_response.system_metrics[key].record)

        until = time.monotonic() + 60
        while samples("disk./.usageGB") < 5 and time.monotonic() < until:
            time.sleep(0.1)
        assert samples("disk./.usageGB") >= 5
        assert samples(f"disk.{tmp_path}/stall.usageGB") == 0
        flag.unlink()
        until = time.monotonic() + 60
        while not samples(f"disk.{tmp_path}/stall.usageGB") and time.monotonic() < until:
            time.sleep(0.1)
        assert samples(f"disk.{tmp_path}/stall.usageGB") > 0
        flag.touch()
        time.sleep(1)
        log_and_finish(c, [run])
        assert len(steps(records(run.file))) == 20
        c.send(teardown(0))
        assert s.wait() == 0


@pytest.mark.parametrize("how", ["load", "hang", "stall"])
def test_a_gpu_library_that_hangs_costs_only_its_figures(tmp_path, how):
    """NVML that never comes back from dlopen, from nvmlInit or from a reading; also not at the end of the process."""
    library = tmp_path / "nvml.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(ROOT / "tests" / "support" / "fake_nvml.c")],
                   check=True)
    with Service(tmp_path, env={"TARE_NVML": str(library), "FAKE_NVML": how}) as s:
        c, run = s.connect(), Run(tmp_path, "r", x_stats_sampling_interval=0.1, x_stats_buffer_size=100, x_primary=True)
        for request in run.init(), run.run(), run.run_start():
            c.must(request)
        c.send(run.request("probe_system_info"))

        def samples():
            answer = c.must(run.request("get_system_metrics")).result_communicate.response
            return len(answer.get_system_metrics_response.system_metrics["memory_percent"].record)

        until = time.monotonic() + 60
        while samples() < 8 and time.monotonic() < until:
            time.sleep(0.1)
        assert samples() >= 8
        began = time.monotonic()
        c.must(run.exit())
        c.must(run.finish())
        c.send(teardown())
        assert s.wait() == 0
        assert time.monotonic() - began < 50  # it hangs for ever
