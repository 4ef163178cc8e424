# SPDX-License-Identifier: MIT
"""Sweeps whose runs a program of the client's chooses: the service's sessions in raw frames, then the
unmodified SDK's scheduler with either service and `tare server`."""

import json
import pathlib
import sqlite3
import time

import pytest
import wandb
from online_support import FakeBackend, run_script
from server_support import Server
from service_support import TARE, Service, teardown
from wandb.proto import wandb_server_pb2 as spb
from wandb.proto import wandb_sweep_scheduler_pb2 as sspb

PEER = pathlib.Path(wandb.__file__).parent / "bin" / "wandb-core"
DONE = sspb.SweepSchedulerServerDoneTask


class SweepBackend(FakeBackend):
    features = ["SWEEPS_LOCAL_SCHEDULER"]

    def on_ServerFeaturesQuery(self, variables):
        return {"serverInfo": {"features": [{"name": n, "isEnabled": True} for n in self.features]}}


@pytest.fixture
def backend():
    with SweepBackend() as b:
        yield b


@pytest.fixture
def service(tmp_path):
    with Service(tmp_path) as s:
        yield s


def init(backend, sweep="sw", settings=True):
    req = spb.ServerRequest()
    r = req.sweep_scheduler_init
    r.entity, r.project, r.sweep_id, r.batch_size = "me", "p", sweep, 2
    if settings:
        r.settings.base_url.value, r.settings.api_key.value = backend.url, "x" * 40
        r.settings.x_graphql_retry_max.value = 1
        r.settings.x_graphql_retry_wait_min_seconds.value = 0.01
    return req


def next_task(session, result=None):
    req = spb.ServerRequest()
    req.sweep_scheduler_next_task.session_id = session
    if result is not None:
        req.sweep_scheduler_next_task.result.CopyFrom(result)
    return req


def stop(session):
    req = spb.ServerRequest()
    req.sweep_scheduler_stop.session_id = session
    return req


def begin(client, backend, sweep="sw"):
    """A session that has told of the runs before it."""
    session = client.must(init(backend, sweep)).sweep_scheduler_init_response.session_id
    task = client.must(next_task(session)).sweep_scheduler_next_task_response
    assert task.HasField("warm_start") and task.task_seq == 1
    return session, sspb.SweepSchedulerClientTaskResult(task_seq=1, warm_start={})


def done_of(answer):
    assert answer.sweep_scheduler_next_task_response.HasField("done"), answer
    return answer.sweep_scheduler_next_task_response.done


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)
    return value


# -- sessions ----------------------------------------------------------------------------------


def test_a_session_tells_what_the_sweep_is(backend, service):
    client = service.connect()
    answer = client.must(init(backend)).sweep_scheduler_init_response
    assert answer.session_id == "scheduler-0" and answer.sweep_config.startswith("metric:")
    assert (answer.display_name, answer.controller_run_name) == ("a sweep", "sw-log")
    assert backend.operations == ["ServerFeaturesQuery", "SweepConfig"]


def test_what_cannot_be_scheduled_is_refused(backend, service):
    client = service.connect()
    assert "settings" in client.ask(init(backend, settings=False)).error_response.message
    backend.sweep("gone").state = "DELETED"
    assert "not found" in client.ask(init(backend, "gone")).error_response.message
    backend.features = []
    assert "does not support" in client.ask(init(backend)).error_response.message


def test_a_sweep_has_one_scheduler_at_a_time(backend, service):
    client, other = service.connect(), service.connect()
    client.must(init(backend))
    assert "already" in other.ask(init(backend)).error_response.message
    other.must(init(backend, "another"))
    client.close()  # its session goes with it

    def begun():
        return not other.ask(init(backend)).HasField("error_response")
    wait_for(begun)


def test_two_at_the_same_time_are_not_both_let_in(backend, service):
    client = service.connect()
    ids = [client.deliver(init(backend)) for _ in range(3)]
    refused = [client.wait(i).HasField("error_response") for i in ids]
    assert sorted(refused) == [False, True, True]


