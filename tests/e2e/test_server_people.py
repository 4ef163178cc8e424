# SPDX-License-Identifier: MIT
"""Users, keys, teams, reports and chart presets, through wandb.Api where it has them."""

from __future__ import annotations

import json

import pytest

from server_support import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        yield s


def test_api_makes_users_keys_and_teams(server):
    got = server.script("""
import json, wandb
api = wandb.Api()
made = api.create_user("carl@example.org", admin=False)
viewer = api.viewer
key = viewer.generate_api_key("for tests")
before = len(viewer.api_keys)
team = api.create_team("crew")
ok = team.invite("carl", admin=False)
crew = api.team("crew")
account = crew.create_service_account("robot")
members = sorted((m.name, m.account_type) for m in api.team("crew").members)
print(json.dumps([made.email, key, before, team.name, ok, members, account is not None, [u.username for u in api.users("carl")]]))
""")
    email, key, n_keys, team, invited, members, account, found = got
    assert email == "carl@example.org" and len(key) == 46 and n_keys == 2 and team == "crew" and invited and account
    assert [m[1] for m in members] == ["USER", "USER", "SERVICE"] and found == ["carl"]
    assert server.graphql("{viewer{username}}", key=key)["data"]["viewer"]["username"] == "local"
    keys = server.graphql("{viewer{apiKeys{edges{node{id name description}}}}}")["data"]["viewer"]["apiKeys"]["edges"]
    assert keys[1]["node"]["name"] == key[:10] and keys[1]["node"]["description"] == "for tests"
    delete = 'mutation{deleteApiKey(input:{id:"%s"}){success}}' % keys[1]["node"]["id"]
    eve = server.add_user("eve")
    assert server.graphql(delete, key=eve)["status"] == 404
    assert server.graphql(delete)["data"]["deleteApiKey"]["success"] is True


def test_an_entity_of_ones_own_has_one_member(server):
    got = server.graphql('{entity(name:"local"){members{username role accountType}}}')
    assert got["data"]["entity"]["members"] == [{"username": "local", "role": "admin", "accountType": "USER"}]


def test_others_may_not(server):
    mallory = server.add_user("mallory")
    for text in ('createUser(input:{email:"x@y"}){user{id}}',
                 'createTeam(input:{teamName:"mine",teamAdminUserName:"local"}){entity{id}}',
                 'createInvite(input:{entityName:"local",username:"mallory"}){invite{id}}',
                 'createServiceAccount(input:{entityName:"local",description:"x"}){user{id}}'):
        got = server.graphql("mutation{" + text + "}", key=mallory)
        assert got["status"] in (400, 403, 404) and "errors" in got, text


def test_reports_are_kept_and_given_back(server):
    spec = json.dumps({"blocks": [{"text": 'said "ä"'}], "n": 1.5})
    server.graphql('mutation{upsertModel(input:{name:"p"}){inserted}}')
    got = server.graphql("""mutation($i: UpsertViewInput!) { upsertView(input: $i) { inserted view { id name spec } } }""",
                         {"i": {"entityName": "local", "projectName": "p", "type": "runs", "displayName": "Report",
                                "description": "about", "spec": spec}})["data"]["upsertView"]
    assert got["inserted"] is True and got["view"]["spec"] == spec
    view = got["view"]["id"]
    reports = server.script("""
import json, wandb
print(json.dumps([[r.display_name, r.description, r.spec["n"]] for r in wandb.Api().reports("local/p")]))
""")
    assert reports == [["Report", "about", 1.5]]
    other = server.add_user("olga")
    for text in ('upsertView(input:{id:"%s",displayName:"x"}){inserted}', 'deleteView(input:{id:"%s"}){success}'):
        assert server.graphql("mutation{" + text % view + "}", key=other)["status"] in (403, 404)
    assert server.graphql('{view(id:"%s"){displayName}}' % view, key=other)["data"]["view"] is None
    assert server.graphql('mutation{upsertView(input:{id:"%s",displayName:"New"}){inserted view{displayName spec}}}' % view)[
        "data"]["upsertView"] == {"inserted": False, "view": {"displayName": "New", "spec": spec}}
    # as the package wandb-workspaces asks
    find = """query($t: String, $user: String, $view: String) { project(entityName: "local", name: "p") {
        allViews(viewType: $t, viewName: $view, userName: $user) { edges { node { id } } } } }"""
    for asked, found in (({}, 1), ({"t": "runs"}, 1), ({"t": "project-view"}, 0), ({"user": "local"}, 1), ({"user": "olga"}, 0),
                         ({"view": "New"}, 1), ({"view": "Old"}, 0)):
        assert len(server.graphql(find, asked)["data"]["project"]["allViews"]["edges"]) == found, asked
    assert server.graphql("""mutation deleteView($id: ID!, $deleteDrafts: Boolean) {
        deleteView(input: {id: $id, deleteDrafts: $deleteDrafts}) { success pendingDrafts __typename } }""", {"id": view})[
        "data"]["deleteView"] == {"success": True, "pendingDrafts": False, "__typename": "DeleteViewPayload"}
    assert server.graphql('{view(id:"%s"){id}}' % view)["data"]["view"] is None


def test_chart_presets(server):
    got = server.script("""
import json, wandb
print(json.dumps(wandb.Api().create_custom_chart(entity="local", name="mine", display_name="Mine", spec_type="vega2",
                                                 access="private", spec={"mark": "bar"})))
""")
    assert got == "local/mine"


def test_operations_that_are_missing_say_so(server):
    server.command("org", "add", "lacking", "local")
    for asked in ("triggers(input: {}) { success }", "triggers { a: b(x: $x) }", "a: triggers(x: {}) { ...F }"):
        text = 'query Q($x: Y!) { organization(name: "lacking") { id ' + asked + " } }"
        got = server.graphql(text + (" fragment F on X { id }" if "..." in asked else ""), {"x": 1})
        assert got["errors"][0]["message"] == "triggers is not supported by this server"
