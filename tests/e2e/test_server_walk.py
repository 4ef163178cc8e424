# SPDX-License-Identifier: MIT
"""A stranger, a reader and a revoked key at every query path, mutation and route of the server.

Requests come from the schema (schema_walk.py) and from the table of routes. A private project in which
every kind of object exists belongs to `vic`; marked words ("hush…") are planted in all its texts. What the
others get must hold none that they did not send, nothing may tell an object of the project from one that
does not exist, and not a row of the database may change.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sqlite3
import string
import time

import pytest

import schema_walk as walk
from server_support import ROOT, Server, psql
from schema_walk import World, node_id

DATA = b"hushfiledata"
MARK = re.compile(r"hush[a-z]{3,}")

SCRIPT = """
import wandb
entity, mark = %r
wandb.login()
with wandb.init(entity=entity, project=mark + "project", id=mark + "run", name=mark + "shown", notes=mark + "notes",
                group=mark + "group", job_type=mark + "job", tags=[mark + "tags"], config={mark + "config": mark + "value"}) as run:
    for k in range(5):
        run.log({"loss": k, mark + "metric": mark + "logged"})
    run.summary[mark + "summary"] = mark + "total"
    print(mark + "console")
    with open(mark + "file.txt", "w") as f:
        f.write("hushfiledata")
    run.save(mark + "file.txt")
    for k in range(2):
        a = wandb.Artifact(mark + "collection", type=mark + "type", description=mark + "about", metadata={"m": mark + "meta"})
        with a.new_file("f") as f:
            f.write("hushfiledata%%d" %% k)
        a = run.log_artifact(a, aliases=[mark + "alias"], tags=[mark + "vtag"]).wait()
    run.link_artifact(a, mark + "portfolio")
with wandb.init(entity=entity, project=mark + "project", id=mark + "user") as run:
    run.use_artifact(mark + "collection:latest")
if entity == "crew":
    api = wandb.Api()
    api.create_registry(name="hushregistry", visibility="restricted", organization="hushorg")
