# SPDX-License-Identifier: MIT
"""Run queues and automations: what wandb.Api makes of them, who may, and that an item is given out once."""

from __future__ import annotations

import json

import pytest

from server_support import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        yield s


PUSH = """mutation($q:String!,$s:JSONString!,$p:Int,$v:JSONString){pushToRunQueueByName(input:{entityName:"local",
projectName:"model-registry",queueName:$q,runSpec:$s,priority:$p,templateVariableValues:$v}){runQueueItemId runSpec}}"""
POP = """mutation($q:String!){popFromRunQueue(input:{entityName:"local",projectName:"model-registry",queueName:$q}){
runQueueItemId runSpec}}"""


def push(server, queue, spec, priority=None, values=None):
    got = server.graphql(PUSH, {"q": queue, "s": json.dumps(spec), "p": priority, "v": values and json.dumps(values)})
    return (got["data"] or {}).get("pushToRunQueueByName") or got


def pop(server, queue, key=""):
    return server.graphql(POP, {"q": queue}, key=key)["data"]["popFromRunQueue"]


def test_queue_of_the_api_fills_in_its_configuration(server):
    made = server.script("""
import json, wandb
api = wandb.Api()
q = api.upsert_run_queue(name="gpu", entity="local", resource_type="local-container",
    resource_config={"cpus": "{{cpus}}", "name": "run-{{who}}-{{cpus}}", "list": ["{{who}}", "{{other}}"]},
    template_variables={"cpus": {"schema": {"type": "integer"}}}, external_links={"docs": "https://example.com"},
    prioritization_mode="V0")
print(json.dumps([q.name, q.access, q.type, q.prioritization_mode, q.external_links, q.template_variables, len(q.items)]))
""")
    assert made == ["gpu", "PROJECT", "local-container", "V0",
                    {"links": [{"label": "docs", "url": "https://example.com"}]},
                    [{"name": "cpus", "schema": '{"type":"integer"}'}], 0]
    got = push(server, "gpu", {"job": "a"}, values={"cpus": 4, "who": "ann"})
    want = {"job": "a", "resource": "local-container",
            "resource_args": {"local-container": {"cpus": 4, "name": "run-ann-4", "list": ["ann", "{{other}}"]}}}
    assert json.loads(got["runSpec"]) == want
    item = pop(server, "gpu")
    assert item == {"runQueueItemId": got["runQueueItemId"], "runSpec": want}
    assert pop(server, "gpu") is None, "an item is leased to one agent"


def test_priority_ack_fail_and_delete(server):
    server.script("""
import wandb
wandb.Api().create_run_queue(name="prio", type="local-process", entity="local", config={}, prioritization_mode="V0")
print("{}")
""")
    low, high, last = [push(server, "prio", {"n": n}, p)["runQueueItemId"] for n, p in ((1, 3), (2, 0), (3, 4))]
    assert pop(server, "prio")["runQueueItemId"] == high
    ack = 'mutation{ackRunQueueItem(input:{runQueueItemId:"%s",runName:"r1"}){success}}'
    assert server.graphql(ack % high)["data"]["ackRunQueueItem"]["success"] is True
    assert server.graphql(ack % high)["status"] == 400, "only what is leased can be acknowledged"
    assert pop(server, "prio")["runQueueItemId"] == low
    fail = 'mutation{failRunQueueItem(input:{runQueueItemId:"%s",message:"no image",stage:"build"}){success}}'
    assert server.graphql(fail % low)["data"]["failRunQueueItem"]["success"] is True
    items = server.graphql('{project(name:"model-registry"){runQueue(name:"prio"){runQueueItems{edges{node{'
                           'id state associatedRunId error}}}}}}')["data"]["project"]["runQueue"]["runQueueItems"]["edges"]
    assert {e["node"]["id"]: e["node"]["state"] for e in items} == {low: "FAILED", high: "CLAIMED", last: "PENDING"}
    assert next(e["node"] for e in items if e["node"]["id"] == high)["associatedRunId"] == "r1"
    remove = 'mutation{deleteFromRunQueue(input:{queueID:"x",runQueueItemId:"%s"}){success}}'
    assert server.graphql(remove % last)["data"]["deleteFromRunQueue"]["success"] is True
    assert server.graphql(remove % high)["status"] == 400 and pop(server, "prio") is None
    eve = server.add_user("eve")
    for text in (ack % low, fail % low, remove % low):
        assert server.graphql(text, key=eve)["status"] in (403, 404)
    assert server.graphql(POP, {"q": "prio"}, key=eve)["status"] in (403, 404)


