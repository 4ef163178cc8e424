# SPDX-License-Identifier: MIT
"""Artifacts through the unmodified SDK and its own wandb-core against tare server."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time

import pytest

from server_support import Server

HEAD = """
import json, os, pathlib, shutil, wandb
def put(path, data):
    p = pathlib.Path(path); p.parent.mkdir(parents=True, exist_ok=True); p.write_bytes(data); return str(p)
def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes().hex() for p in sorted(pathlib.Path(folder).rglob("*")) if p.is_file()}
os.environ["WANDB_CACHE_DIR"] = os.path.abspath("cache-%d" % os.getpid())
def fetch(artifact, to):
    "Download past the cache. Not with skip_cache: the SDK's threads then share one target, and files get lost."
    shutil.rmtree(os.path.join(os.environ["WANDB_CACHE_DIR"], "artifacts", "obj"), ignore_errors=True)
    return artifact.download(to)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        yield s


def test_log_use_download(server):
    got = server.script(HEAD + """
with wandb.init(project="art", id="maker") as run:
    a = wandb.Artifact("ds", type="dataset", description="numbers", metadata={"rows": 3, "deep": {"k": [1, None]}})
    a.add_file(put("in/a.txt", b"hello\\n"))
    a.add_file(put("in/b.bin", bytes(range(256)) * 400), name="sub/dir with space/b%41.bin")
    a.add_reference("file://" + os.path.abspath(put("in/elsewhere", b"far")), name="ref")
    run.log_artifact(a, aliases=["best", "v-one"], tags=["t1", "t2"]).wait()
    first = dict(version=a.version, id=a.id, digest=a.digest, ref=a.manifest.entries["ref"].digest, aliases=sorted(a.aliases), size=a.size, tags=sorted(a.tags))
with wandb.init(project="art", id="user") as run:
    b = run.use_artifact("ds:best")
    folder = fetch(b, "out")
    files = tree(folder)
    meta = b.metadata, b.description, b.type
api = wandb.Api()
c = api.artifact("local/art/ds:v0")
print(json.dumps(dict(first=first, files=files, meta=meta, by=c.logged_by().id, used=[r.id for r in c.used_by()],
    outputs=[x.name for x in api.run("local/art/maker").logged_artifacts()],
    inputs=[x.name for x in api.run("local/art/user").used_artifacts()],
    names=sorted(f.name for f in c.files()), verified=c.verify("out") is None)))
""")
    assert got["first"]["version"] == "v0" and got["first"]["aliases"] == ["best", "latest", "v-one"]
    assert got["first"]["tags"] == ["t1", "t2"] and got["first"]["size"] == 6 + 256 * 400 + 3
    assert bytes.fromhex(got["files"]["ref"]) == b"far"
    assert bytes.fromhex(got["files"]["a.txt"]) == b"hello\n"
    assert bytes.fromhex(got["files"]["sub/dir with space/b%41.bin"]) == bytes(range(256)) * 400
    assert got["meta"] == [{"rows": 3, "deep": {"k": [1, None]}}, "numbers", "dataset"]
    assert got["by"] == "maker" and got["used"] == ["user"]
    assert got["outputs"] == ["ds:v0"] and got["inputs"] == ["ds:v0"]
    assert got["names"] == ["a.txt", "ref", "sub/dir with space/b%41.bin"]
    entries = "".join(f"{p}:{d}\n" for p, d in sorted({
        "a.txt": "sZRqySSS0jR8YjW00mERhA==", "ref": got["first"]["ref"],
        "sub/dir with space/b%41.bin": __import__("base64").b64encode(
            hashlib.md5(bytes(range(256)) * 400).digest()).decode()}.items()))
    assert got["first"]["digest"] == hashlib.md5(("wandb-artifact-manifest-v1\n" + entries).encode()).hexdigest()


