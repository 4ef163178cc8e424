# SPDX-License-Identifier: MIT
"""download_artifact: the service's own code (artifact_driver) against a store that fails in every way, and
the whole service with the unmodified SDK against tare server."""

import base64
import fcntl
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import threading
from urllib.parse import quote, unquote

import pytest
from wandb.proto import wandb_internal_pb2 as pb

from online_support import SITE
from server_support import ROOT, Server
from service_support import TARE
from test_server_artifacts import HEAD

sys.path.insert(0, str(ROOT / "tests" / "support"))
from object_store import ObjectStore, md5  # noqa: E402

BUILD = pathlib.Path(os.environ.get("TARE_BUILD", ROOT / "build"))
DRIVER = os.environ.get("ARTIFACT_DRIVER", str(BUILD / "tests/unit/artifact_driver"))
BIG = random.Random(1).randbytes(3_000_000)


class Getter:
    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "out"
        self.cache = folder / "cache"

    def begin(self, store, id="QTox", prefix="", skip_cache=False, may_miss=False, wrap=(), root=None, **env):
        self.root = root or self.root
        request = self.folder / f"request-{os.urandom(4).hex()}"
        request.write_bytes(pb.DownloadArtifactRequest(
            artifact_id=id, download_root=str(self.root), path_prefix=prefix, skip_cache=skip_cache,
            allow_missing_references=may_miss).SerializeToString())
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "AZURE_", "GOOGLE_", "STORAGE_", "CLOUDSDK_"))}
        return subprocess.Popen(
            [*wrap, DRIVER, store.url, "k" * 40, "local", "up", "run", f"download:{request}"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            env={**clean, "HOME": str(self.folder), "NO_PROXY": "127.0.0.1", "WANDB_CACHE_DIR": str(self.cache),
                 "TARE_UPLINK": str(BUILD / "tare-uplink.so"), **env})

    def end(self, process):
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        lines = out.splitlines()
        self.told = [line for line in lines if line.startswith("told")]
        words = next(line for line in lines if line.startswith("download:")).split()
        return pb.DownloadArtifactResponse.FromString(bytes.fromhex(words[1] if len(words) > 1 else "")).error_message

    def get(self, store, **options):
        return self.end(self.begin(store, **options))

    def tree(self):
        return {str(p.relative_to(self.root)): p.read_bytes() for p in self.root.rglob("*") if p.is_file()} \
            if self.root.exists() else {}

    def cached(self, content, kind="md5"):
        digest = hashlib.md5(content).hexdigest()
        return self.cache / "artifacts/obj" / kind / digest[:2] / digest[2:]


@pytest.fixture
def getter(tmp_path):
    return Getter(tmp_path)


FILES = {"a.txt": b"hello", "empty": b"", "deep/er/b %41é.bin": BIG, "deep/c": b"c" * 70_000}


def test_whole_with_the_cache_filled(getter):
    with ObjectStore(FILES) as store:
        assert getter.get(store) == ""
        assert getter.tree() == FILES
        for content in FILES.values():
            assert getter.cached(content).read_bytes() == content
            assert getter.cached(content).stat().st_mode & 0o777 == 0o666
        assert list((getter.cache / "artifacts/tmp").iterdir()) == []
        assert len(store.requests) == 1 + len(FILES)


def test_what_is_there_or_cached_is_not_asked_for(getter):
    with ObjectStore(FILES) as store:
        assert getter.get(store) == ""
        (getter.root / "a.txt").write_bytes(b"changed by someone")
        (getter.root / "deep/c").unlink()
        store.requests.clear()
        asked = store.urls_asked
        assert getter.get(store) == ""
        assert getter.tree() == FILES
        assert len(store.requests) == 1 and store.urls_asked == asked


def test_a_broken_file_of_the_cache_is_replaced(getter):
    with ObjectStore(FILES) as store:
        assert getter.get(store) == ""
        getter.cached(b"hello").write_bytes(b"hollo")
        assert getter.get(store, root=getter.folder / "again") == ""
        assert getter.tree() == FILES and getter.cached(b"hello").read_bytes() == b"hello"


def test_skip_cache_neither_reads_nor_writes_it(getter):
    with ObjectStore(FILES) as store:
        assert getter.get(store, skip_cache=True) == ""
        assert getter.tree() == FILES
        assert not (getter.cache / "artifacts/obj").exists()


def test_prefix(getter):
    with ObjectStore(FILES) as store:
        assert getter.get(store, prefix="deep/") == ""
        assert set(getter.tree()) == {p for p in FILES if p.startswith("deep/")}


def test_many_files_in_several_groups(getter):
    files = {f"{i % 7}/{i}": b"%d" % i * (i % 50) for i in range(1750)}
    with ObjectStore(files) as store:
        assert getter.get(store) == ""
        assert getter.tree() == files and store.urls_asked == 4


def test_xxh128_digests(getter):
    """Values of the reference implementation."""
    text = bytes((i * 131 + (i >> 8) * 17 + 7) & 255 for i in range(100_000))
    with ObjectStore() as store:
        for n, hex in ((100, "76b536586de98b82580b061a98a5a9b4"), (512, "1a7e53736720a2e631cc4c8456761b50"),
                       (100_000, "57b3d8c96bba305a61b222b374cf1fa7")):
            digest = base64.b64encode(bytes.fromhex(hex)).decode()
            store.entries[f"x{n}"] = {"digest": digest, "size": n, "extra": {"alg": "XXH128"}}
            store.served[f"x{n}"] = text[:n]
        assert getter.get(store) == ""
        assert {p: len(c) for p, c in getter.tree().items()} == {"x100": 100, "x512": 512, "x100000": 100_000}
        assert (getter.cache / "artifacts/obj/xxh128/76/b536586de98b82580b061a98a5a9b4").read_bytes() == text[:100]
        store.served["x512"] = text[1:513]
        assert "x512: file hash mismatch" in getter.get(store, root=getter.folder / "other", skip_cache=True)


TEXT = bytes((i * 131 + (i >> 8) * 17 + 7) & 255 for i in range(100_000))
TEXT_XXH128 = "57b3d8c96bba305a61b222b374cf1fa7"


def test_what_the_backend_says_of_the_bytes_is_enough_but_not_for_the_cache(getter):
    """The bytes are not those that the MD5 of the manifest means, but the URL says that they are."""
    with ObjectStore({"x": TEXT[:-1] + b"?"}) as store:
        store.served["x"] = TEXT
        store.sums["x"] = f"#md5={md5(store.files['x'])}&xxh128={TEXT_XXH128}"
        store.faults["x"] = [("cut", 70_000)]
        assert getter.get(store, skip_cache=True) == "" and getter.tree() == {"x": TEXT}
        assert len(store.gets("x")) == 2
        answer = getter.get(store, root=getter.folder / "cached")
        assert answer == f"x: file hash mismatch: expected {md5(store.files['x'])}, actual {md5(TEXT)}"
        assert getter.tree() == {} and not getter.cached(TEXT).exists() and not getter.cached(store.files["x"]).exists()


def test_where_what_the_backend_says_does_not_fit_the_digest_decides(getter):
    right, wrong = f"#md5={md5(TEXT)}&xxh128={TEXT_XXH128}", TEXT[:-1] + b"?"
    for k, said in enumerate((right, right.replace("57b3", "57b4"), right[:-1], right + "0", f"#md5={md5(b'x')}&xxh128={TEXT_XXH128}",
                              "#", f"#md5={md5(TEXT)}", right.replace("xxh128", "xxh64x"))):
        with ObjectStore({"x": TEXT}) as store:
            store.sums["x"] = said
            assert getter.get(store, skip_cache=True, root=getter.folder / f"good{k}") == "" and getter.tree() == {"x": TEXT}
            store.served["x"] = wrong
            answer = getter.get(store, skip_cache=True, root=getter.folder / f"bad{k}")
            assert answer == f"x: file hash mismatch: expected {md5(TEXT)}, actual {md5(wrong)}" and getter.tree() == {}


def test_a_file_on_the_same_machine_is_copied_if_it_is_the_right_one(getter):
    path = "deep/er/b %41é.bin"
    here = getter.folder / "elsewhere é#"
    with ObjectStore({path: BIG}) as store:
        # the XXH128 is none of these bytes': then the MD5 decides
        store.sums[path] = f"#md5={md5(BIG)}&xxh128={TEXT_XXH128}&file={quote(str(here))}"

        def get(name, **options):
            store.requests.clear()
            assert getter.get(store, root=getter.folder / name, **options) == "" and getter.tree() == {path: BIG}
            return len(store.gets(path))

        assert get("none") == 1
        here.write_bytes(BIG)
        assert get("right", skip_cache=True) == 0
        shutil.rmtree(getter.cache)
        assert get("cached") == 0 and getter.cached(BIG).read_bytes() == BIG
        shutil.rmtree(getter.cache)
        here.write_bytes(BIG[:-1] + b"?")
        assert get("wrong", skip_cache=True) == 1 and get("wrong, cached") == 1
        here.write_bytes(BIG[:-1])
        assert get("short", skip_cache=True) == 1
        here.unlink()
        here.symlink_to("/dev/zero")
        assert get("link", skip_cache=True) == 1
        here.unlink()
        os.mkfifo(here)
        writer = threading.Thread(target=lambda: os.close(os.open(here, os.O_WRONLY)))
        writer.start()
        assert get("pipe", skip_cache=True) == 1
        assert writer.is_alive(), "the pipe was opened"
        os.close(os.open(here, os.O_RDONLY))
        writer.join(timeout=60)
        here.unlink()
        here.mkdir()
        assert get("folder", skip_cache=True) == 1


def test_the_word_of_our_own_server_alone_is_good_for_the_cache(getter):
    """Another backend may name a file that it made us download before: taken by its word, that would be in the cache under
    the digest of something else, for all backends."""
    other, folder = TEXT[:-1] + b"?", getter.folder / "server"
    here = folder / "blobs" / "ab" / "name"
    here.parent.mkdir(parents=True)
    folder.chmod(0o700)
    here.write_bytes(TEXT)
    with ObjectStore({"x": other}) as store:
        store.sums["x"] = f"#md5={md5(other)}&xxh128={TEXT_XXH128}&file={here}"

        def is_believed(name):
            shutil.rmtree(getter.cache, ignore_errors=True)
            store.requests.clear()
            assert getter.get(store, root=getter.folder / name) == ""
            got = getter.cached(other).read_bytes()
            assert getter.tree() == {"x": got} and (got == TEXT) == (store.gets("x") == [])
            return got == TEXT

        assert not is_believed("no server")
        (folder / "address").write_text(f"{store.url}\n")
        (folder / "lock").touch()
        assert not is_believed("none that runs")
        with open(folder / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert is_believed("ours")
            (folder / "address").write_text("http://127.0.0.1:9\n")
            assert not is_believed("another")
            (folder / "address").write_text(f"{store.url}\n")
            folder.chmod(0o777)
            assert not is_believed("anybody's")
            folder.chmod(0o700)
            if os.geteuid() == 0:
                os.chown(here, 1, -1)
                assert not is_believed("of another")


def test_errors_in_the_peers_words(getter):
    with ObjectStore(FILES) as store:
        assert getter.get(store, id="other") == "could not access artifact"
        store.answers["ArtifactManifest"] = {"artifact": {"currentManifest": None}}
        assert getter.get(store) == "could not access manifest for artifact"
        store.answers.clear()
        store.faults["/manifest"] = [403]
        assert getter.get(store) == "download failed: status: 403 Forbidden, body: not now"
        store.manifest = b'{"version": 1, "contents": {"a": 7}}'
        assert getter.get(store).startswith("decode manifest JSON failed:")
        store.manifest = None
        store.faults["a.txt"] = [404]
        assert getter.get(store) == ("file transfer: download: failed to download: status: 404 Not Found: body: "
                                     "<html>trouble</html>")
        assert "a.txt" not in getter.tree()


def test_a_file_without_a_url_is_told(getter):
    with ObjectStore(FILES) as store:
        store.no_url.add("a.txt")
        assert getter.get(store) == "the backend gives no URL for a.txt"


def test_a_path_that_leaves_the_folder_is_refused(getter):
    for path in ("../evil", "/evil", "a/../../evil"):
        with ObjectStore({path: b"evil"}) as store:
            assert "leaves its folder" in getter.get(store)
    assert not (getter.folder / "evil").exists() and getter.tree() == {}


def test_a_wrong_digest_leaves_nothing(getter):
    for path, wrong in (("a.txt", b"hellO"), ("a.txt", b"hello, and more"), ("deep/er/b %41é.bin", BIG[:-1] + b"?"),
                        ("deep/er/b %41é.bin", BIG + b"more" * 100_000), ("deep/c", b"short")):
        with ObjectStore({path: FILES[path]}) as store:
            store.served[path] = wrong
            assert f"{path}: file hash mismatch: expected " in getter.get(store)
            assert getter.tree() == {} and not getter.cached(wrong).exists()


def test_broken_transfers_go_on_where_they_stopped(getter):
    path = "deep/er/b %41é.bin"
    with ObjectStore(FILES) as store:
        store.faults[path] = [("cut", 1_000_000), 503, ("cut", 10), ("cut", 700_000)]
        store.faults["a.txt"] = [500, ("cut", 2)]
        assert getter.get(store) == ""
        assert getter.tree() == FILES
        ranges = [h.get("range") for h in store.gets(path)]
        assert ranges[0] is None and len(ranges) == 5
        at = [int(r[6:-1]) for r in ranges[1:]]
        assert at[0] <= 1_000_000 and at[0] > 0 and at[0] == at[1] and at[1] <= at[2] <= at[0] + 10 and at[3] > at[2]


def test_without_ranges_it_begins_again(getter):
    path = "deep/er/b %41é.bin"
    with ObjectStore(FILES) as store:
        store.ranges = False
        store.faults[path] = [("cut", 1_000_000), ("cut", 2_000_000)]
        assert getter.get(store) == "" and getter.tree() == FILES


def test_an_answer_with_another_range_is_not_taken(getter):
    path = "deep/er/b %41é.bin"
    with ObjectStore(FILES) as store:
        store.faults[path] = [("cut", 1_000_000), ("garbage",)]
        assert getter.get(store) == "" and getter.tree() == FILES
        assert store.gets(path)[2].get("range") is None


def test_a_killed_download_goes_on_in_the_next_process(getter):
    path = "deep/er/b %41é.bin"
    with ObjectStore(FILES) as store:
        hold = threading.Event()
        store.faults[path] = [("cut", 2_000_000)] + [503] * 20
        process = getter.begin(store)
        while not any(p.stat().st_size > 1_500_000 for p in getter.root.rglob("*.part")):
            hold.wait(0.01)
        process.kill()
        process.communicate()
        store.faults.clear()
        store.requests.clear()
        assert getter.get(store) == ""
        assert getter.tree() == FILES
        assert int(store.gets(path)[0]["range"][6:-1]) > 1_500_000


def test_a_part_with_other_bytes_costs_a_try_not_the_file(getter):
    path = "deep/er/b %41é.bin"
    with ObjectStore({path: BIG}) as store:
        name = hashlib.sha256(md5(BIG).encode()).hexdigest()[:16]
        part = getter.root / f"{path}.{name}.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(b"x" * 1_500_000)
        assert getter.get(store) == "" and getter.tree() == {path: BIG}
        assert [h.get("range") for h in store.gets(path)] == ["bytes=1500000-", None]


def test_ten_processes_share_a_cache(getter):
    files = {f"{i}": random.Random(i).randbytes(random.Random(i).choice([10, 5_000, 200_000, 600_000])) for i in range(24)}
    with ObjectStore(files) as store:
        getters = []
        for i in range(10):
            g = Getter(getter.folder)
            getters.append((g, g.begin(store, root=getter.folder / ("same" if i < 5 else f"out{i}"))))
        for g, process in getters:
            assert g.end(process) == "", g.told
        for g, _ in getters:
            assert g.tree() == files
        for content in files.values():
            assert getter.cached(content).read_bytes() == content
        assert list((getter.cache / "artifacts/tmp").iterdir()) == []


SMALL_DISK = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$0" && "$@"; rc=$?; '
              'find "$0" -type f | sed "s/^/remains: /" >&2; exit $rc']
HAS_SMALL_DISKS = subprocess.run(["unshare", "-Urm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True).returncode == 0


@pytest.mark.skipif(not HAS_SMALL_DISKS, reason="needs user namespaces")
def test_a_full_disk_at_the_destination(getter):
    with ObjectStore({"big": BIG}) as store:
        full = getter.folder / "full"
        full.mkdir()
        process = getter.begin(store, root=full / "out", wrap=[*SMALL_DISK, str(full)])
        out, err = process.communicate(timeout=60)
        answer = pb.DownloadArtifactResponse.FromString(bytes.fromhex(out.split()[1])).error_message
        assert answer.startswith(f"write {full}/out/big: ") and "no space left on device" in answer.lower() and "remains:" not in err, (answer, err)


@pytest.mark.skipif(not HAS_SMALL_DISKS, reason="needs user namespaces")
def test_a_full_cache_is_told_and_the_files_are_there(getter):
    with ObjectStore({"big": BIG, "a": b"hello"}) as store:
        getter.cache.mkdir()
        process = getter.begin(store, wrap=[*SMALL_DISK, str(getter.cache)])
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "could not be put into the cache" in out and "no space left" in out.lower()
        assert [line for line in err.splitlines() if line.startswith("remains:")] == [f"remains: {getter.cached(b'hello')}"]
        assert getter.tree() == {"big": BIG, "a": b"hello"}


class OurService(Server):
    def env(self, key=""):
        return {**super().env(key), "PARITY_CORE": str(TARE), "PYTHONPATH": SITE}


def test_the_service_with_the_sdk(tmp_path):
    with OurService(tmp_path) as server:
        got = server.script(HEAD + """
def ask(interface, id, to, prefix=None):
    answer = interface.deliver_download_artifact(id, os.path.abspath(to), False, True, prefix).wait_or(timeout=60)
    return answer.response.download_artifact_response.error_message
with wandb.init(project="art") as run:
    a = wandb.Artifact("whole", type="dataset")
    for k in range(700):
        a.add_file(put(f"in/{k}", b"%d" % k * 20), name=f"deep/{k}")
    a.add_file(put("in/big", bytes(range(256)) * 10000), name="big")
    run.log_artifact(a).wait()
    errors = [ask(run._interface, a.id, "out"), ask(run._interface, a.id, "part", "deep/69"), ask(run._interface, "QXJ0aWZhY3Q6MQ", "none")]
    blobs = [p for p in pathlib.Path("server/blobs").rglob("*") if p.is_file() and p.stat().st_size == 2560000]
    assert len(blobs) == 1
    with open(blobs[0], "r+b") as f:
        f.seek(2000000)
        f.write(b"!")
    damaged = ask(run._interface, a.id, "damaged", "big")
    with open(blobs[0], "r+b") as f:
        f.seek(2000000)
        f.write(bytes([2000000 % 256]))
    repaired = ask(run._interface, a.id, "repaired", "big")
out = tree("out")
print(json.dumps([errors, len(out), all(bytes.fromhex(out[f"deep/{k}"]) == b"%d" % k * 20 for k in range(700)),
    bytes.fromhex(out["big"]) == bytes(range(256)) * 10000, sorted(tree("part")), os.path.exists("none"), damaged, os.path.exists("damaged/big"), a.id, repaired, tree("repaired") == {"big": out["big"]}]))
""")
        ask = json.dumps({"variables": {"id": got[8]}, "query":
                          'query($id: ID!) { artifact(id: $id) { files(names: ["big"], first: 1) { edges { node { directUrl } } } } }'})

        def ask_url(**headers):
            _, _, answer = server.request("POST", "/graphql", ask.encode(), **headers)
            return json.loads(answer)["data"]["artifact"]["files"]["edges"][0]["node"]["directUrl"]

        url, far = ask_url(), ask_url(X_Forwarded_For="10.0.0.1")
    assert got[0] == ["", "", "could not access artifact"]
    assert got[1:4] == [701, True, True]
    assert got[4] == sorted(["deep/69", *(f"deep/69{i}" for i in range(10))]) and not got[5]
    assert got[6].startswith(f"big: file hash mismatch: expected {md5(bytes(range(256)) * 10000)}, actual ") and not got[7]
    assert re.search(r"#md5=" + re.escape(md5(bytes(range(256)) * 10000)) + "&xxh128=[0-9a-f]{32}&file=(.*)$", url)
    assert pathlib.Path(unquote(url.split("&file=")[1])).read_bytes() == bytes(range(256)) * 10000
    assert got[9:] == ["", True]
    assert "&xxh128=" in far and "&file=" not in far
