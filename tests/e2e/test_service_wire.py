# SPDX-License-Identifier: MIT
"""Frames and requests, as any client could send them."""

import os
import random
import socket
import struct
import threading
import time

import pytest
from service_support import MANY, Client, Run, Service, end_run, frame, records, rss_bytes, start_run, steps
from wandb.proto import wandb_server_pb2 as spb


@pytest.fixture
def service(tmp_path):
    with Service(tmp_path) as s:
        yield s


def test_a_run_from_init_to_finish(service, tmp_path):
    c, run = service.connect(), Run(tmp_path, "r1")
    start_run(c, run)
    for i in range(100):
        c.send(run.history(x=i, y=i / 2))
    end_run(c, run)
    recs = records(run.file)
    assert [s["x"] for s in steps(recs)] == [str(i) for i in range(100)]
    assert recs[-1].WhichOneof("record_type") == "exit"


def test_answer_to_exit_means_written(service, tmp_path):
    """When exit is answered, every record is in the file, though the stream is still open."""
    c, run = service.connect(), Run(tmp_path, "r1")
    start_run(c, run)
    c.send(*[run.history(x=i) for i in range(2000)])
    c.must(run.exit(3))
    recs = records(run.file)
    assert len(steps(recs)) == 2000
    assert [r.exit.exit_code for r in recs if r.WhichOneof("record_type") == "exit"] == [3]


def test_every_kind_of_request_is_routed(service, tmp_path):
    c, run = service.connect(), Run(tmp_path, "r1")
    start_run(c, run)
    req = spb.ServerRequest()
    req.sweep_scheduler_init.SetInParent()
    assert "settings" in c.ask(req).error_response.message
    req = spb.ServerRequest()
    req.sweep_scheduler_next_task.SetInParent()
    assert c.ask(req).sweep_scheduler_next_task_response.HasField("done")
    sync = ["init_sync", "sync", "sync_status"]
    for kind in sync:
        req = spb.ServerRequest()
        getattr(req, kind).SetInParent()
        assert c.ask(req).WhichOneof("server_response_type") == f"{kind}_response"
    req = spb.ServerRequest()
    req.inform_detach._info.stream_id = "r1"
    assert c.ask(req).WhichOneof("server_response_type") == "inform_detach_response"
    req = spb.ServerRequest()
    req.authenticate.api_key = "k"
    req.authenticate._info.stream_id = "x"
    answer = c.ask(req).authenticate_response
    assert answer.error_status and answer._info.stream_id == "x"
    req = spb.ServerRequest()
    req.api_init_request.settings.base_url.value = "nowhere"
    assert "nowhere" in c.ask(req).error_response.message
    req = spb.ServerRequest()
    req.api_request.api_id = "none"
    assert c.ask(req).api_response.api_error_response.message == "WandbAPI is not initialized"
    for kind in ("cancel", "api_cleanup_request", "sweep_scheduler_stop"):  # answered by nothing
        req = spb.ServerRequest()
        getattr(req, kind).SetInParent()
        c.send(req)
    answer = c.must(run.attach()).inform_attach_response
    assert answer.settings.run_id.value == "r1" and answer._info.stream_id == "r1"
    req = spb.ServerRequest()
    req.record_communicate.CopyFrom(run.request("get_summary").record_publish)
    assert c.ask(req).HasField("result_communicate")
    assert c.must(run.finish()).WhichOneof("server_response_type") == "inform_finish_response"
    tested = len(sync) + len(["detach", "authenticate", "api_init", "api", "cancel", "cleanup", "attach", "communicate",
                              "finish", "init", "publish", "sweep_init", "sweep_next", "sweep_stop"])
    kinds = spb.ServerRequest.DESCRIPTOR.oneofs_by_name["server_request_type"].fields
    assert tested == len(kinds) - 1  # and teardown, in test_service_life


