# SPDX-License-Identifier: MIT
"""Uploads to tare server that break off and go on where they stopped, request by request."""

import base64
import contextlib
import hashlib
import os
import socket
import struct
import time

import pytest

from server_support import Server

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        yield s


def md5_of(content):
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def artifact_place(server, content, name="f", parts=None):
    """Where a file of a new artifact may go: the node of createArtifactFiles."""
    made = server.graphql("mutation($i: CreateArtifactInput!) { createArtifact(input: $i) { artifact { id } } }",
                          {"i": {"entityName": "local", "projectName": "resume", "artifactTypeName": "t",
                                 "artifactCollectionName": "c" + os.urandom(4).hex(), "digest": os.urandom(16).hex()}})
    return artifact_node(server, made["data"]["createArtifact"]["artifact"]["id"], content, name, parts)


def artifact_node(server, artifact, content, name="f", parts=None):
    spec = {"artifactID": artifact, "name": name, "md5": md5_of(content)}
    if parts:
        spec["uploadPartsInput"] = [{"partNumber": i + 1, "hexMD5": hashlib.md5(p).hexdigest()} for i, p in enumerate(parts)]
    made = server.graphql("""mutation($i: CreateArtifactFilesInput!) { createArtifactFiles(input: $i) { files { edges { node {
             uploadUrl uploadHeaders storagePath artifact { id }
             uploadMultipartUrls { uploadID uploadUrlParts { partNumber uploadUrl } } } } } } }""",
                          {"i": {"artifactFiles": [spec], "storageLayout": "V2"}})
    return made["data"]["createArtifactFiles"]["files"]["edges"][0]["node"]


def run_file_url(server, name="big.bin", key=""):
    server.graphql('mutation { upsertBucket(input: {entityName: "local", modelName: "resume", name: "r1"}) { bucket { id } } }',
                   key=key)
    made = server.graphql('mutation { createRunFiles(input: {entityName: "local", projectName: "resume", runName: "r1", '
                          f'files: ["{name}"]}}) {{ uploadHeaders files {{ uploadUrl }} }} }}', key=key)
    made = made["data"]["createRunFiles"]
    assert "X-Tare-Resumable:1" in made["uploadHeaders"]
    return made["files"][0]["uploadUrl"]


