# SPDX-License-Identifier: MIT
"""Uploads to a `tare server` on the same machine: files are linked or copied into its folder and named, not sent; and every
way in which that does not work ends in their being sent as ever."""

import base64
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import urllib.parse

import pytest

from server_support import ROOT, Server
from test_upload_artifacts import Asker, Proxy, read_back
from test_upload_resume import MIB, SAVE, Wire, service_env

RUN_FILE = ('mutation { createRunFiles(input: {entityName: "local", projectName: "up", runName: "maker", files: ["%s"]}) '
            '{ files { uploadUrl } } }')


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        s.script("""
import wandb
with wandb.init(project="up", id="maker"): pass
""")
        yield s


@pytest.fixture
def asker(server, tmp_path):
    return Asker(server, tmp_path)


def staging(server):
    return server.dir / "blobs/tmp"


def upload_url(server, name, **headers):
    _, _, answer = server.request("POST", "/graphql", json.dumps({"query": RUN_FILE % name}).encode(), **headers)
    return json.loads(answer)["data"]["createRunFiles"]["files"][0]["uploadUrl"]


def test_large_files_of_an_artifact_do_not_cross_the_wire(asker, server):
    rng = random.Random(1)
    files = {f"f{i}": rng.randbytes(2 * MIB + i) for i in range(4)} | {"small": b"s" * 100_000, "least": rng.randbytes(MIB)}
    with Wire(server.port) as wire:
        (answer,) = asker.ask(asker.log(asker.artifact("near", files)), url=wire.url)
        assert answer.error_message == ""
        assert wire.sent < 200_000
    assert {k: bytes.fromhex(v) for k, v in read_back(server, "near:latest")["files"].items()} == files
    assert list(staging(server).iterdir()) == []


def test_many_at_once_are_partly_sent_and_all_there(asker, server):
    rng = random.Random(2)
    files = {f"f{i}": rng.randbytes(MIB + i) for i in range(40)}
    (answer,) = asker.ask(asker.log(asker.artifact("many", files)))
    assert answer.error_message == ""
    assert {k: bytes.fromhex(v) for k, v in read_back(server, "many:latest")["files"].items()} == files
    assert list(staging(server).iterdir()) == []