def test_launch_agents(server):
    queues = server.graphql('{project(name:"model-registry"){runQueues{id name}}}')["data"]["project"]["runQueues"]
    made = server.graphql('mutation($q:[ID!]!){createLaunchAgent(input:{entityName:"local",projectName:"model-registry",'
                          'runQueues:$q,hostname:"h"}){launchAgentId}}', {"q": [queues[0]["id"]]})
    agent = made["data"]["createLaunchAgent"]["launchAgentId"]
    server.graphql('mutation{updateLaunchAgent(input:{launchAgentId:"%s",agentStatus:"RUNNING"}){success}}' % agent)
    got = server.graphql('{launchAgent(id:"%s"){hostname agentStatus runQueues stopPolling}}' % agent)["data"]["launchAgent"]
    assert got == {"hostname": "h", "agentStatus": "RUNNING", "runQueues": [queues[0]["id"]], "stopPolling": False}
    assert server.graphql('{launchAgent(id:"%s"){id}}' % agent, key=server.add_user("lou"))["data"]["launchAgent"] is None


def test_automations_are_kept_and_given_back(server):
    got = server.script("""
import json, wandb
from wandb.automations import OnAddArtifactAlias, OnRunState, ArtifactEvent, RunEvent, SendWebhook, DoNothing
from wandb.automations._generated import CREATE_GENERIC_WEBHOOK_INTEGRATION_GQL as MAKE
api = wandb.Api()
api.create_project("auto", "local")
project = api.project("auto", entity="local")
api._service_api.execute_graphql(MAKE, variables={"input": {"name": "hook", "entityName": "local",
                                                            "urlEndpoint": "https://example.com/in"}})
hook = next(iter(api.webhook_integrations(entity="local")))
made = api.create_automation(OnAddArtifactAlias(scope=project, filter=ArtifactEvent.alias.eq("prod"))
                             >> SendWebhook.from_integration(hook, payload={"a": 1}), name="first", description="d")
api.create_automation(OnRunState(scope=project, filter=RunEvent.state.eq("failed")) >> DoNothing(), name="second")
first = api.automation(name="first", entity="local")
try:
    api.create_automation(OnRunState(scope=project, filter=RunEvent.state.eq("failed")) >> DoNothing(), name="second")
    again = "made"
except Exception as e:
    again = type(e).__name__
api.update_automation(first, enabled=False, name="renamed")
names = sorted((a.name, a.enabled) for a in api.automations(entity="local"))
api.delete_automation(api.automation(name="second", entity="local"))
print(json.dumps([made == first, first.action.request_payload, hook.url_endpoint if first.action.integration.id == hook.id else "", first.scope.name,
                  str(first.event.filter.filter), again, names, [a.name for a in api.automations(entity="local")]]))
""")
    assert got[:4] == [True, {"a": 1}, "https://example.com/in", "auto"] and "prod" in got[4]
    assert got[5:] == ["CommError", [["renamed", False], ["second", True]], ["renamed"]]
    trigger = server.graphql('{entity(name:"local"){triggers{edges{node{id}}}}}')["data"]["entity"]["triggers"]["edges"][0]
    mia = server.add_user("mia")
    assert server.graphql('mutation{deleteTrigger(input:{triggerID:"%s"}){success}}' % trigger["node"]["id"],
                          key=mia)["status"] in (403, 404)
    hidden = server.graphql('{entity(name:"local"){triggers{edges{node{id}}} integrations{edges{node{__typename}}}}}', key=mia)
    assert hidden["data"]["entity"] in (None, {"triggers": {"edges": []}, "integrations": {"edges": []}})


def test_a_launched_sweep_puts_its_scheduler_into_the_queue(server):
    launch = {"queue": "gpu", "run_queue_project": "model-registry",
              "run_spec": json.dumps({"name": "Scheduler.WANDB_SWEEP_ID", "run_id": "WANDB_SWEEP_ID"})}
    text = """mutation($l:JSONString){upsertSweep(input:{projectName:"sw",config:"method: custom",launchScheduler:$l,
    templateVariableValues:"{\\"cpus\\": 2}"}){sweep{name}}}"""
    name = server.graphql(text, {"l": json.dumps(launch)})["data"]["upsertSweep"]["sweep"]["name"]
    spec = pop(server, "gpu")["runSpec"]
    assert spec["name"] == f"Scheduler.{name}" and spec["run_id"] == name
    assert spec["resource_args"]["local-container"]["cpus"] == 2
    server.graphql('mutation{createRunQueue(input:{entityName:"local",projectName:"sw",queueName:"own",access:PROJECT})'
                   '{success}}')
    server.graphql(text, {"l": json.dumps({**launch, "queue": "own", "run_queue_project": None})})
    own = POP.replace("model-registry", "sw")
    spec = server.graphql(own, {"q": "own"})["data"]["popFromRunQueue"]["runSpec"]
    assert spec["name"].startswith("Scheduler."), "without a project named, the queue is one of the sweep's"
    launch["queue"] = "nowhere"
    assert server.graphql(text, {"l": json.dumps(launch)})["status"] == 404