def test_unknown_sessions(service, backend):
    client = service.connect()
    done = done_of(client.ask(next_task("scheduler-7")))
    assert done.reason == DONE.REASON_FATAL_ERROR and "unknown scheduler id" in done.message
    client.send(stop("scheduler-7"))
    client.must(init(backend))


def test_a_sweep_from_its_first_run_to_its_last(backend, service):
    client = service.connect()
    backend.sweep("sw").add('{"x": {"value": 7}}', ["finished"])
    session = client.must(init(backend)).sweep_scheduler_init_response.session_id
    task = client.must(next_task(session)).sweep_scheduler_next_task_response
    prior = task.warm_start.finished_runs[0]
    assert (prior.wandb_run_id, prior.state, json.loads(prior.config_json)) == \
        ("sw-1", sspb.SWEEP_RUN_STATE_FINISHED, {"x": 7})
    assert json.loads(prior.summary_json) == {"loss": 1.0}
    assert json.loads(prior.history_json) == [{"_step": 0, "loss": 2.0}]

    result = sspb.SweepSchedulerClientTaskResult(task_seq=1, warm_start={})
    task = client.must(next_task(session, result)).sweep_scheduler_next_task_response
    assert task.generation.ask_up_to == 2
    result = sspb.SweepSchedulerClientTaskResult(task_seq=2)
    result.generation.ask_outcome = result.generation.ASK_OUTCOME_SUGGESTED
    result.generation.suggestions.add(optimizer_run_id="o1", config_json='{"x": 1.5, "a": [1]}')
    task = client.must(next_task(session, result)).sweep_scheduler_next_task_response
    run = task.generation.updates[0].run
    assert (run.wandb_run_id, run.optimizer_run_id, run.state) == ("sw-2", "o1", sspb.SWEEP_RUN_STATE_PENDING)
    assert json.loads(backend.sweep("sw").runs[1].config) == {"x": {"value": 1.5}, "a": {"value": [1]}}

    result = sspb.SweepSchedulerClientTaskResult(task_seq=3)
    result.generation.terminate = True
    done = done_of(client.must(next_task(session, result)))
    assert done.reason == DONE.REASON_SWEEP_FINISHED and backend.sweep("sw").state == "FINISHED"
    assert "unknown" in done_of(client.ask(next_task(session))).message
    assert "error_response" not in str(client.must(init(backend)))  # it may be begun again


def test_an_enqueue_is_never_tried_twice_when_the_backend_is_busy(backend, service):
    client = service.connect()
    session, result = begin(client, backend)
    client.must(next_task(session, result))
    backend.fail = {"EnqueueSweepRun": [429, 429]}
    result = sspb.SweepSchedulerClientTaskResult(task_seq=2)
    result.generation.ask_outcome = result.generation.ASK_OUTCOME_SUGGESTED
    result.generation.suggestions.add(optimizer_run_id="o1", config_json="{}")
    task = client.must(next_task(session, result)).sweep_scheduler_next_task_response
    assert task.generation.discarded_optimizer_run_ids == ["o1"] and task.generation.ask_up_to == 2
    assert backend.fail["EnqueueSweepRun"] == [429]


@pytest.mark.parametrize("how", ["stop", "cancel", "teardown"])
def test_who_waits_for_a_task_can_be_let_go(backend, service, how):
    client = service.connect()
    session, result = begin(client, backend)
    client.must(next_task(session, result))
    waiting = client.deliver(next_task(session, sspb.SweepSchedulerClientTaskResult(task_seq=2, generation={})))
    second = client.deliver(next_task(session))
    assert not client.has_answer(0.3)
    if how == "stop":
        client.send(stop(session))
    elif how == "teardown":
        client.send(teardown())
    else:
        req = spb.ServerRequest()
        req.cancel.request_id = waiting
        client.send(req)
        waiting = None
    for request in filter(None, [waiting, second]):  # who else waits hears of the end too
        assert done_of(client.wait(request)).reason == DONE.REASON_SHUTDOWN
    if how == "teardown":
        assert service.wait() == 0
    else:
        client.must(init(backend))


