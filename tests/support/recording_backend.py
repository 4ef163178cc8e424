# SPDX-License-Identifier: MIT
"""A backend of W&B that writes down every request, resumes runs, and misbehaves when told to.

    with RecordingBackend() as backend:
        backend.fault("file_stream", "500", times=2)
        ...
        backend.requests  # Request objects, in the order they were read

Scripts in other processes tell it over HTTP (POST /__control; see tests/parity/site). Everything
else is the FakeBackend: only what runs need is answered, no storage, no permissions.
"""

import base64
import contextlib
import dataclasses
import hashlib
import itertools
import json
import socket
import struct
import threading
import time

from fake_backend import OPERATION, FILE_STREAM, FakeBackend, Handler, Server

HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
CLOUD = b"join_token: a secret\ncluster_name: c-1\n\norg_id: o:2\nregion: US-EAST-04\nfde_raid: true\n"
SLOW_S = 1.0  # a slow answer takes so long
REASONS = {"401": "user is not logged in", "403": "permission denied", "404": "not found",
           "409": "conflict", "429": "rate limit exceeded"}


@dataclasses.dataclass
class Request:
    script: str  # what was running: see `mark`
    kind: str  # "graphql", "file_stream", "put", or "METHOD path"
    name: str  # the operation, the run, the file
    headers: list  # pairs
    body: bytes  # without its compression
    fault: str  # how it was answered, "" for well
    applied: bool  # what it asked for was done
    at: float


@dataclasses.dataclass
class Fault:
    match: str  # an operation, "file_stream", "put", "*"
    what: str  # a status, "html", "reset", "hole", "truncated", "slow", "lost"
    times: int  # how often; negative: always
    skip: int  # after so many that match
    seen: int = 0


def text_id(text):
    return base64.b64encode(text.encode()).decode()


