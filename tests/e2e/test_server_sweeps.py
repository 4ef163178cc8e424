# SPDX-License-Identifier: MIT
"""Sweeps through the unmodified SDK, decided by tare server: no internet."""

from __future__ import annotations

import json

import pytest

from server_support import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        yield s


def test_grid_goes_through_all_points_once_and_ends(server):
    got = server.script("""
import json, wandb
def refused(run):
    try:
        return str(run.update_state("failed"))
    except wandb.Error as e:
        return str(e)
sid = wandb.sweep({"name": "g", "method": "grid", "metric": {"name": "loss", "goal": "minimize"},
                   "parameters": {"a": {"values": [1, 2, 3]}, "net": {"parameters": {"d": {"values": ["x", "y"]}}}}},
                  project="sw")
seen = []
def train():
    with wandb.init() as run:
        seen.append([run.config["a"], run.config["net"]["d"]])
        run.log({"loss": abs(run.config["a"] - 2) + (0.5 if run.config["net"]["d"] == "y" else 0)})
wandb.agent(sid, function=train, project="sw")
s = wandb.Api().sweep(f"local/sw/{sid}")
best = s.best_run()
print(json.dumps(dict(seen=seen, state=s.state, n=len(s.runs), expected=s.expected_run_count, best=[best.config["a"], best.config["net"]["d"]],
    states=sorted({r.state for r in s.runs}), sweep_of=s.runs[0].sweep.id == sid, agents=[len(s.agents()), s.agents()[0].total_runs],
    of_agent=len(list(s.agents()[0].runs(per_page=2))), refused=refused(s.runs[0]))))
""")
    assert "a sweep's run" in got["refused"]
    assert got["seen"] == [[a, d] for a in (1, 2, 3) for d in ("x", "y")]
    assert got["state"] == "FINISHED" and got["n"] == got["expected"] == 6 and got["states"] == ["finished"]
    assert got["best"] == [2, "x"] and got["sweep_of"] is True
    assert got["agents"] == [1, 6] and got["of_agent"] == 6


def test_random_stops_at_the_cap(server):
    got = server.script("""
import json, wandb
sid = wandb.sweep({"method": "random", "run_cap": 3, "parameters": {"lr": {"min": 0.1, "max": 0.9}, "k": {"value": "c"}}}, project="sw")
seen = []
def train():
    with wandb.init() as run:
        seen.append([run.config["lr"], run.config["k"]])
wandb.agent(sid, function=train, project="sw")
s = wandb.Api().sweep(f"local/sw/{sid}")
print(json.dumps(dict(seen=seen, state=s.state, expected=s.expected_run_count, name=s.name == sid)))
""")
    assert len(got["seen"]) == 3 and all(0.1 < lr < 0.9 and k == "c" for lr, k in got["seen"])
    assert len({lr for lr, _ in got["seen"]}) == 3
    assert got["state"] == "FINISHED" and got["expected"] == 3 and got["name"]


def heartbeat(server, agent, **runs):
    got = server.graphql("""mutation($id: ID!, $s: JSONString) { agentHeartbeat(input: {id: $id, metrics: "{}", runState: $s}) {
                            agent { id } commands } }""", {"id": agent, "s": json.dumps(runs)})
    assert "errors" not in got, got
    return json.loads(got["data"]["agentHeartbeat"]["commands"])


def make(server, yaml, project="raw"):
    got = server.graphql("""mutation($c: String, $p: String) { upsertSweep(input: {config: $c, projectName: $p}) {
                            sweep { id name state } configValidationWarnings } }""", {"c": yaml, "p": project})
    if "errors" in got:
        return got
    sweep = got["data"]["upsertSweep"]["sweep"]
    agent = server.graphql("""mutation($s: String!, $p: String) { createAgent(input: {host: "h", sweep: $s, projectName: $p}) {
                              agent { id } } }""", {"s": sweep["name"], "p": project})["data"]["createAgent"]["agent"]["id"]
    return sweep, agent, got["data"]["upsertSweep"]["configValidationWarnings"]


