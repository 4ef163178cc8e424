# SPDX-License-Identifier: MIT
"""Requests generated from the server's schema: every query path, every mutation in every form.

`World` is what one owner has: names and ids by which requests can mean it. A field, argument or input
field for which there is no value here fails the walk, so whatever is added to the schema must be
given one.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import pathlib
import sqlite3

from server_support import ROOT

spec = importlib.util.spec_from_file_location("gqlgen", ROOT / "tools" / "gqlgen.py")
gqlgen = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gqlgen)
TYPES = gqlgen.Parser(pathlib.Path(ROOT / "src/server/schema.graphql").read_text()).definitions()


def node_id(kind: str, number: int) -> str:
    return base64.b64encode(f"{kind}:{number}".encode()).decode()


class World:
    """Names (`entity`, `project`, `run`, …) and ids by kind; `mixed` makes one of two."""

    def __init__(self, names: dict[str, str], ids: dict[str, str]) -> None:
        self.names, self.ids = names, ids

    def mixed(self, other: "World") -> "World":
        return World(self.names, other.ids)


# ---- values ---------------------------------------------------------------------------------
#
# By "Type.field.argument", "Input.field", or just the last word of it: ("n", name), ("i", kind of id),
# or the value itself. SKIP: never sent.

SKIP = object()
JSON_TEXT = '{"from": "walk"}'


def n(name):
    return lambda w: w.names[name]


def i(kind):
    return lambda w: w.ids[kind]


def fresh(name):
    return lambda w: name + w.names.get("fresh", "")


def const(value):
    return lambda w: value


VALUES = {
    # who and where
    "entityName": n("entity"), "entity": n("entity"), "projectName": n("project"), "modelName": n("project"),
    "oldProjectName": n("project"), "newProjectName": const("walked"), "sourceEntityName": n("entity"), "destinationEntityName": n("entity"),
    "sourceProjectName": n("project"), "destinationProjectName": n("project"), "runName": n("run"), "sweepName": n("sweep"),
    "sweep": n("sweep"), "queueName": n("queue"), "agentName": i("Agent"), "aliasName": const("latest"),
    "artifactCollectionName": n("collection"), "artifactCollectionNames": lambda w: [w.names["collection"]],
    "artifactPortfolioName": n("portfolio"), "artifactTypeName": n("type"), "artifactEntityName": n("entity"),
    "artifactProjectName": n("project"), "destinationArtifactTypeName": n("type"), "userName": n("user"),
    "teamName": fresh("walkers"), "teamAdminUserName": n("user"), "username": n("user"),
    "Query.entity.name": n("entity"), "Query.organization.name": n("org"), "Query.project.name": n("project"),
    "Query.model.name": n("project"), "Entity.project.name": n("project"), "Project.run.name": n("run"),
    "Project.bucket.name": n("run"), "Project.runQueue.name": n("queue"), "Project.artifact.name": n("artifact"),
    "Project.artifactCollectionMembership.name": n("artifact"), "Project.artifactCollection.name": n("collection"),
    "Project.artifactType.name": n("type"), "ArtifactType.artifactCollection.name": n("collection"),
    "UpsertBucketInput.name": n("run"), "UpsertModelInput.name": n("project"), "DeleteModelInput.name": n("project"),
    "UpdateUserInput.defaultEntity": n("entity"), "UpsertViewInput.name": n("view"), "viewName": n("view"),
    "viewType": const("project-view"), "UpsertViewInput.type": const("project-view"),
    "TriggeredActionConfig": const({"noOpActionInput": {"noOp": True}}),
    # ids
    "scopeID": i("Project"), "triggerID": i("Trigger"), "projectId": i("Project"), "userId": i("User"),
    "userIds": lambda w: [w.ids["User"]], "teamId": i("Entity"), "teamIds": lambda w: [w.ids["Entity"]],
    "organizationId": i("Organization"), "artifactID": i("Artifact"), "baseArtifactID": i("Artifact"),
    "birthArtifactID": i("Artifact"), "artifactManifestID": i("ArtifactManifest"), "queueID": i("RunQueue"),
    "queueIDs": lambda w: [w.ids["RunQueue"]], "runQueues": lambda w: [w.ids["RunQueue"]], "launchAgentId": i("LaunchAgent"),
    "runQueueItemId": i("RunQueueItem"), "defaultResourceConfigID": i("DefaultResourceConfig"),
    "artifactPortfolioID": i("ArtifactPortfolio"), "artifactSequenceID": i("ArtifactCollection"),
    "clientID": i("client"), "sequenceClientID": i("sequence_client"), "uploadID": i("upload"), "distributedID": const("walk"),
    "Query.artifact.id": i("Artifact"), "Query.artifactCollection.id": i("ArtifactCollection"), "Query.view.id": i("View"),
    "Query.launchAgent.id": i("LaunchAgent"), "Entity.defaultResourceConfig.id": i("DefaultResourceConfig"),
    "RunQueue.runQueueItem.id": i("RunQueueItem"), "DeleteApiKeyInput.id": i("ApiKey"), "DeleteInviteInput.id": i("Invite"),
    "UpsertViewInput.id": i("View"), "DeleteViewInput.id": i("View"), "DeleteRunInput.id": i("Run"),
    "UpdateRunStateInput.id": i("Run"), "StopRunInput.id": i("Run"), "UpsertBucketInput.id": i("Run"),
    "UpsertModelInput.id": i("Project"), "DeleteModelInput.id": i("Project"), "UpsertSweepInput.id": i("Sweep"),
    "AgentHeartbeatInput.id": i("Agent"), "EnqueueSweepRunInput.id": i("Sweep"), "UpdateFilterTriggerInput.id": i("Trigger"),
    "DeleteFilesInput.files": lambda w: [w.ids["File"]], "DeleteFilesInput.projectId": lambda w: int(w.ids["project_number"]),
    # lists and pages
    "first": const(100), "last": const(100), "after": SKIP, "before": SKIP, "order": SKIP, "includeAll": const(True),
    "query": n("user"), "filters": const("{}"), "projectFilters": const("{}"), "collectionFilters": const("{}"),
    "priorRunsFilters": const("{}"), "collectionTypes": const(["SEQUENCE", "PORTFOLIO"]), "pattern": const("%"),
    "names": SKIP, "keys": SKIP, "entries": lambda w: [{"name": "f", "digest": w.ids["digest"], "birthArtifactID": w.ids["Artifact"]}],
    "storageLayout": const("V2"), "manifestVersion": SKIP, "storageRegion": const("default"), "cloudRegionID": const("default"),
    # what is read of a run
    "samples": const(10), "specs": const(['{"keys": ["loss"], "minStep": 0, "maxStep": 9, "samples": 9}']), "minStep": const(0),
    "maxStep": const(10), "key": const("loss"), "pixels": const(10), "events": const(False), "liveKeys": const(["loss"]),
    "useImprovedPagination": const(True), "desc": SKIP, "missingOk": const(True), "upload": const(True), "rampIDType": const("EntityName"),
    # what is written
    "clientMutationId": const("walk"), "description": const("walked"), "displayName": const("walked"), "notes": const("walked"),
    "email": const("walk@example.org"), "Query.user.email": n("email"), "photoUrl": const("http://walk"), "flags": const("{}"),
    "admin": const(True), "previewUrl": const("http://walk"), "createdUsing": const("walk"), "deleteDrafts": const(True),
    "type": const("vega2"), "access": const("PRIVATE"), "spec": const(JSON_TEXT), "userProjectRole": const("admin"),
    "teamProjectRole": const("admin"), "host": const("walk"), "hostname": const("walk"), "config": const(JSON_TEXT), "commit": const("walk"),
    "summaryMetrics": const(JSON_TEXT), "debug": const(True), "jobProgram": const("walk"), "jobRepo": const("walk"),
    "jobType": const("walk"), "groupName": const("walk"), "tags": const(["walk"]), "metricName": const("_step"),
    "metricValue": const(0), "deleteArtifacts": const(True), "title": const("walk"), "text": const("walk"), "waitDuration": const(1),
    "severity": const("WARN"), "views": const(JSON_TEXT), "isBenchmark": const(True), "allowAllArtifactTypesInRegistry": const(True),
    "artifactTypes": const(["walk"]), "controller": const(JSON_TEXT), "launchScheduler": const(JSON_TEXT), "scheduler": const(JSON_TEXT),
    "templateVariableValues": const(JSON_TEXT), "metrics": const("{}"), "runState": const("{}"), "digest": i("digest"), "size": const(1),
    "digestAlgorithm": const("MANIFEST_MD5"), "metadata": const(JSON_TEXT), "labels": const(JSON_TEXT), "ttlDurationSeconds": const(1000),
    "historyStep": const(1), "enableDigestDeduplication": const(True), "md5": i("digest"), "mimetype": const("text/plain"),
    "partNumber": const(1), "hexMD5": const("0" * 32), "storagePath": i("storage_path"), "usedAs": const("walk"),
    "alias": const("walked"), "tagName": const("walk"), "tagCategoryName": const("walk"), "deleteAliases": const(True),
    "resource": const("walk"), "resourceType": const("walk"), "resourceConfig": const(JSON_TEXT), "templateVariables": const("{}"),
    "externalLinks": const("{}"), "runSpec": const(JSON_TEXT), "priority": const(1), "message": const("walk"), "stage": const("walk"),
    "filePaths": const(["walk"]), "agentConfig": const("{}"), "version": const("1"), "agentStatus": const("RUNNING"),
    "urlEndpoint": const("http://walk"), "secretRef": const("walk"), "accessTokenRef": const("walk"), "enabled": const(True),
    "eventFilter": const("{}"), "triggeringEventType": const("RUN_STATE"), "triggeredActionType": const("NO_OP"),
    "triggeredActionConfig": const({"noOpActionInput": {"noOp": True}}),
    "scopeType": const("PROJECT"), "prioritizationMode": const("V0"), "completeMultipartAction": const("Complete"),
    "CreateRunQueueInput.access": const("PROJECT"), "UpsertModelInput.access": const("USER_READ"),
    "ArtifactFileSpecInput.artifactID": i("half"), "CreateArtifactManifestInput.artifactID": i("half"),
    "CollectionTagsInput.tags": const([{"tagName": "walk"}]), "CreateArtifactInput.tags": const([{"tagName": "walk"}]),
    "CreateRunQueueInput.queueName": fresh("walked"), "UpdateUserInput.name": const("walk"), "CreateCustomChartInput.name": const("walk"), "CreateRunFilesInput.files": n("file_list"),
    "MarkRunFilesUploadedInput.files": n("file_list"), "CreateArtifactManifestInput.name": const("wandb_manifest.json"),
    "CreateArtifactManifestInput.type": const("FULL"), "ArtifactFileSpecInput.name": const("f"), "ArtifactManifestEntryInput.name": const("f"),
    "UpdateArtifactSequenceInput.name": const("walked"), "UpdateArtifactPortfolioInput.name": const("walked"),
    "UpsertBucketInput.state": const("finished"), "UpdateRunStateInput.state": const("failed"), "UpsertSweepInput.state": const("PAUSED"),
    "UpsertSweepInput.config": const("method: grid\nparameters: {a: {values: [1]}}"),
    "CreateGenericWebhookIntegrationInput.name": fresh("walk"), "CreateFilterTriggerInput.name": fresh("walk"),
    "UpdateFilterTriggerInput.name": const("walk"), "Project.allViews.viewType": const("project-view"),
}


class NoValue(AssertionError):
    pass


def value_of(owner: str, name: str, ref: dict, world: World):
    """What `name` of the input or field `owner` is sent; SKIP: nothing."""
    for key in (f"{owner}.{name}", name):
        if key in VALUES:
            return VALUES[key] if VALUES[key] is SKIP else VALUES[key](world)
    inner = TYPES.get(ref["type"])
    if inner and inner["kind"] == "input":
        made = fill(ref["type"], world, None)
        return [made] if ref["list"] else made
    raise NoValue(f"schema_walk.VALUES has nothing for {owner}.{name}: say what a request would send")


def fill(input_type: str, world: World, chosen: set[str] | None) -> dict:
    """An input object: the required fields and those `chosen`; None: all."""
    out = {}
    for name, ref, _ in TYPES[input_type]["inputs"]:
        value = value_of(input_type, name, ref, world)
        if value is not SKIP and (ref["nonnull"] or chosen is None or name in chosen):
            out[name] = value
    return out


def literal(value, ref: dict | None) -> str:
    """A value in GraphQL's notation; enum values are bare."""
    kind = TYPES.get(ref["type"], {}).get("kind") if ref else None
    if isinstance(value, list):
        return "[" + ", ".join(literal(v, ref) for v in value) + "]"
    if isinstance(value, dict):
        of = {k: r for k, r, _ in TYPES[ref["type"]]["inputs"]} if kind == "input" else {}
        return "{" + ", ".join(f"{k}: {literal(v, of.get(k))}" for k, v in value.items()) + "}"
    return value if kind == "enum" else json.dumps(value)