class RecordingBackend(FakeBackend):
    features = ()

    def __init__(self):
        self.requests = []
        self.faults = []
        self.script = ""
        self.known = {}  # run id -> its last UpsertBucket answer
        self.alerts = []
        self.artifacts = {}
        self.stopped = set()
        self.clients = set()
        self.ids = itertools.count(1)
        self.holes = threading.Event()  # set: connections in a black hole are let go
        super().__init__()
        self.server.RequestHandlerClass = type("H", (RecordingHandler,), {"backend": self})
        self.port = self.server.server_port

    def __exit__(self, *failure):
        self.holes.set()
        super().__exit__(*failure)

    # ---- told by tests and scripts

    def mark(self, script):
        self.script = script

    def fault(self, match, what, times=1, skip=0):
        self.faults.append(Fault(match, what, times, skip))

    def clear_faults(self):
        self.faults.clear()

    def down(self):
        """Stop listening and cut every connection."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        for client in list(self.clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def up(self):
        handler = self.server.RequestHandlerClass
        self.server = Server(("127.0.0.1", self.port), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def pause(self, seconds):
        time.sleep(0.1)  # whoever asked for it gets an answer
        self.down()
        time.sleep(seconds)
        self.up()

    def control(self, order):
        if "mark" in order:
            self.mark(order["mark"])
            self.faults.clear()
            self.features = ()
        if "fault" in order:
            self.fault(*order["fault"])
        if "features" in order:
            self.features = order["features"]
        if "clear" in order:
            self.faults.clear()
        if "stop" in order:
            self.stopped.add(order["stop"])
        if "pause" in order:
            threading.Thread(target=self.pause, args=(order["pause"],)).start()
        return {"requests": [(r.kind, r.name, r.fault) for r in self.requests
                             if r.script == self.script],
                "lines": {name: {file: len(kept) for file, kept in run.lines.items()}
                          for name, run in self.runs.items()}}

    def fault_for(self, kind, name):
        for fault in self.faults:
            if fault.match not in ("*", kind, name):
                continue
            fault.seen += 1
            if fault.seen > fault.skip and (fault.times < 0 or
                                            fault.seen <= fault.skip + fault.times):
                return fault.what
        return ""

    # ---- GraphQL

    def on_ServerFeaturesQuery(self, variables):
        return {"serverInfo": {"features": [{"name": name, "isEnabled": True}
                                            for name in self.features]}}

    def on_OrganizationCoreWeaveOrganizationID(self, variables):
        organization = {"coreWeaveOrganizationId": "cw-7"} if variables["entityName"] == "cloud" else None
        return {"entity": {"organization": organization}}

    def bucket(self, name):
        """A run as RunResumeStatus and UpsertBucket show it."""
        lines = {file: len(kept) for file, kept in self.run(name).lines.items()}
        return {"historyLineCount": lines.get("wandb-history.jsonl", 0),
                "eventsLineCount": lines.get("wandb-events.jsonl", 0),
                "logLineCount": lines.get("output.log", 0)}

    def on_RunResumeStatus(self, variables):
        name = variables["name"]
        answer = super().on_RunResumeStatus(variables)
        if name not in self.known:
            return answer
        run = self.runs[name]
        config = json.loads(self.known[name].get("config") or "{}")

        def tail(file):
            kept = run.lines.get(file, {})
            return json.dumps([kept[max(kept)]] if kept else [])

        answer["model"]["bucket"] = {
            **self.known[name], **self.bucket(name), "config": json.dumps(config),
            "summaryMetrics": run.lines.get("wandb-summary.json", {0: "{}"})[0],
            "historyTail": tail("wandb-history.jsonl"), "eventsTail": tail("wandb-events.jsonl"),
            "wandbConfig": json.dumps({"t": config.get("_wandb", {}).get("value", {}).get("t")}),
        }
        return answer

    def on_UpsertBucket(self, variables):
        name = variables.get("name") or "unnamed"
        new = name not in self.known
        self.run(name).upserts.append(variables)
        kept = self.known.setdefault(name, {"id": text_id("Run:" + name), "name": name, "tags": [],
                                            "description": None, "sweepName": None, "notes": None})
        for from_, to in (("displayName", "displayName"), ("config", "config"), ("tags", "tags"),
                          ("notes", "notes"), ("groupName", "group"), ("sweep", "sweepName")):
            if variables.get(from_) is not None:
                kept[to] = variables[from_]
        kept.setdefault("displayName", name)
        kept.setdefault("project", {
            "id": text_id("Project:1"), "name": variables.get("project") or "uncategorized",
            "entity": {"id": text_id("Entity:1"), "name": variables.get("entity") or "tester"}})
        return {"upsertBucket": {"inserted": new, "bucket": {
            **kept, "config": kept.get("config", "{}"), **self.bucket(name)}}}

    def on_RewindRun(self, variables):
        name = variables["runName"]
        if name not in self.known:
            return {"rewindRun": {"rewoundRun": None}}
        history = self.run(name).lines.get("wandb-history.jsonl", {})
        keep = int(variables["metricValue"]) + 1
        for number in [n for n in history if n >= keep]:
            del history[number]
        return {"rewindRun": {"rewoundRun": {
            **self.known[name], "historyLineCount": self.bucket(name)["historyLineCount"]}}}

    def on_NotifyScriptableRunAlert(self, variables):
        self.alerts.append(variables)
        return {"notifyScriptableRunAlert": {"success": True}}

    # ---- artifacts: enough for a service to upload one

    def on_ArtifactType(self, variables):
        return {"project": {"artifact": None}}

    def on_UpdateArtifact(self, variables):
        return {"updateArtifact": {"artifact": {"id": variables["artifactID"]}}}

    def on_CreateArtifact(self, variables):
        found = variables.get("input") or variables
        name = found["artifactCollectionName"]
        number = next(self.ids)
        self.artifacts[number] = dict(found)
        return {"createArtifact": {"artifact": {
            "id": text_id(f"Artifact:{number}"), "state": "PENDING",
            "artifactSequence": {"id": text_id(f"Sequence:{name}"), "latestArtifact": None}}}}

    def on_CreateArtifactManifest(self, variables):
        number = next(self.ids)
        return {"createArtifactManifest": {"artifactManifest": {
            "id": text_id(f"Manifest:{number}"), "file": {
                "id": text_id(f"File:{number}"), "name": "wandb_manifest.json",
                "displayName": "wandb_manifest.json", "uploadHeaders": [],
                "uploadUrl": f"{self.url}/upload/artifacts/manifest-{number}"}}}}

    on_UpdateArtifactManifest = on_CreateArtifactManifest

    def on_CreateArtifactFiles(self, variables):
        specs = (variables.get("input") or variables)["artifactFiles"]
        return {"createArtifactFiles": {"files": {"edges": [{"node": {
            "id": text_id(f"File:{next(self.ids)}"), "name": spec["name"],
            "displayName": spec["name"], "storagePath": f"store/{spec['md5']}",
            "uploadUrl": f"{self.url}/upload/artifacts/{spec['name']}",
            "uploadHeaders": [f"Content-MD5:{spec['md5']}"], "uploadMultipartUrls": None,
            "artifact": {"id": spec["artifactID"]}}} for spec in specs]}}}

    def on_CommitArtifact(self, variables):
        return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": "d"}}}

    def on_UseArtifact(self, variables):
        return {"useArtifact": {"artifact": {"id": variables.get("artifactID"), "digest": "d",
                                             "description": None, "state": "COMMITTED",
                                             "createdAt": "", "metadata": None}}}

    # ---- and to download one: its id says which files it has

    def on_ArtifactManifest(self, variables):
        name = variables["artifact_id"]
        return {"artifact": None if name == "none" else {"currentManifest": {"file": {
            "directUrl": f"{self.url}/down/{name}/manifest"}}}}

    def on_ArtifactFileURLsByManifestEntries(self, variables):
        return {"artifact": {"filesByManifestEntries": {
            "pageInfo": {"hasNextPage": False, "endCursor": None}, "edges": [
                {"node": {"name": e["name"], "directUrl": f"{self.url}/down/{variables['id']}/file/{e['name']}"}}
                for e in variables["entries"]]}}}

    @staticmethod
    def download(path):
        """Status, object: what is served is its JSON."""
        _, _, artifact, what, *name = path.split("/")
        if what == "file":
            return (404, {"error": "no such file"}) if artifact == "missing" else (200, "content of " + "/".join(name))
        content = json.dumps("content of deep/a.txt").encode()
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        return 200, {"version": 1, "storagePolicy": "wandb-storage-policy-v1",
                     "storagePolicyConfig": {"storageLayout": "V2"}, "contents": {
                         "deep/a.txt": {"digest": digest, "size": len(content), "birthArtifactID": "QTox"},
                         "far": {"digest": "x", "ref": "file:///nowhere/far", "size": 3}}}

    # ---- file stream

    def stream(self, name, body):
        return super().stream(name, body) | {"stopped": name in self.stopped}


class RecordingHandler(Handler):
    def setup(self):
        super().setup()
        self.backend.clients.add(self.connection)

    def finish(self):
        self.backend.clients.discard(self.connection)
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def named(self, body):
        """Kind and name of the request."""
        stream = FILE_STREAM.match(self.path)
        if stream:
            return "file_stream", stream[3]
        if self.path.startswith("/graphql"):
            sent = json.loads(body)
            found = OPERATION.search(sent.get("query", ""))
            return "graphql", sent.get("operationName") or (found[1] if found else "?")
        if self.command == "PUT":
            return "put", self.path.removeprefix("/upload/").split("?")[0]
        return f"{self.command} {self.path}", ""

    def served(self, kind, name, body):
        """The answer of a backend that works: status, object."""
        if kind == "graphql":
            return 200, {"data": self.backend.answer(json.loads(body))}
        if kind == "file_stream":
            return 200, self.backend.stream(name, json.loads(body))
        if kind == "put":
            self.backend.upload(name, body)
            return 200, {}
        if kind.startswith("GET /down/"):
            return self.backend.download(self.path)
        if kind == "POST /oidc/token":
            return 200, {"access_token": "token-of-" + self.backend.script, "expires_in": 3600}
        return 404, {"error": "not found"}

    def handle_one(self):
        if self.path == "/__control":
            return self.reply(self.backend.control(json.loads(self.body())))
        body = self.body()
        kind, name = self.named(body)
        with self.backend.lock:
            fault = self.backend.fault_for(kind, name)
            applied = fault in ("", "slow", "truncated", "lost")
            self.backend.requests.append(Request(
                self.backend.script, kind, name, self.headers.items(), body, fault, applied,
                time.monotonic()))
            status, answer = self.served(kind, name, body) if applied else (0, None)
        if fault:
            self.misbehave(fault, answer)
        elif kind == "GET /cloud/meta-data":
            self.send(200, "text/plain", CLOUD)
        else:
            self.reply(answer, status)

    def misbehave(self, fault, answer):
        self.close_connection = True
        if fault.isdigit():
            self.close_connection = False
            return self.reply({"errors": [{"message": REASONS.get(fault, "internal")}]}, int(fault))
        if fault == "html":
            return self.send(502, "text/html", HTML)
        if fault == "hole":
            self.backend.holes.wait(60)
            return
        if fault == "slow":
            time.sleep(SLOW_S)
            return self.reply(answer)
        if fault == "truncated":
            return self.send(200, "application/json", json.dumps(answer).encode()[:5], 1000)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()  # it holds the socket open
        self.connection.close()

    def send(self, status, kind, data, length=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        with contextlib.suppress(ConnectionError):
            self.handle_one()

    do_PUT = do_GET = do_POST


def main():
    """For tools in other processes: prints its address, runs until its input ends."""
    with RecordingBackend() as backend:
        print(backend.url, flush=True)
        input()


if __name__ == "__main__":
    main()