def test_same_content_is_the_same_version_and_new_content_the_next(server):
    got = server.script(HEAD + """
def log(text, **kw):
    with wandb.init(project="ver") as run:
        a = wandb.Artifact("ds", type="dataset")
        a.add_file(put("in/x", text.encode()), name="x")
        run.log_artifact(a, **kw).wait()
        return a.version, sorted(a.aliases)
one, again, two = log("1"), log("1", aliases=["again", "latest"]), log("2")
api = wandb.Api()
coll = api.artifact_collection("dataset", "local/ver/ds")
print(json.dumps(dict(one=one, again=again, two=two, all=[v.version for v in api.artifacts("dataset", "local/ver/ds")],
    coll=[coll.name, coll.type, sorted(coll.aliases)], types=[t.name for t in api.artifact_types("local/ver")],
    colls=[c.name for c in api.artifact_collections("local/ver", "dataset")],
    exists=[api.artifact_exists("local/ver/ds:latest"), api.artifact_exists("local/ver/ds:nope"),
            api.artifact_collection_exists("ds", "dataset") if False else None])))
""")
    assert got["one"][0] == "v0" and got["again"][0] == "v0" and "again" in got["again"][1]
    assert got["two"][0] == "v1" and "latest" in got["two"][1]
    assert got["all"] == ["v1", "v0"] and got["coll"][:2] == ["ds", "dataset"] and "again" in got["coll"][2]
    assert "dataset" in got["types"] and got["colls"] == ["ds"]
    assert got["exists"][:2] == [True, False]


SAME_AT_ONCE = HEAD + """
import threading
for i in range(8):
    put(f"at-once/{i}", bytes([i]) * (3 << 20))
N = 4
runs = [wandb.init(project="once", id=f"r{i}", reinit="create_new") for i in range(N)]
start, out = threading.Barrier(N), [None] * N
def log(i):
    a = wandb.Artifact("ds", type="t")
    a.add_dir("at-once")
    start.wait()
    runs[i].log_artifact(a, aliases=[f"by-{i}"], tags=[f"t{i}"]).wait()
    runs[i].use_artifact(a)
    runs[i].link_artifact(a, "models")
    out[i] = [a.version, a.id]
threads = [threading.Thread(target=log, args=[i]) for i in range(N)]
for t in threads: t.start()
for t in threads: t.join()
for r in runs: r.finish()
api = wandb.Api()
v = api.artifact("local/once/ds:by-2")
print(json.dumps(dict(out=out, versions=[x.version for x in api.artifacts("t", "local/once/ds")], aliases=sorted(v.aliases),
    tags=sorted(v.tags), used=sorted(r.id for r in v.used_by()), latest=api.artifact("local/once/ds").id == v.id,
    outputs=[[x.name for x in api.run(f"local/once/r{i}").logged_artifacts()] for i in range(N)],
    files=sorted(f.name for f in v.files()))))
"""


def test_the_same_content_logged_at_once_is_one_version(server):
    got = server.script(SAME_AT_ONCE)
    assert got["versions"] == ["v0"] and got["latest"] and got["files"] == [str(i) for i in range(8)], got
    assert [version for version, _ in got["out"]] == ["v0"] * 4 and len({id for _, id in got["out"]}) == 1, got
    assert got["aliases"] == ["by-0", "by-1", "by-2", "by-3", "latest"] and got["tags"] == ["t0", "t1", "t2", "t3"]
    assert got["outputs"] == [["ds:v0"]] * 4 and got["used"] == ["r0", "r1", "r2", "r3"]


def test_an_id_stands_for_the_version_that_it_became(server):
    """By hand: of two that are filled at the same time the second to be committed is asked for."""
    content = json.dumps({"version": 1, "storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {},
                          "contents": {}}).encode()

    def ask(query, **variables):
        answer = server.graphql(query, variables)
        assert "errors" not in answer, answer
        return next(iter(answer["data"].values()))

    def begin(alias):
        made = ask("mutation($i: CreateArtifactInput!) { createArtifact(input: $i) { artifact { id state } } }", i={
            "entityName": "local", "projectName": "became", "artifactTypeName": "t", "artifactCollectionName": "c",
            "digest": "d" * 32, "clientID": "client-" + alias, "aliases": [{"artifactCollectionName": "c", "alias": alias}]})
        assert made["artifact"]["state"] == "PENDING"
        manifest = ask("""mutation($a: ID!) { createArtifactManifest(input: {artifactID: $a, name: "wandb_manifest.json",
                          digest: "", entityName: "local", projectName: "became", runName: "r", type: FULL}) {
                          artifactManifest { file { uploadUrl } } } }""", a=made["artifact"]["id"])
        assert server.request("PUT", manifest["artifactManifest"]["file"]["uploadUrl"], content, key=None)[0] == 200
        return made["artifact"]["id"]

    first, second = begin("one"), begin("two")
    commit = "mutation($a: ID!) { commitArtifact(input: {artifactID: $a}) { artifact { id state versionIndex } } }"
    for id in (first, second, second):
        assert ask(commit, a=id)["artifact"] == {"id": first, "state": "COMMITTED", "versionIndex": 0}
    found = ask("query($a: ID!) { artifact(id: $a) { id aliases { alias } } }", a=second)
    assert found["id"] == first and sorted(a["alias"] for a in found["aliases"]) == ["latest", "one", "two"]
    assert ask('{ clientIDMapping(clientID: "client-two") { serverID } }')["serverID"] == first
    ask("mutation($a: ID!) { updateArtifact(input: {artifactID: $a, description: \"changed\"}) { artifact { id } } }", a=second)
    assert ask("query($a: ID!) { artifact(id: $a) { description } }", a=first)["description"] == "changed"