def arguments(owner: str, field: dict, world: World) -> str:
    given = [(name, ref, value_of(f"{owner}.{field['name']}", name, ref, world)) for name, ref, _ in field["args"]]
    text = ", ".join(f"{name}: {literal(value, ref)}" for name, ref, value in given if value is not SKIP)
    return f"({text})" if text else ""


# ---- queries --------------------------------------------------------------------------------

def is_leaf(type_name: str) -> bool:
    return TYPES.get(type_name, {}).get("kind", "scalar") in ("scalar", "enum")


def members(type_name: str) -> list[str]:
    """The object types that a value of this type may have."""
    t = TYPES[type_name]
    if t["kind"] == "union":
        return t["of"]
    if t["kind"] == "interface":
        return [k for k, v in TYPES.items() if type_name in v["of"] and v["kind"] == "type"]
    return [type_name]


def leaves(type_name: str, world: World) -> list[tuple[str, str]]:
    """(Type.field, selection) of every field that is a value."""
    return [(f"{type_name}.{f['name']}", f["name"] + arguments(type_name, f, world)) for f in TYPES[type_name]["fields"]
            if is_leaf(f["ref"]["type"]) and f["ref"]["type"] != "Unsupported"]


def paths(root: str, world: World) -> list[tuple[str, str, str]]:
    """(opening, type, closing) of the shortest way from Query's field `root` to each object type that can
    be reached from it."""
    field = next(f for f in TYPES["Query"]["fields"] if f["name"] == root)
    start = "{ " + root + arguments("Query", field, world) + " { "
    queue = [(start, " } }", m) for m in members(field["ref"]["type"])]
    if len(queue) > 1:
        queue = [(f"{start}... on {m} {{ ", " } } }", m) for m in members(field["ref"]["type"])]
    seen, found = set(m for _, _, m in queue), []
    while queue:
        opening, closing, t = queue.pop(0)
        found.append((opening, t, closing))
        for f in TYPES[t]["fields"]:
            if is_leaf(f["ref"]["type"]):
                continue
            of = members(f["ref"]["type"])
            for m in of:
                if m not in seen:
                    seen.add(m)
                    on = f"... on {m} {{ " if len(of) > 1 else ""
                    queue.append((f"{opening}{f['name']}{arguments(t, f, world)} {{ {on}",
                                  f"{' }' if on else ''} }}{closing}", m))
    return found


