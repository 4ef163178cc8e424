# SPDX-License-Identifier: MIT
"""What the store keeps: console lines, charts, and every acknowledged value through kill -9.

TARE_KILLS says how many times the server is killed (default 12; the full figure is 200)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time

import pytest

from postgres_support import postgres
from server_support import BINARY, Server

KILLS = int(os.environ.get("TARE_KILLS", "12"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        yield s


def make_run(server, name, project="kept"):
    answer = server.graphql(
        "mutation($p: String, $n: String) { upsertBucket(input: {modelName: $p, name: $n}) "
        "{ bucket { id project { entity { name } } } } }", {"p": project, "n": name})
    assert "errors" not in answer, answer
    return answer["data"]["upsertBucket"]["bucket"]["project"]["entity"]["name"]


def body_of(offset, lines):
    return json.dumps({"files": {"wandb-history.jsonl": {
        "offset": offset, "content": [json.dumps(line) for line in lines]}}}).encode()


def read_run(server, fields, name, project="kept", entity="local"):
    answer = server.graphql("query($e: String, $p: String!, $r: String!) { project(name: $p, entityName: $e) "
                            f"{{ run(name: $r) {{ {fields} }} }} }}", {"e": entity, "p": project, "r": name})
    assert "errors" not in answer, answer
    return answer["data"]["project"]["run"]


def test_console_lines_come_back(server):
    got = server.script("""
import json, sys, wandb
run = wandb.init(project="kept", id="talks")
for i in range(30):
    print("line", i)
print("trouble", file=sys.stderr)
run.finish()
r = wandb.Api().run("local/kept/talks")
print(json.dumps([[[l.number, l.level, l.content] for l in r.console_logs(per_page=7)],
                  [[l.number, l.content] for l in r.console_logs(last=2)]]))
""")
    whole, tail = got
    assert [line for line in whole if line[1] != "error"] == [[n, "", f"line {n}"] for n in range(30)]
    assert [30, "error", "trouble"] in whole
    assert tail[-1] == [30, "trouble"]


def test_a_chart_of_many_points(server):
    make_run(server, "wave")
    for start in range(0, 60000, 20000):
        lines = [{"_step": i, "y": 99.5 if i == 44444 else (i % 100) / 100} for i in range(start, start + 20000)]
        status, _, text = server.request("POST", "/files/local/kept/wave/file_stream", body_of(start, lines))
        assert status == 200, text
    chart = read_run(server, 'c: historyEnvelope(key: "y", pixels: 100)', "wave")["c"]
    assert sum(chart["count"]) == 60000 and len(chart["first"]) == 100
    assert max(chart["max"]) == 99.5 and chart["first"][0] == 0 and chart["last"][-1] == 59999
    whole = read_run(server, 'c: historySeries(key: "y", minStep: 44440, maxStep: 44450)', "wave")["c"]
    assert whole["steps"] == list(range(44440, 44450)) and whole["values"][4] == 99.5


class Client(threading.Thread):
    """Posts lines of one run, again and again until the answer is 200; notes what was acknowledged."""

    def __init__(self, server, name):
        super().__init__(daemon=True)
        self.server, self.name, self.acked, self.ending = server, name, 0, False
        self.random = random.Random(name)

    def run(self):
        while not self.ending:
            back = self.random.randrange(4) if self.acked > 4 and self.random.random() < 0.3 else 0
            first, count = self.acked - back, back + self.random.randint(1, 30)
            body = body_of(first, [{"_step": i, "x": i * 1.5, "run": self.name} for i in range(first, first + count)])
            while True:
                try:
                    status, _, text = self.server.request(
                        "POST", f"/files/local/kept/{self.name}/file_stream", body)
                except OSError:  # the server is down
                    if self.ending:
                        return
                    time.sleep(0.02)
                    continue
                except Exception:  # the answer broke off
                    continue
                if status == 200:
                    self.acked = first + count
                    break
                assert status in (429, 503), (status, text)


def all_rows(server, name):
    rows, start = [], 0
    while True:
        page = read_run(server, f"history(minStep: {start}, maxStep: {start + 50000})", name)["history"]
        if not page:
            return rows
        rows += [json.loads(line) for line in page]
        start += 50000


def test_every_acknowledged_value_survives_kills(tmp_path):
    server = Server(tmp_path).start()
    chance = random.Random(1)
    names = ["a", "b", "c"]
    for name in names:
        make_run(server, name)
    clients = [Client(server, name) for name in names]
    for client in clients:
        client.start()
    for _ in range(KILLS):
        time.sleep(chance.random() * 0.3)
        server.process.kill()
        server.process.wait()
        server.process.stdout.close()
        server.start()
    deadline = time.monotonic() + 60
    while not all(client.acked for client in clients):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    for client in clients:
        client.ending = True
    for client in clients:
        client.join(60)
        assert not client.is_alive()
    for client in clients:
        rows = all_rows(server, client.name)
        assert [row["_step"] for row in rows] == list(range(len(rows)))
        assert len(rows) >= client.acked > 0
        assert all(row == {"_step": i, "x": i * 1.5, "run": client.name} for i, row in enumerate(rows))
    assert "0 faults" in server.command("verify")
    assert server.stop() == 0


LOG_FILES = """
import json, pathlib, wandb
run = wandb.init(project="kept", id="first", config={"lr": 0.5})
for i in range(2000):
    run.log({"loss": 1 / (i + 1), "deep": {"x": i}})