def test_answers_carry_the_ids_they_were_asked_with(service, tmp_path):
    c, run = service.connect(), Run(tmp_path, "r1")
    start_run(c, run)
    ids = ["a", "x" * 47, "x" * 48, "y" * 5000, "ü" * 30]
    for request_id in ids:
        c.deliver(run.request("get_summary"), request_id)
    for request_id in ids:
        answer = c.wait(request_id)
        assert answer.result_communicate.control.mailbox_slot == request_id
    # The slot and the id may differ, as old clients have them.
    req = run.request("get_summary")
    req.record_publish.control.mailbox_slot = "slot"
    req.request_id = "id"
    c.send(req)
    answer = c.read()
    assert (answer.request_id, answer.result_communicate.control.mailbox_slot) == ("id", "slot")


def test_clear_errors(service, tmp_path):
    c, run = service.connect(), Run(tmp_path, "r1")
    assert "not found" in c.ask(run.request("get_summary")).error_response.message
    assert "not found" in c.ask(run.attach()).error_response.message
    assert "not found" in c.ask(run.finish()).error_response.message
    start_run(c, run)
    other = service.connect()
    assert "r1 is in use" in other.ask(run.init()).error_response.message
    empty = spb.ServerRequest()
    empty.inform_init.SetInParent()
    assert "id" in c.ask(empty).error_response.message
    no_file = Run(tmp_path, "r2")
    del no_file.settings["sync_file"]
    assert "sync_file" in c.ask(no_file.init()).error_response.message
    nowhere = Run(tmp_path, "r3", sync_file="/proc/no/where.wandb")
    assert "/proc/no/where.wandb" in c.ask(nowhere.init()).error_response.message
    assert "not found" in c.ask(nowhere.run()).error_response.message
    unknown = spb.ServerRequest()
    unknown.request_id = "q"
    c.send(unknown.SerializeToString() + b"\xfa\x3f\x00")  # field 1023
    assert "kind" in c.wait("q").error_response.message
    c.must(run.request("get_summary"))  # all that cost nothing
    no_text = run.attach().SerializeToString().replace(b"r1", b"\xff1")
    c.send(no_text + b"\x52\x01z")
    assert c.wait("z").error_response.message == "stream ?1 not found"


def test_an_id_is_free_again_after_finish_and_no_file_is_written_over(service, tmp_path):
    c, run = service.connect(), Run(tmp_path, "r1")
    for i in range(3):
        start_run(c, run)
        c.send(run.history(x=i))
        end_run(c, run)
    files = sorted(run.dir.glob("*.wandb"), key=lambda p: (len(p.name), p.name))
    assert [p.name for p in files] == ["run-r1.wandb", "run-r1-2.wandb", "run-r1-3.wandb"]
    assert [steps(records(p))[0]["x"] for p in files] == ["0", "1", "2"]


