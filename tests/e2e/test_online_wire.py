# SPDX-License-Identifier: MIT
"""What a client of an online run is answered, and when, in raw frames."""

import time

import pytest
from online_support import FakeBackend
from service_support import Run, Service, records, spb, steps, teardown


@pytest.fixture
def backend():
    with FakeBackend() as b:
        yield b


@pytest.fixture
def service(tmp_path):
    with Service(tmp_path) as s:
        yield s


def online_run(tmp_path, backend, run_id="abc", **settings):
    for folder in ("files", "logs"):
        (tmp_path / "wandb" / f"offline-run-20260101_000000-{run_id}" / folder).mkdir(parents=True)
    return Run(tmp_path, run_id, _offline=False, base_url=backend.url, app_url=backend.url, api_key="x" * 40,
               x_primary=True, x_graphql_retry_wait_min_seconds=0.05,
               x_file_stream_retry_wait_min_seconds=0.05, x_file_transfer_retry_wait_min_seconds=0.05, **settings)


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)
    return value


def response(answer):
    return answer.result_communicate.response


def test_the_run_is_answered_when_the_backend_knows_it(tmp_path, backend, service):
    client, run = service.connect(), online_run(tmp_path, backend)
    client.must(run.init())
    backend.fail = {"UpsertBucket": [500, 500]}
    result = client.must(run.run()).result_communicate.run_result
    assert (result.run.entity, result.run.project, result.run.run_id) == ("tester", "test", "abc")
    assert not backend.fail["UpsertBucket"] and not result.HasField("error")
    client.must(run.run_start())
    client.must(run.exit())
    assert backend.runs["abc"].exit_code == 0  # the exit is answered when all is there
    done = response(client.must(run.request("poll_exit"))).poll_exit_response
    assert done.done and done.file_counts.wandb_count == 2  # summary and config
    client.must(run.finish())


def test_a_refused_run_is_an_error_and_stays_one(tmp_path, backend, service):
    client, run = service.connect(), online_run(tmp_path, backend)
    backend.refuse = ("UpsertBucket", 403, {"errors": [{"message": "not yours"}]})
    client.must(run.init())
    for _ in range(2):
        error = client.must(run.run()).result_communicate.run_result.error
        assert (error.message, error.code) == ("not yours", 1)
    client.must(run.exit())
    client.must(run.finish())
    assert not backend.runs


def test_a_run_that_cannot_begin_in_time_says_why(tmp_path, backend, service):
    client, run = service.connect(), online_run(tmp_path, backend, init_timeout=4.0)
    backend.fail = {"UpsertBucket": [503] * 100}
    client.must(run.init())
    error = client.must(run.run()).result_communicate.run_result.error
    assert error.message.startswith("Timed out while retrying: HTTP 503") and "init_timeout" in error.message


def test_a_stop_from_the_backend_is_told(tmp_path, backend, service):
    client, run = service.connect(), online_run(tmp_path, backend)
    client.must(run.init())
    client.must(run.run())
    client.must(run.run_start())
    assert not response(client.must(run.request("stop_status"))).stop_status_response.run_should_stop
    stream = backend.stream
    backend.stream = lambda name, body: {**stream(name, body), "stopped": True}
    client.send(run.history(a=1))
    wait_for(lambda: response(client.must(run.request("stop_status"))).stop_status_response.run_should_stop)
    client.must(run.exit())
    client.must(run.finish())


def test_failed_answers_are_shown_once(tmp_path, backend, service):
    client, run = service.connect(), online_run(tmp_path, backend)
    backend.fail = {"UpsertBucket": [429]}
    client.must(run.init())
    client.must(run.run())
    status = response(client.must(run.request("network_status"))).network_status_response
    assert [r.http_status_code for r in status.network_responses] == [429]
    status = response(client.must(run.request("network_status"))).network_status_response
    assert not status.network_responses
    client.must(run.exit())


