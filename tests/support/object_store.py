# SPDX-License-Identifier: MIT
"""A backend that has one artifact, for tests of downloads: answers the two questions that a download asks,
and gives files with ranges, ETags and every kind of fault.

    with ObjectStore({"a.txt": b"..."}) as s: ...
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from urllib.parse import quote, unquote

from local_http import Handler, LocalHttp


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


class ObjectStore(LocalHttp):
    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(files or {})
        self.entries: dict[str, dict] = {}     # of the manifest, beside those of `files`
        self.served: dict[str, bytes] = {}     # what comes instead of a file's content
        self.no_url: set[str] = set()
        self.sums: dict[str, str] = {}         # path -> what its URL says of the bytes, behind #
        self.faults: dict[str, list] = {}      # path -> what becomes of its requests in order: a status, ("cut", n), ("garbage",)
        self.ranges = True                     # answered?
        self.etags: dict[str, str] = {}        # path -> ETag; else the content's
        self.requests: list[tuple[str, str, dict]] = []
        self.urls_asked = 0
        self.manifest: bytes | None = None     # instead of the right one
        self.answers: dict[str, dict] = {}     # operation -> its data
        self.lock = threading.Lock()

    def manifest_json(self) -> bytes:
        contents = {p: {"digest": md5(c), "size": len(c), "birthArtifactID": "QTox"} for p, c in self.files.items()}
        return json.dumps({"version": 1, "storagePolicy": "wandb-storage-policy-v1",
                           "storagePolicyConfig": {"storageLayout": "V2"},
                           "contents": {**contents, **self.entries}}).encode()

    def gets(self, path: str) -> list[dict]:
        return [h for m, p, h in self.requests if m == "GET" and p == f"/f/{quote(path)}"]

    def graphql(self, operation: str, variables: dict) -> dict:
        if operation in self.answers:
            return self.answers[operation]
        if operation == "ArtifactManifest":
            if variables["artifact_id"] != "QTox":
                return {"artifact": None}
            return {"artifact": {"currentManifest": {"file": {"directUrl": self.url + "/manifest"}}}}
        if operation == "ArtifactFileURLsByManifestEntries":
            self.urls_asked += 1
            assert variables["storageLayout"] == "V2" and variables["manifestVersion"] == "1"
            names = [e["name"] for e in variables["entries"] if e["name"] not in self.no_url]
            return {"artifact": {"filesByManifestEntries": {"pageInfo": {"hasNextPage": False, "endCursor": None}, "edges": [
                {"node": {"name": n, "directUrl": f"{self.url}/f/{quote(n)}{self.sums.get(n, '')}"}} for n in reversed(names)]}}}
        return {}

    def handler(self):
        store = self

        class Http(Handler):
            def do_POST(self):
                ask = json.loads(self.body())
                operation = ask.get("operationName") or re.search(r"(?:query|mutation) (\w+)", ask["query"])[1]
                with store.lock:
                    data = store.graphql(operation, ask["variables"])
                self.reply(200, json.dumps({"data": data}).encode())

            def do_GET(self):
                with store.lock:
                    store.requests.append(("GET", self.path, {k.lower(): v for k, v in self.headers.items()}))
                    path = unquote(self.path[3:]) if self.path.startswith("/f/") else self.path
                    faults = store.faults.get(path)
                    fault = faults.pop(0) if faults else None
                if self.path == "/manifest":
                    if isinstance(fault, int):
                        return self.reply(fault, b"not now")
                    return self.reply(200, store.manifest or store.manifest_json())
                content = store.served.get(path, store.files.get(path))
                if content is None:
                    return self.reply(404, b"no such file")
                if isinstance(fault, int):
                    return self.reply(fault, b"<html>trouble</html>")
                etag = store.etags.get(path, f'"{hashlib.md5(content).hexdigest()}"')
                status, headers = 200, {"ETag": etag} if etag else {}
                wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                same = self.headers.get("If-Range") in (None, etag)
                if wanted and store.ranges and same:
                    at = int(wanted[1])
                    if at >= len(content):
                        return self.reply(416, b"", Content_Range=f"bytes */{len(content)}")
                    status = 206
                    headers["Content_Range"] = f"bytes {at}-{len(content) - 1}/{len(content)}"
                    content = content[at:]
                if fault and fault[0] == "garbage":
                    headers["Content_Range"] = "bytes 7-9/10"
                self.reply(status, content, fault[1] if fault and fault[0] == "cut" else None, **headers)

        return Http
