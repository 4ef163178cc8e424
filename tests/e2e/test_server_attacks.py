# SPDX-License-Identifier: MIT
"""What somebody who means harm may try by names, upload URLs, digests and keys: tables of attempts."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket

import pytest

from server_support import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        yield s


def md5_of(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def new_artifact(server, key="", entity="local"):
    made = server.graphql("mutation($i: CreateArtifactInput!) { createArtifact(input: $i) { artifact { id } } }",
                          {"i": {"entityName": entity, "projectName": "attacked", "artifactTypeName": "t",
                                 "artifactCollectionName": "c" + os.urandom(4).hex(), "digest": os.urandom(16).hex()}}, key)
    return made["data"]["createArtifact"]["artifact"]["id"]


def place(server, artifact, key="", **spec):
    """The node of createArtifactFiles for a file named f, or the errors."""
    made = server.graphql("""mutation($i: CreateArtifactFilesInput!) { createArtifactFiles(input: $i) { files { edges { node {
             uploadUrl storagePath uploadMultipartUrls { uploadID uploadUrlParts { uploadUrl } } } } } } }""",
                          {"i": {"artifactFiles": [{"artifactID": artifact, "name": "f", **spec}], "storageLayout": "V2"}}, key)
    return made.get("errors") or made["data"]["createArtifactFiles"]["files"]["edges"][0]["node"]


def put(server, url, content):
    status, _, text = server.request("PUT", url, content, key=None)
    return status, text.decode()


def commit(server, artifact, content, digest):
    manifest = json.dumps({"version": 1, "storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {},
                           "contents": {"f": {"digest": digest, "size": len(content)}}}).encode()
    made = server.graphql("""mutation($i: CreateArtifactManifestInput!) { createArtifactManifest(input: $i) {
             artifactManifest { file { uploadUrl } } } }""",
                          {"i": {"artifactID": artifact, "name": "wandb_manifest.json", "digest": md5_of(manifest),
                                 "entityName": "local", "projectName": "attacked", "runName": ""}})
    assert "errors" not in made, made
    url = made["data"]["createArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"]
    assert put(server, url, manifest)[0] == 200
    done = server.graphql("mutation($a: ID!) { commitArtifact(input: {artifactID: $a}) { artifact { state } } }", {"a": artifact})
    assert done["data"]["commitArtifact"]["artifact"]["state"] == "COMMITTED"
    return url, manifest


def test_a_committed_version_does_not_change(server):
    """The URLs by which it was filled last for a day."""
    artifact, content, digest = new_artifact(server), b"as it was", md5_of(b"as it was")
    url = place(server, artifact, digest=digest)["uploadUrl"]
    assert put(server, url, content)[0] == 200
    manifest_url, manifest = commit(server, artifact, content, digest)
    for at, other, same in ((url, b"another thing", content), (manifest_url, b"{}", manifest)):
        status, text = put(server, at, other)
        assert status == 400
        assert put(server, at, same)[0] == 200  # a retry whose answer was lost
    files = server.graphql("query($a: ID!) { artifact(id: $a) { files { edges { node { md5 directUrl } } } } }",
                           {"a": artifact})["data"]["artifact"]["files"]["edges"]
    assert [e["node"]["md5"] for e in files] == [digest]
    assert server.request("GET", files[0]["node"]["directUrl"], key=None)[2] == content


def test_nobody_is_given_bytes_under_a_digest_that_is_not_theirs(server):
    """A digest that is announced without a check of the upload: others' files with it would become these bytes."""
    digest = md5_of(b"what others will have")
    url = place(server, new_artifact(server), digest=digest)["uploadUrl"]
    status, text = put(server, url, b"poison")
    assert status == 400 and "announced was " + digest in text
    assert place(server, new_artifact(server), digest=digest)["uploadUrl"]  # the server has no such bytes
    assert put(server, url, b"what others will have")[0] == 200
    assert place(server, new_artifact(server), digest=digest)["uploadUrl"] is None
    lines = place(server, new_artifact(server), md5=f"\nother{digest}")
    assert lines["uploadUrl"] is None


