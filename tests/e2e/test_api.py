# SPDX-License-Identifier: MIT
"""wandb.Api through `tare service`: the same program as through wandb-core gives the same, against
`tare server`."""

import contextlib
import http.server
import json
import pathlib
import subprocess
import sys
import threading

import google.protobuf.json_format
import service_support
import wandb
from online_support import clean_env, run_script
from server_support import Server, peer_program
from service_support import TARE
from wandb.proto import wandb_internal_pb2 as pb
from wandb.proto import wandb_server_pb2 as spb

HISTORY = pathlib.Path(__file__).parent / "history.parquet"  # of every kind of column
LIBRARY = "librust_parquet_ffi.so"
PEER = str(pathlib.Path(wandb.__file__).parent / "bin" / "wandb-core")

MAKE = """
    import pathlib
    import wandb
    for i in range(2):
        with wandb.init(project="demo", name=f"run-{i}", id=f"run{i}", config={"lr": i, "d": {"x": [1, 2]}},
                        tags=["a", f"t{i}"]) as run:
            for step in range(25):
                print("line", step)
                run.log({"loss": 1 / (step + 1), "exact": 0.1 + step, "text": f"s{step}", "big": 2**53 + step,
                         "h": {"in": step}})
            run.summary["best"] = 7
            pathlib.Path("data.bin").write_bytes(bytes(range(256)) * 999)
            run.save("data.bin")
"""

READ = """
    import json, pathlib
    import wandb

    def show(name, value):
        print("=", name, json.dumps(value, sort_keys=True, default=str))

    def plain(rows):
        return [{k: v for k, v in r.items() if k not in ("_timestamp", "_runtime")} for r in rows]

    def fails(name, what):
        try:
            what()
            show(name, "no error")
        except Exception as e:
            text = str(e).split("(<Response")[0]
            show(name, [type(e).__name__, text])

    api = wandb.Api()
    show("entity", api.default_entity)
    show("viewer", api.viewer.username)
    show("flags", sorted(api.viewer.teams))
    runs = sorted(api.runs("demo"), key=lambda r: r.id)
    show("runs", [[r.id, r.name, r.state, r.config, sorted(r.tags)] for r in runs])
    run = api.run("demo/run0")
    show("summary", {k: v for k, v in run.summary_metrics.items() if not k.startswith("_")})
    show("history", plain(run.history(pandas=False)))
    show("history keys", run.history(keys=["loss", "exact"], pandas=False)[:3])
    for size in (7, 1000):
        rows = list(run.scan_history(page_size=size))
        show(f"scan {size}", plain(rows))
        show(f"scan keys {size}", list(run.scan_history(keys=["loss", "text"], page_size=size)))
    show("scan part", [r["_step"] for r in run.scan_history(min_step=5, max_step=9)])
    if hasattr(run, "console_logs"):
        show("console", [l.content for l in run.console_logs()])
        show("tail", [l.content for l in run.console_logs(last=3)])
        fails("console of nobody", lambda: list(api.run("demo/none").console_logs()))
    show("files", sorted(f.name for f in run.files()))
    with run.file("data.bin").download(root="down", replace=True) as f:
        show("downloaded", pathlib.Path("down/data.bin").read_bytes() == bytes(range(256)) * 999)
    show("left", sorted(p.name for p in pathlib.Path("down").iterdir()))
    pathlib.Path("up.txt").write_text("up" * 50000)
    show("uploaded", run.upload_file("up.txt").name)
    show("there", sorted(f.name for f in api.run("demo/run0").files() if f.name == "up.txt"))
    fails("missing run", lambda: api.run("demo/missing"))
    fails("missing project", lambda: list(api.runs("nobody/nothing")))
    fails("missing file", lambda: run.file("nothing.txt").download(root="down"))
    run.config["late"] = 3
    run.tags = ["z"]
    run.update()
    again = wandb.Api().run("demo/run0")
    show("updated", [again.config["late"], again.tags])
    fails("parquet", lambda: again.download_history_exports("exports") if hasattr(again, "download_history_exports") else None)
    sid = wandb.sweep({"method": "grid", "parameters": {"a": {"values": [1, 2]}}}, project="demo")
    sweep = api.sweep(f"demo/{sid}")
    show("sweep", [sweep.config["method"], len(sweep.runs)])
    show("artifact types", [t.name for t in api.artifact_types("demo")])
    fails("missing artifact", lambda: api.artifact("demo/none:latest"))
    fails("chart", lambda: api.create_custom_chart(entity=api.default_entity, name="c", display_name="C",
          spec_type="vega2", access="private", spec={"a": 1}))
    fails("queue", lambda: api.create_run_queue(name="q", type="local-container", entity=api.default_entity))
    fails("stop", lambda: again.stop() if hasattr(again, "stop") else None)
    again.delete()
    fails("deleted", lambda: wandb.Api().run("demo/run0"))
"""