def edges(root: str, world: World):
    """(what, query) for every field of every type that can be reached from the root: values one by one,
    objects with their values."""
    for opening, t, closing in paths(root, world):
        for name, selection in leaves(t, world):
            yield name, f"{opening}{selection}{closing}"
        for f in TYPES[t]["fields"]:
            if not is_leaf(f["ref"]["type"]):
                for m in members(f["ref"]["type"]):
                    inner = " ".join(s for _, s in leaves(m, world) if not s.startswith("clientMutationId"))
                    if inner:
                        yield (f"{t}.{f['name']}", f"{opening}{f['name']}{arguments(t, f, world)} {{ ... on {m} {{ {inner} }} }}{closing}"
                               if len(members(f["ref"]["type"])) > 1 else
                               f"{opening}{f['name']}{arguments(t, f, world)} {{ {inner} }}{closing}")


def roots() -> list[str]:
    return [f["name"] for f in TYPES["Query"]["fields"] if f["ref"]["type"] != "Unsupported"]


# ---- mutations ------------------------------------------------------------------------------

def selection(type_name: str, world: World, depth: int) -> str:
    parts = [s for _, s in leaves(type_name, world)]
    for f in TYPES[type_name]["fields"]:
        if depth and not is_leaf(f["ref"]["type"]):
            of = members(f["ref"]["type"])
            for m in of:
                inner = selection(m, world, depth - 1)
                if inner:
                    # unions' members may name fields of different types alike: one at a time
                    parts.append(f"{f['name']}{arguments(type_name, f, world)} {{ {f'... on {m} {{ {inner} }}' if len(of) > 1 else inner} }}")
                    break
    return " ".join(parts)