def test_change_link_and_delete(server):
    got = server.script(HEAD + """
with wandb.init(project="chg") as run:
    for i in range(3):
        a = wandb.Artifact("ds", type="dataset", metadata={"i": i})
        a.add_file(put("in/x", b"%d" % i), name="x")
        run.log_artifact(a).wait()
    run.link_artifact(a, "chosen", aliases=["prod"])
api = wandb.Api()
v1 = api.artifact("local/chg/ds:v1")
v1.description, v1.metadata["i"], v1.aliases, v1.tags = "changed", 10, v1.aliases + ["mine"], ["x"]
v1.save()
again = api.artifact("local/chg/ds:mine")
changed = [again.version, again.description, again.metadata, again.tags, sorted(again.aliases)]
again.aliases.remove("mine"); again.save()
gone_alias = api.artifact_exists("local/chg/ds:mine")
linked = api.artifact("local/chg/chosen:prod")
links = [linked.version, linked.is_link, linked.source_name, linked.name, len(api.artifact("local/chg/ds:v2").linked_artifacts)]
linked.unlink()
after = api.artifact_exists("local/chg/chosen:prod")
api.artifact("local/chg/ds:v2").delete(delete_aliases=True)
latest = api.artifact("local/chg/ds:latest").version
coll = api.artifact_collection("dataset", "local/chg/ds")
coll.name, coll.description, coll.tags = "renamed", "words", ["ct"]
coll.save()
coll = api.artifact_collection("dataset", "local/chg/renamed")
colls = [coll.name, coll.description, coll.tags]
versions = [v.version for v in api.artifacts("dataset", "local/chg/renamed")]
tagged = [v.version for v in api.artifacts("dataset", "local/chg/renamed", tags=["x"])]
coll.delete()
print(json.dumps(dict(changed=changed, gone=gone_alias, links=links, after=after, latest=latest, colls=colls,
    versions=versions, tagged=tagged, left=[c.name for c in api.artifact_collections("local/chg", "dataset")])))
""")
    assert got["changed"] == ["v1", "changed", {"i": 10}, ["x"], ["mine"]]
    assert got["gone"] is False and got["links"][:2] == ["v0", True] and got["links"][4] == 1
    assert got["links"][2] == "ds:v2" and got["links"][3] == "chosen:prod"
    assert got["after"] is False and got["latest"] == "v1"
    assert got["colls"] == ["renamed", "words", ["ct"]] and got["versions"] == ["v1", "v0"]
    assert got["tagged"] == ["v1"] and got["left"] == ["chosen"]