def set_state(server, sweep, state):
    got = server.graphql('mutation($i: ID, $s: String) { upsertSweep(input: {id: $i, state: $s}) { sweep { state } } }',
                         {"i": sweep["id"], "s": state})
    assert got["data"]["upsertSweep"]["sweep"]["state"] == state


def test_pause_resume_stop_and_cancel(server):
    sweep, agent, _ = make(server, "method: grid\nprogram: train.py\nparameters: {a: {values: [1, 2, 3, 4]}}")
    first = heartbeat(server, agent)[0]
    assert first["type"] == "run" and first["args"] == {"a": {"value": 1}} and first["program"] == "train.py"
    assert heartbeat(server, agent, **{first["run_id"]: True}) == []  # busy
    set_state(server, sweep, "PAUSED")
    assert heartbeat(server, agent) == []
    set_state(server, sweep, "RUNNING")
    second = heartbeat(server, agent)[0]
    assert second["args"] == {"a": {"value": 2}}
    set_state(server, sweep, "CANCELED")
    assert heartbeat(server, agent, **{second["run_id"]: True}) == [{"type": "stop", "run_id": second["run_id"]}]
    assert heartbeat(server, agent) == [{"type": "exit"}]

    sweep, agent, _ = make(server, "method: grid\nparameters: {a: {values: [1, 2]}}")
    run = heartbeat(server, agent)[0]
    set_state(server, sweep, "FINISHED")  # what `wandb sweep --stop` asks: runs go on, no new ones
    assert heartbeat(server, agent, **{run["run_id"]: True}) == []
    assert heartbeat(server, agent) == [{"type": "exit"}]


def test_two_agents_never_get_the_same_point(server):
    sweep, one, _ = make(server, "method: grid\nparameters: {a: {values: [1, 2, 3, 4, 5, 6]}}")
    two = server.graphql("""mutation($s: String!) { createAgent(input: {host: "h", sweep: $s, projectName: "raw"}) { agent { id } } }""",
                         {"s": sweep["name"]})["data"]["createAgent"]["agent"]["id"]
    got = [heartbeat(server, agent)[0]["args"]["a"]["value"] for agent in (one, two) * 3]
    assert got == [1, 2, 3, 4, 5, 6]
    assert heartbeat(server, one) == [{"type": "exit"}]


def test_what_cannot_be_searched_says_so(server):
    sweep, agent, warnings = make(server, "method: bayes\nmetric: {name: loss}\nparameters: {a: {min: 0.0, max: 1.0}}")
    assert "bayes" in warnings[0]
    got = server.graphql('mutation($id: ID!) { agentHeartbeat(input: {id: $id}) { commands } }', {"id": agent})
    assert got["status"] == 400 and "bayes" in got["errors"][0]["message"]
    for yaml, word in (("method: grid\nparameters: {a: {min: 0.0, max: 1.0}}", "'a'"), ("method: [", "line"),
                       ("method: magic\nparameters: {a: {value: 1}}", "magic"), ("parameters: {}", "method")):
        got = make(server, yaml)
        assert got["status"] == 400 and word in got["errors"][0]["message"], got


def test_other_users_do_not_reach_a_sweep(server):
    sweep, agent, _ = make(server, "method: grid\nparameters: {a: {values: [1]}}", project="mine")
    key = server.add_user("eve")
    for query, variables in (
        ('mutation($i: ID!) { agentHeartbeat(input: {id: $i}) { commands } }', {"i": agent}),
        ('mutation($i: ID) { upsertSweep(input: {id: $i, state: "CANCELED"}) { sweep { id } } }', {"i": sweep["id"]}),
        ('mutation($s: String!) { createAgent(input: {sweep: $s, projectName: "mine", entityName: "local"}) { agent { id } } }',
         {"s": sweep["name"]})):
        got = server.graphql(query, variables, key=key)
        assert got["status"] in (403, 404) and got["errors"], got