def test_a_program_that_dies_ends_its_session(backend, service):
    client = service.connect()
    session, result = begin(client, backend)
    client.must(next_task(session, result))
    client.deliver(next_task(session, sspb.SweepSchedulerClientTaskResult(task_seq=2, generation={})))
    client.close()
    other = service.connect()
    wait_for(lambda: not other.ask(init(backend)).HasField("error_response"))

    def is_quiet():
        n = len(backend.operations)
        time.sleep(0.5)
        return len(backend.operations) == n
    wait_for(is_quiet)  # what was under way may still be read; then nothing is asked any more


def test_a_service_ends_while_the_backend_is_silent(tmp_path):
    import socket
    with Service(tmp_path) as service, socket.create_server(("127.0.0.1", 0)) as silent:
        class Silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = service.connect()
        client.deliver(init(Silent))
        silent.accept()
        client.send(teardown())
        assert service.wait() == 0


def test_bytes_that_are_no_request(backend, service):
    client = service.connect()
    for kind in ("sweep_scheduler_init", "sweep_scheduler_next_task", "sweep_scheduler_stop"):
        req = spb.ServerRequest()
        getattr(req, kind).SetInParent()
        client.send(req)
    session, _ = begin(client, backend)
    client.send(next_task(session, sspb.SweepSchedulerClientTaskResult(task_seq=99)))
    wait_for(lambda: not client.ask(init(backend)).HasField("error_response"))


# -- the SDK's scheduler -----------------------------------------------------------------------