print(1)
"""


def populate(server, key: str, entity: str, mark: str) -> World:
    """Every kind of object, with `mark` in front of all its names."""
    server.script(SCRIPT % ((entity, mark),), key=key)
    owner = "vic" if mark == "hush" else "mallory"
    w = World({k: mark + k for k in ("project", "run", "queue", "collection", "portfolio", "type", "view")}, {})
    w.names.update(entity=entity, artifact=mark + "collection:latest", file_list=[mark + "file.txt"],
                   org="hushorg" if mark == "hush" else "none", user=owner, email=f"{mark}mail{owner}@example.org")
    words = {"m": mark, "entity": entity, "where": f'entityName: "{entity}", projectName: "{mark}project"'}

    def fill(text, **more):
        return string.Template(text).substitute(words, **more)

    def do(text, **more):
        got = server.graphql("mutation { " + fill(text, **more) + " }", key=key)
        assert "errors" not in got, (text, got)
        return next(iter(got["data"].values()))

    def row(kind, table, where):
        return node_id(kind, server.db(fill(f"SELECT id FROM {table} WHERE {where}")))

    project = row("Project", "projects", "name = '${m}project'")
    words["project"] = base64.b64decode(project).decode().split(":")[1]
    run = row("Run", "runs", "name = '${m}run' AND project_id = $project")
    collection = row("ArtifactCollection", "artifact_collections", "name = '${m}collection'")
    sweep = do('upsertSweep(input: {$where, description: "${m}sweepwords", displayName: "${m}sweepshown", config: '
               '"method: grid\\nname: ${m}sweepname\\nparameters: {a: {values: [1, 2, 3]}}"}) { sweep { id name } }')["sweep"]
    agent = do('createAgent(input: {$where, host: "${m}host", sweep: "$sweep"}) { agent { id } }', sweep=sweep["name"])["agent"]["id"]
    do('agentHeartbeat(input: {id: "$agent", metrics: "{}", runState: "{}"}) { commands }', agent=agent)
    view = do('upsertView(input: {$where, type: "project-view", name: "${m}view", displayName: "${m}viewshown",'
              ' description: "${m}viewwords", spec: "{\\"a\\": \\"${m}viewspec\\"}"}) { view { id } }')["view"]["id"]
    do('createCustomChart(input: {entity: "$entity", name: "${m}chart", displayName: "${m}chartshown", type: "vega2",'
       ' access: "private", spec: "{}"}) { chart { id } }')
    config = do('createDefaultResourceConfig(input: {entityName: "$entity", resource: "${m}resource", config: '
                '"{\\"c\\": \\"${m}resourceconfig\\"}", templateVariables: "{\\"${m}variable\\": {\\"schema\\": {}}}"})'
                ' { defaultResourceConfigID }')["defaultResourceConfigID"]
    queue = do('createRunQueue(input: {$where, queueName: "${m}queue", access: PROJECT, defaultResourceConfigID: "$config"}) { queueID }',
               config=config)["queueID"]
    items = [do('pushToRunQueue(input: {queueID: "$queue", runSpec: "{\\"s\\": \\"${m}runspec\\"}"}) { runQueueItemId }',
                queue=queue)["runQueueItemId"] for _ in range(3)]
    do('popFromRunQueue(input: {$where, queueName: "${m}queue"}) { runQueueItemId }')
    launch = do('createLaunchAgent(input: {$where, runQueues: ["$queue"], hostname: "${m}launchhost"}) { launchAgentId }',
                queue=queue)["launchAgentId"]
    hook = do('createGenericWebhookIntegration(input: {entityName: "$entity", name: "${m}hook", urlEndpoint: "http://${m}hookhost/"})'
              ' { integration { ... on GenericWebhookIntegration { id } } }')["integration"]["id"]
    trigger = do('createFilterTrigger(input: {name: "${m}trigger", description: "${m}triggerwords", enabled: true, scopeType: PROJECT,'
                 ' scopeID: "$at", eventFilter: "{\\"f\\": \\"${m}filter\\"}", triggeringEventType: "RUN_STATE",'
                 ' triggeredActionType: "GENERIC_WEBHOOK", triggeredActionConfig: {genericWebhookActionInput: {integrationID: "$hook",'
                 ' requestPayload: "{\\"p\\": \\"${m}payload\\"}"}}}) { trigger { id } }', at=project, hook=hook)["trigger"]["id"]
    invite = do('createInvite(input: {entityName: "$entity", username: "guest"}) { invite { id } }')["invite"]["id"]
    do('createServiceAccount(input: {entityName: "$entity", description: "${m}robot"}) { user { id } }')
    do('notifyScriptableRunAlert(input: {$where, runName: "${m}run", title: "${m}alert", text: "${m}alerttext"}) { success }')
    do('createArtifactCollectionTagAssignments(input: {$where, artifactCollectionName: "${m}collection", tags: [{tagName: "${m}ctag"}]})'
       ' { tags { name } }')
    do('updateArtifactSequence(input: {artifactSequenceID: "$id", description: "${m}collectionwords"}) { artifactCollection { id } }', id=collection)
    half = do('createArtifact(input: {$where, runName: "${m}run", artifactTypeName: "${m}type", artifactCollectionName: "${m}half",'
              ' digest: "$digest", clientID: "${m}client", sequenceClientID: "${m}sequenceclient"}) { artifact { id } }', digest="1" * 32)["artifact"]["id"]
    manifest = do('createArtifactManifest(input: {artifactID: "$half", name: "m", digest: "$digest", type: FULL}) { artifactManifest { id } }',
                  half=half, digest="1" * 32)["artifactManifest"]["id"]
    parts = do('createArtifactFiles(input: {artifactFiles: [{artifactID: "$half", name: "parts", md5: "lzv1ClsY1IwRv8Nuu5tllw==",'
               ' uploadPartsInput: [{partNumber: 1, hexMD5: "$digest"}, {partNumber: 2, hexMD5: "$digest"}]}], storageLayout: "V2"}) { files { edges { node { storagePath'
               ' uploadMultipartUrls { uploadID } } } } }', half=half, digest="0" * 32)["files"]["edges"][0]["node"]
    w.names["sweep"] = sweep["name"]
    w.ids.update({
        "Project": project, "project_number": words["project"], "Run": run, "Sweep": sweep["id"], "Agent": agent, "View": view,
        "DefaultResourceConfig": config, "RunQueue": queue, "RunQueueItem": items[0], "LaunchAgent": launch, "Integration": hook,
        "Trigger": trigger, "Invite": invite, "ArtifactManifest": manifest, "half": half, "ArtifactCollection": collection,
        "Artifact": node_id("Artifact", server.db(fill("SELECT artifact_id FROM artifact_aliases WHERE alias = '${m}alias'"))),
        "ArtifactPortfolio": row("ArtifactCollection", "artifact_collections", "name = '${m}portfolio'"),
        "File": row("File", "files", "name = '${m}file.txt'"), "User": row("User", "users", f"username = '{owner}'"),
        "Entity": row("Entity", "entities", "name = '$entity'"), "Organization": row("Organization", "organizations", "1 = 1"),
        "ApiKey": do('generateApiKey(input: {description: "spare"}) { apiKey { id } }')["apiKey"]["id"],
        "client": mark + "client", "sequence_client": mark + "sequenceclient",
        "upload": parts["uploadMultipartUrls"]["uploadID"], "storage_path": parts["storagePath"],
        "digest": hashlib.md5(DATA + b"1").hexdigest(),
    })
    return w


def nothing_like(w: World) -> World:
    """Names and ids of the same form that do not exist; the entity and the people do."""
    known = {"entity", "org", "user", "email"}
    names = {k: v if k in known else (["no" + x[2:] for x in v] if isinstance(v, list) else "no" + v[2:]) for k, v in w.names.items()}
    ids = {}
    for k, v in w.ids.items():
        if k in ("User", "Entity", "Organization"):
            ids[k] = v
        elif k in ("client", "sequence_client", "upload", "storage_path"):
            ids[k] = "no" + v[2:]
        elif k in ("digest", "project_number"):
            ids[k] = "999999" + v[6:]
        else:
            ids[k] = node_id({"ArtifactPortfolio": "ArtifactCollection", "half": "Artifact"}.get(k, k), 999999)
    return World(names, ids)


class Walked(Server):
    def db(self, sql):
        if self.database:
            row = psql(self.database[1], sql).splitlines()
            assert row, sql
            return int(row[0]) if row[0].isdigit() else row[0]
        with sqlite3.connect(f"file:{self.dir}/tare.db?mode=ro", uri=True) as db:
            row = db.execute(sql).fetchone()
            assert row, sql
            return row[0]

    def dump(self):
        return walk.dump_postgres(lambda sql: psql(self.database[1], sql)) if self.database else walk.dump(self.dir / "tare.db")

    def ask(self, text, key):
        """(status, body) with the body as it came."""
        status, _, body = self.request("POST", "/graphql", json.dumps({"query": text}).encode(), key)
        return status, body.decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Walked(tmp_path_factory.mktemp("server")) as s:
        s.keys = {who: s.add_user(who, "--email", f"{mark}mail{who}@example.org")
                  for who, mark in (("vic", "hush"), ("mallory", "ml"), ("val", "hush"), ("guest", "gu"))}
        s.command("org", "add", "hushorg", "vic")
        s.command("team", "add", "crew", "vic", "--org", "hushorg")
        s.command("team", "member", "crew", "val", "viewer")
        s.command("team", "add", "mob", "mallory")
        s.vic = populate(s, s.keys["vic"], "crew", "hush")
        s.mallory = populate(s, s.keys["mallory"], "mob", "ml")
        s.nothing = nothing_like(s.vic)
        yield s


def leaks(text, body):
    return set(MARK.findall(body)) - set(MARK.findall(text))


# ---- queries ----------------------------------------------------------------------------------

SHOWN_NOWHERE = {"hushalert", "hushalerttext", "hushchart", "hushchartshown", "hushclient", "hushsequenceclient"}


def all_edges(world):
    return [e for root in walk.roots() for e in walk.edges(root, world)]


def test_the_walk_sees_everything_that_is_there(server):
    """As the owner: each path is one that the server knows, and every planted mark comes up."""
    found = set()
    for what, text in all_edges(server.vic):
        status, body = server.ask(text, server.keys["vic"])
        assert status in (200, 403, 404), (what, text, body)
        assert "Cannot query" not in body and "Unknown" not in body, (what, text, body)
        found |= set(MARK.findall(body))
    planted = set(MARK.findall(json.dumps(server.dump(), default=str)))
    assert planted - found == SHOWN_NOWHERE


def alike(body: str, w: World, nothing: World) -> str:
    """The answer about what does not exist in the words of that about what does."""
    for kind in ("names", "ids"):
        for k, v in getattr(nothing, kind).items():
            if isinstance(v, str) and v != getattr(w, kind)[k]:
                body = body.replace(v, getattr(w, kind)[k])
    return body


def test_a_stranger_reads_nothing(server):
    before = server.dump()
    bad = []
    twins = dict(zip((t for _, t in all_edges(server.vic)), (t for _, t in all_edges(server.nothing))))
    for what, text in all_edges(server.vic):
        status, body = server.ask(text, server.keys["mallory"])
        if leaks(text, body) or "/storage/" in body or status >= 500:
            bad.append((what, text, body))
        twin = server.ask(twins[text], server.keys["mallory"])
        if (status, body) != (twin[0], alike(twin[1], server.vic, server.nothing)):
            bad.append((what, text, body, twin))
        status, body = server.ask(text, None)
        assert status == 401 and '"data"' not in body, (what, text, body)
    assert not bad, bad[:5]
    assert server.dump() == before


# ---- mutations --------------------------------------------------------------------------------

REFERS = {"project_id": "projects", "run_id": "runs", "artifact_id": "artifacts", "base_artifact_id": "artifacts",
          "birth_artifact_id": "artifacts", "entity_id": "entities", "collection_id": "artifact_collections",
          "sequence_id": "artifact_collections", "sweep_id": "sweeps", "queue_id": "run_queues", "agent_id": "agents",
          "type_id": "artifact_types", "organization_id": "organizations", "config_id": "resource_configs",
          "parent_run_id": "runs", "segment_id": "history_segments", "webhook_id": "webhooks"}

BLOB_OF = {"files": "blob", "artifact_files": "blob", "artifact_manifests": "blob", "upload_parts": "storage_path"}


def changed_of_others(before, after, owned):
    """The rows of others that are not what they were, and new rows that point at them."""
    out = []
    for table, rows in before.items():
        for at, row in rows.items():
            if after[table].get(at) != row and (table, at) in owned:
                out.append((table, row, after[table].get(at)))
        for at, row in after[table].items():
            if at in rows and rows[at] == row:
                continue
            for column, to in REFERS.items():
                if row.get(column) and (to, row[column]) in owned and (at not in rows or rows[at].get(column) != row[column]):
                    out.append((table, row, column))
    return out


def rows_of_all(dump):
    return {(table, at) for table, rows in dump.items() for at in rows}


def walk_mutations(server, key, worlds, owned, leaks=leaks):
    """All forms of all mutations: those that changed something in `owned` or gave away a mark."""
    bad = []
    before = server.dump()
    for field in walk.mutations():
        texts = [t for w in worlds for t in walk.forms(field, w)]
        for text in dict.fromkeys(texts):
            status, body = server.ask(text, key)
            assert not re.search("Cannot query|Unknown|is not of type", body), (text, body)
            if leaks(text, body) or status >= 500 or "/storage/" in body and '"errors"' in body:
                bad.append((field["name"], status, text, body))
        after = server.dump()
        wrong = changed_of_others(before, after, owned)
        if wrong:
            bad.append((field["name"], wrong))
        before = after
    return bad


def rows_of(dump, user, entities=()):
    """The user's own rows: those that hang on them and their entities."""
    users = {at for at, r in dump["users"].items() if r["username"] == user}
    own = {("users", at) for at in users}
    own |= {("api_keys", at) for at, r in dump["api_keys"].items() if r["user_id"] in users}
    own |= {("entities", at) for at, r in dump["entities"].items() if r["name"] in (user, *entities)}
    return with_what_hangs_on(dump, own)