def send_cut(server, url, body, cut, at=0, **headers):
    """A PUT of what follows byte `at`, whose connection breaks when the server has `cut` bytes of it."""
    path = url[len(server.url):]
    lines = [f"PUT {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body) - at}", "X-Tare-Upload: k"]
    if at:
        lines.append(f"Content-Range: bytes {at}-{len(body) - 1}/{len(body)}")
    lines += [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
    before = sizes(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets it
        s.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body[at:at + cut])
        deadline = time.monotonic() + 30
        while not any(size == at + cut for _, size in sizes(server) - before):
            assert time.monotonic() < deadline
            time.sleep(0.002)


def ask(server, url, total, **headers):
    """(status, how much is there)"""
    status, got, _ = server.request("PUT", url, b"", key=None, Content_Range=f"bytes */{total}", **headers)
    come = int(got["Range"].split("-")[1]) + 1 if status == 308 and "Range" in got else 0
    return status, come, got


def go_on(server, url, content, at, **headers):
    try:
        return server.request("PUT", url, content[at:], key=None, X_Tare_Upload="k",
                              Content_Range=f"bytes {at}-{len(content) - 1}/{len(content)}", **headers)
    except OSError as e:  # refused before the body was read
        assert is_cut(e), e
        return 503, {}, b""


def put_or_refused(server, url, content):
    try:
        return server.request("PUT", url, content, key=None)[0]
    except OSError as e:  # refused before the body was read
        assert is_cut(e), e
        return 507


def is_cut(error):
    """While the body is sent urllib packs it up, while the answer is read it does not."""
    return isinstance(getattr(error, "reason", error), ConnectionError)


def kept(server):
    return [p for p in (server.dir / "blobs/tmp").iterdir() if p.name.startswith("kept-")]


def sizes(server):
    found = set()
    for p in kept(server):
        with contextlib.suppress(FileNotFoundError):  # it has given way since it was listed
            found.add((p.name, p.stat().st_size))
    return found


def test_a_cut_upload_goes_on_where_it_stopped(server):
    content = os.urandom(3 * MIB)
    url = artifact_place(server, content)["uploadUrl"]
    at = 0
    for cut in (MIB + 1, 70_000, 1, MIB):
        send_cut(server, url, content, cut, at)
        status, come, _ = ask(server, url, len(content), X_Tare_Upload="k")
        assert (status, come) == (308, at + cut)
        at = come
    status, headers, _ = go_on(server, url, content, at)
    assert status == 200 and headers["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
    # the answer was lost, say: nothing need be sent again
    assert ask(server, url, len(content), X_Tare_Upload="k")[0] == 200
    assert kept(server) == []


def test_every_place_is_asked_for_itself(server):
    content = os.urandom(MIB)
    url, other = artifact_place(server, content)["uploadUrl"], artifact_place(server, content)["uploadUrl"]
    send_cut(server, url, content, 500_000)
    assert ask(server, url, len(content), X_Tare_Upload="k")[1] == 500_000
    for where, total, key in ((other, len(content), "k"), (url, len(content), "l"), (url, len(content) - 1, "k")):
        assert ask(server, where, total, X_Tare_Upload=key)[:2] == (308, 0)
    assert ask(server, url.replace("/storage/", "/storage/A"), len(content), X_Tare_Upload="k")[0] == 403
    assert server.request("PUT", url, content, key=None)[0] == 200  # and a client that knows nothing of it


def test_the_digest_is_that_of_the_whole(server):
    content, other = os.urandom(MIB), os.urandom(MIB)
    url = artifact_place(server, content)["uploadUrl"]
    send_cut(server, url, other, 500_000)
    assert ask(server, url, MIB, X_Tare_Upload="k")[1] == 500_000
    assert go_on(server, url, content, 500_000)[0] == 400
    assert ask(server, url, MIB, X_Tare_Upload="k")[:2] == (308, 0)  # what was wrong is gone
    assert server.request("PUT", url, content, key=None, X_Tare_Upload="k")[0] == 200
    # a run's file has a digest if the client says one
    url = run_file_url(server)
    send_cut(server, url, other, 500_000)
    assert ask(server, url, MIB, X_Tare_Upload="k")[1] == 500_000
    assert go_on(server, url, content, 500_000, Content_MD5=md5_of(content))[0] == 400
    send_cut(server, url, content, 500_000)
    assert ask(server, url, MIB, X_Tare_Upload="k", Content_MD5=md5_of(content))[:2] == (308, 500_000)
    assert go_on(server, url, content, 500_000, Content_MD5=md5_of(content))[0] == 200
    assert ask(server, url, MIB, X_Tare_Upload="k", Content_MD5=md5_of(content))[0] == 200
    assert ask(server, url, MIB, X_Tare_Upload="k", Content_MD5=md5_of(other))[0] == 308
    assert server.request("GET", "/files/local/resume/r1/big.bin")[2] == content


def test_pieces_at_the_wrong_place_are_refused(server):
    content = os.urandom(MIB)
    url = artifact_place(server, content)["uploadUrl"]
    send_cut(server, url, content, 500_000)
    for at in (1, 499_999, 500_001):
        assert go_on(server, url, content, at)[0] == 503
    assert ask(server, url, MIB, X_Tare_Upload="k")[1] == 500_000
    # in several pieces, as Google's clients send
    status, headers, _ = server.request("PUT", url, content[500_000:700_000], key=None, X_Tare_Upload="k",
                                        Content_Range=f"bytes 500000-699999/{MIB}")
    assert status == 308 and headers["Range"] == "bytes=0-699999"
    assert go_on(server, url, content, 700_000)[0] == 200


@pytest.mark.parametrize("text", ["bytes", "bytes ", "bytes */", "bytes */x", "bytes 1-/5", "bytes 4-3/9", "bytes 0-9/9",
                                  "bytes -1-3/9", "items */9", "bytes */99999999999999999999", "bytes 0-0/1 "])
def test_ranges_that_are_none(server, text):
    url = artifact_place(server, b"x")["uploadUrl"]
    body = b"xxxx"
    status = server.request("PUT", url, body, key=None, X_Tare_Upload="k", Content_Range=text)[0]
    assert status == 400
    assert server.request("PUT", url, b"x", key=None, X_Tare_Upload="a b")[0] == 400
    assert server.request("PUT", url, b"x", key=None, Content_Range="bytes 0-0/1")[0] == 400


def test_the_later_request_has_it(server):
    """A network that lost one direction: the server still has the old connection open."""
    content = os.urandom(2 * MIB)
    url = artifact_place(server, content)["uploadUrl"]
    with socket.create_connection(("127.0.0.1", server.port)) as old:
        old.sendall(f"PUT {url[len(server.url):]} HTTP/1.1\r\nHost: x\r\nX-Tare-Upload: k\r\nContent-Length: {len(content)}"
                    "\r\n\r\n".encode() + content[:MIB])
        deadline = time.monotonic() + 30
        while MIB not in [size for _, size in sizes(server)]:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        assert ask(server, url, len(content), X_Tare_Upload="k")[1] == MIB
        old.sendall(content[MIB:])  # it has lost its turn
        assert b" 503 " in old.recv(100)
        assert go_on(server, url, content, ask(server, url, len(content), X_Tare_Upload="k")[1])[0] == 200


def test_it_outlives_the_server(tmp_path):
    content = os.urandom(2 * MIB)
    with Server(tmp_path) as server:
        url = artifact_place(server, content)["uploadUrl"]
        path = url[len(server.url):]
        send_cut(server, url, content, MIB)
        assert ask(server, url, len(content), X_Tare_Upload="k")[1] == MIB
        server.process.kill()
        server.process.wait()
        server.process.stdout.close()
        server.start()
        url = server.url + path
        assert ask(server, url, len(content), X_Tare_Upload="k")[1] == MIB
        assert go_on(server, url, content, MIB)[0] == 200


def test_what_is_kept_is_bounded_by_the_quota_and_gives_way(tmp_path):
    with Server(tmp_path, "--quota", "20M") as server:
        for i in range(12):  # 36 MB in all
            content = os.urandom(4 * MIB)
            url = artifact_place(server, content)["uploadUrl"]
            if i < 4:
                send_cut(server, url, content, 3 * MIB)
            else:  # it may be refused in the middle
                with socket.create_connection(("127.0.0.1", server.port)) as s, contextlib.suppress(ConnectionError):
                    s.sendall(f"PUT {url[len(server.url):]} HTTP/1.1\r\nHost: x\r\nX-Tare-Upload: k\r\nContent-Length: "
                              f"{len(content)}\r\n\r\n".encode() + content[:3 * MIB])
            assert sum(size for _, size in sizes(server)) <= 20 * MIB
        content = os.urandom(8 * MIB)
        url = artifact_place(server, content)["uploadUrl"]
        deadline = time.monotonic() + 60
        while (status := put_or_refused(server, url, content)) != 200:
            assert status == 507 and time.monotonic() < deadline  # until the server knows that the clients are gone
            time.sleep(0.2)


def test_parts_that_have_come_stay_of_use(server):
    parts = [os.urandom(200_000) for _ in range(3)]
    content = b"".join(parts)
    first = artifact_place(server, content, parts=parts)
    artifact = first["artifact"]["id"]
    urls = [p["uploadUrl"] for p in first["uploadMultipartUrls"]["uploadUrlParts"]]
    assert server.request("PUT", urls[0], parts[0], key=None, X_Tare_Upload="k", Content_MD5=md5_of(parts[0]))[0] == 200
    send_cut(server, urls[1], parts[1], 100_000, Content_MD5=md5_of(parts[1]))
    # a client that begins anew
    again = artifact_node(server, artifact, content, parts=parts)
    assert again["uploadMultipartUrls"]["uploadID"] == first["uploadMultipartUrls"]["uploadID"]
    urls = [p["uploadUrl"] for p in again["uploadMultipartUrls"]["uploadUrlParts"]]
    got = [ask(server, u, len(p), X_Tare_Upload="k", Content_MD5=md5_of(p))[:2] for u, p in zip(urls, parts)]
    assert got == [(200, 0), (308, 100_000), (308, 0)]
    # of another file, or of other parts, nothing is there
    for other in (artifact_node(server, artifact, content, "g", parts), artifact_node(server, artifact, content, parts=parts[1:])):
        url = other["uploadMultipartUrls"]["uploadUrlParts"][0]["uploadUrl"]
        assert ask(server, url, 200_000, X_Tare_Upload="k", Content_MD5=md5_of(parts[0]))[0] == 308
    assert go_on(server, urls[1], parts[1], 100_000, Content_MD5=md5_of(parts[1]))[0] == 200
    assert server.request("PUT", urls[2], parts[2], key=None, X_Tare_Upload="k", Content_MD5=md5_of(parts[2]))[0] == 200
    done = server.graphql("""mutation($i: CompleteMultipartUploadArtifactInput!) {
        completeMultipartUploadArtifact(input: $i) { digest } }""",
                          {"i": {"completeMultipartAction": "Complete", "artifactID": artifact,
                                 "storagePath": again["storagePath"], "uploadID": again["uploadMultipartUrls"]["uploadID"],
                                 "completedParts": [{"partNumber": i + 1, "hexMD5": ""} for i in range(3)]}})
    assert done["data"]["completeMultipartUploadArtifact"]["digest"] == md5_of(content), done


def test_a_wrong_digest_of_a_part_or_of_the_joined_parts_is_refused(server):
    parts, other = [os.urandom(200_000) for _ in range(2)], os.urandom(200_000)
    node = artifact_place(server, b"".join(parts), parts=parts)
    urls = [p["uploadUrl"] for p in node["uploadMultipartUrls"]["uploadUrlParts"]]
    assert server.request("PUT", urls[0], other, key=None, Content_MD5=md5_of(parts[0]))[0] == 400
    assert server.request("PUT", urls[0], parts[0], key=None, Content_MD5=md5_of(parts[0]))[0] == 200
    assert server.request("PUT", urls[1], other, key=None)[0] == 200  # nobody says what it should be
    query = "mutation($i: CompleteMultipartUploadArtifactInput!) { completeMultipartUploadArtifact(input: $i) { digest } }"
    end = {"i": {"completeMultipartAction": "Complete", "artifactID": node["artifact"]["id"],
                 "storagePath": node["storagePath"], "uploadID": node["uploadMultipartUrls"]["uploadID"],
                 "completedParts": [{"partNumber": i + 1, "hexMD5": ""} for i in range(2)]}}
    assert "announced was" in server.graphql(query, end)["errors"][0]["message"]
    assert ask(server, urls[1], len(other), X_Tare_Upload="k", Content_MD5=md5_of(parts[1]))[0] == 308  # not that one
    assert server.request("PUT", urls[1], parts[1], key=None, Content_MD5=md5_of(parts[1]))[0] == 200
    assert server.graphql(query, end)["data"]["completeMultipartUploadArtifact"]["digest"] == md5_of(b"".join(parts))
