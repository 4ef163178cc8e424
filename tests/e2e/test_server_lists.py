# SPDX-License-Identifier: MIT
"""Runs in lists: filters, orders, pages; the console; what other users see."""

from __future__ import annotations

import base64
import json

import pytest

from server_support import Server

QUERY = """query($f: JSONString, $o: String, $n: Int = 50, $a: String) { project(name: "lists") { runCount(filters: $f)
  runs(filters: $f, order: $o, first: $n, after: $a) { edges { node { name } cursor } pageInfo { hasNextPage endCursor } } } }"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        for i in range(7):
            upsert(s, f"r{i}", config={"lr": {"value": i / 10}, "opt": {"value": {"kind": "adam" if i % 2 else "sgd"}},
                                     "a.b": {"value": {"c": i}}},
                   summary={"loss": 1 - i / 10 if i else float("nan"), "deep": {"x": i}}, tags=["even"] if i % 2 == 0 else [],
                   group="g" if i > 4 else None)
        yield s


def upsert(server, name, config, summary, project="lists", key="", **more):
    got = server.graphql("""mutation($i: UpsertBucketInput!) { upsertBucket(input: $i) { bucket { id } inserted } }""",
                         {"i": {"name": name, "modelName": project, "config": json.dumps(config),
                                "summaryMetrics": json.dumps(summary), "tags": more.get("tags"),
                                "groupName": more.get("group"), "entityName": more.get("entity")}}, key)
    assert "errors" not in got, got
    return got["data"]["upsertBucket"]["bucket"]["id"]


def names(server, filters=None, order=None, first=50):
    out, after = [], None
    while True:
        got = server.graphql(QUERY, {"f": json.dumps(filters or {}), "o": order, "n": first, "a": after})
        assert "errors" not in got, got
        page = got["data"]["project"]["runs"]
        out += [e["node"]["name"] for e in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            assert got["data"]["project"]["runCount"] == len(out)
            return " ".join(out)
        after = page["edges"][-1]["cursor"]
        assert after == page["pageInfo"]["endCursor"]


@pytest.mark.parametrize("filters, want", [
    ({}, "r0 r1 r2 r3 r4 r5 r6"),
    ({"name": "r3"}, "r3"),
    ({"tags": "even"}, "r0 r2 r4 r6"),
    ({"tags": []}, "r1 r3 r5"),
    ({"config.opt.kind": {"$regex": "^AD", "$options": "i"}}, "r1 r3 r5"),
    ({"tags": {"$in": ["odd", "even"]}, "group": "g"}, "r6"),
    ({"config.lr": {"$gte": 0.4}}, "r4 r5 r6"),
    ({"config.lr.value": {"$lt": 0.2}}, "r0 r1"),
    ({"config.opt.kind": "adam"}, "r1 r3 r5"),
    ({"config.a.b.c": 3}, "r3"),
    ({"group": {"$exists": False}}, "r0 r1 r2 r3 r4"),
    ({"sweep": {"$exists": True}}, ""),
    ({"summary_metrics.loss": {"$lt": 0.65}}, "r4 r5 r6"),
    ({"summary_metrics.deep.x": 2}, "r2"),
    ({"$or": [{"name": "r1"}, {"$and": [{"group": "g"}, {"name": {"$ne": "r5"}}]}]}, "r1 r6"),
    ({"display_name": {"$regex": "no such name"}}, ""),
    ({"state": {"$nin": ["running"]}}, ""),
    ({"createdAt": {"$gt": "2020-01-01T00:00:00"}}, "r0 r1 r2 r3 r4 r5 r6"),
])
def test_filters(server, filters, want):
    assert names(server, filters) == want
    assert names(server, filters, first=2) == want
    assert names(server, filters, "-created_at", 2) == " ".join(reversed(want.split()))


@pytest.mark.parametrize("order, want", [
    ("-name", "r6 r5 r4 r3 r2 r1 r0"),
    ("+summary_metrics.loss", "r6 r5 r4 r3 r2 r1 r0"),
    ("-config.lr.value", "r6 r5 r4 r3 r2 r1 r0"),
    ("+group,-name", "r6 r5 r4 r3 r2 r1 r0"),
])
def test_orders(server, order, want):
    assert names(server, None, order) == want
    assert names(server, None, order, 3) == want


def test_bad_filters_and_cursors_are_refused(server):
    for variables in ({"f": "{"}, {"f": '{"name": {"$what": 1}}'}, {"f": '{"nonsense": 1}'}, {"o": "+nonsense"},
                      {"a": "x"}, {"a": "@3"}, {"o": "-name", "a": "1:2"}, {"a": "12:"}):
        got = server.graphql(QUERY, variables)
        assert got["errors"][0]["path"][0] == "project", (variables, got)


def test_api_lists(server):
    got = server.script("""
import json, wandb
api = wandb.Api()
out = [[r.id for r in api.runs("local/lists", filters={"config.lr.value": {"$gt": 0.25}}, order="-created_at", per_page=2)],
       [r.id for r in api.runs("local/lists", order="-summary_metrics.deep.x", per_page=3)], len(api.runs("local/lists"))]