def with_what_hangs_on(dump, own):
    more = True
    while more:
        more = False
        for table, rows in dump.items():
            for at, r in rows.items():
                if (table, at) not in own and any((REFERS[c], r[c]) in own for c in REFERS if r.get(c)):
                    own.add((table, at))
                    more = True
    others = {r[c] for table, c in BLOB_OF.items() for at, r in dump[table].items() if (table, at) not in own}
    return own | {("blobs", at) for at, r in dump["blobs"].items() if r["name"] not in others}


def deleted(dump):
    """What is deleted already, and what nothing refers to: the janitor empties it at its own time, whoever asks what meanwhile."""
    gone = {(table, at) for table, rows in dump.items() for at, r in rows.items() if r.get("deleted_at") or r.get("state") == "DELETED"}
    return with_what_hangs_on(dump, gone)


def test_a_stranger_writes_nothing(server):
    """With the owner's names and ids, and with each of them beside the stranger's own: what they are let
    do to their own things may not reach into the other's."""
    before = server.dump()
    owned = rows_of_all(before) - rows_of(before, "mallory", ["mob"])
    worlds = [server.vic, server.mallory.mixed(server.vic), server.vic.mixed(server.mallory), server.mallory]
    bad = walk_mutations(server, server.keys["mallory"], worlds, owned)
    assert not bad, bad[:5]