pathlib.Path("note.txt").write_text("a note")
run.save("note.txt")
artifact = wandb.Artifact("data", type="dataset")
artifact.add_file("note.txt")
run.log_artifact(artifact).wait()
run.finish()
"""

READ_FILES = """
import json, pathlib, tempfile, wandb
run = wandb.Api().run("local/kept/first")
rows = [[r["_step"], r["loss"], r["deep"]["x"]] for r in run.scan_history()]
with tempfile.TemporaryDirectory() as d:
    note = run.file("note.txt").download(d).read()
    copy = pathlib.Path(wandb.Api().artifact("local/kept/data:latest").download(d + "/a"), "note.txt").read_text()
print(json.dumps([rows, run.config, run.summary.get("loss"), note, copy]))
"""


def test_a_backup_holds_everything(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    archive = tmp_path / "backup.tar"
    with Server(tmp_path / "one") as server:
        server.script(LOG_FILES)
        before = server.script(READ_FILES)
        assert len(before[0]) == 2000 and before[3:] == ["a note", "a note"]
        posting = Client(server, "busy")
        make_run(server, "busy")
        posting.start()
        assert "0 faults" in server.command("backup", str(archive))
        assert "0 faults" in server.command("verify")
        posting.ending = True
        posting.join()
        secret = (server.dir / "admin.key").read_text()
    names = subprocess.run(["tar", "-tf", archive], check=True, text=True, stdout=subprocess.PIPE).stdout.split()
    assert "tare-backup/tare.db" in names and archive.stat().st_mode & 0o777 == 0o600

    restored = Server(tmp_path / "two")
    assert "0 faults" in restored.command("restore", str(archive))
    (restored.dir / "admin.key").write_text(secret)
    with restored:
        assert restored.script(READ_FILES) == before
        verified = restored.command("verify")
        files = sum(p.stat().st_size for p in (restored.dir / "blobs").rglob("*") if p.is_file())
        database = (restored.dir / "tare.db").stat().st_size
        assert "0 faults" in verified and int(verified.split(", ")[2].split()[0]) >= database + files > database
    with pytest.raises(subprocess.CalledProcessError):
        restored.command("restore", str(archive))


def test_a_folder_without_data_is_not_in_order(tmp_path):
    done = subprocess.run([BINARY, "verify", "--dir", str(tmp_path / "none")], text=True, stderr=subprocess.PIPE)
    assert done.returncode == 1 and "no server's data" in done.stderr and not (tmp_path / "none").exists()


def test_damage_is_found_and_not_restored(tmp_path):
    archive = tmp_path / "backup.tar"
    with Server(tmp_path) as server:
        server.script(LOG_FILES)
        server.command("backup", str(archive))
        blob = next(p for p in (server.dir / "blobs").glob("??/*") if p.read_bytes() == b"a note")
        blob.write_bytes(b"another note")
        done = subprocess.run([BINARY, "verify", "--dir", str(server.dir)], text=True, stdout=subprocess.PIPE)
        assert done.returncode == 1 and blob.name in done.stdout
    data = archive.read_bytes()
    secret = data.index(b"tare-backup/secret")
    for at in (data.index(b"a note"), secret, secret + 512, data.index(b"cli_version"), data.index(b"tare-backup/sums") + 512,
               len(data) // 2):
        broken = tmp_path / f"broken{at}.tar"
        broken.write_bytes(data[:at] + b"XYZ" + data[at + 3:] if at != len(data) // 2 else data[:at])
        done = subprocess.run([BINARY, "restore", str(broken), "--dir", str(tmp_path / f"to{at}")])
        assert done.returncode == 1
        assert not (tmp_path / f"to{at}" / "tare.db").exists()


def post_lines(server, name, at, n):
    lines = [{"_step": i, "x": random.random(), "text": "%0100x" % random.getrandbits(400)} for i in range(at, at + n)]
    return server.request("POST", f"/files/local/kept/{name}/file_stream", body_of(at, lines))


def fill_until_refused(server, name, status_when_full=413):
    at = 0
    while at < 400_000:
        status, headers, text = post_lines(server, name, at, 2000)
        if status != 200:
            assert (status, "Retry-After" in headers) == (status_when_full, status_when_full == 507), text
            assert b"quota" in text or b"full" in text
            return at
        at += 2000
    raise AssertionError("never refused")


def lines_of(server, name):
    return read_run(server, "historyLineCount", name)["historyLineCount"]


def delete_run(server, name):
    run = read_run(server, "id", name)["id"]
    assert "errors" not in server.graphql("mutation($i: ID!) { deleteRun(input: {id: $i}) { clientMutationId } }", {"i": run})


def test_the_quota_refuses_and_lets_go_on(tmp_path):
    with Server(tmp_path, "--quota", "12M") as server:
        make_run(server, "small")
        make_run(server, "large")
        assert post_lines(server, "small", 0, 10)[0] == 200
        at = fill_until_refused(server, "large")
        assert at > 10_000 and lines_of(server, "large") == at
        assert lines_of(server, "small") == 10  # reading goes on
        assert sum(p.stat().st_size for p in server.dir.glob("tare.db")) < 13 << 20
        delete_run(server, "large")
        deadline = time.monotonic() + 200
        while post_lines(server, "small", 10, 2000)[0] != 200:
            assert time.monotonic() < deadline, "no room was made"
            time.sleep(1)
        assert "0 faults" in server.command("verify")


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_refuses_and_lets_go_on(small_disk):
    with Server(small_disk) as server:
        make_run(server, "small")
        make_run(server, "large")
        assert post_lines(server, "small", 0, 10)[0] == 200
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(8 << 20))
        at = fill_until_refused(server, "large", 507)
        assert lines_of(server, "large") == at and lines_of(server, "small") == 10
        assert len(all_rows(server, "large")) == at
        ballast.unlink()
        assert post_lines(server, "large", at, 2000)[0] == 200
        assert lines_of(server, "large") == at + 2000
        assert "0 faults" in server.command("verify")


def test_the_server_on_postgres(tmp_path):
    with postgres() as url, Server(tmp_path, "--db", url) as server:
        server.script(LOG_FILES)
        rows, config, loss, note, copy = server.script(READ_FILES)
        assert rows == [[i, 1 / (i + 1), i] for i in range(2000)]
        assert config == {"lr": 0.5} and loss == 1 / 2000 and note == copy == "a note"
        runs = server.script("""
import json, wandb
print(json.dumps([r.id for r in wandb.Api().runs("local/kept", filters={"config.lr": 0.5})]))
""")
        assert runs == ["first"]
        chart = read_run(server, 'c: historyEnvelope(key: "loss", pixels: 3)', "first")["c"]
        assert sum(chart["count"]) == 2000
