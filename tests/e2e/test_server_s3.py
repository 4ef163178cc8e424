# SPDX-License-Identifier: MIT
"""Files and artifacts in an S3 store (a stand-in that checks signatures and fails on order)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from postgres_support import postgres
from server_support import BINARY, ROOT, Server

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from s3_server import S3Server  # noqa: E402

BLOB_TOOL = os.environ.get("TARE_BLOB_TOOL", str(ROOT / "build" / "tests" / "unit" / "blob_tool"))


@pytest.fixture
def s3(monkeypatch):
    with S3Server() as store:
        for name, value in store.env.items():
            monkeypatch.setenv(name, value)
        yield store


UPLOAD = 'mutation($n:[String!]!){createRunFiles(input:{projectName:"p",runName:"r",files:$n}){files{uploadUrl}}}'
FILES = '{project(name:"p"){run(name:"r"){files(first:100){edges{node{name directUrl sizeBytes md5}}}}}}'


def put(server: Server, name: str, data: bytes):
    got = server.graphql(UPLOAD, {"n": [name]})
    return server.request("PUT", got["data"]["createRunFiles"]["files"][0]["uploadUrl"], data, key=None)[0]


def url_of(server: Server, name: str) -> str:
    edges = server.graphql(FILES)["data"]["project"]["run"]["files"]["edges"]
    return next(e["node"]["directUrl"] for e in edges if e["node"]["name"] == name)


@contextlib.contextmanager
def start(tmp_path, s3, more: str = ""):
    with Server(tmp_path, "--blobs", s3.url(more=more)) as server:
        server.graphql('mutation{upsertBucket(input:{modelName:"p",name:"r"}){inserted}}')
        yield server


def names(s3) -> set[str]:
    return {n for n in s3.objects}


def key_of(data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    return f"some/where/{name[:2]}/{name}"


def test_the_sdk_logs_and_reads(tmp_path, s3):
    with Server(tmp_path, "--blobs", s3.url()) as server:
        got = server.script("""
import json, pathlib, wandb
pathlib.Path("note.txt").write_text("a note")
pathlib.Path("big.bin").write_bytes(bytes(range(256)) * 40000)
with wandb.init(project="p", id="r") as run:
    run.save("note.txt")
    a = wandb.Artifact("set", "dataset")
    a.add_file("big.bin"); a.add_file("note.txt")
    run.log_artifact(a).wait()
api = wandb.Api()
folder = pathlib.Path(api.artifact("local/p/set:latest").download("got"))
with api.run("local/p/r").file("note.txt").download("again", replace=True) as f:
    note = f.read()
print(json.dumps([note, (folder / "big.bin").read_bytes() == pathlib.Path("big.bin").read_bytes(),
                  sorted(p.name for p in folder.iterdir())]))
