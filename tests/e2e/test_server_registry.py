# SPDX-License-Identifier: MIT
"""Registries of an organization, by wandb.Api: made, found, searched, with members and roles."""

from __future__ import annotations

import pytest

from server_support import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        s.command("org", "add", "acme", "local")
        s.command("team", "add", "crew", "local", "--org", "acme")
        yield s


def test_life_of_a_registry(server):
    got = server.script("""
import json, wandb
api = wandb.Api()
made = api.create_registry(name="models", visibility="organization", organization="acme", description="d",
                           artifact_types=["model"])
made.description = "changed"
made.artifact_types.append("dataset")
made.save()
other = api.create_registry(name="other", visibility="restricted", organization="acme")
found = api.registry("models", "acme")
other.name = "renamed"
other.save()
names = sorted(r.name for r in api.registries(organization="acme"))
one = [r.name for r in api.registries(organization="acme", filter={"name": {"$regex": "mod"}})]
api.registry("renamed", "acme").delete()
left = [r.name for r in api.registries(organization="acme")]
print(json.dumps([found.description, sorted(found.artifact_types), found.allow_all_artifact_types, found.visibility,
                  names, one, left]))
""")
    assert got == ["changed", ["dataset", "model"], False, "organization", ["models", "renamed"], ["models"], ["models"]]


def test_a_link_makes_no_registry_but_the_two_of_every_organization(server):
    got = server.script("""
import json, wandb
with wandb.init(project="p", entity="crew") as run:
    a = wandb.Artifact("typo", "model")
    run.log_artifact(a).wait()
    try:
        a.link("wandb-registry-serach/best")
        said = "linked"
    except Exception as e:
        said = str(e)
    made = a.link("wandb-registry-model/best").qualified_name
api = wandb.Api()
registries = [r.name for r in api.registries(organization="acme")]
admins = [m.user.username for m in api.registry("model", "acme").user_members()]
api.registry("model", "acme").delete()
print(json.dumps([said, made, "serach" in registries, admins]))
""")
    assert "there is no registry of that name" in got[0]
    assert got[1:] == ["acme_org/wandb-registry-model/best:v0", False, ["local"]]


def test_linking_and_searching(server):
    got = server.script("""
import json, wandb
api = wandb.Api()
api.create_registry(name="search", visibility="organization", organization="acme")
with wandb.init(project="p", entity="crew") as run:
    for i in range(3):
        a = wandb.Artifact("weights", "model", metadata={"i": i})
        with a.new_file("x.txt") as f:
            f.write(str(i))
        run.log_artifact(a).wait()
        a.link("wandb-registry-search/best", aliases=["prod"] if i == 1 else [])
reg = api.registries(organization="acme", filter={"name": "search"})
collections = [(c.name, c.type) for c in reg.collections()]
versions = sorted(v.version for v in reg.versions())
prod = [v.version for v in reg.collections(filter={"name": "best"}).versions(filter={"alias": "prod"})]
none = list(reg.collections(filter={"name": "nothing"}))
print(json.dumps([collections, versions, prod, len(none)]))
""")
    assert got == [[["best", "model"]], ["v0", "v1", "v2"], ["v1"], 0]


def test_members_and_roles(server):
    server.add_user("ann")
    server.command("org", "member", "acme", "ann", "viewer")
    key = server.add_user("out")
    got = server.script("""
import json, wandb
api = wandb.Api()
reg = api.create_registry(name="people", visibility="restricted", organization="acme")
ann = api.user("ann")
reg.add_members(ann)
reg.add_members(api.team("crew"))
reg.update_member(ann, role="viewer")
users = sorted((m.user.username, m.role) for m in reg.user_members())
teams = [(m.team.name, m.role) for m in reg.team_members()]
reg.remove_members(ann)
print(json.dumps([users, teams, [m.user.username for m in reg.user_members()], reg.id]))
""")
    users, teams, left, project = got
    assert users == [["ann", "viewer"], ["local", "admin"]] and teams == [["crew", "member"]] and "ann" not in left
    text = 'mutation{createProjectMembers(input:{projectId:"%s",userIds:[]}){success}}' % project
    assert server.graphql(text, key=key)["status"] in (403, 404)
    assert server.graphql('mutation{renameProject(input:{entityName:"acme_org",oldProjectName:"wandb-registry-people",'
                          'newProjectName:"x"}){inserted}}', key=key)["status"] in (403, 404)


ALIASES = """mutation($a:ID!,$l:[ArtifactAliasInput!]!){%sAliases(input:{artifactID:$a,aliases:$l}){success}}"""


def test_a_member_of_a_registry_names_versions_whose_source_is_not_theirs(server):
    artifact = server.script("""
import json, wandb
api = wandb.Api()
reg = api.create_registry(name="shared", visibility="restricted", organization="acme")
with wandb.init(entity="crew", project="secret", mode="online") as run:
    a = wandb.Artifact("mine", "model")
    run.log_artifact(a).wait()
    a.link("wandb-registry-shared/best")
reg.add_members(api.create_user("joe@example.org"))
print(json.dumps(a.id))
""")
    joe = server.add_user("joan")
    out = server.add_user("jack")
    project = server.graphql('{project(entityName:"acme_org",name:"wandb-registry-shared"){id}}')["data"]["project"]["id"]
    joan = server.graphql("{viewer{id}}", key=joe)["data"]["viewer"]["id"]
    server.graphql('mutation($p:ID!,$u:[ID!]!){createProjectMembers(input:{projectId:$p,userIds:$u}){success}}',
                   {"p": project, "u": [joan]})
    there = {"entityName": "acme_org", "projectName": "wandb-registry-shared", "artifactCollectionName": "best",
             "alias": "prod"}
    source = {"artifactCollectionName": "mine", "alias": "prod"}

    def change(verb, alias, key):
        return server.graphql(ALIASES % verb, {"a": artifact, "l": [alias] if alias else []}, key=key)

    assert change("add", there, joe)["data"]["addAliases"]["success"] is True
    for alias, key in ((there, out), (source, joe), ({**source, "entityName": "crew", "projectName": "secret"}, joe),
                       (None, joe)):
        got = change("add", alias, key)
        assert got["status"] in (403, 404) and "errors" in got, alias
    text = """{project(entityName:"acme_org",name:"wandb-registry-shared"){artifactCollection(name:"best"){aliases{edges{
    node{alias}}}}}}"""

    def aliases():
        edges = server.graphql(text)["data"]["project"]["artifactCollection"]["aliases"]["edges"]
        return sorted(e["node"]["alias"] for e in edges)

    assert aliases() == ["latest", "prod"]
    assert change("delete", there, out)["status"] in (403, 404) and aliases() == ["latest", "prod"]
    assert change("delete", there, joe)["data"]["deleteAliases"]["success"] is True
    assert aliases() == ["latest"]


def test_update_user(server):
    text = 'mutation{updateUser(input:{defaultEntity:"%s"}){user{entity}}}'
    assert server.graphql(text % "crew")["data"]["updateUser"]["user"]["entity"] == "crew"
    assert server.graphql(text % "local")["data"]["updateUser"]["user"]["entity"] == "local"
    assert server.graphql(text % "local", key=server.add_user("bob"))["status"] == 403