def test_a_run_is_deleted_with_its_artifacts_or_without(server):
    got = server.script(HEAD + """
def log(run, name, text):
    a = wandb.Artifact(name, type="dataset")
    a.add_file(put("in/x", text), name="x")
    return run.log_artifact(a).wait()
for id in ("r1", "r2"):
    with wandb.init(project="del", id=id) as run:
        log(run, "both", b"same")
        if id == "r1": run.link_artifact(log(run, "own", b"1"), "chosen", aliases=["prod"])
        log(run, "own", b"2" if id == "r1" else b"3")
        log(run, id, b"4")
api = wandb.Api()
versions = lambda name: [v.version for v in api.artifacts("dataset", "local/del/" + name)]
before = [versions(n) for n in ("both", "own", "r1", "r2")]
api.run("local/del/r1").delete(delete_artifacts=True)
after = [versions(n) for n in ("both", "own", "r1", "r2")]
linked = api.artifact_exists("local/del/chosen:prod")
with open(api.artifact("local/del/r2:v0").get_entry("x").download(root="again")) as f: text = f.read()
api.run("local/del/r2").delete()
print(json.dumps([before, after, linked, text, [versions(n) for n in ("both", "own", "r1", "r2")]]))
""")
    assert got[0] == [["v0"], ["v2", "v1", "v0"], ["v0"], ["v0"]]
    assert got[1] == got[4] == [["v0"], ["v2"], [], ["v0"]]
    assert got[2] is False and got[3] == "4"


def test_incremental_and_distributed(server):
    got = server.script(HEAD + """
with wandb.init(project="inc") as run:
    a = wandb.Artifact("ds", type="dataset"); a.add_file(put("in/a", b"aa"), name="a"); run.log_artifact(a).wait()
    b = wandb.Artifact("ds", type="dataset", incremental=True); b.add_file(put("in/b", b"bb"), name="b")
    run.log_artifact(b).wait()
    inc = tree(fetch(run.use_artifact("ds:v1"), "inc"))
for i in range(2):
    with wandb.init(project="inc", group="g", id=f"member{i}") as run:
        c = wandb.Artifact("dist", type="dataset"); c.add_file(put(f"in/p{i}", b"p%d" % i), name=f"p{i}")
        run.upsert_artifact(c, distributed_id="grp")
with wandb.init(project="inc", group="g", id="last") as run:
    c = wandb.Artifact("dist", type="dataset"); c.add_file(put("in/p2", b"p2"), name="p2")
    run.finish_artifact(c, distributed_id="grp").wait()
print(json.dumps(dict(inc=inc, dist=tree(fetch(wandb.Api().artifact("local/inc/dist:latest"), "dist")),
    n=len(list(wandb.Api().artifacts("dataset", "local/inc/dist"))))))
""")
    assert got["inc"] == {"a": b"aa".hex(), "b": b"bb".hex()}
    assert got["dist"] == {f"p{i}": f"p{i}".encode().hex() for i in range(3)} and got["n"] == 1


def test_tables_and_media_refer_to_artifacts(server):
    got = server.script(HEAD + """
with wandb.init(project="tab", id="tables") as run:
    run.log({"tbl": wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, None]])})
api = wandb.Api()
arts = list(api.run("local/tab/tables").logged_artifacts())
t = arts[0].get("tbl")
print(json.dumps(dict(type=arts[0].type, rows=t.data, cols=t.columns, summary=api.run("local/tab/tables").summary["tbl"]["nrows"])))
""")
    assert got == {"type": "run_table", "rows": [[1, "x"], [2, None]], "cols": ["a", "b"], "summary": 2}


def test_any_region_is_taken_and_kept_in_the_manifest(server):
    """Self-hosted W&B names its own store "minio-local", and its clients ask for that."""
    got = server.script(HEAD + """
with wandb.init(project="regions") as run:
    a = wandb.Artifact("r", type="dataset", storage_region="minio-local")
    a.add_file(put("in/a.txt", b"hello"))
    run.log_artifact(a).wait()
b = wandb.Api().artifact("local/regions/r:latest")
print(json.dumps([b.state, b.manifest.to_manifest_json()["storagePolicyConfig"]["storageRegion"], tree(fetch(b, "out-regions"))]))
""")
    assert got == ["COMMITTED", "minio-local", {"a.txt": b"hello".hex()}]