def test_a_file_of_a_run(server, tmp_path):
    content = random.Random(3).randbytes(12 * MIB)
    (tmp_path / "big.bin").write_bytes(content)
    with Wire(server.port) as wire:
        done = subprocess.run([sys.executable, "-c", SAVE.format(id="nearrun")], env=service_env(tmp_path, server, wire.url),
                              cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert wire.sent < MIB
    assert server.request("GET", "/files/local/up/nearrun/big.bin")[2] == content
    assert list(staging(server).iterdir()) == []


class Refusing(Proxy):
    """`status` for a PUT that names a file."""

    def __init__(self, server, status, times=1000):
        super().__init__(server, lambda i, p: None)
        self.status, self.left, self.n_put = status, times, 0

    def handle(self, method, path, headers, body):
        if "x-tare-local" in headers and self.left > 0:
            self.left -= 1
            return self.status, b"no"
        self.n_put += method == "PUT" and len(body) > MIB
        return super().handle(method, path, headers, body)


@pytest.mark.parametrize("status, times, sent", [(404, 1000, 1), (400, 1000, 1), (503, 1, 0), (507, 2, 0)])
def test_a_copy_that_the_server_does_not_take(asker, server, status, times, sent):
    content = random.Random(status).randbytes(3 * MIB)
    proxy = Refusing(server, status, times)
    try:
        (answer,) = asker.ask(asker.log(asker.artifact(f"refused{status}", {"f": content})), url=proxy.url)
    finally:
        proxy.close()
    assert answer.error_message == "" and proxy.n_put == sent
    assert bytes.fromhex(read_back(server, f"refused{status}:latest")["files"]["f"]) == content
    assert list(staging(server).iterdir()) == []


class Elsewhere(Proxy):
    """Gives another folder."""

    def __init__(self, server, folder):
        super().__init__(server, lambda i, p: None)
        self.folder, self.n_put = folder, 0

    def handle(self, method, path, headers, body):
        assert "x-tare-local" not in headers
        self.n_put += method == "PUT" and len(body) > MIB
        status, answer = super().handle(method, path, headers, body)
        return status, answer.replace(b"#place=" + str(staging(self.server)).encode(), b"#place=" + self.folder.encode())


@pytest.mark.parametrize("folder", ["/nowhere/at/all", "/proc", "relative", "/dev/null", "/tmp/%00", "OPEN"])
def test_a_folder_that_is_none(asker, server, tmp_path, folder):
    """Or one that others may look into."""
    content = os.urandom(3 * MIB)
    (tmp_path / "open").mkdir(mode=0o755)
    proxy = Elsewhere(server, folder.replace("OPEN", str(tmp_path / "open")))
    try:
        (answer,) = asker.ask(asker.log(asker.artifact("elsewhere", {"f": content})), url=proxy.url)
    finally:
        proxy.close()
    assert answer.error_message == "" and proxy.n_put == 1
    assert bytes.fromhex(read_back(server, "elsewhere:latest")["files"]["f"]) == content


def test_a_wrong_digest_is_refused(asker, server):
    record = asker.artifact("wrong", {"f": b"a" * 2 * MIB})
    record.manifest.contents[0].digest = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    (answer,) = asker.ask(asker.log(record))
    assert "most remaining uploads (1/1) have failed" in answer.error_message
    assert list(staging(server).iterdir()) == []


def test_who_is_told(server, tmp_path):
    place = "#place=" + urllib.parse.quote(str(staging(server)))
    assert upload_url(server, "a").endswith(place)
    assert "#" not in upload_url(server, "a", X_Forwarded_For="10.0.0.1")
    assert "#" not in upload_url(server, "a", Host="tare.example.com")
    with Server(tmp_path, "--no-local-files") as other:
        other.script("""
import wandb
with wandb.init(project="up", id="maker"): pass
""")
        assert "#" not in upload_url(other, "a")


def test_what_is_named_must_be_a_file_of_the_staging_folder(server, tmp_path):
    url = upload_url(server, "named").split("#")[0]
    name, other = "local-" + "0" * 32, tmp_path / "other"
    other.write_bytes(b"x" * 10)

    def put(text, body=b""):
        return server.request("PUT", url, body, key=None, X_Tare_Local=text)[0]

    for text in ("", name, f"{name} ", f"{name} -1", f"{name} 1x", f"../{name} 10", f"{name}0 10", "local-" + "G" * 32 + " 10",
                 "kept-" + "0" * 33 + " 10", f"{name} 99999999999999999999"):
        assert put(text) == 400, text
    assert put(f"{name} 10") == 404
    path = staging(server) / name
    path.symlink_to(other)
    assert put(f"{name} 10") >= 400
    path.unlink()
    os.link(other, path)
    assert put(f"{name} 10") == 400 and other.read_bytes() == b"x" * 10
    path.unlink()
    path.mkdir()
    assert put(f"{name} 10") >= 400
    path.rmdir()
    path.write_bytes(b"y" * 10)
    assert put(f"{name} 10", b"body") == 400
    assert put(f"{name} 11") == 400 and not path.exists()
    path.write_bytes(b"y" * 10)
    assert put(f"{name} 10") == 200 and not path.exists()
    assert server.request("GET", "/files/local/up/maker/named")[2] == b"y" * 10


@pytest.mark.skipif("TARE_SERVER" in os.environ, reason="sanitizers want to be loaded first, and find this by themselves")
def test_what_is_answered_is_let_go_of(tmp_path):
    """Who answers does not touch the request any more: it may be gone by then, and another's be in its place."""
    library = tmp_path / "guard.so"
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", str(library),
                    str(ROOT / "tests" / "support" / "guard.c")], check=True)
    with Server(tmp_path, env={"LD_PRELOAD": str(library)}) as server:
        server.graphql('mutation{upsertBucket(input:{entityName:"local",modelName:"up",name:"maker"}){inserted}}')
        url = upload_url(server, "named").split("#")[0]
        name, stream = "local-" + "0" * 32, "/files/local/up/%s/file_stream"

        def put(body=b"", **headers):
            return server.request("PUT", url, body, key=None, **headers)[0]

        assert put(X_Tare_Local=f"{name} 10") == 404
        (staging(server) / name).write_bytes(b"y" * 10)
        assert put(X_Tare_Local=f"{name} 11") == 400
        (staging(server) / name).write_bytes(b"y" * 10)
        assert put(X_Tare_Local=f"{name} 10") == 200
        assert put(b"whole") == 200
        assert put(b"wrong", Content_MD5="AAAAAAAAAAAAAAAAAAAAAA==") == 400
        assert put(X_Tare_Upload="k", Content_Range="bytes */3") == 308
        assert put(b"ab", X_Tare_Upload="k", Content_Range="bytes 0-1/3") == 308
        assert put(b"c", X_Tare_Upload="k", Content_Range="bytes 2-2/3") in (200, 503)
        assert server.request("POST", stream % "maker", b"{}")[0] == 200
        assert server.request("POST", stream % "nobody", b"{}")[0] == 404
        assert server.request("POST", stream % "maker", b"{")[0] == 400
        assert server.request("GET", "/files/local/up/maker/named")[0] == 200
        assert server.request("GET", "/files/local/up/maker/none")[0] == 404
        assert server.request("POST", "/graphql", b"{")[0] == 400
        assert server.request("GET", "/metrics")[0] == 200
        assert server.process.poll() is None