def mutations() -> list[dict]:
    return [f for f in TYPES["Mutation"]["fields"] if f["ref"]["type"] != "Unsupported"]


def forms(field: dict, world: World):
    """The mutation's requests: with all input fields, with the required ones, with each of the others alone,
    without each of them."""
    (_, ref, _), = field["args"]
    optional = [name for name, r, _ in TYPES[ref["type"]]["inputs"]
                if not r["nonnull"] and value_of(ref["type"], name, r, world) is not SKIP]
    choices = [set(optional), set()] + [{o} for o in optional] + [set(optional) - {o} for o in optional]
    places = {"entityName", "projectName", "modelName", "name", "runName"} & set(optional)
    choices += [set(places) | {o} for o in optional]
    seen = []
    for chosen in choices:
        if chosen in seen:
            continue
        seen.append(chosen)
        yield mutation_text(field, fill(ref["type"], world, chosen), ref, world)


def mutation_text(field: dict, given: dict, ref: dict, world: World) -> str:
    return (f"mutation {{ {field['name']}(input: {literal(given, dict(type=ref['type']))}) "
            f"{{ {selection(field['ref']['type'], world, 2)} }} }}")


# ---- the database -----------------------------------------------------------------------------

# How far the tail of a run's history is merged, which the server does by itself, is no change of the run.
TAIL = {"used_at", "tail_segments", "tail_lines"}
LINES = ("SELECT run_id || '/' || stream AS _at, run_id, MIN(first_line), SUM(n_lines), MAX(max_step) "
         "FROM history_segments GROUP BY run_id, stream")