def test_what_is_under_way_is_shown_while_it_is_retried(tmp_path, backend, service):
    client, run = service.connect(), online_run(tmp_path, backend)
    backend.fail = {"UpsertBucket": [500] * 1000}
    client.must(run.init())
    request = client.deliver(run.run())

    def operation():
        stats = response(client.must(run.request("operations"))).operations_response.operation_stats
        return next((op for op in stats.operations if op.error_status), None)

    assert wait_for(operation).desc == "setting up run abc"
    backend.fail = {}
    assert client.wait(request).result_communicate.run_result.run.entity == "tester"
    client.must(run.exit())


def test_a_run_that_is_finished_without_an_exit_brings_its_rows(tmp_path, backend, service):
    client, run = service.connect(), online_run(tmp_path, backend)
    client.must(run.init())
    client.must(run.run())
    client.must(run.run_start())
    client.send(*[run.history(a=i) for i in range(10)])
    client.must(run.finish())
    assert [row["a"] for row in backend.runs["abc"].history] == list(range(10))
    assert backend.runs["abc"].exit_code is None


def test_a_service_that_is_torn_down_ends_its_runs(tmp_path, backend, service):
    client, run = service.connect(), online_run(tmp_path, backend)
    client.must(run.init())
    client.must(run.run())
    client.must(run.run_start())
    client.send(run.history(a=1), teardown(7))
    assert service.wait() == 0
    assert [row["a"] for row in backend.runs["abc"].history] == [1]
    assert backend.runs["abc"].exit_code == 7


def begun_and_alone(tmp_path, backend, service, **settings):
    """A run that has begun, and a backend that has gone."""
    client, run = service.connect(), online_run(tmp_path, backend, **settings)
    client.must(run.init())
    client.must(run.run())
    client.must(run.run_start())
    backend.go_away()
    output, record = run.record()
    record.output_raw.line = "a line that is written to output.log before the exit\n"
    client.send(run.history(a=1), output)
    return client, run


@pytest.mark.parametrize("order", ["exit teardown", "exit cancel teardown", "exit poll teardown", "exit / teardown",
                                   "exit / cancel / teardown", "exit / cancel teardown", "exit poll / teardown close"])
def test_a_teardown_while_an_exit_waits_ends_the_service(tmp_path, backend, service, order):
    """A program that is interrupted in finish() ends at once, whether or not its SDK gets to cancel the exit."""
    client, run = begun_and_alone(tmp_path, backend, service)
    exit_request = run.exit(5)
    exit_request.request_id = exit_request.record_publish.control.mailbox_slot = "exit"
    cancel = spb.ServerRequest()
    cancel.cancel.request_id = "exit"
    frames = {"exit": exit_request, "cancel": cancel, "poll": run.request("poll_exit"), "teardown": teardown(3)}
    for group in order.removesuffix(" close").split(" / "):
        client.send(*[frames[name] for name in group.split()])
        time.sleep(0.3)
    if order.endswith("close"):
        client.close()
    began = time.monotonic()
    assert service.wait() == 0
    assert time.monotonic() - began < 50  # the backend does not come back
    found = records(run.file)
    assert [r.exit.exit_code for r in found if r.HasField("exit")] == [5]  # that of the program, and once
    assert len(steps(found)) == 1


@pytest.mark.parametrize("exit_first", [False, True])
def test_a_teardown_keeps_to_the_finish_timeout(tmp_path, backend, service, exit_first):
    """Also if the exit was sent by a program that does not wait for its answer."""
    client, run = begun_and_alone(tmp_path, backend, service, finish_timeout=1.5)
    began = time.monotonic()
    client.send(*[run.exit()] * exit_first, teardown(3))
    assert service.wait() == 0
    assert 1 < time.monotonic() - began < 50
    assert [r.exit.exit_code for r in records(run.file) if r.HasField("exit")] == [0 if exit_first else 3]


def test_nothing_of_http_is_loaded_for_offline_runs(tmp_path, backend, service):
    def libraries():
        return open(f"/proc/{service.pid}/maps").read()

    client, run = service.connect(), Run(tmp_path, "off")
    client.must(run.init())
    client.must(run.run())
    client.must(run.exit())
    assert "libcurl" not in libraries() and "tare-uplink" not in libraries()
    run = online_run(tmp_path, backend)
    client.must(run.init())
    client.must(run.run())
    assert "libcurl" in libraries()
    client.must(run.exit())