AGENT = """
import sys, time, wandb

def train():
    with wandb.init() as run:
        x = run.config["x"]
        for i in range(600 if x == 1 else 3):
            run.log({"loss": x + 1 / (i + 1)})
            if x == 1:
                time.sleep(0.1)

wandb.agent(sys.argv[1], function=train, project="sched")
"""
SCHEDULER = """
    import json, os, subprocess, sys, wandb
    from wandb.sdk.sweeps.run_state import RunState
    from wandb.sdk.sweeps.scheduler.client import run_scheduler
    from wandb.sdk.sweeps.scheduler.optimizer import Optimizer, RunSuggestion

    class Three(Optimizer):
        told = {}
        def validate_sweep_objective(self): assert self.metric_key() == "loss"
        def has_terminator(self): return False
        def ask_n_runs(self, n):
            begun = len(self.told)
            new = [RunSuggestion({"x": i, "net": {"d": 0.5}}, f"o{i}") for i in range(begun, min(3, begun + n))]
            self.told.update({s.run_id: None for s in new})
            return new
        def tell_run(self, run_id, data):
            self.told[run_id] = [data.state.name, self.metric_value(data.summary_metrics), len(data.history_metrics)]
        def prune_run(self, run_id, data):
            return data.state is RunState.RUNNING and data.config["x"].value == 1

    sid = wandb.sweep({"method": "custom", "metric": {"name": "loss", "goal": "minimize"},
                       "parameters": {"x": {"min": 0, "max": 9}}, "scheduler": {"engine": "wandb"}}, project="sched")

    agent = subprocess.Popen([sys.executable, "agent.py", sid])  # in this process it would end the service
    done = run_scheduler(entity=os.environ["ENTITY"], project="sched", sweep_id=sid, make_optimizer=Three,
                         batch_size=3, poll_interval=5)
    code = agent.wait(120)
    sweep = wandb.Api().sweep(f"sched/{sid}")
    print(json.dumps(dict(reason=done.reason, told=Three.told, state=sweep.state, ended=code,
                          runs={r.config["x"]: r.state for r in sweep.runs}, log=f"{sid}-controller")))
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("core", [PEER, TARE], ids=["wandb-core", "tare"])
def test_a_scheduler_with_tare_server(tmp_path, core):
    (tmp_path / "agent.py").write_text(AGENT)
    with Server(tmp_path) as server:
        ran = run_script(tmp_path, server.url, SCHEDULER, core, timeout=200, WANDB_API_KEY=server.key, ENTITY="local",
                         WANDB__FILE_STREAM_TRANSMIT_INTERVAL="0.5")
        assert ran.returncode == 0, ran.stdout
        got = json.loads(ran.stdout.strip().splitlines()[-1])
        assert got["reason"] == DONE.REASON_SWEEP_FINISHED and got["state"] == "FINISHED" and got["ended"] == 0, ran.stdout
        assert got["told"]["o0"] == ["FINISHED", 1 / 3, 3] and got["told"]["o2"] == ["FINISHED", 2 + 1 / 3, 3]
        assert got["runs"]["0"] == got["runs"]["2"] == "finished"
        assert got["runs"]["1"] in ("killed", "failed", "crashed") and got["told"]["o1"][0] == "RUNNING"
        found = server.graphql('{ project(name: "sched") { run(name: "%s") { state logLines(first: 100) { edges { node '
                               "{ line } } } } } }" % got["log"])["data"]["project"]["run"]
        lines = [e["node"]["line"] for e in found["logLines"]["edges"]]
        assert any("is finished" in line for line in lines), lines


# -- what the server does with enqueued runs ------------------------------------------------------

MAKE = """mutation($c: String) { upsertSweep(input: {config: $c, projectName: "q"}) {
          sweep { id name controllerRunName } configValidationWarnings } }"""
ENQUEUE = """mutation($i: ID!, $c: JSONString!, $d: String) { enqueueSweepRun(input: {id: $i, config: $c,
             displayName: $d}) { id runQueueItemId } }"""
BEAT = 'mutation($id: ID!, $s: JSONString) { agentHeartbeat(input: {id: $id, runState: $s}) { commands } }'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        yield s


def ask(server, query, **variables):
    got = server.graphql(query, variables)
    assert "errors" not in got, got
    return next(iter(got["data"].values()))


def sweep_and_agent(server, config):
    made = ask(server, MAKE, c=config)
    agent = ask(server, """mutation($s: String!) { createAgent(input: {sweep: $s, projectName: "q"}) { agent { id } } }""",
                s=made["sweep"]["name"])["agent"]["id"]
    return made, agent


def beat(server, agent, **held):
    return json.loads(ask(server, BEAT, id=agent, s=json.dumps(held))["commands"])


EXTERNAL = "method: bayes\nmetric: {name: loss}\nparameters: {x: {min: 0.0, max: 1.0}}\nscheduler: {engine: optuna}"


def test_enqueued_runs_are_given_out_in_order(server):
    made, agent = sweep_and_agent(server, EXTERNAL)
    sweep = made["sweep"]
    assert made["configValidationWarnings"] == [] and sweep["controllerRunName"] == sweep["name"] + "-controller"
    assert beat(server, agent) == []  # nothing is searched here
    first = ask(server, ENQUEUE, i=sweep["id"], c='{"x": {"value": 0.25}}', d="mine")
    second = ask(server, ENQUEUE, i=sweep["id"], c='{"x": 0.5, "deep": {"y": 1}}')
    assert first["runQueueItemId"] is None
    got = ask(server, 'query($r: String!) { project(name: "q") { run(name: $r) { state displayName sweepName config } } }',
              r=first["id"])["run"]
    assert got == {"state": "pending", "displayName": "mine", "sweepName": sweep["name"], "config": '{"x":{"value":0.25}}'}
    command = beat(server, agent)[0]
    assert (command["type"], command["run_id"], command["args"]) == ("run", first["id"], {"x": {"value": 0.25}})
    assert beat(server, agent, **{first["id"]: True}) == []
    command = beat(server, agent)[0]
    assert command["run_id"] == second["id"] and command["args"] == {"x": {"value": 0.5}, "deep": {"value": {"y": 1}}}
    assert beat(server, agent) == []


def test_a_run_stopped_while_it_waits_never_begins(server):
    made, agent = sweep_and_agent(server, EXTERNAL)
    name = ask(server, ENQUEUE, i=made["sweep"]["id"], c="{}")["id"]
    run = ask(server, 'query($r: String!) { project(name: "q") { run(name: $r) { id } } }', r=name)["run"]["id"]
    assert ask(server, "mutation($i: ID!) { stopRun(input: {id: $i}) { success } }", i=run)["success"]
    assert ask(server, 'query($r: String!) { project(name: "q") { run(name: $r) { state } } }', r=name)["run"]["state"] == "killed"
    assert beat(server, agent) == []


def test_a_searched_sweep_takes_enqueued_runs_too(server):
    made, agent = sweep_and_agent(server, "method: grid\nparameters: {x: {values: [1]}}")
    assert made["sweep"]["controllerRunName"] is None
    name = ask(server, ENQUEUE, i=made["sweep"]["id"], c='{"x": 9}')["id"]
    assert beat(server, agent)[0]["run_id"] == name
    assert beat(server, agent)[0]["args"] == {"x": {"value": 1}}


def test_what_cannot_be_enqueued_is_refused(server):
    made, _ = sweep_and_agent(server, EXTERNAL)
    sweep = made["sweep"]
    for config in ("[1]", "x", '"{}"', "{" + " " * (1 << 20) + "}"):
        got = server.graphql(ENQUEUE, {"i": sweep["id"], "c": config})
        assert got["status"] == 400 and got["errors"], config
    assert server.graphql(ENQUEUE, {"i": "U3dlZXA6OTk5", "c": "{}"})["status"] == 404
    eve = server.add_user("eve")
    assert server.graphql(ENQUEUE, {"i": sweep["id"], "c": "{}"}, key=eve)["status"] in (403, 404)
    for state in ("FINISHED", "CANCELED"):
        ask(server, 'mutation($i: ID, $s: String) { upsertSweep(input: {id: $i, state: $s}) { sweep { state } } }',
            i=sweep["id"], s=state)
        got = server.graphql(ENQUEUE, {"i": sweep["id"], "c": "{}"})
        assert got["status"] == 400 and state in got["errors"][0]["message"]


def test_the_public_api_enqueues(server, tmp_path):
    got = server.script("""