""", WANDB_CACHE_DIR=str(tmp_path / "cache"))
        assert got == ["a note", True, ["big.bin", "note.txt"]]
        assert key_of(bytes(range(256)) * 40000) in names(s3)
        assert "0 faults" in server.command("verify", *server.options)
        assert not (server.dir / "blobs").exists()


def test_ranges_and_heads_fetch_only_what_is_asked_for(tmp_path, s3):
    data = os.urandom(300_000)
    with start(tmp_path, s3) as server:
        assert put(server, "x.bin", data) == 200
        url = url_of(server, "x.bin")
        assert server.request("GET", url, key=None)[2] == data
        status, headers, body = server.request("GET", url, key=None, Range="bytes=1000-1999")
        assert (status, body, headers["Content-Range"]) == (206, data[1000:2000], "bytes 1000-1999/300000")
        assert server.request("GET", url, key=None, Range="bytes=-7")[2] == data[-7:]
        assert server.request("GET", url, key=None, Range="bytes=300000-")[0] == 416
        before = len([r for r in s3.requests if r[0] == "GET"])
        assert server.request("HEAD", url, key=None)[1]["Content-Length"] == "300000"
        etag = server.request("HEAD", url, key=None)[1]["ETag"]
        assert server.request("GET", url, key=None, If_None_Match=etag)[0] == 304
        assert len([r for r in s3.requests if r[0] == "GET"]) == before


def test_the_same_bytes_are_kept_once_and_digests_checked(tmp_path, s3):
    with start(tmp_path, s3) as server:
        assert put(server, "a", b"same") == put(server, "b", b"same") == put(server, "empty", b"") == 200
        assert names(s3) == {key_of(b"same"), key_of(b"")}
        assert len([r for r in s3.requests if r[0] == "PUT"]) == 2
        assert server.request("GET", url_of(server, "empty"), key=None)[2] == b""
        got = server.graphql(UPLOAD, {"n": ["c"]})["data"]["createRunFiles"]["files"][0]["uploadUrl"]
        assert server.request("PUT", got, b"other", key=None, Content_MD5="AAAAAAAAAAAAAAAAAAAAAA==")[0] == 400
        assert names(s3) == {key_of(b"same"), key_of(b"")}


def test_large_files_go_in_parts(tmp_path, s3):
    data = os.urandom(12 << 20)
    with start(tmp_path, s3, "&part=5") as server:
        assert put(server, "large", data) == 200
        assert s3.objects[key_of(data)] == data and not s3.uploads
        assert server.request("GET", url_of(server, "large"), key=None)[2] == data
        s3.always = 500
        assert put(server, "failed", os.urandom(12 << 20)) == 500
        s3.always = None
        s3.faults = [("PUT", 403)]
        assert put(server, "failed", os.urandom(12 << 20)) == 500
        assert len(s3.objects) == 1 and not s3.uploads, "parts of a failed upload were left"


def test_a_lost_answer_to_joining_the_parts_costs_nothing(tmp_path, s3):
    data = os.urandom(12 << 20)
    with start(tmp_path, s3, "&part=5") as server:
        s3.faults = [("POST", "none"), ("POST", "lost")]
        assert put(server, "large", data) == 200
        assert not s3.faults and s3.objects == {key_of(data): data}
        assert server.request("GET", url_of(server, "large"), key=None)[2] == data


def test_an_upload_that_the_store_has_forgotten_may_be_tried_again(tmp_path, s3):
    with start(tmp_path, s3, "&part=5") as server:
        s3.faults = [("POST", "none"), ("POST", 404)]
        assert put(server, "large", bytes(12 << 20)) == 500, "clients take a 404 for final"
        assert put(server, "large", bytes(12 << 20)) == 200


@pytest.mark.parametrize("fault", [500, 503, 429, "drop", "hang"])
def test_faults_that_pass_are_passed_over(tmp_path, s3, fault):
    data = os.urandom(50_000)
    with start(tmp_path, s3, "&timeout=2" if fault == "hang" else "") as server:
        s3.faults = [("HEAD", fault), ("PUT", fault)]
        assert put(server, "x", data) == 200
        s3.faults = [("GET", fault)]
        assert server.request("GET", url_of(server, "x"), key=None)[2] == data
        assert not s3.faults


def test_cut_and_changed_bytes_are_not_handed_on(tmp_path, s3):
    data = os.urandom(50_000)
    with start(tmp_path, s3) as server:
        assert put(server, "x", data) == 200
        url = url_of(server, "x")
        s3.faults = [("GET", "cut")]
        assert server.request("GET", url, key=None)[2] == data
        s3.faults = [("GET", "cut")] * 4
        assert server.request("GET", url, key=None)[0] == 500
        s3.objects[key_of(data)] = data[:-1] + b"!" if data[-1:] != b"!" else data[:-1] + b"?"
        assert server.request("GET", url, key=None)[0] == 500
        s3.objects.clear()
        assert server.request("GET", url, key=None)[0] == 404
        done = subprocess.run([BINARY, "verify", "--dir", str(server.dir), *server.options], text=True,
                              stdout=subprocess.PIPE)
        assert done.returncode == 1 and "there is no blob" in done.stdout


def test_a_store_that_is_away_is_told_and_comes_back(tmp_path, s3):
    with start(tmp_path, s3) as server:
        s3.always = 503
        assert put(server, "x", b"data") == 500
        assert server.graphql("{viewer{username}}")["status"] == 200
        s3.always = None
        assert put(server, "x", b"data") == 200
        assert server.request("GET", url_of(server, "x"), key=None)[2] == b"data"


def test_backup_and_restore(tmp_path, s3):
    with start(tmp_path, s3) as server:
        assert put(server, "x", b"kept") == 200
        server.command("backup", str(tmp_path / "all.tar"), *server.options)
    restored = tmp_path / "restored"
    subprocess.run([BINARY, "restore", str(tmp_path / "all.tar"), "--dir", str(restored / "server")], check=True)
    shutil.copy(tmp_path / "server" / "admin.key", restored / "server")
    with Server(restored) as other:
        assert other.request("GET", url_of(other, "x"), key=None)[2] == b"kept"


def test_what_is_wrong_is_said_at_the_start(tmp_path, s3, monkeypatch):
    def says(url: str) -> str:
        done = subprocess.run([BINARY, "--dir", str(tmp_path / "s"), "--listen", "127.0.0.1:0", "--blobs", url],
                              text=True, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 1
        return done.stderr
    assert "NoSuchBucket" in says(s3.url().replace("bucket-1/", "other/"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "SignatureDoesNotMatch" in says(s3.url())
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "AWS_SECRET_ACCESS_KEY" in says(s3.url())


def test_listing_and_deleting(s3):
    """blob.h itself: the server deletes only what nothing has referred to for ten minutes."""
    def tool(*words: str) -> list[str]:
        done = subprocess.run([BLOB_TOOL, s3.url(), *words], text=True, stdout=subprocess.PIPE, check=True)
        return done.stdout.split()
    s3.page = 2
    s3.objects["elsewhere/ab"] = s3.objects["some/where/ab/no-blob"] = b"x"
    made = sorted(tool("put", f"text {i}")[0] for i in range(5))
    assert tool("list") == made and len([r for r in s3.requests if "continuation-token" in r[1]]) >= 2
    assert tool("get", made[0])[0] == "text"
    tool("delete", made[0])
    tool("delete", made[0])
    assert tool("list") == made[1:] and len(s3.objects) == 6


def test_postgres_and_s3_leave_nothing_in_the_directory(tmp_path, s3):
    with postgres() as url:
        options = ("--db", url, "--blobs", s3.url(), "--no-access-log")
        (tmp_path / "b" / "server").mkdir(parents=True)
        (tmp_path / "a").mkdir()
        with Server(tmp_path / "a", *options) as a:
            shutil.copy(a.dir / "admin.key", tmp_path / "b" / "server")
            serve_from_both(a, tmp_path / "b", options)


def serve_from_both(a: Server, folder: pathlib.Path, options) -> None:
    with Server(folder, *options) as b:
        a.graphql('mutation{upsertBucket(input:{modelName:"p",name:"r"}){inserted}}')
        assert put(a, "x", b"data") == 200
        path = url_of(a, "x")[len(a.url):]
        assert b.request("GET", path, key=None)[2] == b"data", "a URL of one server holds at the other"
        assert {p.name for p in a.dir.iterdir()} == {"lock", "address", "admin.key"}