class Watching(Proxy):
    """What do the names lead to when they are told? `instead`: lead them there."""

    def __init__(self, server, instead=None):
        super().__init__(server, lambda i, p: None)
        self.instead, self.seen, self.n_put = instead, [], 0

    def handle(self, method, path, headers, body):
        if "x-tare-local" in headers:
            named = staging(self.server) / headers["x-tare-local"].split()[0]
            self.seen.append(os.readlink(named) if named.is_symlink() else None)
            if self.instead and named.is_symlink():
                named.unlink()
                named.symlink_to(self.instead)
        self.n_put += method == "PUT" and len(body) > MIB
        return super().handle(method, path, headers, body)


def test_files_of_artifacts_are_linked(asker, server):
    content = random.Random(11).randbytes(2 * MIB)
    record = asker.artifact("linked", {"f": content})
    source = pathlib.Path(record.manifest.contents[0].local_path)
    before = source.stat() if source.exists() else None
    proxy = Watching(server)
    try:
        (answer,) = asker.ask(asker.log(record), url=proxy.url)
    finally:
        proxy.close()
    assert answer.error_message == "" and proxy.seen == [os.path.realpath(source)] and proxy.n_put == 0
    assert bytes.fromhex(read_back(server, "linked:latest")["files"]["f"]) == content
    assert list(staging(server).iterdir()) == []
    if before and source.exists(): # nothing about it has changed
        after = source.stat()
        assert (after.st_ino, after.st_mode, after.st_nlink, after.st_ctime_ns) == \
            (before.st_ino, before.st_mode, before.st_nlink, before.st_ctime_ns)


def test_a_link_that_leads_elsewhere_there(asker, server, tmp_path):
    """As in a container that has the folder, but other files: the same size, other bytes."""
    content = random.Random(12).randbytes(2 * MIB)
    (tmp_path / "other").write_bytes(random.Random(13).randbytes(2 * MIB))
    proxy = Watching(server, instead=tmp_path / "other")
    try:
        (answer,) = asker.ask(asker.log(asker.artifact("elsewhere2", {"f": content})), url=proxy.url)
    finally:
        proxy.close()
    assert answer.error_message == "" and len(proxy.seen) == 1 and proxy.n_put == 1
    assert bytes.fromhex(read_back(server, "elsewhere2:latest")["files"]["f"]) == content
    assert list(staging(server).iterdir()) == []


def test_a_link_is_not_followed_without_a_digest(server, tmp_path):
    """Who can write to the folder may not be let near the file."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 10)
    name = "links-" + "0" * 32
    (staging(server) / name).symlink_to(secret)
    url = upload_url(server, "stolen").split("#")[0]
    assert server.request("PUT", url, b"", key=None, X_Tare_Local=f"{name} 10")[0] == 400
    assert server.request("GET", "/files/local/up/maker/stolen")[0] == 404
    (staging(server) / name).unlink()


def test_what_a_killed_service_left_goes_with_the_next_start(tmp_path):
    with Server(tmp_path) as server:
        left = staging(server) / ("local-" + "1" * 32)
        left.write_bytes(b"z" * 1000)
        link = staging(server) / ("links-" + "1" * 32)
        link.symlink_to(tmp_path / "theirs")
        (tmp_path / "theirs").write_bytes(b"z")
        assert left.exists()
    with Server(tmp_path):
        assert not left.exists() and not link.is_symlink() and (tmp_path / "theirs").exists()