def shown(text):
    return [line for line in text.splitlines() if line.startswith("= ")]


def read_through(tmp_path, core):
    folder = tmp_path / pathlib.Path(core).name
    folder.mkdir()
    with Server(folder) as server:
        made = run_script(folder, server.url, MAKE, core=PEER, WANDB_API_KEY=server.key)
        assert made.returncode == 0, made.stdout
        p = run_script(folder, server.url, READ, core=core, WANDB_API_KEY=server.key)
        assert p.returncode == 0, p.stdout
    return shown(p.stdout.replace(server.url, "URL"))


def test_a_program_reads_and_changes_the_same(tmp_path):
    """runs, history, scans, console, files, updates, sweeps, charts, queues, and what is missing"""
    ours, theirs = read_through(tmp_path, TARE), read_through(tmp_path, PEER)
    assert len(theirs) > 30
    assert ours == theirs


def verify_through(tmp_path, core):
    folder = tmp_path / ("v-" + pathlib.Path(core).name)
    folder.mkdir()
    with Server(folder) as server:
        p = peer_program.run([sys.executable, "-m", "wandb", "verify"], 120, cwd=folder, text=True,
                             env=clean_env(folder, server.url, core, WANDB_API_KEY=server.key),
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return p.returncode, [line for line in p.stdout.splitlines() if "Checking" in line]


def test_wandb_verify_finds_the_same(tmp_path):
    """login, files, large payloads, artifacts, a sweep with its agent; TLS is missing on purpose"""
    ours, theirs = verify_through(tmp_path, TARE), verify_through(tmp_path, PEER)
    assert len(theirs[1]) == 10
    assert ours == theirs


# -- message by message ---------------------------------------------------------------------------


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers every request with what the test says next; remembers it."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {k.title(): v for k, v in self.headers.items()
                   if k not in ("Host", "Content-Length", "Accept-Encoding", "Connection")}
        with contextlib.suppress(ValueError):
            body = json.loads(body)
        if isinstance(body, dict) and "query" in body:
            body["query"] = " ".join(body["query"].replace("{", " { ").replace("}", " } ").replace("(", " ( ")
                                     .replace(")", " ) ").replace(":", " : ").replace(",", " ").split())
            if "spec" in (body["variables"] or {} if "variables" in body else {}):
                with contextlib.suppress(ValueError):  # its keys come in any order
                    body["variables"]["spec"] = json.loads(body["variables"]["spec"])
        self.server.seen.append([self.command, self.path, headers, body])
        status, answer = self.server.answer
        answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        if self.path.endswith(".parquet"):
            self.give_parquet(HISTORY.read_bytes())
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def give_parquet(self, whole):
        """The library reads parts."""
        wanted = self.headers.get("Range", "")
        first, last = 0, len(whole) - 1
        if wanted.startswith("bytes=-"):
            first = max(0, len(whole) - int(wanted[7:]))
        elif wanted:
            first, last = (int(n) for n in wanted.removeprefix("bytes=").split("-"))
        part = whole[first:last + 1]
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(whole)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(part)

    do_GET = do_POST = do_PUT = do_HEAD = handle_any


@contextlib.contextmanager
def scripted_server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