def test_a_viewer_of_the_team_writes_nothing(server):
    before = server.dump()
    gone = deleted(before) - rows_of(before, "mallory", ["mob"])
    assert not gone, "nobody has deleted anything of others"
    owned = rows_of_all(before) - rows_of(before, "val") - deleted(before)
    bad = walk_mutations(server, server.keys["val"], [server.vic], owned, leaks=lambda *_: ())
    # What they may read they may use and link in projects of their own, and their default entity may be their team.
    own = {"useArtifact": [("artifact_uses", "artifact_id")], "updateUser": [("users", "entity_id")],
           "linkArtifact": [("artifact_memberships", "artifact_id"), ("artifact_aliases", "artifact_id")]}
    bad = [b for b in bad if any((table, column) not in own.get(b[0], ()) for table, _, column in b[1])]
    assert not bad, bad[:5]


def access(server, kind):
    got = server.graphql('mutation { upsertModel(input: {entityName: "crew", name: "hushproject", access: "%s"}) { inserted } }' % kind,
                         key=server.keys["vic"])
    assert "errors" not in got, got


def test_a_member_outside_a_restricted_project(server):
    """What is the team's own (its hooks, configurations, people) is theirs to see; nothing of the project."""
    access(server, "RESTRICTED")
    before = server.dump()
    of_team = {"hushhook", "hushhookhost", "hushmailvic", "hushmailval", "hushrobot", "hushresource", "hushresourceconfig", "hushvariable", "hushproject"}
    bad = []
    for what, text in all_edges(server.vic):
        status, body = server.ask(text, server.keys["guest"])
        if leaks(text, body) - of_team or status >= 500:
            bad.append((what, text, body))
    assert not bad, bad[:5]
    project = ("projects", int(server.vic.ids["project_number"]))
    hanging = {project}
    more = True
    while more:
        found = {(t, at) for t, rows in before.items() for at, r in rows.items()
                 if any((REFERS[c], r[c]) in hanging for c in REFERS if r.get(c))} - hanging
        hanging |= found
        more = bool(found)
    bad = walk_mutations(server, server.keys["guest"], [server.vic], hanging,
                         leaks=lambda text, body: leaks(text, body) - of_team)
    assert not bad, bad[:5]
    access(server, "PRIVATE")