def test_many_connections_on_one_stream(service, tmp_path):
    run = Run(tmp_path, "r1", _shared=True)
    first = service.connect()
    start_run(first, run)

    def log(k):
        c = service.connect()
        c.must(run.attach())
        for i in range(200):
            c.send(run.history(**{f"w{k}": i}))
        c.must(run.request("get_summary"))
        c.close()

    threads = [threading.Thread(target=log, args=(k,)) for k in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    end_run(first, run)
    rows = steps(records(run.file))
    for k in range(8):
        assert [r[f"w{k}"] for r in rows if f"w{k}" in r] == [str(i) for i in range(200)]


# -- frames -----------------------------------------------------------------------------------


def test_bytes_may_come_in_any_pieces(service, tmp_path):
    c, run = service.connect(), Run(tmp_path, "r1")
    start_run(c, run)
    data = b"".join(frame(run.history(x=i, text="z" * (i * 7 % 900))) for i in range(300))
    rng, at = random.Random(1), 0
    while at < len(data):
        n = rng.choice([1, 2, 4, 5, 6, 100, 1000, 5000])
        c.sock.sendall(data[at:at + n])
        at += n
        if rng.random() < 0.05:
            time.sleep(0.001)
    end_run(c, run)
    assert [s["x"] for s in steps(records(run.file))] == [str(i) for i in range(300)]


@pytest.mark.parametrize("bad", [b"X", b"W\x00\x00\x00\x80\x01", b"\x00" * 64, os.urandom(4096).replace(b"W", b"V"),
                                 frame(b"\xff\xff\xff"), frame(b"\x0a\x7f"), frame(b"\x0b")])
def test_bad_frames_close_their_connection_alone(service, tmp_path, bad):
    good, run = service.connect(), Run(tmp_path, "r1")
    start_run(good, run)
    c = service.connect()
    c.sock.sendall(bad)
    if bad.startswith(b"W\x00\x00\x00\x80"):  # exactly the limit: waits for the rest
        assert not c.is_closed(0.3)
        c.close()
    else:
        assert c.is_closed()
        assert service.diag_says("cannot be understood")
    good.must(run.request("get_summary"))
    end_run(good, run)
    records(run.file)


def test_what_came_before_a_bad_frame_is_kept(service, tmp_path):
    c, run = service.connect(), Run(tmp_path, "r1")
    start_run(c, run)
    c.sock.sendall(b"".join(frame(run.history(x=i)) for i in range(50)) + b"garbage")
    assert c.is_closed()
    c = service.connect()
    c.must(run.attach())
    end_run(c, run)
    assert len(steps(records(run.file))) == 50


def test_an_undecodable_request_is_answered_if_its_id_is_known(service):
    c = service.connect()
    req = spb.ServerRequest(request_id="me").SerializeToString()
    c.sock.sendall(frame(req + b"\x0a\x7f\x00"))
    assert c.is_closed()
    assert "decoded" in c.waiting["me"].error_response.message
    # The id is known, the record inside is broken.
    c = service.connect()
    c.sock.sendall(frame(b"\x0a\x02\xff\xff" + req))
    assert c.is_closed()
    assert "decoded" in c.waiting["me"].error_response.message


def test_the_limit_of_a_frame_can_be_set(tmp_path):
    with Service(tmp_path, "--max-frame-bytes", "5000") as s:
        c, run = s.connect(), Run(tmp_path, "r1")
        start_run(c, run)
        c.send(run.history(x="a" * 4000))
        c.must(run.request("get_summary"))
        c.send(run.history(x="a" * 5000))
        assert c.is_closed()


def test_memory_is_not_taken_on_a_mere_announcement(service, tmp_path):
    before = rss_bytes(service.pid)
    clients = [service.connect() for _ in range(20)]
    for c in clients:
        c.sock.sendall(struct.pack("<BI", ord("W"), 0x7fffffff) + b"\x00" * 1000)
    time.sleep(0.3)
    assert rss_bytes(service.pid) - before < MANY * (4 << 20)


def test_a_large_record_goes_through(service, tmp_path):
    c, run = service.connect(), Run(tmp_path, "r1")
    start_run(c, run)
    big = "a" * (20 << 20)
    c.send(run.history(x=big))
    c.send(run.history(x="small"))
    end_run(c, run)
    rows = steps(records(run.file))
    assert rows[0]["x"] == f'"{big}"' and rows[1]["x"] == '"small"'


# -- slow readers -----------------------------------------------------------------------------


def test_a_thousand_requests_without_reading_an_answer(service, tmp_path):
    c, run = service.connect(), Run(tmp_path, "r1")
    start_run(c, run)
    c.send(run.history(**{f"k{i}": i for i in range(100)}))
    ids = [c.deliver(run.request("get_summary")) for _ in range(1000)]
    for request_id in ids:
        items = c.wait(request_id).result_communicate.response.get_summary_response.item
        assert len(items) >= 100


def test_one_who_never_reads_stalls_nobody_and_loses_nothing(service, tmp_path):
    """Answers beyond what may wait: the client's own writes stop, until it reads."""
    c, run = service.connect(), Run(tmp_path, "r1")
    start_run(c, run)
    c.send(run.history(text="x" * 1_000_000))
    count = 200  # 200 MB of answers
    sender = threading.Thread(
        target=lambda: [c.deliver(run.request("get_summary")) for _ in range(count)]
        + [c.send(run.history(i=i)) for i in range(20000)])
    sender.start()
    time.sleep(1.0)
    assert sender.is_alive(), "all was taken: no bound on what waits"
    assert rss_bytes(service.pid) < MANY * (160 << 20)
    other, run2 = service.connect(), Run(tmp_path, "r2")
    start_run(other, run2)
    other.send(*[run2.history(i=i) for i in range(1000)])
    end_run(other, run2)
    assert sender.is_alive()  # so the other has not waited for it
    for i in range(count):
        assert c.read().HasField("result_communicate"), i
    sender.join(200)
    assert not sender.is_alive()
    end_run(c, run)
    assert len([s for s in steps(records(run.file)) if "i" in s]) == 20000


def test_one_who_never_reads_and_dies_loses_no_record(service, tmp_path):
    c, run = service.connect(), Run(tmp_path, "r1")
    start_run(c, run)
    c.send(run.history(text="x" * 1_000_000))
    for _ in range(100):
        c.deliver(run.request("get_summary"))
    c.sock.settimeout(2)
    sent = 0
    try:
        while sent < 20000:
            c.send(run.history(i=sent))
            sent += 1
    except TimeoutError:
        pass
    c.close()
    other = service.connect()
    other.must(run.attach())
    end = time.monotonic() + 30  # what it has sent is read when its answers have gone nowhere

    def last():
        items = other.must(run.request("get_summary")).result_communicate.response.get_summary_response.item
        return next((int(item.value_json) for item in items if item.key == "i"), -1)
    while last() < sent - 1 and time.monotonic() < end:
        time.sleep(0.05)
    end_run(other, run)
    got = [int(s["i"]) for s in steps(records(run.file)) if "i" in s]
    assert got == list(range(len(got))) and len(got) >= sent


def test_tcp_only_where_asked(tmp_path):
    with Service(tmp_path) as s:
        assert s.tcp == 0
    with Service(tmp_path, "--listen-on-localhost") as s:
        c, run = s.connect(tcp=True), Run(tmp_path, "r1")
        assert s.unix
        start_run(c, run)
        c.send(run.history(x=1))
        end_run(c, run)
        assert len(steps(records(run.file))) == 1
        with pytest.raises(OSError):
            host = socket.gethostbyname(socket.gethostname())
            if host.startswith("127."):
                raise OSError
            socket.create_connection((host, s.tcp), 1)


def test_a_cancelled_request_is_not_answered(service, tmp_path):
    c, run = service.connect(), Run(tmp_path, "r1")
    start_run(c, run)
    waiting = []
    for _ in range(2):
        req = run.request("internal_messages")
        req.record_publish.request.internal_messages.wait = True
        waiting.append(c.deliver(req))
    cancel = spb.ServerRequest()
    cancel.cancel.request_id = waiting[0]
    c.send(cancel)
    c.must(run.request("get_summary"))
    c.must(run.exit())
    c.must(run.finish())
    c.ask(run.attach())
    assert waiting[1] in c.waiting and waiting[0] not in c.waiting


def test_one_who_goes_while_waiting_is_forgotten(service, tmp_path):
    first, run = service.connect(), Run(tmp_path, "r1")
    start_run(first, run)
    for _ in range(50):
        c = service.connect()
        req = run.request("internal_messages")
        req.record_publish.request.internal_messages.wait = True
        c.deliver(req)
        c.close()
    end_run(first, run)
    records(run.file)