def test_uploads_want_their_url_and_their_digest(server):
    q = """mutation($i: CreateArtifactInput!) { createArtifact(input: $i) { artifact { id state } } }"""
    made = server.graphql(q, {"i": {"entityName": "local", "projectName": "raw", "artifactTypeName": "t",
                                    "artifactCollectionName": "c", "digest": "0" * 32}})
    art = made["data"]["createArtifact"]["artifact"]["id"]
    q = """mutation($i: CreateArtifactFilesInput!) { createArtifactFiles(input: $i) { files { edges { node {
             uploadUrl uploadHeaders storagePath artifact { id } } } } } }"""
    made = server.graphql(q, {"i": {"artifactFiles": [{"artifactID": art, "name": "f", "md5": "lzv1ClsY1IwRv8Nuu5tllw=="}],
                                    "storageLayout": "V2"}})
    node = made["data"]["createArtifactFiles"]["files"]["edges"][0]["node"]
    url = node["uploadUrl"]
    assert node["uploadHeaders"] == ["Content-MD5:lzv1ClsY1IwRv8Nuu5tllw==", "X-Tare-Resumable:1"] and node["artifact"]["id"] == art
    assert server.request("PUT", url, b"uniquE\n", key=None)[0] == 400
    forged = url.replace("/storage/", "/storage/A")
    assert server.request("PUT", forged, b"unique\n", key=None)[0] == 403
    status, headers, _ = server.request("PUT", url, b"unique\n", key=None)
    assert status == 200 and headers["ETag"] == '"973bf50a5b18d48c11bfc36ebb9b6597"'
    # committing without a manifest is refused with a reason
    gone = server.graphql("mutation($a: ID!) { commitArtifact(input: {artifactID: $a}) { artifact { id } } }", {"a": art})
    assert gone["status"] == 400 and "manifest" in gone["errors"][0]["message"]


def test_nobody_else_reads_or_writes_a_private_artifact(server):
    server.script(HEAD + """
with wandb.init(project="private") as run:
    a = wandb.Artifact("ds", type="dataset"); a.add_file(put("in/s", b"secret"), name="s"); run.log_artifact(a).wait()
print(1)
""")
    mine = server.graphql("""{ project(entityName: "local", name: "private") { artifact(name: "ds:v0") { id
        artifactSequence { id } } } }""")["data"]["project"]["artifact"]
    key = server.add_user("mallory")
    for query in (f'{{ artifact(id: "{mine["id"]}") {{ digest }} }}',
                  f'{{ artifactCollection(id: "{mine["artifactSequence"]["id"]}") {{ name }} }}',
                  '{ project(entityName: "local", name: "private") { artifact(name: "ds:v0") { id } } }'):
        got = server.graphql(query, key=key)
        assert got["data"] is None or list(got["data"].values()) == [None], got
    for mutation in (f'deleteArtifact(input: {{artifactID: "{mine["id"]}", deleteAliases: true}}) {{ artifact {{ id }} }}',
                     f'commitArtifact(input: {{artifactID: "{mine["id"]}"}}) {{ artifact {{ id }} }}',
                     f'addAliases(input: {{artifactID: "{mine["id"]}", aliases: [{{alias: "x"}}]}}) {{ success }}',
                     f'updateArtifact(input: {{artifactID: "{mine["id"]}", description: "x"}}) {{ artifact {{ id }} }}',
                     f'createArtifactManifest(input: {{artifactID: "{mine["id"]}", name: "m", digest: ""}})'
                     ' { artifactManifest { id } }',
                     f'deleteArtifactSequence(input: {{artifactSequenceID: "{mine["artifactSequence"]["id"]}"}})'
                     ' { artifactCollection { state } }'):
        got = server.graphql("mutation { " + mutation + " }", key=key)
        assert got["errors"] and got["status"] in (403, 404), (mutation, got)
    digest = hashlib.md5(b"secret").hexdigest()
    path = f"/artifactsV2/default/local/private/ds/{mine['id']}/{digest}/s"
    assert server.request("GET", path)[0] == 200
    assert server.request("GET", path, key=key)[0] == 404
    assert server.request("GET", path, key=None)[0] == 401
    assert server.request("GET", f"/artifacts/local/{digest}", key=key)[0] in (403, 404)