RUN = {"entity": "e", "project": "p", "run_id": "r"}
ROWS = [json.dumps({"_step": 1.0, "a": 0.5}), json.dumps({"_step": 0, "a": {"b": [1, None]}})]
LINES = {"project": {"run": {"logLineCount": 5, "logLines": {
    "edges": [{"node": {"number": 3, "timestamp": "T", "level": None, "label": "x", "line": "é\n"}}],
    "pageInfo": {"endCursor": "c", "hasNextPage": False}}}}}
VIEWER = {"viewer": {"id": "i", "entity": "e", "username": "u", "email": None, "flags": "{}",
                     "teams": {"edges": [{"node": {"name": "t1"}}, {"node": {"name": "t2"}}]}}}

FEATURES = list(pb.ServerFeature.keys())

# request, data of a good answer
REQUESTS = [
    ({"graphql_request": {"query": "query Q($a: Int) { b c(x: $a) { d } }", "variables_json": '{"a": 9007199254740993}'}},
     {"b": 1}),
    ({"graphql_request": {"query": "{ b }"}}, None),
    ({"graphql_request": {"query": "query Q($a: Int, $z: Int) { b(z: $z, a: $a) old { x } ...F ...G } "
                                   "fragment F on T { y } fragment G on T { old g }",
                          "omit_variables": ["z"], "omit_fields": ["old"], "omit_fragments": ["F"],
                          "rename_fields": {"b": "c"}}}, {}),
    ({"graphql_request": {"query": "{ b", "omit_fields": ["x"]}}, None),
    ({"mark_run_files_uploaded_request": {**{"entity": "e", "project": "p", "run_id": "r"}, "files": ["a", "b/c"]}}, {}),
    ({"mark_run_files_uploaded_request": {"entity": "e"}}, {}),
    ({"stop_run_request": {"storage_id": "s"}}, {"stopRun": {"success": True}}),
    ({"auth_request": {"authenticate_request": {}}}, VIEWER),
    ({"auth_request": {"authenticate_request": {}}}, {"viewer": None}),
    ({"auth_request": {"get_access_token_request": {}}}, {}),
    ({"create_custom_chart_request": {"entity": "e", "name": "n", "display_name": "d", "spec_type": "v",
                                      "access": "private", "spec": "{\"a\": 1}"}},
     {"createCustomChart": {"chart": {"id": "chart-1"}}}),
    ({"create_custom_chart_request": {"entity": "e"}}, {"createCustomChart": None}),
    ({"run_queue_operation_request": {"create_default_resource_config_request": {
        "entity_name": "e", "resource": "r", "config": "{}"}}},
     {"createDefaultResourceConfig": {"success": True, "defaultResourceConfigID": "7"}}),
    ({"run_queue_operation_request": {"create_run_queue_request": {
        "entity": "e", "project": "p", "queue_name": "q", "access": "PROJECT", "prioritization_mode": "V0",
        "default_resource_config_id": "7"}}}, {"createRunQueue": {"success": True, "queueID": "8"}}),
    ({"run_queue_operation_request": {"upsert_run_queue_request": {
        "entity_name": "e", "project_name": "p", "queue_name": "q", "resource_type": "t", "resource_config": "{}",
        "external_links": "{}"}}},
     {"upsertRunQueue": {"success": False, "configSchemaValidationErrors": ["one", "two"]}}),
    ({"read_run_console_logs_request": {**RUN}}, LINES),
    ({"read_run_console_logs_request": {**RUN, "first": 10, "after": "x"}}, LINES),
    ({"read_run_console_logs_request": {**RUN, "last": 3}}, LINES),
    ({"read_run_console_logs_request": {**RUN, "last": 0}}, LINES),
    ({"read_run_console_logs_request": {**RUN, "last": 1, "first": 1}}, LINES),
    ({"read_run_console_logs_request": {**RUN}}, {"project": {"run": None}}),
    ({"read_run_console_logs_request": {**RUN}},
     {"project": {"run": {"logLineCount": None, "logLines": None}}}),
    ({"features_request": {"org": {"org": "o", "features": ["x", "y", "z"]}}},
     {"organization": {"featureFlags": [{"rampKey": "x", "isEnabled": True}, {"rampKey": "y", "isEnabled": False},
                                        {"rampKey": "w", "isEnabled": True}]}}),
    ({"features_request": {"org": {"features": ["x"]}}}, {}),
    ({"features_request": {"org": {"org": "o"}}}, {}),
    ({"features_request": {"server": {"features": FEATURES}}},
     {"serverInfo": {"features": [{"name": name, "isEnabled": i != 3} for i, name in enumerate(FEATURES[:-1])]
                     + [{"name": "NEW", "isEnabled": True}]}}),
    ({"read_run_history_request": {"scan_run_history_init": {**RUN, "keys": ["a"]}}},
     {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": [{"_step": 0}]}}}}),
    ({"read_run_history_request": {"scan_run_history_init": {**RUN}}},
     {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}}),
    ({"read_run_history_request": {"scan_run_history": {"min_step": 0, "max_step": 10, "request_id": 1}}},
     {"project": {"run": {"sampledHistory": [[{"_step": 1.0, "a": 0.5}, {"_step": 0, "a": "x"}]]}}}),
    ({"read_run_history_request": {"scan_run_history": {"min_step": 0, "max_step": 10, "request_id": 2}}},
     {"project": {"run": {"history": ROWS}}}),
    ({"read_run_history_request": {"scan_run_history": {"min_step": 0, "max_step": 10, "request_id": 2}}},
     {"project": None}),
    ({"read_run_history_request": {"scan_run_history_cleanup": {"request_id": 2}}}, {}),
    ({"read_run_history_request": {"scan_run_history": {"max_step": 10, "request_id": 2}}}, {}),
    ({"read_run_history_request": {"scan_run_history_init": {**RUN}}}, {"project": {"run": None}}),
    ({"read_run_history_request": {"download_run_history_init": {
        **RUN, "download_dir": "exports", "require_complete_history": True}}},
     {"project": {"run": {"parquetHistory": {"parquetUrls": ["URL/x.parquet"], "liveData": [{"_step": 3}]}}}}),
    ({"read_run_history_request": {"download_run_history_init": {**RUN, "download_dir": "exports"}}},
     {"project": {"run": {"parquetHistory": {"parquetUrls": ["URL/x.parquet"], "liveData": [{"_step": 3}]}}}}),
    ({"read_run_history_request": {"download_run_history": {"request_id": 3}}}, b"parquet"),
    ({"read_run_history_request": {"download_run_history": {"request_id": 3}}}, b"parquet"),
    ({"read_run_history_request": {"download_run_history_status": {"request_id": 3}}}, {}),
    ({"download_file_request": {"path": "down/a.bin", "url": "URL/files/a%20b", "size": 5}}, b"12345"),
    ({"upload_file_request": {"path": "up.bin", "url": "URL/upload", "headers": {"content-md5": "x", "X-A": "b"}}},
     b"ok"),
    ({"upload_file_request": {"path": "empty.bin", "url": "URL/upload"}}, b"ok"),
]

WRONG = [
    (200, {"data": None, "errors": [{"message": "broken", "path": ["project", 0, "run"]}]}),
    (200, {"data": {"viewer": {"entity": "e"}}, "errors": [{"message": "a"}, {"message": "b"}]}),
    (400, {"errors": [{"message": "bad request"}]}),
    (400, {"errors": [{"message": "unknown argument useImprovedPagination"}, {"message": "other"}]}),
    (401, {"error": "who are you"}),
    (403, {}),
    (404, b"<html>not here</html>"),
]


def ask_all(tmp_path, core, url, server, requests, monkeypatch):
    folder = tmp_path / pathlib.Path(core).name
    folder.mkdir()
    if core == TARE:  # started as in a wheel, beside the library for Parquet
        core = folder / "wandb-core"
        core.symlink_to(TARE)
        (folder / LIBRARY).symlink_to(pathlib.Path(PEER).parent / LIBRARY)
    monkeypatch.setattr(service_support, "TARE", str(core))
    monkeypatch.chdir(folder)
    (folder / "up.bin").write_bytes(b"up" * 100000)
    (folder / "empty.bin").touch()
    out = []
    with service_support.Service(folder) as service:
        c = service.connect()
        req = spb.ServerRequest()
        s = req.api_init_request.settings
        s.base_url.value, s.api_key.value, s.username.value = url, "k" * 40, "me"
        s.x_extra_http_headers.value["x-more"] = "1"
        api_id = c.ask(req).api_init_response.api_id
        for message, (status, answer) in requests:
            server.answer = (status, answer)
            server.seen.clear()
            req = spb.ServerRequest()
            text = json.dumps(message).replace("URL", url)
            google.protobuf.json_format.Parse(text, req.api_request)
            req.api_request.api_id = api_id
            response = google.protobuf.json_format.MessageToDict(c.ask(req).api_response)
            out.append([message, (status, answer), response, list(server.seen)])
    assert "Sanitizer" not in (folder / "service.out").read_text()
    left = sorted(str(p.relative_to(folder)) for d in ("down", "exports") for p in (folder / d).rglob("*"))
    return out, left, [(folder / name).read_bytes() for name in left]


def normalised(one):
    text = json.dumps(one, default=repr, sort_keys=True)
    return json.loads(text)


def comparable(message, response):
    """The peer gives the keys of a row in any order; what is wrong with a document is said otherwise; of what a
    server said to a request for history it shows the JSON, and to an upload not the status."""
    error = response.get("apiErrorResponse", {})
    if "compatibility: parse:" in error.get("message", ""):
        error["message"] = error["message"].split("parse:")[0]
    if "upload_file_request" in message or "read_run_history_request" in message:
        error.pop("httpStatus", None)
    if "read_run_history_request" in message and error.get("message"):
        error["message"] = "something"
    for row in response.get("readRunHistoryResponse", {}).get("runHistory", {}).get("historyRows", []):
        row["historyItems"].sort(key=lambda i: i["key"])
        for item in row["historyItems"]:
            item["valueJson"] = json.loads(item["valueJson"])
    return response


def compare(tmp_path, monkeypatch, requests):
    with scripted_server() as server:
        url = f"http://127.0.0.1:{server.server_port}"
        requests = [(m, (s, json.loads(json.dumps(a).replace("URL", url)) if not isinstance(a, bytes) else a))
                    for m, (s, a) in requests]
        theirs, their_files, their_bytes = ask_all(tmp_path, PEER, url, server, requests, monkeypatch)
        ours, our_files, our_bytes = ask_all(tmp_path, TARE, url, server, requests, monkeypatch)
    for a, b in zip(ours, theirs):
        a, b = normalised(a), normalised(b)
        assert comparable(a[0], a[2]) == comparable(b[0], b[2]), a[:2]
        assert a[3] == b[3], a[:2]
    assert (our_files, our_bytes) == (their_files, their_bytes)


def test_good_answers_message_by_message(tmp_path, monkeypatch):
    compare(tmp_path, monkeypatch, [(m, (200, {"data": a} if not isinstance(a, bytes) else a)) for m, a in REQUESTS])


EXPORTED = [{"read_run_history_request": {"scan_run_history_init": {**RUN, **more}}}
            for more in ({}, {"use_cache": True}, {"keys": ["acc", "name"]}, {"keys": ["_step", "s"]})]
EXPORTED += [{"read_run_history_request": {"scan_run_history": {"min_step": a, "max_step": b, "request_id": i}}}
             for i in (1, 2, 3, 4, 5) for a, b in ((0, 10), (1, 2), (7, 9))]
EXPORTED += [{"read_run_history_request": {"scan_run_history_cleanup": {"request_id": i}}} for i in (1, 1, 2)]


def test_exported_history_message_by_message(tmp_path, monkeypatch):
    run = {"parquetHistory": {"parquetUrls": ["URL/1.parquet", "URL/2.parquet"], "liveData": []}}
    compare(tmp_path, monkeypatch, [(m, (200, {"data": {"project": {"run": run}}})) for m in EXPORTED])


def test_a_broken_export_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Scripted, "give_parquet", lambda self, whole: self.give_junk())
    run = {"parquetHistory": {"parquetUrls": ["URL/1.parquet"], "liveData": []}}
    monkeypatch.setattr(Scripted, "give_junk", lambda self: (
        self.send_response(200), self.send_header("Content-Length", "4"), self.end_headers(),
        self.wfile.write(b"junk")), raising=False)
    compare(tmp_path, monkeypatch, [(EXPORTED[0], (200, {"data": {"project": {"run": run}}}))])


