# SPDX-License-Identifier: MIT
"""Artifacts brought to tare server by the service's own code, read back by the unmodified SDK."""

import base64
import gzip
import hashlib
import http.client
import json
import os
import pathlib
import random
import subprocess
import tempfile
import threading

import pytest
from wandb.proto import wandb_internal_pb2 as pb

from server_support import ROOT, Server
from test_upload_faults import Backend

BUILD = pathlib.Path(os.environ.get("TARE_BUILD", ROOT / "build"))
DRIVER = os.environ.get("ARTIFACT_DRIVER", str(BUILD / "tests/unit/artifact_driver"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        s.script("""
import json, wandb
for id in ("maker", "member0", "member1", "member2"):
    with wandb.init(project="up", id=id): pass
print("0")
""")
        yield s


class Asker:
    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.staging = folder / "staging"
        self.staging.mkdir()
        self.cache = folder / "cache"
        self.n = 0

    def stage(self, content):
        self.n += 1
        path = self.staging / f"tmp{self.n}"
        path.write_bytes(content)
        path.chmod(0o400)
        return path

    def artifact(self, name, files, refs=(), **fields):
        """An ArtifactRecord with `files` (name -> bytes or a path) as the SDK makes it."""
        record = pb.ArtifactRecord(run_id="maker", project="up", entity="local", type="dataset", name=name,
                                   client_id=os.urandom(8).hex(), sequence_client_id=os.urandom(8).hex(),
                                   finalize=True, aliases=["latest"], **fields)
        record.manifest.version = 1
        record.manifest.storage_policy = "wandb-storage-policy-v1"
        record.manifest.storage_policy_config.add(key="storageLayout", value_json='"V2"')
        lines = []
        for path, content in sorted(files.items()):
            local = content if isinstance(content, pathlib.Path) else self.stage(content)
            content = local.read_bytes()
            digest = base64.b64encode(hashlib.md5(content).digest()).decode()
            record.manifest.contents.add(path=path, digest=digest, size=len(content), local_path=str(local))
            lines.append(f"{path}:{digest}\n")
        for path, ref in refs:
            record.manifest.contents.add(path=path, digest=ref, ref=ref)
            lines.append(f"{path}:{ref}\n")
        whole = "wandb-artifact-manifest-v1\n" + "".join(sorted(lines))
        record.digest = hashlib.md5(whole.encode()).hexdigest()
        return record

    def log(self, record):
        return "log", pb.LogArtifactRequest(artifact=record, staging_dir=str(self.staging))

    def ask(self, *questions, key=None, url=None):
        """Answers in the order of the questions, and what else was printed."""
        names = []
        for kind, message in questions:
            self.n += 1
            path = self.folder / f"request{self.n}"
            path.write_bytes(message.SerializeToString())
            names.append(f"{kind}:{path}")
        done = subprocess.run([DRIVER, url or self.server.url, key or self.server.key, "local", "up", "maker", *names],
                              capture_output=True, text=True, timeout=300,
                              env={**os.environ, "WANDB_CACHE_DIR": str(self.cache),
                                   "TARE_UPLINK": str(BUILD / "tare-uplink.so")})
        assert done.returncode == 0, done.stderr
        self.said = done.stderr
        lines = done.stdout.splitlines()
        kinds = {"log": pb.LogArtifactResponse, "link": pb.LinkArtifactResponse,
                 "download": pb.DownloadArtifactResponse}
        answers = []
        for name in names:
            for line in lines:
                if line.startswith(name + " "):
                    answers.append(kinds[name.split(":")[0]].FromString(bytes.fromhex(line.split()[1] if len(line.split()) > 1 else "")))
        words = lines[-1].split()
        assert words[0] == "finished"
        self.finished = {"error": int(words[1]), "files": int(words[3]), "uploaded": int(words[5]), "deduped": int(words[9])}
        self.told = [line for line in lines if line.startswith("told")]
        return answers


@pytest.fixture
def asker(server, tmp_path):
    return Asker(server, tmp_path)


def read_back(server, name):
    return server.script(f"""
import json, os, pathlib, wandb
os.environ["WANDB_CACHE_DIR"] = os.path.abspath("cache-%d" % os.getpid())
a = wandb.Api().artifact("local/up/{name}")
folder = a.download("out-{name.replace(':', '-')}")
print(json.dumps(dict(files={{str(p.relative_to(folder)): p.read_bytes().hex() for p in sorted(pathlib.Path(folder).rglob("*")) if p.is_file()}},
    version=a.version, aliases=sorted(a.aliases), state=a.state, description=a.description, metadata=a.metadata, ttl=str(a.ttl), tags=sorted(a.tags),
    digest=a.digest, size=a.size, by=a.logged_by() and a.logged_by().id, id=a.id, used=[r.id for r in a.used_by()])))
""")


def test_new_artifact(asker, server):
    files = {"a.txt": b"hello\n", "empty": b"", "sub/dir with space/b%41.bin": bytes(range(256)) * 1000}
    record = asker.artifact("new", files, description="numbers", metadata='{"rows":3}', tags=["t1"], use_after_commit=True)
    staged = [pathlib.Path(e.local_path) for e in record.manifest.contents]
    (answer,) = asker.ask(asker.log(record))
    assert answer.error_message == ""
    got = read_back(server, "new:latest")
    assert {k: bytes.fromhex(v) for k, v in got["files"].items()} == files
    assert got["id"] == answer.artifact_id and got["version"] == "v0" and got["state"] == "COMMITTED"
    assert (got["description"], got["metadata"], got["tags"]) == ("numbers", {"rows": 3}, ["t1"])
    assert got["digest"] == record.digest and got["by"] == "maker"
    assert asker.finished == {"error": 0, "files": 4, "uploaded": 6 + 256_000, "deduped": 0}  # three and the manifest
    # staged files are in the cache, where the SDK looks, and nowhere else
    assert not any(p.exists() for p in staged)
    for content in files.values():
        digest = hashlib.md5(content).hexdigest()
        assert (asker.cache / "artifacts/obj/md5" / digest[:2] / digest[2:]).read_bytes() == content


def test_same_content_again(asker, server):
    files = {"a": b"same"}
    (first,) = asker.ask(asker.log(asker.artifact("same", files)))
    (again,) = asker.ask(asker.log(asker.artifact("same", files)))
    assert first.artifact_id == again.artifact_id != ""
    assert asker.finished["files"] == 0
    assert 'Artifact "same" already exists with the same content.' in asker.told[0]
    assert list(asker.staging.iterdir()) == []


def test_versions_of_one_name_in_order_and_known_files(asker, server):
    records = [asker.artifact("order", {"n": str(i).encode(), "common": b"x" * 100_000}) for i in range(6)]
    answers = asker.ask(*[asker.log(r) for r in records])
    assert [a.error_message for a in answers] == [""] * 6
    for i, answer in enumerate(answers):
        assert read_back(server, f"order:v{i}")["id"] == answer.artifact_id
    assert asker.finished["deduped"] == 5 * 100_000


def test_record_that_nobody_waits_for(asker, server):
    asker.ask(("record", asker.artifact("record", {"a": b"1"})))
    assert bytes.fromhex(read_back(server, "record:v0")["files"]["a"]) == b"1"


def test_manifest_in_a_file(asker, server):
    files = {f"f{i:04}": str(i).encode() for i in range(700)}
    record = asker.artifact("big", files)
    lines = [json.dumps({"path": e.path, "digest": e.digest, "size": e.size, "local_path": e.local_path})
             for e in record.manifest.contents]
    path = asker.folder / "manifest.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    del record.manifest.contents[:]
    record.manifest.manifest_file_path = str(path)
    (answer,) = asker.ask(asker.log(record))
    assert answer.error_message == ""
    assert not path.exists()
    assert {k: bytes.fromhex(v) for k, v in read_back(server, "big:v0")["files"].items()} == files


def test_files_of_the_user_stay_and_are_cached_by_copy(asker, server):
    mine = asker.folder / "mine.bin"
    mine.write_bytes(b"m" * 200_000)
    asker.ask(asker.log(asker.artifact("mine", {"m": mine})))
    assert mine.read_bytes() == b"m" * 200_000
    digest = hashlib.md5(mine.read_bytes()).hexdigest()
    cached = asker.cache / "artifacts/obj/md5" / digest[:2] / digest[2:]
    assert cached.read_bytes() == mine.read_bytes()
    assert not cached.samefile(mine)
    assert list((asker.cache / "artifacts/tmp").iterdir()) == []


def test_skip_cache(asker, server):
    record = asker.artifact("nocache", {"a": b"not kept"})
    record.manifest.contents[0].skip_cache = True
    asker.ask(asker.log(record))
    assert not asker.cache.exists() and list(asker.staging.iterdir()) == []


def test_incremental(asker, server):
    (base,) = asker.ask(asker.log(asker.artifact("inc", {"a": b"1", "b": b"2"})))
    (more,) = asker.ask(asker.log(asker.artifact("inc", {"c": b"3"}, base_id=base.artifact_id, incremental_beta1=True)))
    assert more.error_message == ""
    got = read_back(server, "inc:latest")["files"]
    assert {k: bytes.fromhex(v) for k, v in got.items()} == {"a": b"1", "b": b"2", "c": b"3"}


def test_distributed(asker, server):
    parts = [asker.artifact("dist", {f"part{i}": bytes([i])}, distributed_id="group1") for i in range(3)]
    for i, part in enumerate(parts):
        part.run_id, part.finalize = f"member{i}", i == 2
        (answer,) = asker.ask(asker.log(part))
        assert answer.error_message == ""
    got = read_back(server, "dist:latest")["files"]
    assert {k: bytes.fromhex(v) for k, v in got.items()} == {f"part{i}": bytes([i]) for i in range(3)}


def test_reference_to_an_artifact_of_this_client(asker, server):
    target = asker.artifact("target", {"a": b"t"})
    (first,) = asker.ask(asker.log(target))
    record = asker.artifact("pointer", {}, refs=[("p", f"wandb-client-artifact://{target.client_id}/a")])
    (answer,) = asker.ask(asker.log(record))
    assert answer.error_message == ""
    got = server.script(f"""
import json, wandb
print(json.dumps(wandb.Api().artifact("local/up/pointer:v0").manifest.entries["p"].ref))
""")
    assert got == f"wandb-artifact://{base64.b64decode(first.artifact_id).hex()}/a"


def test_a_changed_or_missing_file_is_noticed(asker, server):
    changed = asker.folder / "changed.bin"
    changed.write_bytes(b"c" * 100_000)
    record = asker.artifact("bad", {"c": changed})
    changed.write_bytes(b"d" * 100_000)
    missing = asker.artifact("bad2", {"m": b"1"})
    pathlib.Path(missing.manifest.contents[0].local_path).unlink()
    answers = asker.ask(asker.log(record), asker.log(missing))
    assert "most remaining uploads (1/1) have failed" in answers[0].error_message
    assert "No such file" in answers[1].error_message
    assert not asker.cache.exists()


def test_refused(asker, server):
    (answer,) = asker.ask(asker.log(asker.artifact("no", {"a": b"1"})), key="0" * 40)
    assert answer.error_message.startswith("ArtifactSaver.createArtifact: ")
    assert len(list(asker.staging.iterdir())) == 1  # for a later sync


def test_link(asker, server):
    (answer,) = asker.ask(asker.log(asker.artifact("linked", {"a": b"1"})))
    request = pb.LinkArtifactRequest(server_id=answer.artifact_id, portfolio_name="best-ones", portfolio_entity="local",
                                     portfolio_project="up", portfolio_aliases=["gold"])
    nothing = pb.LinkArtifactRequest(portfolio_name="best-ones", portfolio_entity="local", portfolio_project="up")
    linked, refused = asker.ask(("link", request), ("link", nothing))
    assert linked.error_message == ""
    assert refused.error_message == ("LinkArtifact: best-ones, error: artifact must have either server id or client id")
    got = server.script("""
import json, wandb
a = wandb.Api().artifact("local/up/best-ones:gold")
print(json.dumps([a.source_name, a.version]))
""")
    assert got[0] == "linked:v0" and got[1] == f"v{linked.version_index}"


class Proxy(Backend):
    """The real server behind a network that does everything wrong now and then."""

    def __init__(self, server, fault):
        super().__init__(fault)
        self.server = server

    def handle(self, method, path, headers, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        connection.request(method, path, body, {k: v for k, v in headers.items() if k not in ("expect", "connection")})
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("seed", range(3))
def test_a_network_that_fails(asker, server, seed):
    rng = random.Random(seed)
    kinds = ["reset", "429", "500", "502", "cut request", "reply lost", "slow"]
    proxy = Proxy(server, lambda i, path: rng.choice(kinds) if rng.random() < 0.4 else None)
    files = {f"f{i}": rng.randbytes([0, 100, 70_000, 400_000][i % 4]) for i in range(40)}
    try:
        (answer,) = asker.ask(asker.log(asker.artifact(f"net{seed}", files)), url=proxy.url)
    finally:
        proxy.close()
    assert answer.error_message == ""
    got = read_back(server, f"net{seed}:latest")
    assert {k: bytes.fromhex(v) for k, v in got["files"].items()} == files
    assert got["version"] == "v0"


@pytest.mark.skipif("TARE_LARGE" not in os.environ, reason="TARE_LARGE=1: writes 4 GB")
def test_a_large_file_goes_in_parts(asker, server):
    large = asker.folder / "large.bin"
    size = (2 << 30) + 12345
    with open(large, "wb") as f:
        f.truncate(size)
        f.seek(150 << 20)
        f.write(b"not zero")
    digest = hashlib.md5()
    with open(large, "rb") as f:
        while block := f.read(1 << 24):
            digest.update(block)
    record = asker.artifact("large", {"small": b"s"})
    record.manifest.contents.add(path="large", digest=base64.b64encode(digest.digest()).decode(), size=size,
                                 local_path=str(large), skip_cache=True)
    (answer,) = asker.ask(asker.log(record))
    assert answer.error_message == ""
    assert asker.finished["uploaded"] == size + 1
    got = server.script("""
import json, hashlib, wandb
a = wandb.Api().artifact("local/up/large:latest")
e = a.get_entry("large")
path = e.download("large-out", skip_cache=True)
print(json.dumps([e.size, hashlib.md5(open(path, "rb").read()).hexdigest()]))
""", timeout=300)
    assert got == [size, digest.hexdigest()]


@pytest.mark.skipif(not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat("/tmp").st_dev,
                    reason="needs two disks")
def test_cache_on_another_disk(asker, server):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        asker.cache = pathlib.Path(other)
        (answer,) = asker.ask(asker.log(asker.artifact("far", {"a": b"far away"})))
        assert answer.error_message == ""
        digest = hashlib.md5(b"far away").hexdigest()
        assert (asker.cache / "artifacts/obj/md5" / digest[:2] / digest[2:]).read_bytes() == b"far away"
    assert list(asker.staging.iterdir()) == []


def test_full_cache_leaves_no_half_file(asker, server):
    """The cache cannot be written: the artifact is there all the same."""
    asker.cache.write_bytes(b"no folder")
    mine = asker.folder / "mine2.bin"
    mine.write_bytes(b"z" * 1000)
    (answer,) = asker.ask(asker.log(asker.artifact("nospace", {"a": b"staged", "m": mine})))
    assert answer.error_message == ""
    assert asker.cache.read_bytes() == b"no folder" and mine.exists()
    assert list(asker.staging.iterdir()) == []


def cached(folder):
    return {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}


def test_ten_processes_fill_one_cache(server, tmp_path):
    """Most of what they log is the same: whoever looks into the cache meanwhile finds files whole, or none."""
    askers = []
    for i in range(10):
        folder = tmp_path / str(i)
        folder.mkdir()
        asker = Asker(server, folder)
        asker.cache = tmp_path / "cache"
        askers.append(asker)
    contents = [random.Random(k).randbytes(1_000_000) for k in range(12)]
    mine = tmp_path / "mine"
    mine.mkdir()
    for k in range(6):
        (mine / str(k)).write_bytes(contents[6 + k])
    records = [a.artifact(f"ten{i}", {**{f"s{k}": contents[k] for k in range(6)}, **{f"m{k}": mine / str(k) for k in range(6)},
                                      "own": str(i).encode()}) for i, a in enumerate(askers)]
    torn, over = [], threading.Event()

    def look():
        while not over.is_set():
            for path in (tmp_path / "cache/artifacts/obj/md5").glob("*/*"):
                if hashlib.md5(path.read_bytes()).hexdigest() != path.parent.name + path.name:
                    torn.append(path)

    answers = [None] * 10

    def log(i):
        answers[i] = askers[i].ask(askers[i].log(records[i]))[0].error_message

    looker = threading.Thread(target=look)
    looker.start()
    threads = [threading.Thread(target=log, args=(i,)) for i in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    over.set()
    looker.join()
    assert answers == [""] * 10 and torn == []
    digests = {hashlib.md5(c).hexdigest() for c in contents + [str(i).encode() for i in range(10)]}
    assert {"".join(p.parts) for p in cached(tmp_path / "cache/artifacts/obj/md5")} == digests
    assert list((tmp_path / "cache/artifacts/tmp").iterdir()) == []
    assert all(list(a.staging.iterdir()) == [] for a in askers)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)],
                                      stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_in_the_cache(asker, server, small_disk):
    """What does not fit is told, nothing half is left, and the artifact is there all the same."""
    asker.cache = small_disk
    mine = asker.folder / "mine3.bin"
    mine.write_bytes(random.Random(3).randbytes(200_000))
    staged = random.Random(4).randbytes(200_000)
    (answer,) = asker.ask(asker.log(asker.artifact("full", {"a": b"fits", "m": mine, "s": staged})))
    assert answer.error_message == ""
    whole = [p for p in (small_disk / "artifacts/obj/md5").glob("*/*")]
    assert 1 <= len(whole) <= 2
    for path in whole:
        assert hashlib.md5(path.read_bytes()).hexdigest() == path.parent.name + path.name
    assert list((small_disk / "artifacts/tmp").iterdir()) == []
    assert list(asker.staging.iterdir()) == [] and mine.exists()
    assert "was not put into the cache: no space left on device" in asker.said.lower()
    got = read_back(server, "full:latest")["files"]
    assert bytes.fromhex(got["s"]) == staged


class Changing(Proxy):
    """Changes a file when the first of its bytes have come."""

    def __init__(self, server, path, content):
        super().__init__(server, lambda i, p: None)
        self.path, self.content, self.done = path, content, False

    def handle(self, method, path, headers, body):
        if method == "PUT" and not self.done:
            self.done = True
            self.path.write_bytes(self.content)
        return super().handle(method, path, headers, body)


@pytest.mark.parametrize("size", [1000, 200_000, 9 << 20])
def test_a_file_that_changes_while_it_is_sent(asker, server, size):
    """Small ones are read before, and so are the bytes of the digest; others, streamed at once or after a look at what is
    there, are no version with other bytes. What is not of the digest is not in the cache."""
    mine = asker.folder / "changing.bin"
    mine.write_bytes(b"a" * size)
    record = asker.artifact(f"changing{size}", {"f": mine})
    proxy = Changing(server, mine, b"b" * size)
    try:
        (answer,) = asker.ask(asker.log(record), url=proxy.url)
    finally:
        proxy.close()
    if size == 1000:
        assert answer.error_message == ""
        assert bytes.fromhex(read_back(server, "changing1000:latest")["files"]["f"]) == b"a" * size
    else:
        assert "most remaining uploads (1/1) have failed" in answer.error_message
    assert not asker.cache.exists() or not cached(asker.cache)
