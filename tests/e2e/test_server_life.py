# SPDX-License-Identifier: MIT
"""Starting, ending, users, and what a hostile client may try."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from postgres_support import postgres
from server_support import BINARY, DATABASES, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        yield s


def run(*words: str, **kw):
    return subprocess.run([BINARY, *words], text=True, capture_output=True, timeout=60, **kw)


def test_first_start_makes_a_key_and_says_it_once(tmp_path):
    first = Server(tmp_path).start()
    assert first.stop() == 0
    key = (first.dir / "admin.key").read_text().strip()
    assert len(key) == 46 and key.startswith("local-")
    for name in ("admin.key", "secret", "access.log"):
        assert stat.S_IMODE((first.dir / name).stat().st_mode) == 0o600
    process = subprocess.Popen([BINARY, "--dir", str(first.dir), *first.database, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                               text=True)
    assert "listening on http://127.0.0.1:" in process.stdout.readline()
    process.terminate()
    assert "local-" not in process.communicate(timeout=60)[0]
    if not DATABASES:
        assert key not in (first.dir / "tare.db").read_bytes().decode("latin-1")


def test_a_second_server_on_the_directory_says_so(server):
    done = run("--dir", str(server.dir), "--listen", "127.0.0.1:0")
    assert done.returncode == 1 and "another server" in done.stderr and str(server.process.pid) in done.stderr


def test_a_folder_that_is_removed_ends_the_server(tmp_path):
    """Else it would go on to acknowledge what nobody will find."""
    import shutil
    for take_away in (shutil.rmtree, lambda d: d.rename(tmp_path / "elsewhere")):
        s = Server(tmp_path).start()
        assert s.graphql("{viewer{id}}")["status"] == 200
        take_away(s.dir)
        assert s.process.wait(timeout=60) == 1
        s.process.stdout.close()


@pytest.mark.skipif(bool(DATABASES), reason="damages the file of SQLite")
def test_a_lost_database_is_not_begun_anew_over_its_files(tmp_path):
    with Server(tmp_path) as s:
        key = s.key
    for damage in (lambda p: p.unlink(), lambda p: p.write_bytes(b"")):
        damage(s.dir / "tare.db")
        done = run("--dir", str(s.dir), "--listen", "127.0.0.1:0")
        assert done.returncode == 1 and "restore a backup" in done.stderr
        assert (s.dir / "admin.key").read_text().strip() == key


@pytest.mark.skipif(bool(DATABASES), reason="damages the file of SQLite")
def test_a_key_that_cannot_be_checked_is_not_a_wrong_key(tmp_path):
    """Clients give up on a 401."""
    with Server(tmp_path) as s:
        assert s.graphql("{viewer{id}}")["status"] == 200
        s.command("user", "add", "other")
    data = bytearray((s.dir / "tare.db").read_bytes())
    size = int.from_bytes(data[16:18], "big")
    hit = hashlib.sha256(s.key.encode()).hexdigest().encode()
    for page in range(size, len(data), size):
        if hit in data[page:page + size]:
            data[page:page + 200] = b"\xff" * 200
    (s.dir / "tare.db").write_bytes(data)
    s.start()
    assert s.graphql("{viewer{id}}")["status"] == 503
    assert s.stop() == 0


def test_too_few_files(tmp_path):
    done = subprocess.run(["prlimit", "--nofile=40:40", BINARY, "--dir", str(tmp_path / "d"), "--listen", "127.0.0.1:0"], text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 1 and "limit of open files" in done.stderr
    with Server(tmp_path) as s:
        subprocess.run(["prlimit", "--pid", str(s.process.pid), "--nofile=70:70"], check=True)
        held = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(100)]
        for c in held:
            c.close()
        assert s.graphql("{viewer{id}}")["status"] == 200


def test_an_open_address_wants_tls(tmp_path):
    done = run("--dir", str(tmp_path / "d"), "--listen", "0.0.0.0:0")
    assert done.returncode == 1 and "--tls-cert" in done.stderr
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:http"])
def test_an_address_that_is_none(tmp_path, address):
    done = run("--dir", str(tmp_path / "d"), "--listen", address)
    assert done.returncode == 1 and "not an address" in done.stderr


def test_run_with_a_server_of_ones_own(tmp_path):
    """`tare run --server`: starts one if none is up, and the SDK logs into it."""
    tare = pathlib.Path(BINARY).with_name("tare")
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    env.update(TARE_SERVER_DIR=str(tmp_path / "d"), HOME=str(tmp_path), WANDB_DIR=str(tmp_path), WANDB_SILENT="true",
               WANDB_ERROR_REPORTING="false")
    text = "import os, wandb; r = wandb.init(project='p'); r.log({'a': 1}); r.finish(); print(os.environ['WANDB_BASE_URL'], r.id)"
    seen = []
    for i in range(2):
        done = subprocess.run([tare, "run", "--server", "--", sys.executable, "-c", text], env=env, text=True,
                              capture_output=True, timeout=140, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert ("started now" in done.stderr) == (i == 0)
        seen.append(done.stdout.split())
    pid = int((tmp_path / "d" / "lock").read_text())
    try:
        assert seen[0][0] == seen[1][0]
        s = Server(tmp_path)
        s.url, s.key = seen[0][0], (tmp_path / "d" / "admin.key").read_text().strip()
        got = s.graphql('{project(name:"p"){runs{edges{node{name state}}}}}')["data"]["project"]["runs"]["edges"]
        assert [e["node"] for e in got] == [{"name": r[1], "state": "finished"} for r in seen]
    finally:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while os.path.exists(tmp_path / "d" / "address") and time.monotonic() < deadline:
            time.sleep(0.02)
    assert not (tmp_path / "d" / "address").exists()


def test_unix_socket(tmp_path):
    path = tmp_path / "sock"
    process = subprocess.Popen([BINARY, "--dir", str(tmp_path / "d"), "--listen", f"unix:{path}"],
                               stdout=subprocess.PIPE, text=True)
    assert f"listening on unix:{path}" in process.stdout.readline()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 200 " in s.recv(4096)
    process.terminate()
    assert process.wait(timeout=60) == 0 and not path.exists()
    process.stdout.close()


def test_tls(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days",
                           "1", "-subj", "/CN=localhost"], capture_output=True)
    assert made.returncode == 0, made.stderr
    import ssl
    import urllib.request
    with Server(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key)) as s:
        trust = ssl.create_default_context(cafile=str(cert))
        trust.check_hostname = False
        with urllib.request.urlopen(f"https://127.0.0.1:{s.port}/healthz", context=trust) as r:
            assert r.status == 200
        req = urllib.request.Request(f"https://127.0.0.1:{s.port}/graphql", b'{"query":"{serverInfo{frontendHost}}"}')
        req.add_header("Authorization", f"Bearer {s.key}")
        with urllib.request.urlopen(req, context=trust) as r:
            assert json.load(r)["data"]["serverInfo"]["frontendHost"] == f"https://127.0.0.1:{s.port}"


def test_a_certificate_out_of_its_time_is_told(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    asked = subprocess.run(["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", "/CN=localhost"],
                           capture_output=True)
    made = subprocess.run(["openssl", "x509", "-req", "-signkey", key, "-days", "-1", "-out", cert], input=asked.stdout,
                          capture_output=True)
    assert asked.returncode == 0 and made.returncode == 0, asked.stderr + made.stderr
    process = subprocess.Popen([BINARY, "--dir", str(tmp_path / "s"), "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "listening" in process.stdout.readline()
    process.terminate()
    assert f"the certificate in {cert} has expired" in process.communicate(timeout=60)[1]


def test_users_by_command_line_with_and_without_a_server(tmp_path):
    s = Server(tmp_path)
    before = s.add_user("early", "--key", "k" * 40)
    assert before == "k" * 40
    with s:
        made = s.add_user("anna")
        assert len(made) == 46 and "\n" not in made
        for key, name in ((before, "early"), (made, "anna"), (s.key, "local")):
            assert s.graphql("{viewer{username admin entity}}", key=key)["data"]["viewer"] == {
                "username": name, "admin": name == "local", "entity": name}
        second = s.add_user("anna")
        assert second != made
        assert [line.split()[0] for line in s.command("user", "list").splitlines()] == ["early", "local", "anna"]
        third = s.add_user("anna")
        ids = [e["node"]["id"] for e in s.graphql("{viewer{apiKeys{edges{node{id}}}}}", key=third)["data"]["viewer"]["apiKeys"]["edges"]]
        s.graphql('mutation { deleteApiKey(input: {id: "%s"}) { success } }' % ids[-1], key=third)
        assert s.graphql("{viewer{id}}", key=third)["status"] == 401  # at once
        assert s.graphql("{viewer{id}}", key=made)["status"] == s.graphql("{viewer{id}}", key=second)["status"] == 200
        s.command("user", "revoke", "anna")
        for key in (made, second):
            assert s.graphql("{viewer{id}}", key=key)["status"] == 401
    assert run("user", "add", "a/b", "--dir", str(s.dir)).returncode == 1
    assert run("user", "revoke", "nobody", "--dir", str(s.dir)).returncode == 1
    assert run("user", "frobnicate", "--dir", str(s.dir)).returncode == 2
    for words in (["--help"], ["-h"], ["user", "add", "--help"], ["--dir", str(s.dir), "--help"], ["backup", "--help"]):
        help = run(*words)
        assert help.returncode == 0 and "user add NAME" in help.stdout and not help.stderr


def test_teams_share_and_roles_count(server):
    ada, bob, eve, tim = (server.add_user(n) for n in ("ada", "bob", "eve", "tim"))
    server.command("org", "add", "acme", "ada")
    server.command("team", "add", "lab", "ada", "--org", "acme")
    server.command("team", "member", "lab", "bob", "member")
    server.command("team", "member", "lab", "tim", "viewer")
    make = 'mutation{upsertBucket(input:{name:"%s",modelName:"p",entityName:"lab"}){bucket{id}}}'
    assert "errors" not in server.graphql(make % "r1", key=ada)
    assert "errors" not in server.graphql(make % "r2", key=bob)
    for key in (tim, eve):
        assert server.graphql(make % "r3", key=key)["status"] in (403, 404)
    read = '{project(name:"p",entityName:"lab"){readOnly runCount entity{organization{name}}}}'
    want = {"readOnly": False, "runCount": 2, "entity": {"organization": None}}
    assert server.graphql(read, key=bob)["data"]["project"] == want
    assert server.graphql(read, key=ada)["data"]["project"]["entity"] == {"organization": {"name": "acme"}}
    assert server.graphql(read, key=tim)["data"]["project"]["readOnly"] is True
    assert server.graphql(read, key=eve)["data"]["project"] is None
    server.graphql('mutation{upsertModel(input:{name:"p",entityName:"lab",access:"USER_READ"}){inserted}}', key=ada)
    assert server.graphql(read, key=eve)["data"]["project"]["readOnly"] is True
    server.command("team", "member", "lab", "bob", "none")
    assert server.graphql(make % "r4", key=bob)["status"] in (403, 404)


def test_every_route_but_health_wants_a_key(server):
    for method, path in [("POST", "/graphql"), ("GET", "/metrics"), ("POST", "/files/local/p/r/file_stream"),
                         ("GET", "/files/local/p/r/config.yaml"), ("GET", "/artifacts/local/" + "0" * 32)]:
        for key in (None, "wrong", "local-" + "0" * 40):
            assert server.request(method, path, b"{}" if method == "POST" else None, key=key)[0] == 401, path
    for path in ("/healthz", "/ready"):
        assert server.request("GET", path, key=None)[0] == 200
    for path in ("/storage/x/y", "/storage/" + "A" * 60 + ".AAAAAAAAAAAAAAAAAAAAAA/y"):
        assert server.request("GET", path, key=None)[0] == 403
        assert server.request("PUT", path, b"x", key=None)[0] == 403
    assert server.request("POST", "/sdk/otel/v1/metrics", b"", key=None)[0] == 404


def resident(process) -> int:
    return int(open(f"/proc/{process.pid}/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_a_server_without_work_is_small(tmp_path):
    with Server(tmp_path) as s:
        time.sleep(1)
        if "san" not in str(BINARY):
            assert resident(s.process) < 9.5e6  # 8.8 MB; with GnuTLS set up, which plain HTTP does not need, 9.7


def test_bombs_are_refused_in_bounded_memory(server):
    def ask(body: bytes, **headers):
        return server.request("POST", "/graphql", body, **headers)[0]

    import gzip
    ask(b'{"query":"{viewer{id}}"}')
    before = resident(server.process)
    assert ask(gzip.compress(b"\0" * (300 << 20)), Content_Encoding="gzip") == 413
    assert ask(b"[" * (1 << 20)) == 400
    assert ask(json.dumps({"query": "{" * 100000}).encode()) == 400
    assert ask(json.dumps({"query": "{" + "viewer{id}" * 60000 + "}"}).encode()) == 400
    wide = "{" + " ".join(f"a{i}: viewer{{id}}" for i in range(5000)) + "}"
    assert ask(json.dumps({"query": wide}).encode()) == 400
    bomb = "{viewer{...f0}} " + " ".join(f"fragment f{i} on User{{...f{i+1} ...f{i+1}}}" for i in range(50))
    assert ask(json.dumps({"query": bomb + " fragment f50 on User{id}"}).encode()) == 400
    big = json.dumps({"query": "query($d:String){viewer{id}}", "variables": {"d": "x" * 10_000_000}})
    assert ask(big.encode()) == 200  # `wandb verify` sends such
    time.sleep(0.3)
    assert resident(server.process) - before < 40 << 20


def test_many_bombs_at_once_are_refused_in_bounded_memory(server):
    """Bodies of 6 KB that are lists of 3 million values: 300 MB each, were all of them taken."""
    import gzip
    from concurrent.futures import ThreadPoolExecutor
    bomb = gzip.compress(b'{"query":"query($a:[Int]){viewer{id}}","variables":{"a":[1' + b",1" * (3 << 20) + b"]}}")

    def ask(_):
        return server.request("POST", "/graphql", bomb, Content_Encoding="gzip")[0]

    pathlib.Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(ask, range(12))) <= {200, 503}
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    assert int(status.split("VmHWM:")[1].split()[0]) < 1400 << 10  # of 1 GiB, and what is not counted
    assert server.graphql("{viewer{id}}")["status"] == 200


def test_the_access_log_is_one_plain_line_a_request(server):
    log = server.dir / "access.log"
    before = log.stat().st_size
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(b"GET /a\x1b[31mb\xff HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b" 404 " in s.recv(4096)
        s.sendall(b"E" * 9000 + b" /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert b" 404 " in s.recv(4096)
    deadline = time.monotonic() + 30
    wanted = [rb" GET /a\x1b[31mb\xff 404 ", b" " + b"E" * 16 + b" /x 404 "]

    def written():  # the line of an earlier request may come after `before`
        return log.read_bytes()[before:].splitlines()

    while not all(any(w in line for line in written()) for w in wanted) and time.monotonic() < deadline:
        time.sleep(0.02)
    status, _, _ = server.request("POST", "/storage/secret.token/x", b"", key=None)
    assert status == 405 and b"secret.token" not in log.read_bytes()
    lines = written()
    assert [sum(w in line for line in lines) for w in wanted] == [1, 1]
    assert all(0x20 <= c < 0x7f for line in lines for c in line)


def test_slow_and_half_requests_do_not_hold_the_server(server):
    """More than there are places for."""
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 6000), hard))
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(min(hard, 6000) - 500)]
    for s in held:
        try:
            s.sendall(b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Le")
        except OSError:
            pass  # it had to give way
    start = time.monotonic()
    assert server.graphql("{viewer{id}}")["status"] == 200
    assert time.monotonic() - start < 20  # what is half is waited for much longer
    for s in held:
        s.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_sigterm_finishes_what_is_under_way(tmp_path):
    s = Server(tmp_path).start()
    got = s.graphql('mutation{upsertBucket(input:{name:"r",modelName:"p"}){bucket{id}}}')
    assert "errors" not in got
    idle = socket.create_connection(("127.0.0.1", s.port))
    start = time.monotonic()
    assert s.stop() == 0 and time.monotonic() - start < 20  # an idle connection would be kept for minutes
    idle.close()
    s.start()
    assert s.graphql('{project(name:"p"){run(name:"r"){state}}}')["data"]["project"]["run"]["state"] == "running"
    s.process.send_signal(signal.SIGKILL)
    s.process.wait()
    s.process.stdout.close()
    s.start()
    assert s.graphql('{project(name:"p"){runCount}}')["data"]["project"]["runCount"] == 1
    assert s.stop() == 0


class Asking(threading.Thread):
    """A request that takes long, in a thread: `answer` is (status, body) or how the connection ended."""

    def __init__(self, server, query):
        super().__init__()
        self.answer = None
        self.http = urllib.request.Request(server.url + "/graphql", json.dumps({"query": query}).encode(), {
            "Authorization": "Basic " + base64.b64encode(f"api:{server.key}".encode()).decode()})
        self.start()

    def run(self):
        try:
            with urllib.request.urlopen(self.http, timeout=120) as r:
                self.answer = r.status, r.read()
        except urllib.error.HTTPError as e:
            self.answer = e.code, e.read()
        except OSError as e:
            self.answer = None, repr(e)


def busy_workers(server):
    """That which says so among them."""
    text = server.request("GET", "/metrics")[2].decode()
    return int(re.search(r"^tare_workers_busy (\d+)", text, re.M)[1])


def end_in_the_middle(server, query):
    idle = busy_workers(server)
    asking = Asking(server, query)
    deadline = time.monotonic() + 60
    while busy_workers(server) <= idle:
        assert asking.answer is None and time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    assert asking.answer is None, "it was to take long"
    start = time.monotonic()
    assert server.stop() == 0
    seconds = time.monotonic() - start
    asking.join()
    assert seconds < 25, seconds  # five of them are grace; it would take for ever
    assert asking.answer[0] == 503 and b"ending" in asking.answer[1], asking.answer
    return seconds


def test_sigterm_cancels_what_takes_too_long(tmp_path):
    s = Server(tmp_path).start()
    s.graphql('mutation{upsertBucket(input:{name:"r",modelName:"p"}){bucket{id}}}')
    for at in range(0, 400_000, 10_000):  # all rows have to be read to find that a and b are never together
        lines = [json.dumps({"_step": i, "ab"[i % 2]: random.random()}) for i in range(at, at + 10_000)]
        body = json.dumps({"files": {"wandb-history.jsonl": {"offset": at, "content": lines}}}).encode()
        assert s.request("POST", "/files/local/p/r/file_stream", body)[0] == 200
    sample = r'sampledHistory(specs: ["{\"keys\":[\"a\",\"b\"],\"samples\":1}"])'
    fields = " ".join(f"f{i}: {sample}" for i in range(900))
    runs = " ".join(f'r{i}: run(name:"r") {{ ...F }}' for i in range(40))
    end_in_the_middle(s, f'query {{ project(name:"p") {{ {runs} }} }} fragment F on Run {{ {fields} }}')
    s.start()
    assert s.graphql('{project(name:"p"){run(name:"r"){historyLineCount}}}')["data"]["project"]["run"]["historyLineCount"] == 400_000
    assert s.stop() == 0


@contextlib.contextmanager
def locked_sqlite(s):
    with contextlib.closing(sqlite3.connect(s.dir / "tare.db")) as lock:
        lock.execute("BEGIN IMMEDIATE")
        yield


@contextlib.contextmanager
def locked_postgres(url):
    with subprocess.Popen(["psql", "-q", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as lock:
        lock.stdin.write("BEGIN; LOCK TABLE runs IN SHARE MODE;\n\\echo locked\n")
        lock.stdin.flush()
        assert lock.stdout.readline() == "locked\n"
        yield


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_sigterm_cancels_what_waits_for_a_lock(tmp_path, engine):
    """Another program holds it, and may do so for ever."""
    with contextlib.nullcontext() if engine == "sqlite" else postgres() as url:
        s = Server(tmp_path, *(["--db", url] if url else []))
        if not url:
            s.database = []
        s.start()
        s.graphql('mutation{upsertBucket(input:{name:"r",modelName:"p"}){bucket{id}}}')
        with locked_postgres(url) if url else locked_sqlite(s):
            end_in_the_middle(s, 'mutation{upsertBucket(input:{name:"r2",modelName:"p"}){bucket{id}}}')
        s.start()
        assert s.graphql('{project(name:"p"){runCount}}')["data"]["project"]["runCount"] == 1
        assert s.stop() == 0