def test_bad_answers_message_by_message(tmp_path, monkeypatch):
    compare(tmp_path, monkeypatch, [(m, w) for m, a in REQUESTS for w in WRONG
                                    if "server" not in m.get("features_request", {})])


ASKED = [m for m, _ in REQUESTS if "read_run_history_request" not in m and "server" not in m.get("features_request", {})
         and not {"download_file_request", "upload_file_request"} & m.keys()]


def answered(tmp_path, monkeypatch, core, requests):
    with scripted_server() as server:
        url = f"http://127.0.0.1:{server.server_port}"
        found, _, _ = ask_all(tmp_path, core, url, server, requests, monkeypatch)
    return [normalised(one) for one in found]


def test_what_is_no_answer_does_not_pass_for_one(tmp_path, monkeypatch):
    """status 200 and JSON, but no object, or errors that are no list: a run is not stopped by that"""
    requests = [(m, (200, body)) for m in ASKED for body in (b"[]", b"12", b'"ok"', {"errors": "text"})]
    for core in (PEER, TARE):
        for message, answer, response, sent in answered(tmp_path, monkeypatch, core, requests):
            assert list(response) == ["apiErrorResponse"] or not sent, (core, message, answer, response)


def test_pages_in_other_encodings_are_quoted(tmp_path, monkeypatch):
    """What a client cannot decode ends it: the peer closes the connection."""
    page = "<html>Zugriff nicht m\xf6glich</html>".encode("latin-1")
    long = json.dumps({"errors": [{"message": "a" + "\u7981\u6b62" * 600}]}, ensure_ascii=False).encode()
    all_asked = [m for m, _ in REQUESTS if "scan_run_history_cleanup" not in json.dumps(m)]
    requests = [(m, (status, body)) for m in all_asked for status, body in ((404, page), (200, page), (400, long))]
    found = answered(tmp_path, monkeypatch, TARE, requests)  # decodes every one
    texts = json.dumps([response for _, _, response, _ in found], ensure_ascii=False)
    assert "nicht m?glich" in texts and "\u7981\u6b62" in texts