# ---- routes -----------------------------------------------------------------------------------

def routes():
    table = (ROOT / "src/server/routes.c").read_text()
    return re.findall(r'\{"([A-Z]+)", "([^"]+)"(.*?)handle = \w+', table, re.S)


def test_routes(server):
    """Each with another's key and without; the owner's gets what is there."""
    w = server.vic
    parts = {"{entity}": "crew", "{project}": "hushproject", "{run}": "hushrun", "{region}": "default", "{collection}": "hushcollection",
             "{artifact}": w.ids["Artifact"], "{birth}": w.ids["Artifact"], "{digest}": w.ids["digest"], "{name}": "f",
             "{name...}": "hushfile.txt", "{token}": "none"}
    asks = [(method, pattern, re.sub(r"\{[^}]+\}", lambda m: parts[m[0]], pattern), b"{}" if method in ("POST", "PUT") else None, options)
            for method, pattern, options in routes()]
    good = [path for method, _, path, body, _ in asks if server.request(method, path, body, server.keys["vic"])[0] == 200]
    assert len(good) >= 8, "the owner reads what the others do not"
    before = server.dump()
    for method, pattern, path, body, options in asks:
        for key in (server.keys["mallory"], server.keys["mallory"][:-1] + "x", "", " ", "x" * 9000, None):
            if key == "":
                key = "api"
            status, headers, got = server.request(method, path, body, key)
            assert b"hush" not in got.replace(path.encode(), b""), (path, got)
            if ".open = true" in options:
                assert status in (200, 403, 404)
            elif key == server.keys["mallory"]:
                assert status in {"/metrics": (200,), "/graphql": (400,)}.get(pattern, (403, 404)), (method, path, status)
            else:
                assert status == 401, (method, path, key, status)
    assert server.dump() == before