def test_ranges_of_a_file(server):
    got = server.script(HEAD + """
with wandb.init(project="rng") as run:
    a = wandb.Artifact("ds", type="dataset"); a.add_file(put("in/r", bytes(range(100))), name="r"); run.log_artifact(a).wait()
print(json.dumps([f.direct_url for f in a.files()]))
""")
    url = got[0]
    status, headers, body = server.request("GET", url, key=None, Range="bytes=10-19")
    assert status == 206 and body == bytes(range(10, 20)) and headers["Content-Range"] == "bytes 10-19/100"
    assert server.request("GET", url, key=None, Range="bytes=200-")[0] == 416
    for condition, status in ((headers["ETag"], 206), ('"another"', 200), ("W/" + headers["ETag"], 200),
                              ("Sun, 06 Nov 1994 08:49:37 GMT", 200)):
        got = server.request("GET", url, key=None, Range="bytes=90-", If_Range=condition)
        assert got[0] == status and got[2] == bytes(range(100))[90 if status == 206 else 0:]
    assert json.loads(server.request("GET", url.replace("/storage/", "/storage/x"), key=None)[2])["error"]


def test_a_deleted_version_that_another_refers_to_still_gives_its_files(server):
    got = server.script(HEAD + """
with wandb.init(project="refs") as run:
    base = wandb.Artifact("base", type="dataset"); base.add_file(put("in/b", b"of the base"), name="b")
    run.log_artifact(base).wait()
    other = wandb.Artifact("other", type="dataset"); other.add_reference(base.get_entry("b").ref_url(), name="far")
    run.log_artifact(other).wait()
wandb.Api().artifact("refs/base:v0").delete(delete_aliases=True)
names = [c.name for c in wandb.Api().artifact_type("dataset", "refs").collections() for v in c.artifacts()]
print(json.dumps([names, tree(fetch(wandb.Api().artifact("refs/other:v0"), "far"))]))
""")
    assert got == [["other"], {"far": b"of the base".hex()}]


def test_room_comes_back_soon_after_a_deletion(server):
    blobs = server.dir / "blobs"

    def sizes():
        found = []
        for p in blobs.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                found.append(p.stat().st_size)
        return found

    got = server.script(HEAD + """
with wandb.init(project="room") as run:
    kept, gone = (wandb.Artifact(n, type="dataset") for n in ("kept", "gone"))
    for a, size in ((kept, 1234567), (gone, 2345678)):
        a.add_file(put("in/%d" % size, os.urandom(size))); run.log_artifact(a).wait()
print(json.dumps(run.id))
""")
    assert {1234567, 2345678} <= set(sizes())
    server.script('import wandb; wandb.Api().artifact("room/gone:v0").delete(delete_aliases=True)')
    deadline = time.monotonic() + 60
    while 2345678 in sizes():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert 1234567 in sizes()
    server.script(f'import wandb; wandb.Api().run("room/{got}").delete(delete_artifacts=True)')
    while 1234567 in sizes():
        assert time.monotonic() < deadline + 60
        time.sleep(0.2)


def test_a_link_is_undone_after_its_source_has_another_type(server):
    got = server.script(HEAD + """
with wandb.init(project="retype") as run:
    a = wandb.Artifact("src", type="dataset"); a.add_file(put("in/x", b"x")); a = run.log_artifact(a).wait()
    run.link_artifact(a, "port", aliases=["prod"])
api = wandb.Api()
api.artifact_collection("dataset", "retype/src").change_type("model")
linked = api.artifact("retype/port:prod")
linked.unlink()
try: left = api.artifact("retype/port:prod").name
except wandb.errors.CommError: left = None
print(json.dumps([linked.type, left, api.artifact("retype/src:v0").aliases]))
""")
    assert got == ["model", None, ["latest"]]


def test_a_part_alone_is_not_the_version_that_it_was_laid_over(server):
    got = server.script(HEAD + """
def log(run, a): run.log_artifact(a).wait(); return [a.version, sorted(a.manifest.entries)]
with wandb.init(project="parts") as run:
    out = []
    a = wandb.Artifact("ds", type="t"); a.add_file(put("in/a", b"a"), name="a"); out.append(log(run, a))
    b = wandb.Artifact("ds", type="t", incremental=True); b.add_file(put("in/b", b"b"), name="b"); out.append(log(run, b))
    draft = b.new_draft(); draft.remove("a"); out.append(log(run, draft))
    full = wandb.Artifact("ds", type="t"); full.add_file("in/a", name="a"); full.add_file("in/b", name="b"); out.append(log(run, full))
print(json.dumps(out + [b.digest == full.digest == b.manifest.digest()]))
""")
    assert got == [["v0", ["a"]], ["v1", ["a", "b"]], ["v2", ["b"]], ["v1", ["a", "b"]], True]