def test_headers_of_an_upload_do_not_change_its_length(tmp_path, monkeypatch):
    headers = {"content-length": "5", "Transfer-Encoding": "identity", "Host": "elsewhere", "bad name": "x", "X-A": "b"}
    message = {"upload_file_request": {"path": "up.bin", "url": "URL/upload", "headers": headers}}
    for _, _, response, sent in answered(tmp_path, monkeypatch, TARE, [(message, (200, b"ok"))] * 2):
        assert list(response) == ["uploadFileResponse"]
        ((method, path, came, body),) = sent
        assert body == repr(b"up" * 100000) and came["X-A"] == "b" and "Bad Name" not in came


def test_what_cannot_be_asked_is_told(tmp_path, monkeypatch):
    requests = [{"graphql_request": {"query": "{ b }", "variables_json": "[1]"}},
                {"graphql_request": {"query": "{ b }", "variables_json": '"text"'}},
                {"upload_file_request": {"path": "none.bin", "url": "URL/upload"}},
                {"upload_file_request": {"path": ".", "url": "URL/upload"}}]
    both = [answered(tmp_path, monkeypatch, core, [(m, (200, {"data": {}})) for m in requests]) for core in (PEER, TARE)]
    for theirs, ours in zip(*both):
        start = "decode GraphQL variables: " if "graphql_request" in theirs[0] else ""
        texts = [one[2]["apiErrorResponse"]["message"].lower() for one in (theirs, ours)]
        assert texts[0] == texts[1] or start and all(text.startswith(start.lower()) for text in texts), texts
        assert theirs[3] == ours[3] == []
