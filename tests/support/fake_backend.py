# SPDX-License-Identifier: MIT
"""A backend of W&B in a thread of the test: answers what a sync asks, remembers what it brings.

    with FakeBackend() as backend:
        subprocess.run(["wandb", "sync", ...], env={"WANDB_BASE_URL": backend.url, ...})
        backend.runs["3fk2abcd"].history

Only what runs need is answered; any other GraphQL operation gets an empty object and is counted
in `unknown`. No storage, no artifacts, no permissions: not a product.
"""

import contextlib
import gzip
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fake_sweeps import FakeSweeps
from local_http import hold_port

OPERATION = re.compile(r"\b(?:query|mutation)\s+(\w+)")
FILE_STREAM = re.compile(r"^/files/([^/]+)/([^/]+)/([^/]+)/file_stream")


class Run:
    """What one run looks like to the backend."""

    def __init__(self):
        self.upserts = []  # variables of every upsertBucket
        self.lines = {}  # file name -> {line number: text}
        self.exit_code = None
        self.uploads = {}  # file name -> bytes

    def file(self, name):
        lines = self.lines.get(name, {})
        assert sorted(lines) == list(range(len(lines))), f"{name}: a hole in {sorted(lines)[:20]}"
        return [lines[i] for i in range(len(lines))]

    @property
    def history(self):
        return [json.loads(line) for line in self.file("wandb-history.jsonl")]

    @property
    def summary(self):
        """The stream sends it whole each time, always as line 0."""
        return json.loads(self.lines.get("wandb-summary.json", {0: "{}"})[0])

    @property
    def console(self):
        return self.file("output.log")

    @property
    def config(self):
        texts = [u["config"] for u in self.upserts if u.get("config")]
        return json.loads(texts[-1]) if texts else {}


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, *arguments):
        self.connections = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """A client that ends closes its kept connections: no news."""


class FakeBackend(FakeSweeps):
    def __init__(self):
        self.runs = {}
        self.operations = []
        self.unknown = []
        self.refuse = None  # (operation, status, answer): it is not done
        self.fail = {}  # operation, "file_stream" or "upload" -> the next answers' statuses
        self.lock = threading.Lock()
        self.handler = type("Handler", (Handler,), {"backend": self})
        self.held = hold_port()  # while it is away too
        self.server = Server(self.held.getsockname(), self.handler)
        self.address = self.server.server_address
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *failure):
        self.go_away()
        self.held.close()

    def go_away(self):
        """No connection is accepted, those that are open are cut."""
        if not self.server:
            return
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        for connection in list(self.server.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server = None

    def come_back(self):
        """At the same address, with what it had."""
        self.server = Server(self.address, self.handler)
        self.__enter__()

    def run(self, name):
        return self.runs.setdefault(name, Run())

    # ---- GraphQL

    def answer(self, body):
        query, variables = body.get("query", ""), body.get("variables") or {}
        found = OPERATION.search(query)
        operation = body.get("operationName") or (found[1] if found else "?")
        self.operations.append(operation)
        method = getattr(self, "on_" + operation, None)
        if method:
            return method(variables)
        self.unknown.append(operation)
        return {}

    def on_Viewer(self, variables):
        return {"viewer": {"id": "VXNlcjox", "entity": "tester", "username": "tester",
                           "email": "tester@localhost", "flags": "{}",
                           "teams": {"edges": [{"node": {"name": "tester"}}]}}}

    def on_ServerFeaturesQuery(self, variables):
        return {"serverInfo": {"features": []}}

    def on_OrganizationCoreWeaveOrganizationID(self, variables):
        return {"entity": {"organization": None}}

    def on_RunResumeStatus(self, variables):
        return {"model": {"id": "UDox", "name": variables.get("project"), "bucket": None,
                          "entity": {"id": "RTox", "name": "tester"}}}

    def on_UpsertBucket(self, variables):
        name = variables.get("name") or "unnamed"
        self.run(name).upserts.append(variables)
        return {"upsertBucket": {"inserted": len(self.run(name).upserts) == 1, "bucket": {
            "id": f"id-{name}", "name": name, "displayName": variables.get("displayName") or name,
            "description": None, "config": variables.get("config") or "{}", "sweepName": None,
            "historyLineCount": 0, "project": {
                "id": "UDox", "name": variables.get("project") or "uncategorized",
                "entity": {"id": "RTox", "name": "tester"}}}}}

    def on_CreateRunFiles(self, variables):
        run = variables["run"]
        return {"createRunFiles": {"runID": f"id-{run}", "uploadHeaders": [], "files": [
            {"name": name, "uploadUrl": f"{self.url}/upload/{run}/{name}"}
            for name in variables["files"]]}}

    def on_RunStoppedStatus(self, variables):
        return {"project": {"run": {"stopped": False}}}

    # ---- file stream and uploads

    def stream(self, name, body):
        run = self.run(name)
        for file, chunk in (body.get("files") or {}).items():
            lines = run.lines.setdefault(file, {})
            for i, line in enumerate(chunk.get("content") or []):
                lines[chunk["offset"] + i] = line
        if body.get("complete"):
            run.exit_code = body.get("exitcode")
        return {"exitcode": None, "limits": {}}

    def upload(self, path, data):
        run, _, name = path.partition("/")
        self.run(run).uploads[name] = data


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    backend: FakeBackend

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(data) if "gzip" in self.headers.get("Content-Encoding", "") else data

    def reply(self, answer, status=200):
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = self.body()
        stream = FILE_STREAM.match(self.path)
        with self.backend.lock:
            if self.path.startswith("/graphql"):
                asked = json.loads(body)
                refuse = self.backend.refuse
                if self.fails(asked.get("operationName")):
                    return None
                if refuse and refuse[0] == asked.get("operationName"):
                    return self.reply(refuse[2], refuse[1])
                answer = {"data": self.backend.answer(asked)}
            elif stream and self.fails("file_stream"):
                return None
            elif stream:
                answer = self.backend.stream(stream[3], json.loads(body))
            else:
                return self.reply({"error": "not found"}, 404)
        self.reply(answer)

    def do_PUT(self):
        data = self.body()
        with self.backend.lock:
            if self.fails("upload"):
                return
            self.backend.upload(self.path.removeprefix("/upload/").split("?")[0], data)
        self.reply({})

    def do_GET(self):
        self.reply({"error": "not found"}, 404)

    def fails(self, operation):
        """Whether it is this request's turn to fail; then it is answered so, by a proxy as it were."""
        statuses = self.backend.fail.get(operation)
        if not statuses:
            return False
        data = b"<html>Bad things happen</html>"
        self.send_response(statuses.pop(0))
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        return True

    def log_message(self, *unused):
        pass