out.append(api.runs("local/lists")[2].config["lr"])
print(json.dumps(out))
""")
    assert got == [["r6", "r5", "r4", "r3"], ["r6", "r5", "r4", "r3", "r2", "r1", "r0"], 7, 0.2]


def test_console(server):
    got = server.script("""
import json, sys, wandb
run = wandb.init(project="console", id="c")
for i in range(5): print("line", i)
print("oops", file=sys.stderr)
run.finish()
r = wandb.Api().run("local/console/c")
print(json.dumps([[(x.content, x.level) for x in r.console_logs()], [x.content for x in r.console_logs(last=2)]]))
""", WANDB_SILENT="false", WANDB_QUIET="true")
    lines = [line for line, _ in got[0]]
    assert [x for x in lines if x.startswith("line")] == [f"line {i}" for i in range(5)]
    assert ["oops", "error"] in got[0] and got[1] == lines[-2:]


def test_another_user_sees_nothing(server):
    bob = server.add_user("bob")
    run_id = upsert(server, "mine", {}, {}, "private")
    asks = {
        '{project(name:"private", entityName:"local"){id}}': "project",
        '{model(name:"private", entityName:"local"){id}}': "model",
        '{entity(name:"local"){project(name:"private"){id}}}': None,
    }
    for ask, field in asks.items():
        got = server.graphql(ask, key=bob)
        assert "errors" not in got
        assert (got["data"][field] if field else got["data"]["entity"]["project"]) is None
    got = server.graphql('{models(entityName:"local"){edges{node{name}}}}', key=bob)
    assert got["data"]["models"]["edges"] == []
    project = server.graphql('{project(name:"private"){id}}')["data"]["project"]["id"]
    made_up = base64.b64encode(b"Run:v1:mine:private:local").decode()
    where = 'entityName:"local",projectName:"private"'
    tries = [
        'stopRun(input:{id:"%s"}){success}' % made_up,
        'createRunQueue(input:{%s,queueName:"q",access:PROJECT}){queueID}' % where,
        'upsertRunQueue(input:{%s,queueName:"q",resourceType:"x",resourceConfig:"{}"}){success}' % where,
        'pushToRunQueueByName(input:{%s,queueName:"q",runSpec:"{}"}){runQueueItemId}' % where,
        'popFromRunQueue(input:{%s,queueName:"q"}){runQueueItemId}' % where,
        'createLaunchAgent(input:{%s,runQueues:[],hostname:"h"}){launchAgentId}' % where,
        'createDefaultResourceConfig(input:{entityName:"local",resource:"x",config:"{}"}){success}',
        'createGenericWebhookIntegration(input:{entityName:"local",name:"h",urlEndpoint:"http://x"}){integration{__typename}}',
        'createFilterTrigger(input:{name:"t",enabled:true,scopeType:PROJECT,scopeID:"%s",eventFilter:"{}",'
        'triggeringEventType:"RUN_STATE",triggeredActionType:"NO_OP",triggeredActionConfig:{noOpActionInput:{noOp:true}}})'
        '{trigger{id}}' % project,
        'createProjectMembers(input:{projectId:"%s",userIds:[]}){success}' % project,
        'updateProjectMember(input:{projectId:"%s",userId:"x",userProjectRole:"admin"}){success}' % project,
        'renameProject(input:{entityName:"local",oldProjectName:"private",newProjectName:"x"}){inserted}',
        'upsertBucket(input:{id:"%s", notes:"x"}){inserted}' % run_id,
        'upsertBucket(input:{name:"mine", modelName:"private", entityName:"local", notes:"x"}){inserted}',
        'upsertBucket(input:{name:"new", modelName:"other", entityName:"local"}){inserted}',
        'deleteRun(input:{id:"%s"}){success}' % run_id,
        'stopRun(input:{id:"%s"}){success}' % run_id,
        'updateRunState(input:{id:"%s", state:failed}){success}' % run_id,
        'rewindRun(input:{runName:"mine",entityName:"local",projectName:"private",metricName:"_step",metricValue:0}){rewoundRun{id}}',
        'createRunFiles(input:{runName:"mine",entityName:"local",projectName:"private",files:["a"]}){runID}',
        'upsertModel(input:{name:"private",entityName:"local",description:"x"}){inserted}',
        'deleteModel(input:{name:"private",entityName:"local"}){success}',
        'notifyScriptableRunAlert(input:{runName:"mine",entityName:"local",projectName:"private",title:"x"}){success}',
    ]
    for text in tries:
        got = server.graphql("mutation{" + text + "}", key=bob)
        assert got["status"] in (403, 404) and list(got["data"].values()) == [None], (text, got)
    for method, path in (("POST", "/files/local/private/mine/file_stream"), ("GET", "/files/local/private/mine/config.yaml")):
        assert server.request(method, path, b"{}" if method == "POST" else None, key=bob)[0] in (403, 404)
    assert server.graphql('{project(name:"private"){run(name:"mine"){notes state}}}')["data"]["project"]["run"] == {
        "notes": None, "state": "running"}
    assert server.graphql('{viewer{username}}', key=bob)["data"]["viewer"]["username"] == "bob"
    server.command("user", "revoke", "bob")
    import time
    time.sleep(2.1)
    assert server.graphql('{viewer{username}}', key=bob)["status"] == 401