def test_a_revoked_key_is_none(server):
    key = server.add_user("gone")
    assert server.graphql("{ viewer { username } }", key=key)["data"]["viewer"]["username"] == "gone"
    made = server.graphql('mutation { generateApiKey(input: {description: "second"}) { apiKey { id name } } }', key=key)
    server.command("user", "revoke", "gone")
    deadline = time.monotonic() + 20
    while server.ask("{ viewer { username } }", key)[0] != 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for root in walk.roots():
        assert server.ask(next(walk.edges(root, server.vic))[1], key)[0] == 401
    for field in walk.mutations():
        assert server.ask(next(iter(walk.forms(field, server.vic))), key)[0] == 401
    assert made["status"] == 200


# ---- the walk itself: last, for it takes things away ---------------------------------------------

LAST = ["updateArtifactSequence", "updateArtifactPortfolio", "deleteFiles", "deleteTrigger", "deleteView", "deleteFromRunQueue", "deleteRunQueues", "unlinkArtifact", "deleteArtifact",
        "deleteArtifactPortfolio", "deleteArtifactSequence", "deleteInvite", "deleteApiKey", "deleteProjectMembers", "deleteRun",
        "renameProject", "deleteModel"]
# Not by the owner of a team: these are an administrator's. Or need what only a client brings (uploaded bytes).
NOT_HERE = {"createUser", "completeMultipartUploadArtifact"}


def test_the_walk_can_do_what_others_may_not(server):
    """As the owner every mutation succeeds in one form at least, or the walk above would show nothing."""
    failed = {}
    key = server.keys["vic"]
    server.vic.names["fresh"] = "-again"
    server.ask('mutation { upsertBucket(input: {id: "%s", state: "running"}) { inserted } }' % server.vic.ids["Run"], key)
    order = {name: at for at, name in enumerate(["updateRunState", "", *LAST])}  # first: a sweep's run keeps its state
    for field in sorted(walk.mutations(), key=lambda f: order.get(f["name"], 1)):
        answers = []
        for text in walk.forms(field, server.vic):
            status, body = server.ask(text, key)
            answers.append((text, body))
            if status == 200 and '"errors"' not in body:
                break
        else:
            failed[field["name"]] = answers[0]
    assert set(failed) == NOT_HERE, failed