import json, wandb
sid = wandb.sweep({"method": "custom", "metric": {"name": "l"}, "parameters": {"x": {"value": 1}},
                   "scheduler": {"engine": "wandb"}}, project="api")
sweep = wandb.Api().sweep(f"local/api/{sid}")
name = sweep.enqueue_run({"x": 3}, display_name="by hand")
run = wandb.Api().run(f"local/api/{name}")
print(json.dumps([run.state, run.name, run.config["x"], run.sweep.id == sid]))
""")
    assert got == ["pending", "by hand", 3, True]


def make_older(server, seconds, names):
    """The server is stopped and started; meanwhile these runs were last heard of so much earlier."""
    server.stop()
    with sqlite3.connect(server.dir / "tare.db") as db:
        for name in names:
            changed = db.execute("UPDATE runs SET heartbeat_at = heartbeat_at - ? WHERE name = ?",
                                 (seconds * 1000000, name))
            assert changed.rowcount == 1
    server.start()


def state_of(server, name):
    return ask(server, 'query($r: String!) { project(name: "q") { run(name: $r) { state } } }', r=name)["run"]["state"]


def test_runs_that_never_begin_fail(tmp_path):
    """A program that dies before wandb.init: the scheduler would wait for it for ever."""
    with Server(tmp_path) as server:
        made, agent = sweep_and_agent(server, EXTERNAL)
        given = [ask(server, ENQUEUE, i=made["sweep"]["id"], c="{}")["id"] for _ in range(2)]
        waiting = ask(server, ENQUEUE, i=made["sweep"]["id"], c="{}")["id"]
        assert [beat(server, agent)[0]["run_id"] for _ in given] == given
        make_older(server, 61, [given[0], waiting])
        assert beat(server, agent, **{given[0]: True}) == []  # it says that it is on it
        assert state_of(server, given[0]) == "pending"
        assert beat(server, agent)[0]["run_id"] == waiting
        assert [state_of(server, name) for name in (*given, waiting)] == ["failed", "pending", "pending"]


def test_the_log_of_a_scheduler_that_is_gone_has_finished(tmp_path):
    with Server(tmp_path) as server:
        log = sweep_and_agent(server, EXTERNAL)[0]["sweep"]["controllerRunName"]
        for name in (log, "other"):
            ask(server, 'mutation($n: String) { upsertBucket(input: {name: $n, modelName: "q", entityName: "local"}) '
                        "{ bucket { id } } }", n=name)
        make_older(server, 600, [log, "other"])
        wait_for(lambda: state_of(server, "other") == "crashed", 90)
        assert state_of(server, log) == "finished"