# What nobody refers to may go at any time.
BLOBS = ("SELECT name AS _at, * FROM blobs WHERE name IN (SELECT blob FROM files UNION SELECT blob FROM artifact_files UNION "
         "SELECT blob FROM artifact_manifests UNION SELECT storage_path FROM upload_parts)")


PARTS = {"history_segments": LINES, "blobs": BLOBS}


def dump(path) -> dict[str, dict]:
    """{table: {key of the row: row}}, without what every request may touch."""
    out = {}
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        db.row_factory = sqlite3.Row
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall():
            rows = db.execute(PARTS.get(table, f"SELECT rowid AS _at, * FROM {table}")).fetchall()
            out[table] = {r["_at"]: {k: r[k] for k in r.keys() if k not in TAIL} for r in rows}
    return out


def dump_postgres(ask) -> dict[str, dict]:
    """The same by SQL alone. A row without an id is known by its primary key."""
    keys = dict(line.split("|") for line in ask(
        "SELECT t.relname, string_agg(a.attname, ',') FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace AND "
        "n.nspname = 'public' LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indisprimary LEFT JOIN pg_attribute a ON "
        "a.attrelid = t.oid AND a.attnum = ANY(i.indkey) WHERE t.relkind = 'r' GROUP BY 1 ORDER BY 1").splitlines())
    out: dict[str, dict] = {table: {} for table in keys}
    for line in ask(" UNION ALL ".join(f"SELECT '{t}', row_to_json(r)::text FROM ({PARTS.get(t, f'SELECT * FROM {t}')}) r"
                                       for t in keys)).splitlines():
        table, row = line.split("|", 1)
        row = json.loads(row)
        at = row.get("_at", row.get("id", ",".join(str(row.get(k)) for k in keys[table].split(","))))
        out[table][at] = {k: v for k, v in row.items() if k not in TAIL}
    return out