def test_parts_of_others_are_out_of_reach(server):
    eve = server.add_user("eve")
    parts = [os.urandom(1000) for _ in range(2)]
    content = b"".join(parts)
    spec = {"md5": md5_of(content),
            "uploadPartsInput": [{"partNumber": i + 1, "hexMD5": hashlib.md5(p).hexdigest()} for i, p in enumerate(parts)]}
    artifact = new_artifact(server)
    node = place(server, artifact, **spec)
    upload = node["uploadMultipartUrls"]
    for i in (1, 0):  # in any order
        assert put(server, upload["uploadUrlParts"][i]["uploadUrl"], parts[i])[0] == 200

    def complete(path, upload_id, n, key=""):
        return server.graphql("mutation($i: CompleteMultipartUploadArtifactInput!) { completeMultipartUploadArtifact(input: $i) "
                              "{ digest } }",
                              {"i": {"completeMultipartAction": "Complete", "artifactID": artifact, "storagePath": path,
                                     "uploadID": upload_id,
                                     "completedParts": [{"partNumber": i + 1, "hexMD5": ""} for i in range(n)]}}, key)

    hers = place(server, new_artifact(server, eve, "eve"), eve, **spec)
    assert hers["uploadMultipartUrls"]["uploadID"] != upload["uploadID"]
    for path in (hers["storagePath"], hers["storagePath"].rsplit("/", 1)[0] + "/nothing"):
        for n in (0, 1, 2):
            assert "errors" in complete(path, upload["uploadID"], n, eve)
    assert "errors" in complete(node["storagePath"], upload["uploadID"], 2, eve)
    for n in (0, 1, 3):
        assert "errors" in complete(node["storagePath"], upload["uploadID"], n)
    assert complete(node["storagePath"], upload["uploadID"], 2)["data"]["completeMultipartUploadArtifact"]["digest"] == md5_of(content)
    many = [{"partNumber": i + 1, "hexMD5": ""} for i in range(10_001)]
    assert place(server, artifact, md5=md5_of(b"x"), uploadPartsInput=many)["uploadMultipartUrls"] is None


NAMES = ["../x", "a/../b", "..", "/etc/passwd", "a\0b", "x" * 70_000, ".", ""]


def test_names_that_lead_elsewhere(server):
    made = 'mutation($n: String) { upsertBucket(input: {name: $n, modelName: "attacked"}) { bucket { name } } }'
    assert "errors" not in server.graphql(made, {"n": "r"})
    for name in [*NAMES, "a/b", "a\\b", "x" * 129]:
        assert server.graphql(made, {"n": name})["status"] == 400, name
    ask = ('mutation($f: [String!]!) { createRunFiles(input: {entityName: "local", projectName: "attacked", runName: "r", '
           "files: $f}) { files { name } } }")
    for name in NAMES:
        assert server.graphql(ask, {"f": [name]})["status"] == 400, name
    artifact = new_artifact(server)
    for name in [*NAMES[:5], ""]:
        assert "cannot hold a file named" in place(server, artifact, name=name, md5=md5_of(b"x"))[0]["message"]
    for path in ("/../secret", "/%2e%2e/secret", "/..%2f..%2fsecret", "/x%00.png", "/%c0%ae%c0%ae/secret", "/..%5csecret",
                 "/" + "a" * 4096):
        for base in ("/files/local/attacked/r", "/files/local/attacked", "/storage/x"):
            assert server.request("GET", base + path)[0] in (403, 404), base + path
    assert sorted(p.name for p in server.dir.parent.iterdir()) == ["port", "server"]


def test_upload_urls_are_for_one_thing(server):
    url = place(server, new_artifact(server), md5=md5_of(b"x"))["uploadUrl"].split("#")[0]
    head, token, name = url.rsplit("/", 2)
    for broken in (token[:-1], token + "A", token[1:], token.replace(".", ""), token[:9] + ("A" if token[9] != "A" else "B") + token[10:],
                   token.split(".")[0] + "." + "A" * 22, "." + token, token + "=" * 4000):
        assert put(server, f"{head}/{broken}/{name}", b"x")[0] == 403, broken
    assert server.request("GET", url, key=None)[0] == 403
    for method in ("POST", "DELETE", "PATCH"):
        assert server.request(method, url, b"x" if method != "DELETE" else None, key=None)[0] == 405
    assert put(server, url, b"y")[0] == 400
    assert put(server, f"{head}/{token}/other.html", b"x")[0] == 200  # the name is for people


def test_keys_in_every_form(server):
    def status(header: bytes) -> int:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + header + b"\r\n\r\n")
            return int(s.recv(4096).split()[1])

    key, b64 = server.key.encode(), base64.b64encode
    for good in (b"Basic " + b64(b"api:" + key), b"basic " + b64(b":" + key), b"Bearer " + key, b"bearer " + key):
        assert status(b"Authorization: " + good) == 200, good
    for bad in (b"Basic " + b64(key + b":"), b"Basic " + b64(b"api:"), b"Basic " + b64(b"api"), b"Basic", b"Basic !!!!",
                b"Basic " + b64(b"api:" + key + b":"), b"Basic " + b64(b"api:" + key + b"\0"), b"Basic " + b64(b"x" * 9000),
                b"Bearer", b"Bearer  " + key, b"Bearer " + key[:-1], b"Bearer " + key.upper(), b"Bearer " + b"a" * 4089,
                b"Bearer " + b"a" * 9000, b"Digest " + key, key):
        assert status(b"Authorization: " + bad) == 401, bad
    for other in (b"Cookie: api_key=" + key, b"X-Api-Key: " + key, b"Proxy-Authorization: Bearer " + key):
        assert status(other) == 401, other


@pytest.mark.parametrize("at", [2**63 - 1, 2**63 - 2, 2**62, 2**63, -1, -2**63])
def test_pages_from_anywhere(server, at):
    """A cursor is the client's text: one far behind the end, or before the beginning, is refused or an empty page."""
    for name in "ab":
        server.graphql("mutation($n: String) { upsertBucket(input: {name: $n, modelName: \"pages\"}) { bucket { id } } }",
                       {"n": "page" + name})
    for after in (f"@{at}:0", f"@{at}:{at}", f"{at}:{at}", f"{at}", f"@{at}"):
        for order in ("+display_name", "-created_at"):
            got = server.graphql("""query($o: String, $a: String) { project(name: "pages") {
                     runs(order: $o, after: $a, first: 100000) { edges { node { name } } pageInfo { hasNextPage } }
                     allViews(after: $a) { edges { node { id } } pageInfo { hasNextPage } } } }""", {"o": order, "a": after})
            runs = (got["data"]["project"] or {}).get("runs")
            assert got.get("errors") or not runs["pageInfo"]["hasNextPage"], (after, order, got)


def test_behind_a_proxy_nobody_is_told_where_files_lie(tmp_path):
    """A proxy on the same machine may say nothing of those who ask it; --base-url says that there is one."""
    content = os.urandom(2 << 20)
    for options, told in (((), True), (("--base-url", "http://runs.example"), False)):
        with Server(tmp_path / str(told), *options) as server:
            artifact = new_artifact(server)
            url = place(server, artifact, md5=md5_of(content))["uploadUrl"]
            assert put(server, url.replace("http://runs.example", server.url), content)[0] == 200
            found = server.graphql("""query($a: ID!) { artifact(id: $a) { files(names: ["f"]) { edges { node { directUrl } } } } }""",
                                   {"a": artifact})
            url = found["data"]["artifact"]["files"]["edges"][0]["node"]["directUrl"]
            assert "&xxh128=" in url and ("&file=/" in url) == told
